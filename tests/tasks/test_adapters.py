import copy
import pickle
import subprocess
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.wrappers.purerl import StickyActionWrapper

from seqrl_jax.agents import make_agent, train
from seqrl_jax.tasks import Box, Discrete, make, stack, tabular_env, tabular_params
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.gymnax_adapter import ToGymnaxParams, from_gymnax, to_gymnax


@pytest.fixture(autouse=True)
def standard_promotion():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def cartpole():
    env, params = gymnax.make("CartPole-v1")
    return env, params.replace(max_steps_in_episode=12)


def test_a_gymnax_step_is_its_own_without_the_reset(cartpole):
    theirs, their_params = cartpole
    env, params = from_gymnax(theirs, their_params, discount=0.9)
    assert (
        env.action_space == Discrete(2)
        and env.observation_space == Box((4,))
        and float(env.discount(params)) == np.float32(0.9)
    )
    key = jax.random.key(0)
    obs, state = env.reset(key, params)
    np.testing.assert_array_equal(obs, theirs.reset(key, their_params)[0])
    step, their_step = jax.jit(env.step), jax.jit(theirs.step_env)
    for t in range(12):
        after = step(key, state, jnp.int32(t % 2), params)
        obs, _, reward, terminated, _ = their_step(key, state, jnp.int32(t % 2), their_params)
        np.testing.assert_array_equal(after.obs, obs)
        assert after.reward == reward and after.terminated == terminated
        state = after.state
        assert bool(after.truncated) == (t == 11 and not bool(terminated)), "the time limit truncates"


def test_falling_over_is_termination(cartpole):
    env, params = from_gymnax(*cartpole, discount=1.0)
    _, state = env.reset(jax.random.key(0), params)
    for _ in range(12):
        after = env.step(jax.random.key(0), state, jnp.int32(1), params)
        state = after.state
        if after.terminated:
            break
    assert after.terminated and not after.truncated


def test_continuous_actions_are_measured_in_halves_of_their_range():
    """Pendulum's torque lies in [-2, 2]; what is beyond an end counts as the end."""
    theirs, their_params = gymnax.make("Pendulum-v1")
    env, params = from_gymnax(theirs, their_params, discount=0.99)
    assert env.action_space == Box((1,))
    key = jax.random.key(0)
    _, state = env.reset(key, params)
    for action, torque in [(0.5, 1.0), (-1.0, -2.0), (7.0, 2.0)]:
        ours = env.step(key, state, jnp.array([action]), params)
        obs, _, reward, *_ = theirs.step_env(key, state, jnp.array([torque]), their_params)
        np.testing.assert_allclose(ours.obs, obs)
        np.testing.assert_allclose(ours.reward, reward)
    back, back_params = to_gymnax(env, params)
    space = back.action_space(back_params)
    assert (space.low, space.high, space.shape) == (-1.0, 1.0, (1,))


def test_agents_train_on_adapted_environments(cartpole):
    env, params = from_gymnax(*cartpole, discount=0.99)
    agent = make_agent("ppo:memory=none,width=8,num_envs=4,rollout_length=16")
    _, metrics = jax.jit(lambda key: train(agent, env, params, key, 2 * agent.steps_per_update))(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))


def test_random_cartpole_walks_are_gymnaxs_own(cartpole):
    """Episodes fall over in some environments and run out of time in others, never both; the walks agree throughout."""
    theirs, their_params = cartpole
    env, params = from_gymnax(theirs, their_params, discount=1.0)
    keys = jax.random.split(jax.random.key(2), 256)
    actions = jax.random.randint(jax.random.key(3), (256, 12), 0, 2)

    def ours(key, actions):
        def step(state, action):
            after = env.step(key, state, action, params)
            return after.state, (after.obs, after.reward, after.terminated, after.truncated)

        return jax.lax.scan(step, env.reset(key, params)[1], actions)[1]

    def own(key, actions):
        def step(state, action):
            obs, state, reward, terminated, _ = theirs.step_env(key, state, action, their_params)
            return state, (obs, reward, terminated, theirs.is_truncated(state, their_params))

        return jax.lax.scan(step, theirs.reset_env(key, their_params)[1], actions)[1]

    obs, reward, terminated, truncated = jax.jit(jax.vmap(ours))(keys, actions)
    their_obs, their_reward, their_terminated, their_truncated = jax.jit(jax.vmap(own))(keys, actions)
    np.testing.assert_allclose(obs, their_obs, rtol=1e-6)
    np.testing.assert_array_equal(reward, their_reward)
    np.testing.assert_array_equal(terminated, their_terminated)
    np.testing.assert_array_equal(truncated, their_truncated & ~their_terminated)
    assert terminated.any() and truncated.any() and (their_terminated & their_truncated).any()


