"""The memory demands: their answers, what they are worth, and how much must be carried."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.environments import environment

MEMBERS = [(2, 1, 0), (2, 1, 3), (2, 2, 0), (3, 2, 2), (5, 4, 1), (100, 3, 7)]


def member(symbols, order, delay, answers):
    return environment(f"memory_demand:symbols={symbols},order={order},delay={delay},answers={answers}")


def asked(shown, order, delay, symbols):
    """[E, answers]: the sums that are asked for, of symbols [E, T]."""
    windows = np.lib.stride_tricks.sliding_window_view(shown, order, axis=1)
    return (windows.sum(-1) % symbols)[:, : shown.shape[1] - delay - order + 1]


def whole_episodes(ready, keys, actions):
    """Observations [E, T], rewards [E, T] and ends [E, T] under actions [E, T]."""
    env = ready.env

    def one(key, actions):
        obs, state = env.reset(key, ready.params)

        def step(carry, at):
            (obs, state), (key, action) = carry, at
            after = env.step(key, state, action, ready.params)
            return (after.obs, after.state), (obs, after.reward, after.terminated)

        return jax.lax.scan(step, (obs, state), (jax.random.split(key, env.longest), actions))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys, actions))


@pytest.mark.parametrize(("symbols", "order", "delay"), MEMBERS)
def test_who_recalls_earns_one_and_every_answer_is_paid_by_what_is_asked(symbols, order, delay):
    """Much longer than what is kept of the past, so that every place of the ring is overwritten several times."""
    answers = 3 * (order + delay) + 2
    ready = member(symbols, order, delay, answers)
    keys = jax.random.split(jax.random.key(3000), 64)
    random = np.random.default_rng(3000).integers(symbols, size=(64, ready.env.longest)).astype(np.int32)
    shown, reward, ended = whole_episodes(ready, keys, random)
    right = asked(shown, order, delay, symbols)
    assert right.shape == (64, answers)
    warm = order + delay - 1
    assert not reward[:, :warm].any()
    expected = np.where(random[:, warm:] == right, 1.0, -1.0) / answers
    np.testing.assert_allclose(reward[:, warm:], expected, rtol=1e-6)
    assert ended[:, -1].all() and not ended[:, :-1].any()
    recalled = np.concatenate([random[:, :warm], right], 1).astype(np.int32)
    again, earned, _ = whole_episodes(ready, keys, recalled)
    np.testing.assert_array_equal(again, shown)
    np.testing.assert_allclose(earned.sum(1), ready.certified["history"].lower, atol=1e-5)


@pytest.mark.parametrize(("symbols", "order", "delay"), MEMBERS[:5])
def test_a_map_of_what_is_shown_earns_what_is_certified(symbols, order, delay):
    """The best one on 1,000 episodes, which fits them a little; none is better on others by 5 standard errors."""
    ready = member(symbols, order, delay, 16)
    keys = jax.random.split(jax.random.key(3001), 2000)
    shown, _, _ = whole_episodes(ready, keys, jnp.zeros((2000, ready.env.longest), jnp.int32))
    right, seen = asked(shown, order, delay, symbols), shown[:, order + delay - 1 :]
    table = np.zeros((symbols, symbols))
    np.add.at(table, (seen[:1000].ravel(), right[:1000].ravel()), 1)
    earned = 2 * (table.argmax(1)[seen[1000:]] == right[1000:]).mean(1) - 1
    certified = ready.certified["memoryless_stochastic"]
    assert certified.lower == certified.upper
    assert earned.mean() == pytest.approx(certified.lower, abs=5 * float(earned.std()) / 1000**0.5 + 1e-9)


def test_the_exact_solver_finds_the_certified_values(best_values):
    """Of the twin whose states are the last symbols and the time."""
    symbols, order, delay, answers = 2, 2, 1, 2
    width, due = order + delay, order + delay - 1

    def step(state, action):
        window, time = state
        right = int(action[-1]) == sum(window[:order]) % symbols
        reward = (1.0 if right else -1.0) / answers if time >= due else 0.0
        if time + 1 == due + answers:
            return ends(reward)
        return {goes(((*window[1:], fresh), time + 1), reward): 1 / symbols for fresh in range(symbols)}

    windows = list(product(range(symbols), repeat=width))
    task = build(
        name="twin",
        states=list(product(windows, range(due + answers))),
        actions=[f"say_{i}" for i in range(symbols)],
        observations=[f"symbol_{i}" for i in range(symbols)],
        start=uniform((window, 0) for window in windows),
        step=step,
        observe=lambda state: f"symbol_{state[0][-1]}",
        discount=1.0,
        horizon=due + answers,
    )
    memoryless, history = best_values(task)
    certified = member(symbols, order, delay, answers).certified
    assert history.lower == pytest.approx(certified["history"].lower, abs=1e-9)
    assert memoryless == pytest.approx(certified["memoryless_stochastic"].upper, abs=1e-6)


@pytest.mark.parametrize(("symbols", "order", "delay"), [(2, 1, 3), (2, 3, 0), (2, 3, 2), (3, 2, 1)])
def test_no_fewer_symbols_can_be_carried(symbols, order, delay):
    """Pasts of order + delay - 1 symbols are told apart by the answers that they lead to, every two of them."""
    width = order + delay - 1
    pasts = np.array(list(product(range(symbols), repeat=width)))
    ahead = np.zeros((len(pasts), width + 1), int)
    answers = asked(np.concatenate([pasts, ahead], 1), order, 0, symbols)[:, : order + delay]
    assert len(np.unique(answers, axis=0)) == len(pasts) == symbols**width


def test_less_than_all_of_the_symbols_says_nothing():
    """Given any order - 1 of them, what is asked for is uniform."""
    shown = np.array(list(product(range(3), repeat=3)))
    total = asked(shown, 3, 0, 3)[:, 0]
    for left in range(3):
        kept = np.delete(shown, left, 1)
        counts = np.zeros((9, 3))
        np.add.at(counts, (kept @ [3, 1], total), 1)
        assert (counts == 1).all()


def test_impossible_demands_are_refused():
    with pytest.raises(ValueError, match="order is 0, expected a whole number >= 1 and <= 1000"):
        environment("memory_demand:order=0")
