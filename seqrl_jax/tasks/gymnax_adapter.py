"""Our environments as gymnax environments, and gymnax's as ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jax import Array

from seqrl_jax.tasks.environment import Box, Discrete, Environment, Transition

if TYPE_CHECKING:
    from gymnax.environments import environment, spaces


class GymnaxParams(NamedTuple):
    """inner: the gymnax environment's params. discount: gymnax has none, an agent needs one."""

    inner: Any
    discount: Array


@dataclass(frozen=True)
class FromGymnax:
    """A gymnax environment under our contract: `step` does not reset, and a step never both terminates and
    truncates."""

    inner: Any
    num_actions: int
    observation_space: Discrete | Box
    longest: int

    def reset(self, key: Array, params: GymnaxParams) -> tuple[Array, Any]:
        obs, state = self.inner.reset_env(key, params.inner)
        return self._observation(obs), state

    def step(self, key: Array, state: Any, action: Array, params: GymnaxParams) -> Transition:
        obs, state, reward, terminated, info = self.inner.step_env(key, state, action, params.inner)
        terminated = jnp.asarray(terminated, bool)
        truncated = jnp.asarray(self.inner.is_truncated(state, params.inner), bool) & ~terminated
        return Transition(self._observation(obs), state, jnp.asarray(reward, jnp.float32), terminated, truncated, info)

    def action_mask(self, params: GymnaxParams) -> Array:
        return jnp.ones(self.num_actions, bool)

    def observation_mask(self, params: GymnaxParams) -> Array:
        space = self.observation_space
        return jnp.ones(space.size if isinstance(space, Discrete) else 1, bool)

    def discount(self, params: GymnaxParams) -> Array:
        return params.discount

    def horizon(self, params: GymnaxParams) -> Array:
        return jnp.asarray(params.inner.max_steps_in_episode, jnp.int32)

    def _observation(self, obs: Array) -> Array:
        # gymnax has boxes of integers (FourRooms); ours hold floats.
        return jnp.asarray(obs, jnp.int32 if isinstance(self.observation_space, Discrete) else jnp.float32)


def from_gymnax(env: Any, params: Any, discount: float) -> tuple[FromGymnax, GymnaxParams]:
    """A gymnax environment and its params as ours.

    Args: env, params: as `gymnax.make` returns. discount: of the returns that agents maximise.
    Raises: TypeError when the actions are not discrete or the observations no single array.
    """
    spaces = _gymnax().environments.spaces
    actions, seen = env.action_space(params), env.observation_space(params)
    if not isinstance(actions, spaces.Discrete):
        raise TypeError(f"{env.name}: actions are {type(actions).__name__}, only Discrete ones can be adapted")
    if not isinstance(seen, spaces.Discrete | spaces.Box):
        raise TypeError(f"{env.name}: observations are {type(seen).__name__}, expected Discrete or Box")
    space = Discrete(int(seen.n)) if isinstance(seen, spaces.Discrete) else Box(tuple(seen.shape))
    adapted = FromGymnax(env, int(actions.n), space, int(params.max_steps_in_episode))
    return adapted, GymnaxParams(params, jnp.float32(discount))


@struct.dataclass
class ToGymnaxState:
    """time: steps taken in this episode. inner: our state. terminated: whether it was entered by terminating."""

    time: Array
    inner: Any
    terminated: Array


@struct.dataclass
class ToGymnaxParams:
    """max_steps_in_episode: our horizon. inner: our params."""

    max_steps_in_episode: int
    inner: Any


class ToGymnax:
    """What our environment does under gymnax's interface; `step` and its automatic reset are gymnax's own."""

    def __init__(self, env: Environment, params: Any) -> None:
        self.env = env
        self._params = params

    @property
    def default_params(self) -> ToGymnaxParams:
        return ToGymnaxParams(max_steps_in_episode=int(self.env.horizon(self._params)), inner=self._params)

    def reset_env(self, key: Array, params: ToGymnaxParams) -> tuple[Array, ToGymnaxState]:
        obs, state = self.env.reset(key, params.inner)
        return obs, ToGymnaxState(time=jnp.int32(0), inner=state, terminated=jnp.bool_(False))

    def step_env(
        self, key: Array, state: ToGymnaxState, action: Any, params: ToGymnaxParams
    ) -> tuple[Array, ToGymnaxState, Array, Array, dict[Any, Any]]:
        after = self.env.step(key, state.inner, action, params.inner)
        entered = ToGymnaxState(time=state.time + 1, inner=after.state, terminated=after.terminated)
        return after.obs, entered, after.reward, after.terminated, dict(after.info)

    def is_terminated(self, state: ToGymnaxState, params: ToGymnaxParams) -> Array:
        return state.terminated

    def is_truncated(self, state: ToGymnaxState, params: ToGymnaxParams) -> Array:
        return (state.time >= params.max_steps_in_episode) & ~state.terminated

    @property
    def num_actions(self) -> int:
        return self.env.num_actions

    def action_space(self, params: ToGymnaxParams) -> spaces.Discrete:
        return _gymnax().environments.spaces.Discrete(self.env.num_actions)

    def observation_space(self, params: ToGymnaxParams) -> spaces.Space:
        spaces, space = _gymnax().environments.spaces, self.env.observation_space
        if isinstance(space, Discrete):
            return spaces.Discrete(space.size)
        return spaces.Box(-jnp.inf, jnp.inf, space.shape, jnp.float32)


def to_gymnax(env: Environment, params: Any) -> tuple[environment.Environment, ToGymnaxParams]:
    """Our environment and params as gymnax's, in the form that `gymnax.make` returns."""
    adapted = _joined(_gymnax().environments.environment.Environment)(env, params)
    return adapted, adapted.default_params


@cache
def _joined(base: type) -> Any:
    # gymnax brings matplotlib and seaborn, so its base class joins only when somebody adapts to it.
    return type("ToGymnax", (ToGymnax, base), {})


def _gymnax() -> Any:
    # Imported where it is used: it brings matplotlib and seaborn.
    import gymnax

    return gymnax
