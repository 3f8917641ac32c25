"""Our environments as gymnax environments, and gymnax's as ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from seqrl_jax.tasks.contract import lacking
from seqrl_jax.tasks.environment import Box, Discrete, Environment, Space, Transition, everything_in
from seqrl_jax.tasks.wrappers.frame_stack import FrameStack

if TYPE_CHECKING:
    from gymnax.environments import environment, spaces


STEPS = ("reset_env", "step_env", "is_truncated")
"""What an environment of gymnax's is stepped by without a reset; the last one since gymnax 1.0."""


@runtime_checkable
class OfGymnax(Protocol):
    """What we ask of an environment of gymnax's."""

    def reset_env(self, key: Array, params: Any) -> Any: ...

    def step_env(self, key: Array, state: Any, action: Any, params: Any) -> Any: ...


class GymnaxParams(NamedTuple):
    """inner: the gymnax environment's params. discount: gymnax has none, an agent needs one."""

    inner: Any
    discount: Array


@dataclass(frozen=True)
class FromGymnax:
    """A gymnax environment under our contract: `step` does not reset, and a step never both terminates and
    truncates."""

    inner: Any
    action_space: Space
    observation_space: Space
    longest: int
    expensive_reset: bool

    def reset(self, key: Array, params: GymnaxParams) -> tuple[Array, Any]:
        obs, state = self.inner.reset_env(key, params.inner)
        return self._observation(obs), state

    def step(self, key: Array, state: Any, action: Array, params: GymnaxParams) -> Transition:
        action = self._action(action, params)
        obs, state, reward, terminated, info = self.inner.step_env(key, state, action, params.inner)
        terminated = jnp.asarray(terminated, bool)
        truncated = jnp.asarray(self.inner.is_truncated(state, params.inner), bool) & ~terminated
        return Transition(self._observation(obs), state, jnp.asarray(reward, jnp.float32), terminated, truncated, info)

    def action_mask(self, params: GymnaxParams) -> Array:
        return everything_in(self.action_space)

    def observation_mask(self, params: GymnaxParams) -> Array:
        return everything_in(self.observation_space)

    def discount(self, params: GymnaxParams) -> Array:
        return params.discount

    def horizon(self, params: GymnaxParams) -> Array:
        return jnp.asarray(params.inner.max_steps_in_episode, jnp.int32)

    def _action(self, action: Array, params: GymnaxParams) -> Array:
        if isinstance(self.action_space, Discrete):
            return action
        space = self.inner.action_space(params.inner)
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        return jnp.asarray(middle + half * jnp.clip(action, -1, 1), space.dtype)

    def _observation(self, obs: Array) -> Array:
        # gymnax has boxes of integers (FourRooms); ours hold floats.
        return jnp.asarray(obs, jnp.int32 if isinstance(self.observation_space, Discrete) else jnp.float32)


def from_gymnax(
    env: Any, params: Any, discount: float, expensive_reset: bool = False
) -> tuple[FromGymnax, GymnaxParams]:
    """A gymnax environment and its params as ours.

    Args: env, params: as `gymnax.make` returns. discount: of the returns that agents maximise. expensive_reset: whether
        `env.reset_env` takes much longer than `env.step_env` (see `Environment`).
    Raises: TypeError for what is no environment of gymnax's, a wrapper around one included, and when actions or
        observations are no single array; ValueError when actions have no ends.
    """
    # A wrapper of gymnax's passes on what it lacks: the step without a reset would be that of what it wraps.
    if missing := [name for name in STEPS if not hasattr(type(env), name)]:
        what = f"{type(env).__name__} has no {', '.join(missing)} of its own"
        raise TypeError(f"{what}, expected an environment of gymnax 1.0 or later, and no wrapper around one")
    actions = env.action_space(params)
    adapted = FromGymnax(
        env,
        _space(actions, f"{env.name}: actions"),
        _space(env.observation_space(params), f"{env.name}: observations"),
        int(params.max_steps_in_episode),
        expensive_reset,
    )
    ends = (actions.low, actions.high) if isinstance(adapted.action_space, Box) else ()
    if not all(np.isfinite(end).all() for end in ends):
        raise ValueError(f"{env.name}: actions from {actions.low} to {actions.high} have no range to be measured in")
    return adapted, GymnaxParams(params, jnp.float32(discount))


def _space(theirs: Any, what: str) -> Space:
    spaces = _gymnax().environments.spaces
    if isinstance(theirs, spaces.Discrete):
        return Discrete(int(theirs.n))
    if isinstance(theirs, spaces.Box):
        return Box(tuple(theirs.shape))
    raise TypeError(f"{what} are {type(theirs).__name__}, expected Discrete or Box")


