"""Concentration: its rules, against a plain game, and what recalling is worth."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.concentration import recalled_value
from seqrl_jax.tasks.environments import environment


def flipped(cards, state, action):
    """A plain game: state is (matched, up), tuples of places. Returns the state after it and whether a pair is made."""
    matched, up = state
    up = () if len(up) == 2 else up
    if action in matched or action in up:
        return (matched, up), False
    up = (*up, action)
    if len(up) == 2 and cards[up[0]] == cards[up[1]]:
        return (tuple(sorted((*matched, *up))), ()), True
    return (matched, up), False


@cache
def layouts(pairs):
    """All orders of the cards."""
    left = [(kind,) for kind in range(pairs)]
    for _ in range(2 * pairs - 1):
        left = [(*row, kind) for row in left for kind in range(pairs) if row.count(kind) < 2]
    return left


def best(pairs, flips):
    """The most that can be expected, by a plain search over histories: which layouts are left, and what lies up."""

    @cache
    def value(possible, state, left):
        if not left or len(state[0]) == 2 * pairs:
            return 0.0
        return max(flip(possible, state, left, action) for action in range(2 * pairs) if action not in state[0])

    def flip(possible, state, left, action):
        by_kind = {}
        for cards in possible:
            by_kind.setdefault(cards[action], []).append(cards)
        total = 0.0
        for some in by_kind.values():
            after, pair = flipped(some[0], state, action)
            total += len(some) * (pair / pairs + value(tuple(some), after, left - 1))
        return total / len(possible)

    return value(tuple(layouts(pairs)), ((), ()), flips)


@pytest.mark.parametrize(("pairs", "flips"), [(2, 2), (2, 4), (2, 5), (2, 7), (3, 4), (3, 5)])
def test_the_certified_value_is_that_of_a_search_over_histories(pairs, flips):
    certified = environment(f"concentration:pairs={pairs},flips={flips}").certified["history"]
    assert certified.lower == certified.upper == pytest.approx(best(pairs, flips), abs=1e-12)


def test_as_many_flips_as_are_known_to_be_needed_are_needed():
    """All n pairs take 2 ((3 - 2 ln 2) n + 7 / 8 - 2 ln 2) flips on average in the limit (Foerster and Wattenhofer,
    2013): with a tenth more nearly all pairs are made, and with a tenth less not by far."""
    pairs = 40
    needed = 2 * ((3 - 2 * np.log(2)) * pairs + 7 / 8 - 2 * np.log(2))
    assert recalled_value(pairs, int(needed * 1.1)) > 0.9999
    assert recalled_value(pairs, int(needed * 0.9)) < 0.9


def test_every_step_is_that_of_the_plain_game():
    ready = environment("concentration:pairs=3,flips=14")
    env = ready.env
    step = jax.jit(lambda key, state, action: env.step(key, state, action, ready.params))
    rng, pairs_made = np.random.default_rng(3000), 0
    for episode in range(20):
        key = jax.random.key(episode)
        obs, state = env.reset(key, ready.params)
        assert not np.asarray(obs).any()
        plain, seen = ((), ()), {}
        for t in range(env.longest):
            action = int(rng.integers(6))
            after = step(jax.random.fold_in(key, t), state, jnp.int32(action))
            kinds = np.asarray(after.state.kind)
            assert all(kinds[place] == kind for place, kind in seen.items())
            seen = {place: kind for place, kind in enumerate(kinds) if kind >= 0}
            plain, pair = flipped(kinds, plain, action)
            expected = np.zeros((6, 3))
            for place in (*plain[0], *plain[1]):
                expected[place, kinds[place]] = 1
            np.testing.assert_array_equal(after.obs, expected)
            assert float(after.reward) == pytest.approx(pair / 3)
            assert bool(after.terminated) == (len(plain[0]) == 6 or t == env.longest - 1)
            pairs_made += pair
            state = after.state
            if after.terminated:
                break
    assert pairs_made > 20


def test_cards_lie_as_in_a_shuffled_deck():
    """Turned up in order, all 6 layouts of two pairs are as likely (chi-squared, false alarm 1e-6)."""
    env = environment("concentration:pairs=2").env

    def one(key):
        state = env.reset(key, ())[1]
        for place in range(4):
            state = env.step(jax.random.fold_in(key, place), state, jnp.int32(place), ()).state
        return state.kind

    rows = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3000), 6000)))
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == 6 and np.sum((counts - 1000.0) ** 2 / 1000.0) < 37


def test_turning_up_any_cards_earns_the_lower_end_of_what_no_memory_earns():
    """The mean of 4,000 episodes within 5 standard errors."""
    ready = environment("concentration:pairs=3,flips=9")
    env = ready.env

    def one(key):
        obs, state = env.reset(key, ready.params)

        def step(carry, key):
            obs, state, on = carry
            act, move = jax.random.split(key)
            # Who sees one card up, or none or two, turns up any of the others that are not matched.
            up = obs.any(1)
            twice = (obs.sum(0) == 2)[None]
            matched = (obs.astype(bool) & twice).any(1)
            lone = up & ~matched & ((up & ~matched).sum() == 1)
            action = jax.random.categorical(act, jnp.where(matched | lone, -jnp.inf, 0.0))
            after = env.step(move, state, action, ready.params)
            return (after.obs, after.state, on & ~after.terminated), jnp.where(on, after.reward, 0.0)

        return jax.lax.scan(step, (obs, state, jnp.bool_(True)), jax.random.split(key, env.longest))[1].sum()

    earned = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3001), 4000)), np.float64)
    blind = ready.certified["memoryless_stochastic"]
    assert earned.mean() == pytest.approx(blind.lower, abs=5 * earned.std() / 4000**0.5)
    assert blind.lower < ready.certified["history"].lower == blind.upper
