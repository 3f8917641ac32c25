import jax
import numpy as np
import pytest

from seqrl_jax.agents.rollout import begin, collect
from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.exact.state import evaluate_memoryless, start_value, state_values, uniform_policy
from seqrl_jax.tasks import TaskError, make, tabular_env, tabular_params
from seqrl_jax.tasks.wrappers import previous_action, previous_reward, with_time

WRAPPERS = (previous_action, previous_reward, with_time)
SEEDS = range(4)


def best_of_state(task):
    return start_value(task, state_values(task)[0])


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_shown_changes_neither_chance_nor_reward(wrap, seed, random_task):
    task = random_task(seed)
    shown = wrap(task)
    uniform = lambda task: evaluate_memoryless(task, uniform_policy(task)[None])[0]
    np.testing.assert_allclose(uniform(shown), uniform(task), atol=1e-12)
    np.testing.assert_allclose(best_of_state(shown), best_of_state(task), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_knows_the_last_action_and_the_time_anyway(seed, random_task):
    task = random_task(seed)
    history = solve_anew(task).values["history"]
    for wrap in (previous_action, with_time):
        shown = solve_anew(wrap(task)).values["history"]
        np.testing.assert_allclose([shown.lower, shown.upper], [history.lower, history.upper], atol=1e-8)


def test_a_policy_writes_its_memory_into_its_actions():
    """Behind a locked door nothing is seen; but who sees which one was tried tries the next, which is the optimum."""
    blind, shown = make("locked_doors"), make("locked_doors:previous_action=true")
    values = [solve_anew(task).values for task in (blind, shown)]
    assert values[0]["memoryless_stochastic"].upper < 0.68
    np.testing.assert_allclose(values[1]["memoryless_deterministic"].lower, 0.8, atol=1e-9)


def test_who_sees_the_time_can_count():
    values = solve_anew(make("locked_doors:time=true")).values
    np.testing.assert_allclose(values["memoryless_deterministic"].lower, 0.8, atol=1e-9)


@pytest.mark.parametrize("key", ["previous_action", "previous_reward", "time"])
def test_nothing_of_an_episode_is_shown_in_the_next(key):
    task = make(f"peek_maze:{key}=true")
    env, params = tabular_env(task), tabular_params(task)
    act = lambda key, memory, seen: (memory, jax.random.randint(key, seen.obs.shape, 0, env.num_actions))
    position = begin(jax.random.key(0), env, params, 64, ())
    rollout = jax.jit(lambda key: collect(key, env, params, position, act, 40)[1])(jax.random.key(1))
    first = np.asarray(rollout.first)
    assert first[1:].any()
    names = np.array(task.observations)
    mark = "0|" if key == "time" else "none|"
    starts = np.char.startswith(names[np.asarray(rollout.obs)], mark)
    np.testing.assert_array_equal(starts, first)


def test_the_last_action_and_reward_are_the_ones_that_were():
    task = make("peek_maze:previous_reward=true,previous_action=true")
    env, params = tabular_env(task), tabular_params(task)
    act = lambda key, memory, seen: (memory, jax.random.randint(key, seen.obs.shape, 0, env.num_actions))
    position = begin(jax.random.key(0), env, params, 64, ())
    rollout = jax.jit(lambda key: collect(key, env, params, position, act, 40)[1])(jax.random.key(1))
    reported = [name.split("|") for name in task.observations]
    next_obs = np.asarray(rollout.next_obs)
    actions, rewards = (
        np.array([name[0] for name in reported])[next_obs],
        np.array([name[1] for name in reported])[next_obs],
    )
    np.testing.assert_array_equal(actions, np.array(task.actions)[np.asarray(rollout.action)])
    np.testing.assert_allclose(rewards.astype(float), np.asarray(rollout.reward), atol=1e-6)


@pytest.mark.parametrize("name", ["blind_spot", "hidden_market"])
def test_rewards_that_differ_by_rounding_are_one(name):
    """Where rewards are quotients of sums, a cost of .05 is met in several last digits."""
    task = make(f"{name}:previous_reward=true")
    rewards = [float(text.split("|")[0]) for text in task.observations if not text.startswith("none")]
    assert np.diff(np.unique(rewards)).min() > 1e-6


def test_a_task_that_would_not_fit_is_refused():
    with pytest.raises(TaskError, match="states, more than its tables can hold"):
        make("rock_sample:horizon=20000,time=true")
