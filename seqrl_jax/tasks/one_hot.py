"""Discrete observations as vectors, for agents that read nothing else."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array

from seqrl_jax.tasks.environment import Box, Discrete, Environment, Transition, Wrapper, everything_in


class OneHot(Wrapper):
    """Observation i of a discrete space as the i-th unit vector."""

    @property
    def observation_space(self) -> Box:
        return Box((_size(self.env),), active=1)

    def observation_mask(self, params: Any) -> Array:
        return everything_in(self.observation_space)

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        obs, state = self.env.reset(key, params)
        return self._vector(obs), state

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        after = self.env.step(key, state, action, params)
        return after._replace(obs=self._vector(after.obs))

    def _vector(self, obs: Array) -> Array:
        return jax.nn.one_hot(obs, _size(self.env))


def one_hot(env: Environment) -> OneHot:
    """The environment with vectors for observations. Raises: ValueError where observations are not numbered."""
    _size(env)
    return OneHot(env)


def _size(env: Environment) -> int:
    if not isinstance(env.observation_space, Discrete):
        raise ValueError(f"observations are arrays of shape {env.observation_space.shape}, one-hot are numbered ones")
    return env.observation_space.size
