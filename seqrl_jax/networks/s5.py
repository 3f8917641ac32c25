"""The diagonal state-space model with many inputs and outputs."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.linear import linear_scan
from seqrl_jax.networks.readout import Readout
from seqrl_jax.settings import Depth, Part, Width


class S5(Memory):
    """A linear system in continuous time, `h'(t) = Lambda h(t) + B x(t)`, whose input is held through each step.

    `h' = exp(Lambda Delta) h + Lambda^-1 (exp(Lambda Delta) - 1) B x`, `y = gelu(C [Re h, Im h] + D x)`: one system for
    all inputs. Of each pair of conjugate states one is kept. Lambda starts at HiPPO-N's eigenvalues and stays stable,
    each state has a step Delta of its own. Carry: [B, width] complex64.

    Attributes:
        width: of the state and of the output. blocks: of HiPPO-N matrices on the diagonal, must divide width.
        smallest_step, largest_step: between which Delta starts.
    Source: Smith et al. (2023), sec. 3 and app. B.1; Lu et al. (2023) for the scan with resets.
    """

    width: Width = 32
    blocks: Depth = 4
    smallest_step: Part = 0.001
    largest_step: Part = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.blocks == 0, "blocks must divide width", width=self.width, blocks=self.blocks)
        ends = {"smallest_step": self.smallest_step, "largest_step": self.largest_step}
        require(self.smallest_step <= self.largest_step, "no step lies between them", **ends)

    @nn.nowrap
    def initial_carry(self, batch: int) -> Array:
        return jnp.zeros((batch, self.width), complex)

    @nn.compact
    def unroll(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        rate = jnp.exp(self.param("log_rate", nn.initializers.constant(math.log(0.5)), (self.width,)))
        frequency = self.param("frequency", self._frequencies, (self.width,))
        step = jnp.exp(self.param("log_step", self._log_steps, (self.width,)))
        decay, gain = held(rate, frequency, step)
        # HiPPO-N is normal: in the basis of its eigenvectors a Gaussian B is Gaussian, half of it imaginary.
        real, imaginary = jnp.split(InputDense(2 * self.width, use_bias=False, name="input")(xs) * 2**-0.5, 2, -1)
        drive = gain * jax.lax.complex(real, imaginary)
        states = linear_scan(jnp.broadcast_to(decay, drive.shape), drive, carry, firsts)
        return states[-1], Readout(self.width, name="readout")(jnp.concatenate([states.real, states.imag], -1), xs)

    def _frequencies(self, key: Array, shape: tuple[int, ...]) -> Array:
        return jnp.tile(jnp.asarray(hippo_frequencies(self.width // self.blocks), float), self.blocks)

    def _log_steps(self, key: Array, shape: tuple[int, ...]) -> Array:
        ends = math.log(self.smallest_step), math.log(self.largest_step)
        return jax.random.uniform(key, shape, minval=ends[0], maxval=ends[1])


def held(rate: Array, frequency: Array, step: Array) -> tuple[Array, Array]:
    """What a step of length Delta keeps of a state with eigenvalue -rate + i frequency, and takes of an input held on.

    Args: rate, frequency, step: [...]. Returns: exp(lambda Delta) and (exp(lambda Delta) - 1) / lambda, [...] complex.
    Source: Smith et al. (2023), sec. 3.2, zero-order hold.
    """
    grown = jnp.expm1(jax.lax.complex(-rate * step, frequency * step))
    return 1 + grown, grown / jax.lax.complex(-rate, frequency)


def hippo_frequencies(pairs: int) -> np.ndarray:
    """Imaginary parts of HiPPO-N's eigenvalues for 2 pairs states, the positive ones, rising. All real parts are -1/2.

    HiPPO-N is HiPPO-LegS plus the product P P^T that makes it normal; plus 1/2 it is skew-symmetric.
    Source: Gu et al. (2020) for HiPPO-LegS; Smith et al. (2023), app. B.1.
    """
    rank_one = np.sqrt(np.arange(2 * pairs) + 0.5)
    lower = np.tril(np.outer(rank_one, rank_one), -1)
    return np.linalg.eigvalsh(1j * (lower - lower.T))[pairs:]
