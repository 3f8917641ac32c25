"""Wrapped environments: what is shown of an episode, that nothing of it crosses into the next, and names."""

import re
from dataclasses import dataclass, replace
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents.rollout import begin, collect
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole, zeros_in
from seqrl_jax.tasks.environments import environment, environment_settings
from seqrl_jax.tasks.gymnasium_adapter import to_gymnasium
from seqrl_jax.tasks.gymnax_adapter import to_gymnax
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.wrappers import (
    delay_env,
    flicker_env,
    frame_stack_env,
    mask_env,
    noise_env,
    previous_action_env,
    previous_reward_env,
    sticky_env,
)
from seqrl_jax.tasks.wrappers.mask import GROUPS
from seqrl_jax.tracks.environments import ANY


@pytest.fixture(autouse=True)
def standard_promotion():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@dataclass(frozen=True)
class Clock(Whole):
    """Shows which episode it is, by a number drawn at its beginning, and the time from 1 on; pays what is executed.

    Episodes last 2 to 6 steps.
    """

    longest: int = 6
    action_space = Discrete(3)
    observation_space = Box((2,))

    def reset(self, key, params):
        state = jnp.stack([jax.random.uniform(key), jax.random.randint(key, (), 2, 7).astype(jnp.float32), 0.0])
        return self._shown(state), state

    def step(self, key, state, action, params):
        state = state.at[2].add(1)
        ended = state[2] >= state[1]
        return Transition(self._shown(state), state, action.astype(jnp.float32), ended, jnp.bool_(False), {})

    def _shown(self, state):
        return jnp.stack([state[0], state[2] + 1])


class Scalar(Clock):
    observation_space = Box(())

    def _shown(self, state):
        return jnp.float32(7)


CLOCK = Ready(Clock(), ())


def rollout_of(ready):
    """30 steps of random actions in 16 environments that start again, as numpy arrays."""
    env, params = ready.env, ready.params
    act = lambda key, carry, inputs: (carry, jax.random.randint(key, inputs.first.shape, 0, env.action_space.size))
    run = lambda key: collect(key, env, params, begin(key, env, params, 16, ()), act, 30)[1]
    return jax.tree.map(np.asarray, jax.jit(run)(jax.random.key(0)))


def played(ready):
    """The same of a wrapped clock."""
    rollout = rollout_of(ready)
    assert rollout.first[1:].any() and len(np.unique(rollout.time)) == 6
    return rollout


def ago(steps, episode, time):
    """What the clock showed that many steps ago in this episode, zeros before there was anything: [..., 2]."""
    shown = np.stack([episode, time + 1.0 - steps], -1)
    return np.where((time >= steps)[..., None], shown, 0)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_delay_begins_anew_in_each_episode(steps):
    rollout = played(delay_env(CLOCK, steps))
    episode = rollout.state.inner[..., 0]
    np.testing.assert_allclose(rollout.obs, ago(steps, episode, rollout.time))
    np.testing.assert_allclose(rollout.next_obs, ago(steps, episode, rollout.time + 1))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_stack_begins_anew_in_each_episode(frames):
    rollout = played(frame_stack_env(CLOCK, frames))
    episode = rollout.state.inner[..., 0]
    for seen, time in ((rollout.obs, rollout.time), (rollout.next_obs, rollout.time + 1)):
        every = [ago(steps, episode, time) for steps in reversed(range(frames))]
        np.testing.assert_allclose(seen, np.concatenate(every, -1))


def test_the_action_that_is_repeated_is_one_of_this_episode():
    """With probability 1, and the clock pays the number of the action that is executed."""
    rollout = played(sticky_env(CLOCK, 1.0))
    first = np.zeros(16)
    for time, chosen, executed in zip(rollout.time, rollout.action, rollout.reward, strict=True):
        first = np.where(time == 0, chosen, first)
        np.testing.assert_array_equal(executed, first)


def test_the_last_action_and_the_last_reward_are_none_at_the_beginning():
    rollout = played(previous_action_env(previous_reward_env(CLOCK)))
    ongoing = ~rollout.first
    expected = [
        ago(0, rollout.state[..., 0], rollout.time),
        (rollout.previous_reward * ongoing)[..., None],
        np.eye(3)[rollout.previous_action] * ongoing[..., None],
    ]
    np.testing.assert_allclose(rollout.obs, np.concatenate(expected, -1), atol=1e-6)


