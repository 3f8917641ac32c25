"""Policy gradients of dialogues: where an advantage lies, and what a group is compared with."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled
from noise import shaken

from seqrl_jax.dialogue.advantages import Anchored, LearnedValue, LeaveOneOut, ReturnToGo, Steps, Talking
from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.game import Game, anything
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.reader import predictions
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.talking import talk
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.tasks.build import build, goes, uniform

MEMBERS = 3


def made(seed=0, turns=3, words=2, groups=2, discount=1.0):
    """Dialogues of `words` own symbols a turn with one heard behind each; some end early."""
    rng = np.random.default_rng(seed)
    batch, length = groups * MEMBERS, turns * (words + 1)
    lasting = rng.integers(1, turns + 1, batch)
    place = np.arange(length)[:, None] * np.ones((1, batch), int)
    turn = place // (words + 1)
    alive = turn < lasting
    own = alive & (place % (words + 1) < words)
    last = own & (place % (words + 1) == words - 1)
    reward = np.where(last, rng.normal(size=own.shape), 0.0)
    onward = np.where(own, np.where(last, np.where(turn < lasting - 1, discount, 0.0), 1.0), 0.0)
    f32 = lambda array: jnp.asarray(array, jnp.float32)
    said = jnp.asarray(rng.integers(0, 2, (length + 1, batch)), jnp.int32)
    steps = Steps(
        said,
        said[1:],
        jnp.asarray(own),
        jnp.ones((*own.shape, 4), bool),
        f32(reward),
        f32(onward),
        jnp.zeros(own.shape),
        jnp.asarray(np.where(alive, turn, 0), jnp.int32),
        jnp.zeros(batch, jnp.int32),
        discount,
        turns,
    )
    by_turn = np.zeros((turns, batch))
    for t in range(turns):
        by_turn[t] = np.where(turn == t, reward, 0).sum(0)
    return steps, by_turn, lasting


def advantages(advantage, steps, value):
    """What an advantage says of dialogues, and what a value is fitted to, in one program."""
    return jax.jit(lambda value: advantage.of(steps, value, MEMBERS))(value.astype(np.float32))


@pytest.mark.parametrize("discount", [1.0, 0.7])
@pytest.mark.parametrize("advantage", [LeaveOneOut(), Talking()])
def test_a_turn_is_compared_with_its_groups(advantage, discount):
    steps, by_turn, lasting = made(discount=discount)
    turns, batch = by_turn.shape
    talks = np.arange(turns)[:, None] < lasting
    expected = np.zeros_like(by_turn)
    for i in range(batch):
        mates = range(i // MEMBERS * MEMBERS, (i // MEMBERS + 1) * MEMBERS)
        total = 0.0
        for t in reversed(range(turns)):
            total *= discount
            if advantage == LeaveOneOut():
                total += by_turn[t, i] - np.mean([by_turn[t, j] for j in mates if j != i])
            elif talks[t, i]:
                total += by_turn[t, i] - np.mean([by_turn[t, j] for j in mates if talks[t, j]])
            expected[t, i] = discount**t * total
    found = np.asarray(advantages(advantage, steps, np.zeros(steps.own.shape))[0])
    own, turn = np.asarray(steps.own), np.asarray(steps.turn)
    for t, i in zip(*np.nonzero(own), strict=True):
        assert found[t, i] == pytest.approx(expected[turn[t, i], i], abs=1e-5)


@pytest.mark.parametrize("unit", ["symbol", "turn"])
def test_gae_skips_what_is_heard(unit):
    """At lambda = 1 it is the return to go less the value, whatever stands between the agent's symbols."""
    steps, by_turn, _ = made(1)
    value = np.random.default_rng(2).normal(size=steps.own.shape)
    _, goal = advantages(LearnedValue(lambda_=1.0, unit=unit), steps, value)
    own, turn, goal = np.asarray(steps.own), np.asarray(steps.turn), np.asarray(goal)
    for t, i in zip(*np.nonzero(own), strict=True):
        assert float(goal[t, i]) == pytest.approx(by_turn[turn[t, i] :, i].sum(), abs=1e-4)


