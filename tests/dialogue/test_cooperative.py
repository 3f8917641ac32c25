"""Two who learn to talk: what each of them sees, what they are paid, which gradient they follow, what they learn."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.dialogue.cooperative import (
    Answerer,
    Chances,
    Dialogue,
    Questioner,
    Reinforce,
    Team,
    Transcript,
    Utterance,
    World,
    accuracy,
    best_information,
    converse,
    disentanglement,
    drawn,
    likeliest,
    meaning,
    success_advantage,
    transcript,
    uniform_chances,
)
from seqrl_jax.dialogue.cooperative.team import NOTHING
from seqrl_jax.naming import SpecError
from seqrl_jax.networks import GRU

# Compiled as wholes: operation by operation, each of a hundred would be a program of its own.
BEGUN = jax.jit(lambda team: team.first_weights(jax.random.key(0)), static_argnums=0)
CHANCES = jax.jit(uniform_chances, static_argnums=(1, 2))
CONVERSED, TRANSCRIPT, MEANING = (jax.jit(part, static_argnums=0) for part in (converse, transcript, meaning))
ACCURACY, INFORMATION = (jax.jit(part, static_argnums=0) for part in (accuracy, best_information))
DISENTANGLEMENT = jax.jit(disentanglement)


def recited(log_probs, symbol):
    """What is given is said."""
    return symbol


def recital(team, weights, objects, tasks):
    """[places, B] symbols, question by answer and both guesses behind them -> the dialogues with exactly these."""
    ends = 2 * team.rounds
    script = lambda said: Chances(said[:ends:2], said[1:ends:2], said[ends:])
    return jax.jit(lambda said: converse(team, weights, objects, tasks, script(said), recited))


def every_script(*kinds):
    """[scripts, places, 1]: all sequences with so many kinds of symbols at each place."""
    return jnp.array(list(itertools.product(*map(range, kinds))), jnp.int32)[..., None]


class WrittenQuestioner(Questioner):
    """Asks for both attributes of the task in turn and repeats the answers; carries the last two."""

    def __call__(self, carry, task, question, answer):
        heard = jnp.stack([carry[0][:, 1], answer.astype(jnp.float32)], 1)
        attributes = jnp.asarray(World().tasks)[task].T
        asks = jnp.where(answer == NOTHING, *attributes)
        guesses = attributes * World().values + heard.T.astype(int)
        return (heard,), surely(asks, self.questions), surely(guesses, self.guesses)


class WrittenAnswerer(Answerer):
    """The value of the attribute that is asked for."""

    def __call__(self, carry, objects, question, answer):
        return carry, surely(jnp.take_along_axis(objects, question[:, None], 1)[:, 0], self.answers)


class SilentAnswerer(Answerer):
    """Always the first symbol."""

    def __call__(self, carry, objects, question, answer):
        return carry, surely(jnp.zeros_like(question), self.answers)


def surely(symbol, kinds):
    return 100 * jax.nn.one_hot(symbol, kinds)


class Written(Team):
    """The language that the paper hopes for."""

    @property
    def questioner(self):
        world = self.world
        return WrittenQuestioner(world.num_tasks, self.questions, self.answers, world.num_guesses, GRU(2))

    @property
    def answerer(self):
        return WrittenAnswerer(self.world.values, self.questions, self.answers, self.remembers, GRU(1))


class Silent(Written):
    @property
    def answerer(self):
        return SilentAnswerer(self.world.values, self.questions, self.answers, self.remembers, GRU(1))


@pytest.mark.parametrize(
    ("team", "both", "one", "informed"),
    [(Written(), 1, 1, 1), (Silent(), 1 / 16, 7 / 16, 0)],
    ids=["written", "silent"],
)
def test_teams_written_by_hand_score_what_they_must(team, both, one, informed):
    """One who guesses the first value of both attributes is right about one object in four each."""
    weights = BEGUN(team)
    objects = jnp.asarray(team.world.objects)
    spoken = TRANSCRIPT(team, weights, objects)
    assert len(spoken.tasks) == 64 * 6
    assert ACCURACY(team.world, spoken) == pytest.approx((both, one))
    chances = CHANCES(jax.random.key(1), team, len(spoken.tasks))
    dialogue = CONVERSED(team, weights, spoken.objects, spoken.tasks, chances)
    assert float(team.world.reward(dialogue.guess.symbol, spoken.objects, spoken.tasks).mean()) == pytest.approx(both)
    np.testing.assert_allclose(dialogue.log_prob, 0, atol=1e-6)
    np.testing.assert_allclose(dialogue.entropy, 0, atol=1e-6)
    means = MEANING(team, spoken)
    assert float(DISENTANGLEMENT(means)) == pytest.approx(informed, abs=1e-5)
    np.testing.assert_allclose(INFORMATION(team.world, means), informed, atol=1e-5)
    np.testing.assert_allclose(means.share, 1 / 3, atol=1e-6)


@pytest.mark.parametrize("symbols", [(3, 4), (64, 64)], ids=str)
def test_entropies_are_shares_of_what_the_symbols_allow(symbols):
    """Who says anything with equal chance has a share of one in each of two questions, answers and guesses."""
    team = Team(questions=symbols[0], answers=symbols[1])
    weights = jax.tree.map(np.zeros_like, BEGUN(team))
    objects, tasks = jnp.zeros((5, 3), jnp.int32), jnp.arange(5)
    dialogue = CONVERSED(team, weights, objects, tasks, CHANCES(jax.random.key(1), team, 5))
    np.testing.assert_allclose(dialogue.entropy, 6, rtol=1e-6)


def test_worlds_are_those_of_the_paper():
    world = World()
    assert len(world.objects) == 64 and world.num_guesses == 12
    assert sorted(map(tuple, world.tasks)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] and world.num_tasks == 6
    train, held_out = (np.asarray(part) for part in world.split(jax.random.key(0), 0.2))
    assert (len(train), len(held_out)) == (51, 13)
    assert sorted(map(tuple, np.concatenate([train, held_out]))) == sorted(map(tuple, world.objects))
    objects, tasks = map(np.asarray, world.cases(jnp.asarray(train)))
    assert len({(*thing, task) for thing, task in zip(objects, tasks, strict=True)}) == len(tasks) == 51 * 6


def test_both_guesses_must_be_right():
    world, rng = World(3, 2), np.random.default_rng(0)
    objects, tasks = map(np.asarray, world.cases(jnp.asarray(world.objects)))
    guess = rng.integers(0, world.num_guesses, (200, 2, len(tasks)))
    expected = np.zeros((200, len(tasks)))
    for i, (thing, task) in enumerate(zip(objects, tasks, strict=True)):
        first, second = list(itertools.permutations(range(3), 2))[task]
        names = [(attribute, value) for attribute in range(3) for value in range(2)]
        for n in range(200):
            said = names[guess[n, 0, i]], names[guess[n, 1, i]]
            expected[n, i] = said == ((first, thing[first]), (second, thing[second]))
    found = jax.vmap(lambda guess: world.reward(guess, jnp.asarray(objects), jnp.asarray(tasks)))(jnp.asarray(guess))
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 0.1


def test_symbols_are_drawn_with_their_probabilities():
    law = np.random.default_rng(0).dirichlet(np.ones(5)).astype(np.float32)
    chances = jnp.asarray((np.arange(10_000) + 0.5) / 10_000, jnp.float32)
    symbol = drawn(jnp.broadcast_to(jnp.log(law), (10_000, 5)), chances)
    np.testing.assert_allclose(np.bincount(symbol, minlength=5) / 10_000, law, atol=2e-4)
    assert int(drawn(jnp.log(law)[None], jnp.ones(1))[0]) == 4, "rounding leads beyond no last symbol"
    assert (likeliest(jnp.broadcast_to(jnp.log(law), (10_000, 5)), chances) == law.argmax()).all()


def test_the_questioner_sees_the_task_and_what_was_said_but_no_object():
    team = Team(World(3, 2), questions=2, answers=3, width=8)
    weights = BEGUN(team)
    objects, tasks = jnp.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]), jnp.array([0, 0, 1])
    read = recital(team, weights, objects, tasks)
    speech = lambda *said: read(jnp.broadcast_to(jnp.array(said)[:, None], (6, 3)))
    base = speech(0, 0, 0, 0, 0, 0)
    for said in (base.question, base.guess):
        np.testing.assert_allclose(said.log_prob[:, 0], said.log_prob[:, 1], atol=1e-6)
        assert (np.abs(said.entropy[:, 0] - said.entropy[:, 2]) > 1e-5).all(), "another task"
    assert not np.allclose(base.answer.log_prob[:, 0], base.answer.log_prob[:, 1])
    for place, first_changed in enumerate([1, 1, 2, 2]):
        said = [0] * 6
        said[place] = 1
        other = speech(*said)
        changed = np.abs(base.question.entropy - other.question.entropy)[:, 0] > 1e-6
        assert list(changed) == [first_changed <= t for t in range(2)], place
        assert (np.abs(base.guess.entropy - other.guess.entropy) > 1e-6).all(), place


@pytest.mark.parametrize("remembers", [False, True])
def test_without_memory_an_answer_depends_on_the_question_and_the_object_alone(remembers):
    """Over all that may be said in the round before, for all objects and tasks."""
    team = Team(World(3, 2), questions=2, answers=3, remembers=remembers, width=8)
    objects, tasks = team.world.cases(jnp.asarray(team.world.objects))
    read = jax.vmap(recital(team, BEGUN(team), objects, tasks))
    scripts = every_script(2, 3, 2, 3, 1, 1)
    log_prob = np.asarray(read(jnp.broadcast_to(scripts, (*scripts.shape[:2], len(tasks)))).answer.log_prob)
    # [first question, first answer, question, answer, round, object, task]
    log_prob = log_prob.reshape(2, 3, 2, 3, 2, 8, 6)
    first, second = log_prob[:, :, 0, 0, 0], log_prob[:, :, :, :, 1]
    depends = [np.ptp(second, axis).max() > 1e-6 for axis in range(6)]
    assert depends == [remembers, remembers, True, True, True, False]
    assert np.ptp(first, -1).max() < 1e-6
    assert (np.abs(second - first).max() > 1e-6) == remembers, "another round"


def test_no_gradient_passes_from_one_to_the_other():
    team = Team(World(2, 2), questions=2, answers=2, width=4)
    weights = BEGUN(team)
    objects, tasks = team.world.cases(jnp.asarray(team.world.objects))
    chances = CHANCES(jax.random.key(1), team, len(tasks))
    # Of the log-probabilities of questions, answers and guesses.
    spoken = lambda weights: jnp.stack(
        [part.log_prob.sum() for part in converse(team, weights, objects, tasks, chances)]
    )
    size = lambda tree: sum(np.abs(leaf).reshape(3, -1).sum(1) for leaf in jax.tree.leaves(tree))
    questioner, answerer = map(size, jax.jit(jax.jacrev(spoken))(weights))
    assert (questioner[[0, 2]] > 0.1).all() and questioner[1] == 0
    assert answerer[1] > 0.1 and (answerer[[0, 2]] == 0).all()


@pytest.mark.parametrize("members", [2, 3, 8])
def test_advantages_of_groups_have_the_gradient_that_they_claim(members):
    """Over all outcomes of a group with P(success) = p, whose score is (r - p) / (p (1 - p)) in units of grad p."""
    outcomes = np.array(list(itertools.product([0.0, 1.0], repeat=members)))
    advantage = np.asarray(success_advantage(jnp.asarray(outcomes, jnp.float32)))
    for p in (0.05, 0.4, 0.9):
        chance = (p**outcomes * (1 - p) ** (1 - outcomes)).prod(1)
        found = chance @ (advantage * (outcomes - p) / (p * (1 - p))).mean(1)
        assert found == pytest.approx(sum((1 - p) ** k for k in range(members - 1)), rel=1e-5)
        if members == 2:
            assert found == pytest.approx(1)


@pytest.mark.parametrize(("rounds", "members"), [(1, 2), (2, 4)])
def test_draws_have_the_score_and_the_gradient_of_all_dialogues(rounds, members):
    """Every dialogue of a tiny team is listed with its probability. Each of some 300 weights within 6 standard errors
    (false alarm 1e-6), and the whole nearly parallel."""
    team = Team(World(2, 2), questions=2, answers=2, rounds=rounds, width=4, remembers=True)
    method = Reinforce(members=members)
    double = lambda key: jax.tree.map(lambda leaf: 2 * leaf, team.first_weights(key))
    weights = jax.jit(double)(jax.random.key(3))
    objects, tasks = team.world.cases(jnp.asarray(team.world.objects))
    scripts = every_script(*[2, 2] * rounds, 4, 4)
    scripts = jnp.broadcast_to(scripts, (*scripts.shape[:2], len(tasks)))

    def success(weights):
        """Chances [cases]: of success, and of anything at all."""
        dialogue = jax.vmap(recital(team, weights, objects, tasks))(scripts)
        probability = jnp.exp(jax.vmap(lambda one: one.log_prob)(dialogue))
        reward = jax.vmap(lambda guess: team.world.reward(guess, objects, tasks))(dialogue.guess.symbol)
        return (probability * reward).sum(0), probability.sum(0)

    p, total = jax.jit(success)(weights)
    np.testing.assert_allclose(total, 1, atol=1e-5)

    def objective(weights):
        failure = 1 - success(weights)[0]
        return -sum(jnp.mean(failure**k) / k for k in range(1, members))

    flat = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]
    exact = flat(jax.jit(jax.grad(objective))(weights))
    groups = [jnp.repeat(leaf, members, 0) for leaf in (objects, tasks)]

    @jax.jit
    @jax.vmap
    def sampled(key):
        chances = uniform_chances(key, team, len(groups[1]))
        surrogate = lambda weights: method.surrogate(team, weights, *groups, chances)
        gradient, (reward, _) = jax.grad(surrogate, has_aux=True)(weights)
        return flat(gradient), reward

    gradients, rewards = map(np.asarray, sampled(jax.random.split(jax.random.key(4), 8000)))
    per_case = rewards.reshape(-1, len(tasks), members).mean((0, 2))
    np.testing.assert_allclose(per_case, p, atol=6 * 0.5 / (len(rewards) * members) ** 0.5)
    mean, error = gradients.mean(0), gradients.std(0) / len(gradients) ** 0.5
    assert (np.abs(mean - exact) <= 6 * error + 1e-7).all()
    assert mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact) > 0.95


def test_greedy_agents_are_the_limit_of_drawn_ones():
    """With the last layers' weights a hundred thousandfold, what is drawn is what is likeliest."""
    team = Team(World(3, 3), width=16)
    weights = BEGUN(team)
    sharp = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if "memory" in jax.tree_util.keystr(path) else 1e5 * np.asarray(leaf), weights
    )
    objects = jnp.asarray(team.world.objects)
    spoken = TRANSCRIPT(team, weights, objects)
    chances = CHANCES(jax.random.key(1), team, len(spoken.tasks))
    sharply, loosely = (CONVERSED(team, each, spoken.objects, spoken.tasks, chances) for each in (sharp, weights))
    for best, drawn_sharply, drawn_loosely in zip(spoken.dialogue, sharply, loosely, strict=True):
        agree = lambda said, best=best: float(np.mean(np.asarray(said.symbol) == np.asarray(best.symbol)))
        assert agree(drawn_sharply) > 0.99 > agree(drawn_loosely)
    reward = team.world.reward(sharply.guess.symbol, spoken.objects, spoken.tasks).mean()
    assert float(ACCURACY(team.world, spoken).both) == pytest.approx(float(reward), abs=0.01)