@pytest.mark.parametrize("wrap", [flicker_env, noise_env, sticky_env])
def test_a_number_of_zero_changes_nothing(wrap):
    """Step for step, with the half of each key that the environment is given."""
    wrapped = wrap(CLOCK, 0.0)
    unwrap = lambda state: state.inner if wrap is sticky_env else state
    for number in range(4):
        halved = jax.random.split(jax.random.key(number))[0]
        obs, state = wrapped.env.reset(jax.random.key(number), wrapped.params)
        own_obs, own_state = CLOCK.env.reset(jax.random.key(number) if wrap is sticky_env else halved, ())
        np.testing.assert_array_equal(obs, own_obs)
        for t in range(3):
            after = wrapped.env.step(jax.random.key(number), state, jnp.int32(t), wrapped.params)
            own = CLOCK.env.step(halved, own_state, jnp.int32(t), ())
            np.testing.assert_array_equal(after.obs, own.obs)
            np.testing.assert_array_equal(unwrap(after.state), own.state)
            assert (after.reward, after.terminated) == (own.reward, own.terminated)
            state, own_state = after.state, own.state


def test_probabilities_are_numbers_that_vmap_batches():
    """Each frequency within 5 standard errors of its probability, and no observation half blank."""
    probabilities = jnp.array([0.0, 0.3, 0.9, 1.0])
    ready = flicker_env(CLOCK, 0.0)
    reset = lambda key, number: ready.env.reset(key, ready.params._replace(number=number))[0]
    keys = jax.random.split(jax.random.key(0), 4000)
    obs = np.asarray(jax.vmap(lambda number: jax.vmap(reset, (0, None))(keys, number))(probabilities))
    blank = (obs == 0).all(-1)
    assert (blank == (obs == 0).any(-1)).all()
    p = np.asarray(probabilities, float)
    assert (np.abs(blank.mean(1) - p) <= 5 * np.sqrt(p * (1 - p) / 4000) + 1e-7).all()


def test_noise_is_gaussian_and_new_in_every_number_and_step():
    """Mean, spread, tails and correlations of 20,000 within 5 standard errors."""
    ready, draws = noise_env(CLOCK, 0.5), 20_000

    def episode(key):
        obs, state = ready.env.reset(key, ready.params)
        after = ready.env.step(jax.random.fold_in(key, 1), state, jnp.int32(0), ready.params)
        return jnp.concatenate([obs - ready.env.env._shown(state), after.obs - ready.env.env._shown(after.state)])

    noise = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), draws))) / 0.5
    error = 5 / draws**0.5
    assert np.abs(noise.mean(0)).max() < error
    assert np.abs(noise.var(0) - 1).max() < error * 2**0.5
    assert np.abs(np.corrcoef(noise.T) - np.eye(4)).max() < error
    for end in (-1.5, 0.5):
        assert np.abs((noise < end).mean(0) - NormalDist().cdf(end)).max() < error / 2


def test_who_adds_up_what_is_noisy_is_right_more_often():
    """The shortest chain shows its bit twice: by the last look it is guessed with probability Phi(1 / std), by both
    with Phi(sqrt(2) / std). Means of 20,000 within 5 standard errors."""
    std, draws = 1.5, 20_000
    ready = environment(f"memory_chain:length=1,noise={std}")

    def episode(key):
        obs, state = ready.env.reset(key, ready.params)
        between = ready.env.step(jax.random.fold_in(key, 1), state, jnp.int32(0), ready.params)
        looks = jnp.stack([between.obs[2], between.obs[2] + obs[2]])
        answer = lambda look: ready.env.step(key, between.state, (look > 0).astype(jnp.int32), ready.params).reward
        return jax.vmap(answer)(looks)

    earned = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(2), draws))).mean(0)
    best = np.array([2 * NormalDist().cdf(looks**0.5 / std) - 1 for looks in (1, 2)])
    assert (np.abs(earned - best) < 5 / draws**0.5).all()
    assert not ready.certified, "what was proved without noise does not hold with it"


VELOCITIES = {
    "CartPole-v1": ("x_dot", "theta_dot"),
    "Pendulum-v1": ("theta_dot",),
    "Acrobot-v1": ("velocity_1", "velocity_2"),
    "MountainCar-v0": ("velocity",),
    "MountainCarContinuous-v0": ("velocity",),
}