def test_boxes_of_integers_become_floats():
    env, params = from_gymnax(*gymnax.make("FourRooms-misc"), discount=1.0)
    obs, state = env.reset(jax.random.key(0), params)
    after = env.step(jax.random.key(0), state, jnp.int32(0), params)
    assert isinstance(env.observation_space, Box) and obs.dtype == after.obs.dtype == jnp.float32


def test_gymnaxs_step_of_our_task_is_our_step_until_an_end_and_our_reset_after():
    """Both at the horizon (tmaze runs out of time) and at a terminal state, with the halves of gymnax's split key."""
    task = make("tmaze:length=1,horizon=4")
    ours, params = tabular_env(task), tabular_params(task)
    env, their_params = to_gymnax(ours, params)
    our_step = jax.jit(ours.step)
    _, state = ours.reset(jax.random.key(0), params)
    _, their_state = env.reset(jax.random.key(0), their_params)
    ends = []
    for t, action in enumerate(jax.random.randint(jax.random.key(8), (40,), 0, 4)):
        key_step, key_reset = jax.random.split(jax.random.key(t))
        after = our_step(key_step, state, action, params)
        obs, their_state, reward, terminated, truncated, info = env.step(
            jax.random.key(t), their_state, action, their_params
        )
        assert (reward, terminated, truncated) == (after.reward, after.terminated, after.truncated)
        assert info["final_observation"] == after.obs
        ended = bool(after.terminated | after.truncated)
        expected, state = ours.reset(key_reset, params) if ended else (after.obs, after.state)
        assert obs == expected and their_state.inner == state
        ends.append((bool(terminated), bool(truncated)))
    assert {(True, False), (False, True)} <= set(ends)


def test_our_task_behaves_as_a_gymnax_environment():
    task = make("tmaze:length=1,horizon=4")
    env, params = to_gymnax(tabular_env(task), tabular_params(task))
    assert params.max_steps_in_episode == 4 and env.action_space(params).n == 4
    obs, state = env.reset(jax.random.key(0), params)
    assert task.observations[int(obs)].startswith("cue")
    ends = []
    for action in ("east", "east", "west", "west"):
        obs, state, _, terminated, truncated, info = env.step(
            jax.random.key(1), state, task.actions.index(action), params
        )
        ends.append((bool(terminated), bool(truncated)))
    assert ends == [(False, False)] * 3 + [(False, True)]
    assert int(state.time) == 0 and task.observations[int(info["final_observation"])].startswith("cue")


def test_the_step_of_before_gymnax_1_says_done_at_either_end_and_one_hot_vectors_are_the_observations():
    task = make("tmaze:length=1,horizon=4")
    ours, params = tabular_env(task), tabular_params(task)
    env, their_params = to_gymnax(ours, params)
    old, _ = to_gymnax(ours, params, one_hot=True, five_values=True)
    space = old.observation_space(their_params)
    assert (space.low, space.high, space.shape) == (0.0, 1.0, (task.num_observations,))
    obs, state = env.reset(jax.random.key(0), their_params)
    vector, old_state = old.reset(jax.random.key(0), their_params)
    ends = set()
    for t, action in enumerate(jax.random.randint(jax.random.key(8), (40,), 0, 4)):
        assert vector.sum() == 1 and vector[obs] == 1
        obs, state, reward, terminated, truncated, _ = env.step(jax.random.key(t), state, action, their_params)
        vector, old_state, old_reward, done, info = old.step(jax.random.key(t), old_state, action, their_params)
        assert (old_reward, done) == (reward, terminated | truncated) and info["truncated"] == truncated
        ends.add((bool(terminated), bool(truncated)))
    assert ends == {(False, False), (True, False), (False, True)}


def test_one_hot_needs_numbered_observations(cartpole):
    env, params = from_gymnax(*cartpole, discount=1.0)
    with pytest.raises(ValueError, match="numbered"):
        to_gymnax(env, params, one_hot=True)


