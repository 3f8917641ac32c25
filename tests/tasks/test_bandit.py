"""The bandit: its law, and the value of what is remembered, against recursions of their own."""

from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.bandit import _listable, belief_value, multi_armed_bandit, win_stay_lose_shift
from seqrl_jax.tasks.build import build, goes
from seqrl_jax.tasks.environments import environment


def counted(counts, arm, paid):
    """The counts (paid, not paid) of all arms after one more pull."""
    return (*counts[:arm], (counts[arm][0] + paid, counts[arm][1] + 1 - paid), *counts[arm + 1 :])


def mean(count):
    return Fraction(count[0] + 1, sum(count) + 2)


def planned(arms, horizon, discount=1, committed=0):
    """Beliefs as tuples, values as fractions: (counts) -> (value, best arm), and the belief before the first pull."""

    @cache
    def best(counts):
        left = horizon - sum(map(sum, counts))
        if not left:
            return committed * max(map(mean, counts)), 0
        return max((pulled(counts, arm), -arm) for arm in range(arms))

    def pulled(counts, arm):
        chance = mean(counts[arm])
        ahead = [best(counted(counts, arm, paid))[0] for paid in (0, 1)]
        return chance * (1 + discount * ahead[1]) + (1 - chance) * discount * ahead[0]

    return best, ((0, 0),) * arms


@pytest.mark.parametrize(("arms", "horizon", "discount", "committed"), [(2, 7, 1, 0), (3, 4, 1, 5), (2, 5, 0.75, 0)])
def test_the_value_of_a_belief_is_that_of_a_plain_recursion(arms, horizon, discount, committed):
    best, first = planned(arms, horizon, Fraction(discount), committed)
    found = belief_value(arms, horizon, discount, committed)
    assert found == pytest.approx(float(best(first)[0]), rel=1e-12)


def test_two_pulls_are_worth_thirteen_twelfths():
    """1/2 + 1/2 * 2/3 + 1/2 * 1/2: after a win the same arm, after a loss the other one."""
    assert (
        belief_value(2, 2)
        == pytest.approx(13 / 12)
        == environment("multi_armed_bandit:horizon=2").certified["history"].lower
    )
    assert win_stay_lose_shift(2, 2) == pytest.approx(13 / 12)


def gittins_index(paid, missed, discount, horizon):
    """The rate of a sure reward at which pulling on and retiring are worth the same (Whittle, 1980), by bisection.

    No pull is looked at beyond `horizon` of them.
    """
    low, high = 0.0, 1.0
    for _ in range(28):
        rate = (low + high) / 2
        retired = rate / (1 - discount)
        value = np.full(horizon + 1, retired)
        for pulls in reversed(range(horizon)):
            wins = np.arange(pulls + 1)
            chance = (paid + wins + 1) / (paid + missed + pulls + 2)
            on = chance * (1 + discount * value[1 : pulls + 2]) + (1 - chance) * discount * value[: pulls + 1]
            value = np.maximum(on, retired)
        low, high = (rate, high) if value[0] > retired + 1e-13 else (low, rate)
    return low


def test_with_a_discount_the_arm_with_the_largest_gittins_index_is_the_best():
    """The policy of the indices of single arms earns what induction over both arms finds."""
    discount, horizon = 0.5, 18
    index = cache(lambda count: gittins_index(*count, discount, 24))
    assert index((0, 0)) == pytest.approx(gittins_index(0, 0, discount, 48), abs=1e-6)

    @cache
    def earned(counts):
        if sum(map(sum, counts)) == horizon:
            return 0.0
        arm = max((0, 1), key=lambda arm: index(counts[arm]))
        chance = float(mean(counts[arm]))
        ahead = [earned(counted(counts, arm, paid)) for paid in (0, 1)]
        return chance * (1 + discount * ahead[1]) + (1 - chance) * discount * ahead[0]

    beyond = discount**horizon / (1 - discount)
    assert earned(((0, 0), (0, 0))) == pytest.approx(belief_value(2, horizon, discount), abs=beyond)
    # Pulling greedily, or only one arm, is worth less by far more than what is cut off.
    assert belief_value(2, horizon, discount) > 0.5 * (1 - discount**horizon) / (1 - discount) + 100 * beyond


@pytest.mark.parametrize(("arms", "horizon"), [(2, 1), (2, 9), (3, 8)])
def test_win_stay_lose_shift_is_worth_what_its_chain_earns(arms, horizon):
    """The chain over arms, integrated over all means by Gauss-Legendre quadrature, which is exact for polynomials."""
    points, weights = np.polynomial.legendre.leggauss(horizon + 2)
    points, weights = (points + 1) / 2, weights / 2
    value = 0.0
    for index in np.ndindex(*(len(points),) * arms):
        means, weight = points[list(index)], weights[list(index)].prod()
        at = np.eye(arms)[0]
        for _ in range(horizon):
            value += weight * at @ means
            at = at * means + np.roll(at * (1 - means), 1)
    assert win_stay_lose_shift(arms, horizon) == pytest.approx(value, rel=1e-10)