@pytest.mark.parametrize("name", VELOCITIES)
def test_positions_and_velocities_are_what_they_are_called(name):
    """They are all components, and a state with other velocities shows the same positions."""
    assert set(VELOCITIES) == set(GROUPS)
    shown = {group: environment(f"gymnax:{name}:mask={group}") for group in ("positions", "velocities")}
    whole = environment(f"gymnax:{name}")
    _, state = whole.env.reset(jax.random.key(0), whole.params)
    moving = state.replace(**{field: getattr(state, field) + 0.5 for field in VELOCITIES[name]})
    observe = lambda state: np.asarray(whole.env.inner.get_obs(state))
    changed = observe(state) != observe(moving)
    components = {group: ready.env.components for group, ready in shown.items()}
    assert set(components["velocities"]) == set(np.flatnonzero(changed))
    assert set(components["positions"]) == set(np.flatnonzero(~changed))
    for group, ready in shown.items():
        obs, _ = ready.env.reset(jax.random.key(0), ready.params)
        np.testing.assert_array_equal(obs, observe(state)[list(components[group])])
        assert ready.env.observation_space == Box(obs.shape)


def test_components_of_an_image_are_its_channels_and_frames_are_more_of_them():
    whole = environment("gymnax:Breakout-MinAtar")
    still = environment("gymnax:Breakout-MinAtar:mask=3+0,frame_stack=3")
    key, action = jax.random.key(0), jnp.int32(1)
    obs, state = whole.env.reset(key, whole.params)
    seen, wrapped = still.env.reset(key, still.params)
    assert seen.shape == still.env.observation_space.shape == (10, 10, 6)
    after, entered = (
        whole.env.step(key, state, action, whole.params),
        still.env.step(key, wrapped, action, still.params),
    )
    expected = [np.zeros((10, 10, 2)), obs[..., [3, 0]], after.obs[..., [3, 0]]]
    np.testing.assert_array_equal(entered.obs, np.concatenate(expected, -1))
    np.testing.assert_array_equal(seen, np.concatenate([expected[0], expected[0], expected[1]], -1))


def test_the_last_action_fills_planes_of_an_image():
    ready = environment("gymnax:Breakout-MinAtar:previous_action=true")
    obs, state = ready.env.reset(jax.random.key(0), ready.params)
    after = ready.env.step(jax.random.key(0), state, jnp.int32(2), ready.params)
    assert obs.shape == (10, 10, 7) and not obs[..., 4:].any()
    np.testing.assert_array_equal(after.obs[..., 4:], np.broadcast_to([0, 0, 1], (10, 10, 3)))


def test_no_more_numbers_are_active_than_a_space_says():
    """First layers are scaled by it; symbols have one active number, and so have their frames."""
    ready = environment("repeat_first_cards:delay=1,flicker=0.2,frame_stack=3,previous_action=true")
    assert (rollout_of(ready).obs != 0).sum(-1).max() == ready.env.observation_space.active == 4
    assert ready.env.observation_space.shape == (3 * 4 + 4,)
    np.testing.assert_array_equal(ready.env.observation_mask(ready.params), [True])
    assert noise_env(ready, 0.1).env.observation_space.active is None


@pytest.mark.parametrize("spec", ["repeat_first_cards:flicker=1", "repeat_first_cards:delay=1,flicker=0.5"])
def test_a_blank_symbol_is_one_more_and_one_is_enough(spec):
    ready = environment(spec)
    assert isinstance(ready.env.observation_space, Discrete) and ready.env.observation_space.size == 5
    np.testing.assert_array_equal(ready.env.observation_mask(ready.params), [True] * 5)
    assert ready.env.reset(jax.random.key(0), ready.params)[0] == 4


WRAPPED = [
    "gymnax:CartPole-v1:mask=positions,noise=0.1,sticky=0.1,normalise=9,delay=1,flicker=0.2,frame_stack=2,previous_action=true",
    "gymnax:Pendulum-v1:mask=0+1,sticky=0.2,flicker=0.5,previous_action=true,previous_reward=true",
    "gymnax:Breakout-MinAtar:flicker=0.5,frame_stack=4",
    "gymnax:FrozenLake-misc:sticky=0.25,delay=1,flicker=0.5",
    "repeat_first_cards:flicker=0.5,frame_stack=2,previous_action=true",
    "tiger:sticky=0.25,delay=1,flicker=0.3,frame_stack=2",
]


def test_agents_learn_in_wrapped_environments():
    """One update is traced; nothing is computed."""
    ANY.check(WRAPPED, ["ppo:memory=gru"])