def test_a_turn_is_one_step_of_gae():
    """By hand, turn by turn: delta of the turns' rewards and of the values before their first symbols."""
    steps, by_turn, lasting = made(4)
    value = np.random.default_rng(5).normal(size=steps.own.shape).astype(np.float32)
    found = np.asarray(advantages(LearnedValue(lambda_=0.7, unit="turn"), steps, value)[0])
    own, turn = np.asarray(steps.own), np.asarray(steps.turn)
    for b in range(own.shape[1]):
        begins = [value[np.flatnonzero(own[:, b] & (turn[:, b] == t))[0], b] for t in range(lasting[b])]
        later = 0.0
        for t in reversed(range(lasting[b])):
            following = begins[t + 1] if t + 1 < lasting[b] else 0.0
            later = by_turn[t, b] + following - begins[t] + 0.7 * later
            np.testing.assert_allclose(found[own[:, b] & (turn[:, b] == t), b], later, atol=1e-4)


@pytest.mark.parametrize("discount", [1.0, 0.5])
@pytest.mark.parametrize(
    "advantage",
    [
        ReturnToGo(),
        LeaveOneOut(),
        Anchored(step_weight=0.0),
        LearnedValue(lambda_=1.0, unit="symbol"),
        LearnedValue(lambda_=1.0, unit="turn"),
    ],
)
def test_the_expected_estimate_is_the_gradient_of_the_discounted_return(advantage, discount):
    """Every group of dialogues that can be: two turns, at each a coin of probability p that pays 1, and more in the
    second; dJ / dlogit = p (1 - p) sum_t gamma^t pay_t."""
    p, pay = 0.3, np.array([1.0, 5.0])
    coins = np.array(list(itertools.product((0, 1), repeat=2 * MEMBERS))).reshape(-1, MEMBERS, 2)
    chance = np.where(coins, p, 1 - p).prod((1, 2))
    coin = coins.reshape(-1, 2).T
    said = jnp.concatenate([jnp.zeros((1, coin.shape[1]), jnp.int32), jnp.asarray(coin, jnp.int32)])
    places = lambda column: jnp.broadcast_to(jnp.asarray(column)[:, None], coin.shape)
    steps = Steps(
        symbols=said,
        symbol=said[1:],
        own=jnp.ones(coin.shape, bool),
        legal=jnp.ones((*coin.shape, 2), bool),
        reward=jnp.asarray(pay[:, None] * coin, jnp.float32),
        onward=places([discount, 0.0]),
        log_prob=jnp.zeros(coin.shape),
        turn=places([0, 1]),
        parted=jnp.zeros(coin.shape[1], jnp.int32),
        discount=discount,
        turns=2,
    )
    found = np.asarray(advantages(advantage, steps, np.zeros(coin.shape))[0])
    of_dialogue = (found * (coin - p)).sum(0).reshape(-1, MEMBERS).mean(1)
    assert chance @ of_dialogue == pytest.approx(p * (1 - p) * (pay @ [1, discount]), rel=1e-5)


