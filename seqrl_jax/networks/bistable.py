"""Units that are switches: two states, held exactly until something strong enough comes, and all steps in parallel."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.linear import linear_scan
from seqrl_jax.networks.readout import Readout
from seqrl_jax.settings import PositiveFloat, Width


@jax.custom_jvp
def side(x: Array) -> Array:
    """The sign of x, -1 or 1, with the derivative of tanh in place of its own, which is 0."""
    return jnp.where(x < 0, -jnp.ones_like(x), jnp.ones_like(x))


@side.defjvp
def _side_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return side(x), (1 - jnp.square(jnp.tanh(x))) * dx


@jax.custom_jvp
def exceeds(x: Array) -> Array:
    """1 where x is positive, else 0, with the derivative of the logistic function in place of its own."""
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


@exceeds.defjvp
def _exceeds_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    gate = nn.sigmoid(x)
    return exceeds(x), gate * (1 - gate) * dx


class BMRU(Memory):
    """Bistable memory recurrent unit: a Schmitt trigger for every unit. Carry: [B, width], of -1, 0 (at first) and 1.

    `z = 1 where |c| > b, else 0`, `h' = z sign(c) + (1 - z) h` with the candidate `c = V x` and the threshold
    `b = |U x + d|`, `y = gelu(C [h, x])`. What a unit holds does not fade, whatever the time; what a linear memory
    holds does. The steps have derivatives of smooth ones (`side`, `exceeds`). Both look at the input alone, so that the
    recurrence is linear. Thresholds d lie evenly in [0, 2 `threshold`] at the start: some units listen, others hold.
    An input that comes twice leaves what it left when it came once: a unit says what came last of all that exceeds its
    threshold, never how long ago, so that "the one before this one" is beyond any number of units, and of layers.
    Source: De Geeter et al. (2026), "Parallelizable memory recurrent units"; it is their definition that a unit comes
    to rest within a step.
    """

    width: Width = 32
    threshold: PositiveFloat = 1.5

    @nn.nowrap
    def initial_carry(self, batch: int) -> Array:
        return jnp.zeros((batch, self.width))

    @nn.compact
    def unroll(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        states = self.held(carry, xs, firsts)
        return states[-1], Readout(self.width, name="readout")(states, xs)

    def held(self, carry: Array, xs: Codes, firsts: Array) -> Array:
        """What the units hold behind each step: [T, B, width]."""
        spread = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, 0.0, 2 * self.threshold)
        bias = self.param("threshold_bias", spread, (self.width,), jnp.float32)
        candidate = InputDense(self.width, use_bias=False, name="candidate")(xs)
        threshold = jnp.abs(InputDense(self.width, use_bias=False, name="threshold")(xs) + bias)
        switches = exceeds(jnp.abs(candidate) - threshold)
        return linear_scan(1 - switches, switches * side(candidate), carry, firsts)
