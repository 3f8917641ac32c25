"""Arrays are seen through Gaussian noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.settings import Weight
from seqrl_jax.tasks.environment import Box
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.codes import of_arrays
from seqrl_jax.tasks.wrappers.numbered import Numbered, Sensor


class Noise(Sensor):
    """Every number of every observation, the first one too, has Gaussian noise of its own, of standard deviation
    `params.number`: none is zero any more, whatever was."""

    @property
    def observation_space(self) -> Box:
        return Box(of_arrays(self.env.observation_space).shape)

    def _seen(self, key: Array, obs: Array, number: Array) -> Array:
        return obs + number * jax.random.normal(key, obs.shape)


@checked
def noise_env(ready: Ready, std: Weight) -> Ready:
    """An environment with noisy observations; see `Noise`. std: in the units of the observations.

    Raises: SpecError where observations are symbols.
    """
    of_arrays(ready.env.observation_space, noise=std)
    return Ready(Noise(ready.env), Numbered(ready.params, jnp.float32(std)))
