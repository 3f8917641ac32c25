import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks import TASKS, auto_reset, build, goes, make, stack, tabular_env, tabular_params, uniform
from seqrl_jax.tasks.simulator import TabularState

DRAWS = 20_000


def entered(task, state, action, draws=DRAWS):
    """Successor states, observations, rewards and ends of many independent steps from one state, [draws] each."""
    env, params = tabular_env(task), tabular_params(task)
    start = TabularState(jnp.int32(state), jnp.int32(0))
    step = jax.jit(jax.vmap(lambda key: env.step(key, start, jnp.int32(action), params)))
    after = step(jax.random.split(jax.random.key(7), draws))
    return jax.tree.map(np.asarray, (after.state.number, after.obs, after.reward, after.terminated))


@pytest.mark.parametrize(
    "name", ["tiger", "tiger_repeated", "rock_sample", "hidden_market", "flicker_grid", "blind_spot"]
)
def test_frequencies_are_the_tables_probabilities(name):
    """Successors and observations of three random state-action pairs, each frequency within 5 standard errors of its
    probability: false alarms 6e-7 a number, below 1e-4 in all."""
    task = make(name)
    rng = np.random.default_rng(0)
    for _ in range(3):
        state, action = rng.choice(np.flatnonzero(~task.terminal)), rng.integers(task.num_actions)
        after, obs, reward, terminated = entered(task, state, action)
        joint = task.transition[action, state][:, None] * task.observation[action]
        seen = np.zeros_like(joint)
        np.add.at(seen, (after, obs), 1 / DRAWS)
        assert (np.abs(seen - joint) <= 5 * np.sqrt(joint * (1 - joint) / DRAWS) + 1e-7).all()
        np.testing.assert_allclose(reward, task.reward[action, state, after], rtol=1e-6)
        np.testing.assert_array_equal(terminated, task.terminal[after])


@pytest.mark.parametrize("name", ["mini_hallway", "hidden_market", "tmaze"])
def test_the_start_and_the_first_observation_follow_their_laws(name):
    """Five standard errors a number: false alarms below 1e-4 in all."""
    task = make(name)
    env, params = tabular_env(task), tabular_params(task)
    obs, state = jax.jit(jax.vmap(lambda key: env.reset(key, params)))(jax.random.split(jax.random.key(3), DRAWS))
    joint = task.initial[:, None] * task.initial_observation
    seen = np.zeros_like(joint)
    np.add.at(seen, (np.asarray(state.number), np.asarray(obs)), 1 / DRAWS)
    assert (np.abs(seen - joint) <= 5 * np.sqrt(joint * (1 - joint) / DRAWS) + 1e-7).all()


@pytest.mark.parametrize("seed", [0, 4, 12])
def test_states_and_observations_are_drawn_apart(random_task, seed):
    """Where both are random, their joint law is the product, at the start and in a step: one random number that served
    both would pass every test of either. Five standard errors a number: false alarms below 1e-4 in all."""
    task = random_task(seed)
    env, params = tabular_env(task), tabular_params(task)
    obs, state = jax.jit(jax.vmap(lambda key: env.reset(key, params)))(jax.random.split(jax.random.key(11), DRAWS))
    pairs = [(task.initial[:, None] * task.initial_observation, np.asarray(state.number), np.asarray(obs))]
    widest = np.einsum("asz,azo->aso", task.transition > 0, task.observation > 0).sum(-1)
    action, start = np.unravel_index(widest.argmax(), widest.shape)
    after, obs, _, _ = entered(task, start, action)
    pairs.append((task.transition[action, start][:, None] * task.observation[action], after, obs))
    for joint, states, tokens in pairs:
        assert (joint.sum(1) > 0).sum() > 1 and ((joint > 0).sum(1) > 1).any(), "both draws are random"
        seen = np.zeros_like(joint)
        np.add.at(seen, (states, tokens), 1 / DRAWS)
        assert (np.abs(seen - joint) <= 5 * np.sqrt(joint * (1 - joint) / DRAWS) + 1e-7).all()


@pytest.fixture(scope="module")
def walks():
    """Random walks of 64 environments through a short task, with automatic resets: (task, [T, B] records)."""
    task = make("peek_maze:horizon=5")
    env, params = auto_reset(tabular_env(task)), tabular_params(task)

    def step(carry, key):
        obs, state = carry
        action_key, env_key = jax.random.split(key)
        action = jax.random.randint(action_key, (64,), 0, env.action_space.size)
        after = jax.vmap(env.step, in_axes=(0, 0, 0, None))(jax.random.split(env_key, 64), state, action, params)
        return (after.obs, after.state), (obs, state, action, after)

    first = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 64), params)
    walked = jax.jit(lambda: jax.lax.scan(step, first, jax.random.split(jax.random.key(1), 200))[1])()
    return task, jax.tree.map(np.asarray, walked)


