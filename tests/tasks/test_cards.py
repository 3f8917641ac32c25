"""POPGym's card games: its rewards, the law of a shuffled deck, and what memory is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.cards import Deck, full, placed, taken
from seqrl_jax.tasks.environments import ENVIRONMENTS, environment

GAMES = {
    "repeat_first_cards": "repeat_first_cards",
    "repeat_first_cards:decks=2": "repeat_first_cards",
    "repeat_previous_cards": "repeat_previous_cards",
    "repeat_previous_cards:decks=2,k=32": "repeat_previous_cards",
    "repeat_previous_cards:k=1": "repeat_previous_cards",
    "autoencode_cards": "autoencode_cards",
    "count_recall_cards": "count_recall_cards",
    "count_recall_cards:decks=2,kinds=suits": "count_recall_cards",
    "count_recall_cards:decks=4,kinds=ranks": "count_recall_cards",
}


def split(env, name, obs):
    """What an observation says, as POPGym shows it."""
    if name == "autoencode_cards":
        return divmod(obs, env.kinds)
    if name == "count_recall_cards":
        return divmod(obs, env.kinds)
    return obs


def recalling(env, name, shown, t):
    """What who recalls everything says at step t, from all that was shown."""
    if name == "repeat_first_cards":
        return shown[0]
    if name == "repeat_previous_cards":
        return shown[max(0, t + 1 - env.k)]
    if name == "autoencode_cards":
        cards = [card for _, card in shown[: env.cards]]
        return cards[min(2 * (env.cards - 1) - t, env.cards - 1)]
    cards, (_, asked) = [card for card, _ in shown], shown[t]
    return sum(card == asked for card in cards[: t + 1])


def whole_episodes(env, params, keys, actions):
    """Observations [E, T + 1], rewards [E, T] and ends of E episodes with actions [E, T]."""

    def one(key, actions):
        obs, state = env.reset(key, params)

        def step(carry, at):
            key, action = at
            after = env.step(key, carry, action, params)
            return after.state, (after.obs, after.reward, after.terminated)

        _, (later, reward, done) = jax.lax.scan(step, state, (jax.random.split(key, len(actions)), actions))
        return jnp.concatenate([obs[None], later]), reward, done

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys, actions))


@pytest.fixture(scope="module", params=GAMES)
def played(request):
    """400 episodes whose actions are random, and again by who recalls what was shown in them."""
    ready, name = environment(request.param), GAMES[request.param]
    env, keys = ready.env, jax.random.split(jax.random.key(1), 400)
    random = np.random.default_rng(0).integers(env.action_space.size, size=(400, env.longest)).astype(np.int32)
    obs, reward, done = whole_episodes(env, ready.params, keys, random)
    shown = [[split(env, name, int(o)) for o in row] for row in obs]
    right = np.array([[recalling(env, name, row, t) for t in range(env.longest)] for row in shown], np.int32)
    recalled = whole_episodes(env, ready.params, keys, right)
    return request.param, name, ready, obs, (random, reward, done), recalled, right


def test_actions_change_nothing_that_is_shown_and_every_episode_has_its_length(played):
    _, _, ready, obs, (_, _, done), (again, _, _), _ = played
    np.testing.assert_array_equal(obs, again)
    assert done[:, -1].all() and not done[:, :-1].any()
    assert obs.min() >= 0 and obs.max() < ready.env.observation_space.size


def test_who_recalls_everything_earns_exactly_one_and_says_nothing_illegal(played):
    *_, ready, _, _, (_, reward, _), right = played
    np.testing.assert_allclose(reward.sum(1), 1.0, atol=1e-5)
    assert right.min() >= 0 and right.max() < ready.env.action_space.size
    assert ready.certified["history"].lower == 1.0
    # No more can be earned: the largest rewards of all steps add up to 1.
    assert np.abs(reward).max(0).sum() == pytest.approx(1.0, abs=1e-5)


def test_an_answer_is_paid_by_whether_it_is_the_right_one(played):
    *_, (random, reward, _), (_, best, _), right = played
    due = best > 0
    np.testing.assert_allclose(reward[due], np.where(random == right, best, -best)[due], rtol=1e-6)
    assert not reward[~due].any()


def test_what_a_policy_of_the_observation_earns_is_as_certified(played):
    """The best map from what is shown to an answer, found on these very episodes, earns a little more than what is
    certified, as it is fitted to them; found on half of them, it earns that on the others within 5 standard errors."""
    *_, ready, obs, _, (_, best, _), right = played
    seen, size = obs[:, :-1], ready.env.observation_space.size
    table = np.zeros((size, ready.env.action_space.size))
    half = len(obs) // 2
    np.add.at(table, (seen[:half].ravel(), right[:half].ravel()), best[:half].ravel())
    said = table.argmax(1)[seen[half:]]
    earned = np.where(said == right[half:], best[half:], -best[half:]).sum(1)
    certified = ready.certified["memoryless_stochastic"]
    assert certified.lower == certified.upper
    error = float(earned.std()) / half**0.5
    assert earned.mean() == pytest.approx(certified.lower, abs=5 * error + 2e-3)
    fitted = table.max(1).sum() * 2 / half - best[:half].sum(1).mean()
    assert fitted >= certified.lower - 5 * error


def test_the_closed_forms_are_the_published_ones():
    value = lambda spec: environment(spec).certified["memoryless_stochastic"].lower
    assert value("repeat_previous_cards") == pytest.approx(-25 / 51)
    assert value("repeat_first_cards") == pytest.approx(-0.4994, abs=1e-4)
    assert value("autoencode_cards") == pytest.approx(-0.4712, abs=1e-4)
    assert value("repeat_previous_cards:k=1") == 1.0


def test_cards_are_dealt_as_from_a_shuffled_deck():
    """Of two kinds with three copies each, all 20 orders are equally likely (chi-squared, false alarm 1e-6)."""

    def one(key):
        def deal(deck, key):
            deck, card = deck.dealt(jax.random.uniform(key))
            return deck, card

        return jax.lax.scan(deal, full(2, 3), jax.random.split(key, 6))[1]

    orders = np.asarray(jax.vmap(one)(jax.random.split(jax.random.key(2), 20_000)))
    assert (orders.sum(1) == 3).all()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 20
    assert np.sum((counts - 1000.0) ** 2 / 1000.0) < 70


def test_a_pile_gives_back_what_was_placed_last():
    suits = np.random.default_rng(0).integers(4, size=52)
    pile = jnp.zeros(4, jnp.uint32)
    for suit in suits:
        pile = placed(pile, jnp.int32(suit))
    back = []
    for _ in suits:
        pile, suit = taken(pile)
        back.append(int(suit))
    assert back == suits[::-1].tolist() and not pile.any()


def test_a_card_that_is_gone_is_not_dealt():
    left = Deck(jnp.array([0, 1, 0, 3]))
    cards = np.asarray(
        jax.vmap(lambda key: left.dealt(jax.random.uniform(key))[1])(jax.random.split(jax.random.key(3), 2000))
    )
    assert set(cards) == {1, 3}
    assert (cards == 3).mean() == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_impossible_settings_are_refused(name):
    with pytest.raises(ValueError, match=r"unknown key|expected"):
        environment(f"{name}:decks=0")
    if name == "repeat_previous_cards":
        with pytest.raises(ValueError, match="never dealt"):
            environment(f"{name}:k=52")


POPGYM = {
    "RepeatFirstEasy": "repeat_first_cards",
    "RepeatPreviousEasy": "repeat_previous_cards",
    "RepeatPreviousMedium": "repeat_previous_cards:decks=2,k=32",
    "AutoencodeEasy": "autoencode_cards",
    "AutoencodeHard": "autoencode_cards:decks=3",
    "CountRecallEasy": "count_recall_cards",
    "CountRecallHard": "count_recall_cards:decks=4,kinds=ranks",
}


@pytest.mark.parametrize("theirs", POPGYM)
def test_with_the_same_deck_every_step_is_that_of_popgym(theirs):
    popgym = pytest.importorskip("popgym.envs")
    other, ready = getattr(popgym, theirs)(), environment(POPGYM[theirs])
    env, rng = ready.env, np.random.default_rng(4)
    seen, _ = other.reset(seed=5)
    kinds = {2: "colors_idx", 4: "suits_idx", 13: "ranks_idx"}[env.kinds]
    counting = theirs.startswith("Count")
    decks = (other.value_deck, other.query_deck) if counting else (other.deck,)
    # The deck is dealt from its end.
    order = [getattr(deck, kinds)[deck.idx][::-1] for deck in decks]
    taken = lambda deck, card: Deck(deck.left.at[card].add(-1))
    left = [taken(full(env.kinds, env.copies), cards[0]) for cards in order]
    if counting:
        _, state = env.reset(jax.random.key(0), ready.params)
        state = state._replace(deck=left[0], questions=left[1], asked=jnp.int32(order[1][0]))
        obs = int(order[0][0]) * env.kinds + int(order[1][0])
    else:
        obs, state = env.begun(left[0], jnp.int32(order[0][0]))
    shown = lambda seen: int(np.ravel(seen) @ [env.kinds, 1]) if np.size(seen) == 2 else int(seen)
    assert int(obs) == shown(seen)
    for t in range(env.longest):
        action = int(rng.integers(env.action_space.size))
        cards = [jnp.int32(deck[min(t + 1, len(deck) - 1)]) for deck in order]
        left = [taken(deck, card) for deck, card in zip(left, cards, strict=True)]
        if counting:
            after = env.asked(state, action, *zip(left, cards, strict=True))
        else:
            after = env.advanced(state, action, left[0], cards[0])
        seen, reward, terminated, truncated, _ = other.step(action)
        assert int(after.obs) == shown(seen), t
        assert float(after.reward) == pytest.approx(reward, abs=1e-7), t
        assert bool(after.terminated) == terminated and not truncated
        state = after.state
    assert terminated