@pytest.mark.parametrize("spec", WRAPPED)
def test_shapes_and_types_never_change(spec):
    """What scans and vmaps need; a hashable environment is one compiled program."""
    ready, key = environment(spec), jax.random.key(0)
    typed = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
    obs, state = jax.eval_shape(lambda: ready.env.reset(key, ready.params))
    action = zeros_in(ready.env.action_space)
    after = jax.eval_shape(lambda state: ready.env.step(key, state, action, ready.params), state)
    assert typed((after.obs, after.state)) == typed((obs, state)) and isinstance(hash(ready.env), int)
    space = ready.env.observation_space
    assert obs.shape == (() if isinstance(space, Discrete) else space.shape)


@pytest.mark.parametrize("spec", WRAPPED)
def test_wrapped_environments_are_gymnaxs_and_gymnasiums(spec):
    ready = environment(spec)
    theirs, params = to_gymnax(ready.env, ready.params)
    obs, state = theirs.reset(jax.random.key(0), params)
    action = theirs.action_space(params).sample(jax.random.key(1))
    obs, state, *_ = theirs.step(jax.random.key(2), state, action, params)
    assert theirs.observation_space(params).contains(obs)
    env = to_gymnasium(ready.env, ready.params)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    assert env.step(env.action_space.sample())[0] in env.observation_space


def test_values_that_change_nothing_leave_an_environment_as_it_is():
    plain = environment("memory_chain")
    neutral = (
        "mask=all,noise=0,sticky=0,normalise=0,delay=0,flicker=0,frame_stack=1,previous_reward=false,"
        "previous_action=false"
    )
    ready = environment(f"memory_chain:{neutral}")
    assert ready.env == plain.env and ready.certified == plain.certified
    assert [setting.key for setting in environment_settings("memory_chain")][:2] == ["length", "bits"]
    defaults = [f"{s.key}={s.default}" for s in environment_settings("memory_chain")]
    assert environment(f"memory_chain:{','.join(defaults)}").env == plain.env


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("tiger:noise=0.1", "noise needs arrays, a table's observations are symbols"),
        ("tiger:mask=0", "mask needs arrays"),
        ("tiger:flicker=1.5", "flicker is 1.5, expected a number >= 0 and <= 1"),
        ("tiger:frame_stack=0", "frame_stack is 0, expected a whole number >= 1"),
        ("repeat_first_cards:noise=0.1", "noise is 0.1: observations are symbols"),
        ("repeat_first_cards:mask=0", "mask is 0: observations are symbols"),
        ("tiger:normalise=9", "normalise needs arrays, a table's observations are symbols"),
        ("repeat_first_cards:normalise=9", "normalise is 9: observations are symbols, it needs arrays"),
        ("gymnax:CartPole-v1:normalise=-1", "normalise is -1, expected a whole number >= 0"),
        ("repeat_first_cards:time=true", "time needs a task that is a table"),
        ("gymnax:CartPole-v1:observed=true", "observed needs a task that is a table"),
        ("gymnax:CartPole-v1:mask=4", "mask is 4: observations have 4 components, numbered from 0"),
        ("gymnax:CartPole-v1:mask=1+1", "mask is 1+1: a component stands twice"),
        ("gymnax:CartPole-v1:mask=0-2", "mask is '0-2', expected all, positions, velocities, or numbers"),
        ("gymnax:CartPole-v1:mask=0+", "mask is '0+', expected"),
        ("gymnax:Breakout-MinAtar:mask=positions", "mask is positions: here components have numbers and no names"),
        ("gymnax:CartPole-v1:sticky=-1", "sticky is -1, expected"),
        ("gymnax:CartPole-v1:delay=1.5", "delay is 1.5, expected a whole number"),
        ("gymnax:CartPole-v1:flickr=0.5", "unknown key 'flickr'; did you mean flicker"),
    ],
)
def test_a_wrapper_that_cannot_be_is_refused_in_one_line(spec, why):
    with pytest.raises(SpecError, match=re.escape(why)) as refused:
        environment(spec)
    assert "\n" not in str(refused.value)


def test_a_scalar_observation_has_no_components_but_frames():
    scalar = replace(CLOCK, env=Scalar())
    with pytest.raises(SpecError, match="observations have 0 components"):
        mask_env(scalar, [0])
    stacked = frame_stack_env(scalar, 2)
    assert stacked.env.observation_space == Box((2,))
    np.testing.assert_array_equal(stacked.env.reset(jax.random.key(0), ())[0], [0, 7])