def test_an_episode_never_both_terminates_and_truncates(walks):
    _, (_, _, _, after) = walks
    assert after.terminated.any() and after.truncated.any()
    assert not (after.terminated & after.truncated).any()


def test_the_horizon_is_reached_exactly(walks):
    task, (_, state, _, after) = walks
    np.testing.assert_array_equal(state.time[after.truncated], task.horizon - 1)
    assert (after.terminated | after.truncated)[state.time == task.horizon - 1].all()


def test_a_reset_starts_at_time_zero_in_a_start_state_and_shows_the_last_observation_apart(walks):
    task, (_, _, _, after) = walks
    ended = after.terminated | after.truncated
    assert (after.state.time[ended] == 0).all() and (task.initial[after.state.number[ended]] > 0).all()
    assert (after.obs[ended] == task.observations.index("centre")).all()
    last = after.info["last_obs"]
    assert (last[after.terminated] == task.observations.index("end")).all()
    np.testing.assert_array_equal(last[~ended], after.obs[~ended])


def test_the_next_episode_owes_nothing_to_the_last_draw_of_the_old():
    """Two fair coins, the last of one episode and the first of the next, tossed in one step: each of the four outcomes
    within 5 standard errors of a quarter, false alarms below 1e-5 in all."""
    coin = build(
        "coin",
        states=["heads", "tails"],
        actions=["toss"],
        observations=["heads", "tails"],
        start=uniform(["heads", "tails"]),
        step=lambda *_: {goes("heads"): 0.5, goes("tails"): 0.5},
        observe=lambda side: side,
        discount=1.0,
        horizon=1,
    )
    env, params = auto_reset(tabular_env(coin)), tabular_params(coin)
    start = TabularState(jnp.int32(0), jnp.int32(0))
    toss = jax.jit(jax.vmap(lambda key: env.step(key, start, jnp.int32(0), params)))
    after = toss(jax.random.split(jax.random.key(2), DRAWS))
    assert after.truncated.all()
    seen = np.zeros((2, 2))
    np.add.at(seen, (np.asarray(after.info["last_obs"]), np.asarray(after.obs)), 1 / DRAWS)
    assert (np.abs(seen - 0.25) <= 5 * np.sqrt(0.25 * 0.75 / DRAWS)).all()


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_paid_or_left_after_the_end(name):
    task = make(name)
    for state in np.flatnonzero(task.terminal):
        for action in range(task.num_actions):
            after, _, reward, terminated = entered(task, state, action, draws=16)
            assert (after == state).all() and (reward == 0).all() and terminated.all()


def test_a_stacked_task_is_the_task_itself():
    """Shapes, supports and padding differ; with equal keys and actions every record is equal."""
    names = ["tiger", "hidden_market", "repeat_previous", "flicker_grid"]
    env, params = stack([make(name) for name in names])

    def walk(env, params, actions):
        def step(state, inputs):
            key, action = inputs
            after = env.step(key, state, action, params)
            return after.state, (after.obs, after.state.number, after.reward, after.terminated, after.truncated)

        obs, state = env.reset(jax.random.key(5), params)
        return obs, jax.lax.scan(step, state, (jax.random.split(jax.random.key(6), 40), actions))[1]

    actions = jnp.arange(40) % 2
    together = jax.jit(jax.vmap(lambda params: walk(env, params, actions)))(params)
    for i, name in enumerate(names):
        task = make(name)
        alone = walk(tabular_env(task), tabular_params(task), actions)
        jax.tree.map(lambda leaf, own, i=i: np.testing.assert_array_equal(leaf[i], own), together, alone)


def test_the_stack_masks_the_actions_that_a_task_lacks():
    env, params = stack([make("tiger"), make("tmaze")])
    np.testing.assert_array_equal(env.action_mask(params), [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(env.horizon(params), [20, 20])


def test_environments_are_hashable_and_hold_no_numbers():
    assert tabular_env(make("tiger")) == tabular_env(make("tiger:accuracy=.6"))
    assert hash(auto_reset(tabular_env(make("tiger")))) == hash(auto_reset(tabular_env(make("tiger:accuracy=.6"))))
