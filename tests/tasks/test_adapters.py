import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import make_agent, train
from seqrl_jax.tasks import Box, make, tabular_env, tabular_params

gymnax = pytest.importorskip("gymnax")
gymnasium = pytest.importorskip("gymnasium")

from seqrl_jax.tasks.gymnasium_adapter import to_gymnasium  # noqa: E402
from seqrl_jax.tasks.gymnax_adapter import from_gymnax, to_gymnax  # noqa: E402


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
        env.num_actions == 2 and env.observation_space == Box((4,)) and float(env.discount(params)) == np.float32(0.9)
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


def test_agents_train_on_adapted_environments(cartpole):
    env, params = from_gymnax(*cartpole, discount=0.99)
    agent = make_agent("ppo:network=mlp,width=8,num_envs=4,rollout_length=16")
    _, metrics = jax.jit(lambda key: train(agent, env, params, key, 2))(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))


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


def test_continuous_actions_are_refused():
    env, params = gymnax.make("Pendulum-v1")
    with pytest.raises(TypeError, match="only Discrete"):
        from_gymnax(env, params, discount=0.99)


def test_our_task_behaves_as_a_gymnasium_vector_environment():
    task = make("peek_maze:horizon=3")
    envs = to_gymnasium(tabular_env(task), tabular_params(task), num_envs=5)
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    assert envs.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.SAME_STEP
    obs, info = envs.reset(seed=3)
    assert info == {} and obs in envs.observation_space
    north = np.full(5, task.actions.index("north"))
    for t in range(3):
        obs, reward, terminated, truncated, info = envs.step(north)
        assert obs in envs.observation_space and reward.dtype == np.float64
        assert not terminated.any() and truncated.all() == (t == 2)
    assert info["_final_obs"].all()
    assert {task.observations[o] for o in info["final_obs"]} <= {"goal_left", "goal_right"}
    assert {task.observations[o] for o in obs} == {"centre"}, "the next episode began in the same step"


def test_a_seed_fixes_the_course():
    task = make("tiger")
    envs = to_gymnasium(tabular_env(task), tabular_params(task), num_envs=64)
    course = []
    for seed in (1, 1, 2):
        envs.reset(seed=seed)
        course.append(envs.step(np.zeros(64, int))[0])
    np.testing.assert_array_equal(course[0], course[1])
    assert (course[0] != course[2]).any()
