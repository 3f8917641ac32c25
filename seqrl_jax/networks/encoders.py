"""What an agent sees at a step, as one vector."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.experience import StepInput
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense
from seqrl_jax.tasks.environment import Discrete, Space


class Encoder(nn.Module):
    """Codes of o_t and, if wanted, of a_{t-1} and r_{t-1}, of norm about one together.

    Integers become one-hot codes, images [H, W, C] are convolved, other arrays enter
    flat, divided by the root of how many numbers are not zero at once.

    Attributes:
        space: of the observations. action_space: of the actions.
        previous_action, previous_reward: whether a_{t-1} and r_{t-1} are seen.
    """

    space: Space
    action_space: Space
    previous_action: bool = False
    previous_reward: bool = False

    @nn.compact
    def __call__(self, inputs: StepInput) -> Codes:
        parts = [self._observation(inputs.obs)]
        if self.previous_action:
            done = action_code(inputs.previous_action, self.action_space)
            parts.append(jnp.where(inputs.first[..., None], 0.0, done))
        if self.previous_reward:
            parts.append(symlog(jnp.where(inputs.first, 0.0, inputs.previous_reward))[..., None])
        return tuple(part * len(parts) ** -0.5 for part in parts)

    def _observation(self, obs: Array) -> Array:
        if isinstance(self.space, Discrete):
            return code(obs, self.space)
        if len(self.space.shape) == 3:
            return Convolutions()(obs)
        return code(obs, self.space) * (self.space.active or code_size(self.space)) ** -0.5


class Convolutions(nn.Module):
    """A layer of 3 x 3 filters and a linear one, for images [..., H, W, C]: [..., width] of norm about one.

    Source: Young & Tian (2019), MinAtar, whose networks have these layers (and 128 units in the second).
    """

    filters: int = 16
    width: int = 64

    @nn.compact
    def __call__(self, image: Array) -> Array:
        x = nn.relu(Dense(self.filters, kernel_init=DENSE_INIT)(patches(image.astype(jnp.float32))))
        flat = x.reshape(*x.shape[:-3], -1)
        return nn.tanh(Dense(self.width, kernel_init=DENSE_INIT)(flat)) * self.width**-0.5


def patches(image: Array) -> Array:
    """What a 3 x 3 filter sees at every place of images [..., H, W, C], zeros around them: [..., H, W, 9 C].

    A convolution is a linear layer of these. As `lax.conv` it is a grouped one under `vmap` over weights, and what XLA
    takes on a CPU for its gradient by the input is tens of times as long.
    """
    around = jnp.pad(image, [(0, 0)] * (image.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    height, width = image.shape[-3:-1]
    shifted = [around[..., i : i + height, j : j + width, :] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, -1)


def code(obs: Array, space: Space) -> Array:
    """One-hot codes of integer observations, flat vectors of arrays: [..., F] float32."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.size)
    return obs.reshape(*obs.shape[: obs.ndim - len(space.shape)], -1).astype(jnp.float32)


def action_code(action: Array, space: Space) -> Array:
    """[..., F] of actions: their codes, of norm about one."""
    return code(action, space) * (1.0 if isinstance(space, Discrete) else code_size(space) ** -0.5)


def code_size(space: Space) -> int:
    """F of `code`."""
    return space.size if isinstance(space, Discrete) else math.prod(space.shape)


def symlog(x: Array) -> Array:
    """`sign(x) log(1 + |x|)`, so that rewards of any size can be read. Source: Hafner et al. (2023), eq. 10."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))