@struct.dataclass
class ToGymnaxState:
    """time: steps taken in this episode. inner: our state. terminated, truncated: whether the environment itself ended
    the episode here."""

    time: Array
    inner: Any
    terminated: Array
    truncated: Array


@struct.dataclass
class ToGymnaxParams:
    """max_steps_in_episode: no episode has more steps; one that ends itself sooner ends there. inner: our params."""

    max_steps_in_episode: int
    inner: Any


class ToGymnax:
    """What our environment does under gymnax's interface; `step` and its automatic reset are gymnax's own."""

    def __init__(self, env: Environment, params: Any, one_hot: bool) -> None:
        # A stack of one frame is its code.
        self.env = FrameStack(env, 0) if one_hot else env
        self._made_of = env, params, one_hot

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class is made where it is needed, so that no file could name it.
        return _adapted, (*self._made_of, isinstance(self, FiveValues))

    @property
    def default_params(self) -> ToGymnaxParams:
        _, params, _ = self._made_of
        return ToGymnaxParams(max_steps_in_episode=self.env.longest, inner=params)

    def reset_env(self, key: Array, params: ToGymnaxParams) -> tuple[Array, ToGymnaxState]:
        obs, state = self.env.reset(key, params.inner)
        return obs, ToGymnaxState(jnp.int32(0), state, jnp.bool_(False), jnp.bool_(False))

    def step_env(
        self, key: Array, state: ToGymnaxState, action: Any, params: ToGymnaxParams
    ) -> tuple[Array, ToGymnaxState, Array, Array, dict[Any, Any]]:
        after = self.env.step(key, state.inner, action, params.inner)
        entered = ToGymnaxState(state.time + 1, after.state, after.terminated, after.truncated)
        return after.obs, entered, after.reward, after.terminated, dict(after.info)

    def is_terminated(self, state: ToGymnaxState, params: ToGymnaxParams) -> Array:
        return state.terminated

    def is_truncated(self, state: ToGymnaxState, params: ToGymnaxParams) -> Array:
        return (state.truncated | (state.time >= params.max_steps_in_episode)) & ~state.terminated

    @property
    def num_actions(self) -> int:
        """As gymnax counts them: of continuous actions, their numbers."""
        space = self.env.action_space
        return space.size if isinstance(space, Discrete) else math.prod(space.shape)

    def action_space(self, params: ToGymnaxParams) -> spaces.Space:
        return _gymnax_space(self.env.action_space, -1.0, 1.0)

    def observation_space(self, params: ToGymnaxParams) -> spaces.Space:
        *_, one_hot = self._made_of
        ends = (0.0, 1.0) if one_hot else (-math.inf, math.inf)
        return _gymnax_space(self.env.observation_space, *ends)


class FiveValues:
    """The step that gymnax had before 1.0, which PureJaxRL, rejax and most of what descends from them call."""

    def step(
        self, key: Array, state: ToGymnaxState, action: Any, params: ToGymnaxParams | None = None
    ) -> tuple[Array, ToGymnaxState, Array, Array, dict[Any, Any]]:
        """(obs, state, reward, done, info); which end it was stands in `info`."""
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)  # type: ignore[misc]
        return obs, state, reward, terminated | truncated, info


def to_gymnax(
    env: Environment, params: Any, *, one_hot: bool = False, five_values: bool = False
) -> tuple[environment.Environment, ToGymnaxParams]:
    """Our environment and params as gymnax's, in the form that `gymnax.make` returns.

    Args: one_hot: numbered observations become unit vectors. five_values: `step` returns what it did before gymnax 1.0,
        `done` in place of `terminated` and `truncated`.
    Raises: TypeError for what is no environment, ValueError for one-hot observations where they are not numbered.
    """
    if why := lacking(env):
        raise TypeError(why)
    space = env.observation_space
    if one_hot and not isinstance(space, Discrete):
        raise ValueError(f"observations are arrays of shape {space.shape}, one-hot are numbered ones")
    adapted = _adapted(env, params, one_hot, five_values)
    return adapted, adapted.default_params


def _adapted(env: Environment, params: Any, one_hot: bool, five_values: bool) -> Any:
    return _joined(_gymnax().environments.environment.Environment, five_values)(env, params, one_hot)


def _gymnax_space(space: Space, low: float, high: float) -> Any:
    spaces = _gymnax().environments.spaces
    if isinstance(space, Discrete):
        return spaces.Discrete(space.size)
    return spaces.Box(low, high, space.shape, jnp.float32)


@cache
def _joined(base: type, five_values: bool) -> Any:
    # gymnax brings matplotlib and seaborn, so its base class joins only when somebody adapts to it.
    return type("ToGymnax", (*([FiveValues] if five_values else []), ToGymnax, base), {})


def _gymnax() -> Any:
    # Imported where it is used: it brings matplotlib and seaborn.
    import gymnax

    return gymnax
