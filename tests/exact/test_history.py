"""The history value against every plan that there is, written out, in any currency."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks import TabularPOMDP, validated

HORIZONS = {(2, 1): 5, (2, 2): 4, (2, 3): 3, (3, 1): 4, (3, 2): 3, (3, 3): 2}
"""By (actions, observations): so many steps that the plans are thousands."""
LIMITS = {"listed": 300_000, "bounded": 1}
"""Beliefs that may be listed: with one, trials and grids have to prove both ends."""


@st.composite
def sparse_tasks(draw):
    """Random tasks of 2 to 6 states, some of them terminal, with rows of a few entries, paid from 1e-6 to 1e9."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_s, (num_a, num_o) = draw(st.integers(2, 6)), draw(st.sampled_from(sorted(HORIZONS)))
    scale = 10.0 ** draw(st.sampled_from([-6, 9]) | st.floats(-6, 9))
    terminal = np.arange(num_s) >= num_s - draw(st.integers(0, num_s // 3))

    def rows(*shape):
        weights = rng.random(shape) * (rng.random(shape) < 0.4)
        weights[..., 0] += 1e-3 * (weights.sum(-1) == 0)
        return weights / weights.sum(-1, keepdims=True)

    transition = rows(num_a, num_s, num_s)
    transition[:, terminal] = np.eye(num_s)[terminal]
    initial = rng.dirichlet(np.ones(num_s)) * ~terminal
    return validated(
        TabularPOMDP(
            initial=initial / initial.sum(),
            initial_observation=rows(num_s, num_o),
            transition=transition,
            observation=rows(num_a, num_s, num_o),
            reward=scale * rng.normal(size=(num_a, num_s, num_s)) * ~terminal[:, None],
            terminal=terminal,
            discount=draw(st.sampled_from([1.0, 0.9, 0.3])),
            horizon=draw(st.integers(1, HORIZONS[num_a, num_o])),
            name="sparse",
            states=tuple(map(str, range(num_s))),
            actions=tuple(map(str, range(num_a))),
            observations=tuple(map(str, range(num_o))),
        )
    )


def best_of_all_plans(task):
    """No belief, no maximum on the way: a plan is an action and a plan for each observation, each has its values [S],
    and the best one after each first observation is taken."""
    values = np.zeros((1, task.num_states))
    for _ in range(task.horizon):
        following = []
        for action in range(task.num_actions):
            law, shown = task.transition[action], task.observation[action]
            paid = (law * task.reward[action]).sum(1)
            # By observation, what each plan earns behind it, [O, K, S].
            behind = [((values * shown[:, o] * ~task.terminal) @ law.T) for o in range(task.num_observations)]
            for plans in product(range(len(values)), repeat=task.num_observations):
                following.append(paid + task.discount * sum(behind[o][k] for o, k in enumerate(plans)))
        values = np.array(following)
    joint = task.initial[:, None] * task.initial_observation
    return (values @ joint).max(0).sum()


def value_of(task, controller):
    """J of a controller, by the mass of (state, node)."""
    mass = np.zeros((task.num_states, len(controller.action)))
    for s, o in product(range(task.num_states), range(task.num_observations)):
        mass[s, controller.start[o]] += task.initial[s] * task.initial_observation[s, o]
    total = 0.0
    for t in range(task.horizon):
        after = np.zeros_like(mass)
        for s, node in np.argwhere(mass):
            action = controller.action[node]
            entered = mass[s, node] * task.transition[action, s]
            total += task.discount**t * (entered @ task.reward[action, s])
            for s2, o in product(np.flatnonzero(entered * ~task.terminal), range(task.num_observations)):
                after[s2, controller.successor[node, o]] += entered[s2] * task.observation[action, s2, o]
        mass = after
    return total


@settings(max_examples=30)
@given(task=sparse_tasks())
def test_the_history_value_is_that_of_the_best_of_all_plans(task):
    best, unit = best_of_all_plans(task), largest_return(task)
    for how, limit in LIMITS.items():
        interval, controller = history_interval(task, limit)
        assert interval.lower - 1e-12 * unit <= best <= interval.upper + 1e-12 * unit, how
        assert interval.gap <= 1e-8 * unit, how
        assert value_of(task, controller) == pytest.approx(interval.lower, abs=1e-8 * unit), how


@settings(max_examples=5)
@given(task=sparse_tasks())
def test_all_five_values_stand_about_the_best_of_all_plans(task):
    values, unit = solve_anew(task).values, largest_return(task)
    best, slack = best_of_all_plans(task), 1e-9 * unit
    assert values["history"].is_exact and values["history"].lower - slack <= best <= values["history"].upper + slack
    for name in ("random", "memoryless_deterministic", "memoryless_stochastic"):
        assert values[name].lower <= best + slack, name
    assert values["state"].upper >= best - slack