def test_the_certified_value_is_that_of_the_table_of_beliefs(best_values):
    """Predicted by the counts, what arms pay is a table of its own: beliefs are its hidden states."""
    horizon = 4
    _, first = planned(2, horizon)

    def step(state, action):
        counts, _ = state
        arm = int(action[-1])
        chance = float(mean(counts[arm]))
        return {
            goes((counted(counts, arm, paid), f"arm_{arm}_paid_{paid}"), float(paid)): chance if paid else 1 - chance
            for paid in (0, 1)
        }

    states, new = [(first, "nothing")], [(first, "nothing")]
    while new:
        open_ = [state for state in new if sum(map(sum, state[0])) < horizon]
        after = {outcome.state: None for state in open_ for arm in (0, 1) for outcome in step(state, f"pull_{arm}")}
        new = [state for state in after if state not in states]
        states += new
    task = build(
        name="twin",
        states=states,
        actions=["pull_0", "pull_1"],
        observations=["nothing", *(f"arm_{arm}_paid_{paid}" for arm in (0, 1) for paid in (0, 1))],
        start={states[0]: 1.0},
        step=lambda state, action: step(state, action) if sum(map(sum, state[0])) < horizon else goes(state),
        observe=lambda state: state[1],
        discount=1.0,
        horizon=horizon,
    )
    memoryless, history = best_values(task)
    certified = environment(f"multi_armed_bandit:horizon={horizon}").certified
    assert certified["history"].lower == certified["history"].upper == pytest.approx(history.lower, abs=1e-9)
    blind = certified["memoryless_stochastic"]
    assert blind.lower - 1e-9 <= memoryless <= blind.upper


def test_who_counts_earns_what_is_certified():
    """The mean of 4,000 episodes of the planned policy, within 5 standard errors."""
    horizon = 6
    ready = environment(f"multi_armed_bandit:horizon={horizon}")
    best, first = planned(2, horizon)
    keys = jax.random.split(jax.random.key(3000), 4000)
    obs, state = jax.vmap(lambda key: ready.env.reset(key, ready.params))(keys)
    assert not np.asarray(obs).any()
    step = jax.jit(jax.vmap(lambda key, state, action: ready.env.step(key, state, action, ready.params)))
    beliefs, returns = [first] * len(keys), np.zeros(len(keys))
    for t in range(horizon):
        arms = [-best(counts)[1] for counts in beliefs]
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        after = step(keys, state, jnp.array(arms, jnp.int32))
        shown, state = np.asarray(after.obs), after.state
        np.testing.assert_array_equal((shown - 1) // 2, arms)
        np.testing.assert_array_equal((shown - 1) % 2, np.asarray(after.reward))
        assert (np.asarray(after.terminated) == (t == horizon - 1)).all() and not np.asarray(after.truncated).any()
        beliefs = [counted(c, arm, int((o - 1) % 2)) for c, arm, o in zip(beliefs, arms, shown, strict=True)]
        returns += np.asarray(after.reward)
    assert returns.mean() == pytest.approx(ready.certified["history"].lower, abs=5 * returns.std() / len(keys) ** 0.5)


def test_arms_pay_by_their_means_and_means_are_uniform():
    """Moments of 20,000 draws, within 5 standard errors."""
    env = environment("multi_armed_bandit:arms=3").env
    keys = jax.random.split(jax.random.key(3001), 20_000)
    means = np.asarray(jax.vmap(lambda key: env.reset(key, ())[1].mean)(keys))
    error = 5 / (12 * len(keys)) ** 0.5
    np.testing.assert_allclose(means.mean(0), 0.5, atol=error)
    np.testing.assert_allclose((means**2).mean(0), 1 / 3, atol=error)
    assert abs(np.corrcoef(means.T)[np.triu_indices(3, 1)]).max() < 5 / len(keys) ** 0.5
    state = env.reset(keys[0], ())[1]._replace(mean=jnp.array([0.0, 0.3, 1.0]))
    for arm, chance in enumerate((0.0, 0.3, 1.0)):
        paid = jax.vmap(lambda key, arm=arm: env.step(key, state, jnp.int32(arm), ()).reward)(keys)
        assert float(paid.mean()) == pytest.approx(chance, abs=5 * (chance * (1 - chance) / len(keys)) ** 0.5)


def test_where_beliefs_are_too_many_the_value_lies_in_an_interval():
    certified = environment("multi_armed_bandit:horizon=90").certified["history"]
    assert certified.lower < belief_value(2, 90) < certified.upper
    assert certified.upper - certified.lower < 0.02 * certified.upper
    many = environment("multi_armed_bandit:arms=10,horizon=300").certified
    assert many["memoryless_stochastic"].lower == many["history"].lower < many["history"].upper < 300 * 10 / 11
    with pytest.raises(ValueError, match="horizon is 1001, expected a whole number >= 1 and <= 1000"):
        environment("multi_armed_bandit:horizon=1001")


def test_how_far_the_optimum_is_computed_is_what_the_docstring_says():
    said = " ".join(multi_armed_bandit.__doc__.split())
    assert f"of two arms up to {_listable(2)} pulls, of three up to {_listable(3)}" in said