@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_anchors_are_equal_pasts(discount):
    """Against a loop over members and turns; a turn that nobody else came to the same way is judged by the whole
    dialogue alone."""
    steps, by_turn, lasting = made(6, discount=discount)
    worth = discount ** np.arange(len(by_turn))[:, None] * by_turn
    found = np.asarray(advantages(Anchored(step_weight=0.5), steps, np.zeros(steps.own.shape))[0])
    own, turn, said = np.asarray(steps.own), np.asarray(steps.turn), np.asarray(steps.symbols)
    begins = lambda b, t: int(np.flatnonzero(own[:, b] & (turn[:, b] == t))[0])
    met = 0
    for b in range(own.shape[1]):
        mates = [m for m in range(b // MEMBERS * MEMBERS, (b // MEMBERS + 1) * MEMBERS) if m != b]
        episode = worth[:, b].sum() - np.mean([worth[:, m].sum() for m in mates])
        for t in range(lasting[b]):
            past = said[: begins(b, t) + 1, b]
            alike = [m for m in mates if lasting[m] > t and np.array_equal(said[: begins(m, t) + 1, m], past)]
            met += len(alike)
            step = worth[t:, b].sum() - np.mean([worth[t:, m].sum() for m in alike]) if alike else 0.0
            np.testing.assert_allclose(found[begins(b, t), b], episode + 0.5 * step, atol=1e-4)
    assert met


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_what_is_said_first_has_ratio_one(view):
    """Read again, a dialogue has the log-probabilities with which it was spoken."""
    game = make_game("negotiation:turns=3")
    method = make_method(f"pg_group:view={view},width=8,groups=3")
    symbols = spelling(game, view)
    training = compiled.begin(method, symbols, None, jax.random.key(0))
    training = training._replace(weights=shaken(training.weights, 0.3))

    @jax.jit
    def spoken_and_read(training, key):
        steps, _ = method.spoken(game, symbols, training, key)
        outputs = predictions(method.reader(symbols), training.weights, steps.symbols)
        return steps.own, steps.log_prob, method.law(outputs, steps.legal).log_prob(steps.symbol)

    own, log_prob, again = map(np.asarray, spoken_and_read(training, jax.random.key(2)))
    np.testing.assert_allclose(again[own], log_prob[own], atol=1e-4)
    assert own.any() and not log_prob[~own].any()


def gossip():
    """Two turns with a user who has one of 8 secrets, greets in one of two ways, and gives the secret away."""
    secrets, utterances = [f"secret_{number}" for number in range(8)], ["ask", "guess", "wait"]
    task = build(
        name="gossip",
        states=secrets,
        actions=utterances,
        observations=["hello", "well", *secrets],
        start=uniform(secrets),
        step=lambda secret, said: goes(secret, float(said == "ask")),
        observe=lambda _: uniform(["hello", "well"]),
        observe_after=lambda said, secret: secret,
        discount=1.0,
        horizon=2,
    )
    return Game(task, (anything(1.0, secrets, utterances, ends=False),))


@pytest.mark.parametrize("name", ["pg_group", "refuel", "archer"])
def test_members_of_a_group_talk_to_one_user_who_opens_once(name):
    """Opening and secret are the group's; what is said to them is each member's own."""
    game = gossip()
    method = make_method(f"{name}:view=utterance,width=4,groups=12")
    symbols = spelling(game, "utterance")
    weights = compiled.begin(method, symbols, None, jax.random.key(0)).weights
    talked = jax.jit(lambda weights, key: method.talked(game, symbols, weights, key)[0].symbol)
    said = np.asarray(talked(weights, jax.random.key(1)))
    opening, first, secret, second = np.moveaxis(said.reshape(12, method.members, 4), 2, 0)
    for shared in (opening, secret):
        assert (shared == shared[:, :1]).all() and len(set(shared[:, 0])) > 1
    assert (first != first[:, :1]).any() and (second != second[:, :1]).any()


@pytest.mark.parametrize("name", ["pg_group", "ppo_talk"])
def test_talking_teaches_to_negotiate(name):
    """150 updates of 64 dialogues: above the speakers of the logs; of 10 other seeds of each the least was .69."""
    known = Known(make_game("negotiation"))
    method, symbols = make_method(f"{name}:view=utterance,width=16"), spelling(known.game, "utterance")

    @jax.jit
    def run(key):
        training, _ = jax.lax.scan(
            lambda t, _: method.update(known.game, symbols, None, t), method.begin(symbols, None, key), length=150
        )
        return talk(method, known.game, symbols, training.weights, key, 1000).earned.mean()

    low, high = known.value(known.logged), known.value(known.best)
    assert (float(run(jax.random.key(0))) - low) / (high - low) > 0.3