@pytest.mark.parametrize("five_values", [False, True])
def test_params_that_are_not_named_are_its_own_and_copies_step_alike(five_values):
    """As in gymnax, whose environments go through files as well; also where a horizon is computed when it is asked."""
    ready = environment("memory_chain:length=3")
    env, params = to_gymnax(ready.env, ready.params, five_values=five_values)
    assert params.max_steps_in_episode == ready.env.longest
    key = jax.random.key(0)
    _, state = env.reset(key)
    expected = env.step(key, state, 0, params)
    for other in (env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        jax.tree.map(np.testing.assert_array_equal, other.step(key, state, 0), expected)


def test_stacked_tasks_are_one_environment_of_many_params():
    horizons = (3, 6)
    stacked, inner = stack([make(f"repeat_previous:horizon={horizon}") for horizon in horizons])
    env, params = to_gymnax(stacked, inner)
    assert params.max_steps_in_episode == max(horizons)
    of_task = ToGymnaxParams(max_steps_in_episode=None, inner=0)
    keys = jax.random.split(jax.random.key(0), 2)
    _, state = jax.vmap(env.reset, (0, of_task))(keys, params)
    step, ends = jax.vmap(env.step, (0, 0, None, of_task)), []
    for _ in range(max(horizons)):
        _, state, _, terminated, truncated, _ = step(keys, state, 0, params)
        assert not terminated.any()
        ends.append(truncated.tolist())
    assert ends == [[t % horizon == 0 for horizon in horizons] for t in range(1, 7)]


@pytest.mark.parametrize("wrong", [make("tiger"), "tiger", environment("tiger"), tabular_env])
def test_what_is_no_environment_is_refused(wrong):
    with pytest.raises(TypeError, match=f"{type(wrong).__name__} has no "):
        to_gymnax(wrong, None)
    with pytest.raises(TypeError, match="is a class"):
        to_gymnax(type(tabular_env(make("tiger"))), None)


def test_there_and_back_is_the_same_environment():
    task = make("tiger")
    ours, params = tabular_env(task), tabular_params(task)
    back, back_params = from_gymnax(*to_gymnax(ours, params), discount=task.discount)
    key = jax.random.key(4)
    obs, state = ours.reset(key, params)
    their_obs, their_state = back.reset(key, back_params)
    assert obs == their_obs
    for action in (0, 0, 1):
        after, their_after = ours.step(key, state, action, params), back.step(key, their_state, action, back_params)
        for name in ("obs", "reward", "terminated", "truncated"):
            assert getattr(after, name) == getattr(their_after, name), name
        state, their_state = after.state, their_after.state


def test_spaces_that_no_agent_reads_are_refused(monkeypatch):
    env, params = gymnax.make("Pendulum-v1")
    spaces = gymnax.environments.spaces
    monkeypatch.setattr(type(env), "action_space", lambda *_: spaces.Box(-jnp.inf, jnp.inf, (1,)))
    with pytest.raises(ValueError, match="no range"):
        from_gymnax(env, params, discount=0.99)
    monkeypatch.setattr(type(env), "action_space", lambda *_: spaces.Tuple([spaces.Discrete(2)] * 2))
    with pytest.raises(TypeError, match="actions are Tuple, expected Discrete or Box"):
        from_gymnax(env, params, discount=0.99)


def test_a_wrapper_of_gymnaxs_is_refused_whose_step_would_be_passed_over(cartpole, monkeypatch):
    """And what is no environment of gymnax's, or of one before its version 1.0."""
    env, params = cartpole
    wrapper = StickyActionWrapper(env, 0.5)
    for wrong in (wrapper, params, type(env), tabular_env(make("tiger"))):
        with pytest.raises(TypeError, match=f"{type(wrong).__name__} has no reset_env, .* no wrapper around one"):
            from_gymnax(wrong, params, discount=0.99)
    monkeypatch.delattr(gymnax.environments.environment.Environment, "is_truncated")
    with pytest.raises(TypeError, match=r"CartPole has no is_truncated of its own, .* gymnax 1\.0 or later"):
        from_gymnax(env, params, discount=0.99)


def test_names_of_environments_bring_neither_package_until_they_are_used():
    code = (
        "import sys, seqrl_jax.tasks.gymnax_adapter, seqrl_jax.tasks.environments;"
        "sys.exit(bool({'gymnax', 'gymnasium'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_environment_that_ends_itself_sooner_ends_there_in_gymnax_too():
    """As where params of a shorter task are laid in the place of those that it was adapted with."""
    short, long = (make(f"repeat_previous:horizon={horizon}") for horizon in (3, 6))
    adapted, params = to_gymnax(tabular_env(long), tabular_params(long))
    _, state = adapted.reset_env(jax.random.key(0), params)
    inner = tabular_params(short)
    for t in range(3):
        _, state, *_ = adapted.step_env(jax.random.key(t), state, 0, params.replace(inner=inner))
        assert bool(adapted.is_truncated(state, params)) == (t == 2) and not adapted.is_terminated(state, params)