def spelled(world, question, answer):
    """A transcript of these questions and answers, functions of (round, object, task)."""
    objects, tasks = map(np.asarray, world.cases(jnp.asarray(world.objects)))
    table = lambda say: jnp.array(
        [[say(t, thing, task) for thing, task in zip(objects, tasks, strict=True)] for t in range(2)]
    )
    said = lambda symbol: Utterance(symbol, jnp.zeros(symbol.shape), jnp.zeros(symbol.shape))
    guess = jnp.zeros((2, len(tasks)), jnp.int32)
    return Transcript(
        jnp.asarray(objects), jnp.asarray(tasks), Dialogue(said(table(question)), said(table(answer)), said(guess))
    )


def test_languages_mean_what_they_were_made_to_mean():
    world = World(3, 4)
    team = Team(world, questions=3, answers=64)
    in_turn = lambda t, thing, task: world.tasks[task][t]

    def judged(question, answer):
        means = MEANING(team, spelled(world, question, answer))
        return [float(DISENTANGLEMENT(means)), *np.asarray(INFORMATION(world, means)).tolist()]

    compositional = judged(in_turn, lambda t, thing, task: thing[world.tasks[task][t]])
    assert compositional == pytest.approx([1, 1, 1, 1], abs=1e-5)
    names_of_objects = judged(in_turn, lambda t, thing, task: int(thing @ [16, 4, 1]))
    assert names_of_objects == pytest.approx([0, 1, 1, 1], abs=1e-5)
    # Of two attributes at once, 2 bits of one and 1 of the other in 3 bits: a third.
    of_two = judged(in_turn, lambda t, thing, task: int(4 * (thing[1] // 2) + thing[0]))
    assert of_two == pytest.approx([1 / 3, 1, 1 / 2, 0], abs=1e-5)
    # The same question of one attribute in the first round and of another in the second: half the answers to it tell
    # of either, so that a value has the chance 1/2 + 1/8 behind its own symbol and 1/8 behind each of the others.
    drifting = judged(lambda t, thing, task: 0, lambda t, thing, task: thing[t])
    law = np.array([5, 1, 1, 1]) / 8
    half = 1 + law @ np.log(law) / np.log(4)
    assert drifting == pytest.approx([0, half, half, 0], abs=1e-5)
    silent = judged(in_turn, lambda t, thing, task: 0)
    assert silent == pytest.approx([0, 0, 0, 0], abs=1e-5)


@pytest.mark.parametrize(("rounds", "optimum"), [(1, 0.5), (2, 1.0)], ids=["one_round", "two_rounds"])
def test_a_tiny_world_is_learned(rounds, optimum):
    """Two attributes of two values, both of which each task needs: one answer of two symbols halves what is left, and a
    second one to another question tells the rest. Of 8 seeds half reach the optimum, and none exceeds it."""
    team = Team(World(2, 2), questions=2, answers=2, rounds=rounds, width=32)
    method = Reinforce(learning_rate=0.03, updates=800, cases=16, entropy_cost=0.3)
    objects = jnp.asarray(team.world.objects)

    @jax.jit
    @jax.vmap
    def run(key):
        weights, rewards = method.train(team, objects, key)
        return accuracy(team.world, transcript(team, weights, objects)).both, rewards[-50:].mean()

    both, rewards = map(np.asarray, run(jax.random.split(jax.random.key(3000), 8)))
    assert both.max() == optimum and np.median(both) == optimum
    np.testing.assert_allclose(rewards, both, atol=0.1)


def test_settings_are_checked():
    with pytest.raises(SpecError, match="attributes is 1"):
        World(attributes=1)
    with pytest.raises(SpecError, match="answers is 1"):
        Team(answers=1)
    with pytest.raises(SpecError, match="members is 1"):
        Reinforce(members=1)
