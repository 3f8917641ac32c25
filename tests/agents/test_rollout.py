import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents.rollout import begin, bootstrap_discount, collect, surely_complete
from seqrl_jax.tasks import make, tabular_env, tabular_params

B, T = 512, 48


@pytest.fixture(scope="module")
def tmaze():
    """A uniform-random rollout on a short T-maze, in which episodes end both ways."""
    task = make("tmaze:length=1,horizon=6")
    env, params = tabular_env(task), tabular_params(task)

    @jax.jit
    def roll(key):
        def act(key, counted, inputs):
            """The carry counts the steps that it has seen."""
            action = jax.random.randint(key, inputs.obs.shape, 0, env.num_actions)
            return jnp.where(inputs.first, 0, counted) + 1, action

        return collect(key, env, params, begin(key, env, params, B, jnp.zeros(B, jnp.int32)), act, T)

    position, rollout = roll(jax.random.key(0))
    return task, params, jax.tree.map(np.asarray, position), jax.tree.map(np.asarray, rollout)


def test_the_next_observation_is_the_real_one_also_when_an_episode_ends(tmaze):
    task, _, _, rollout = tmaze
    going_on = ~rollout.last[:-1]
    np.testing.assert_array_equal(rollout.next_obs[:-1][going_on], rollout.obs[1:][going_on])
    assert (rollout.next_obs[rollout.terminated] == task.observations.index("end")).all()
    assert (rollout.next_obs[rollout.truncated] != task.observations.index("end")).all()


def test_time_counts_from_the_first_observation(tmaze):
    task, _, _, rollout = tmaze
    assert rollout.first[0].all()
    np.testing.assert_array_equal(rollout.first[1:], rollout.last[:-1])
    cues = [task.observations.index(name) for name in ("cue_north", "cue_south")]
    assert np.isin(rollout.obs[rollout.first], cues).all(), "o_0 of a T-maze is a cue"
    assert rollout.time.max() == task.horizon - 1
    np.testing.assert_array_equal(rollout.time[rollout.truncated], task.horizon - 1)


def test_what_was_done_and_paid_is_shown_with_the_next_observation(tmaze):
    _, _, position, rollout = tmaze
    np.testing.assert_array_equal(rollout.previous_action[1:], rollout.action[:-1])
    np.testing.assert_array_equal(rollout.previous_reward[1:], rollout.reward[:-1])
    np.testing.assert_array_equal(position.inputs.previous_action, rollout.action[-1])
    np.testing.assert_array_equal(position.inputs.first, rollout.last[-1])


def test_the_next_rollout_goes_on_where_this_one_stopped(tmaze):
    _, _, position, rollout = tmaze
    np.testing.assert_array_equal(position.time, np.where(rollout.last[-1], 0, rollout.time[-1] + 1))


def test_the_carry_has_seen_the_running_episode_and_no_other(tmaze):
    _, _, position, rollout = tmaze
    np.testing.assert_array_equal(position.carry, rollout.time[-1] + 1)


def test_nothing_is_bootstrapped_at_the_horizon_unless_asked(tmaze):
    _, _, _, rollout = tmaze
    by_task = np.asarray(bootstrap_discount(rollout, jnp.float32(0.9), bootstrap_truncated=False))
    by_limit = np.asarray(bootstrap_discount(rollout, jnp.float32(0.9), bootstrap_truncated=True))
    assert (by_task[rollout.last] == 0).all() and (by_task[~rollout.last] == np.float32(0.9)).all()
    assert (by_limit[rollout.truncated] == np.float32(0.9)).all() and (by_limit[rollout.terminated] == 0).all()


def test_choosing_episodes_by_their_beginning_does_not_favour_short_ones(tmaze):
    """The mean length of the counted episodes is that of all first episodes, which are whole in any case.

    Four standard errors of the difference: false alarms 6e-5. Episodes that merely happened to end inside the rollout
    are shorter by far more than that, which the last line shows, so that the test can fail.
    """
    task, _, _, rollout = tmaze
    length = rollout.time + 1
    counted = np.asarray(surely_complete(rollout, task.horizon))
    first = length[rollout.last & (np.cumsum(rollout.first, 0) == 1)]
    chosen = length[rollout.last & counted]
    error = np.hypot(first.std() / len(first) ** 0.5, chosen.std() / len(chosen) ** 0.5)
    assert abs(first.mean() - chosen.mean()) < 4 * error
    late = length[rollout.last & ~counted]
    assert first.mean() - late.mean() > 4 * error
