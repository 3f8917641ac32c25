"""Wrappers that have numbers of their own: they stand in the params, where `vmap` may batch them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax import Array

from seqrl_jax.tasks.environment import Transition, Wrapper


class Numbered(NamedTuple):
    """inner: the params of the wrapped environment. number: the wrapper's own, a scalar or a pytree of arrays."""

    inner: Any
    number: Any


class NumberedWrapper(Wrapper):
    """An environment whose params are `Numbered`."""

    def reset(self, key: Array, params: Numbered) -> tuple[Array, Any]:
        return self.env.reset(key, params.inner)

    def step(self, key: Array, state: Any, action: Array, params: Numbered) -> Transition:
        return self.env.step(key, state, action, params.inner)

    def action_mask(self, params: Numbered) -> Array:
        return self.env.action_mask(params.inner)

    def observation_mask(self, params: Numbered) -> Array:
        return self.env.observation_mask(params.inner)

    def discount(self, params: Numbered) -> Array:
        return self.env.discount(params.inner)

    def horizon(self, params: Numbered) -> Array:
        return self.env.horizon(params.inner)


class Sensor(NumberedWrapper):
    """Every observation, the first one too, is seen through a sensor that draws a chance of its own."""

    def reset(self, key: Array, params: Numbered) -> tuple[Array, Any]:
        inner_key, own_key = jax.random.split(key)
        obs, state = self.env.reset(inner_key, params.inner)
        return self._seen(own_key, obs, params.number), state

    def step(self, key: Array, state: Any, action: Array, params: Numbered) -> Transition:
        inner_key, own_key = jax.random.split(key)
        after = self.env.step(inner_key, state, action, params.inner)
        return after._replace(obs=self._seen(own_key, after.obs, params.number))

    def _seen(self, key: Array, obs: Array, number: Array) -> Array:
        raise NotImplementedError
