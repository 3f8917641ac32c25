"""The delta rule with a forgetting gate: a matrix that is corrected, not only added to."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Codes, InputDense
from seqrl_jax.networks.chunks import Arrays, MatrixMemory, attend, log_shares
from seqrl_jax.networks.mamba2 import DecayGate
from seqrl_jax.networks.readout import Readout
from seqrl_jax.networks.window import ShortConvolution
from seqrl_jax.settings import Depth

State = tuple[Array, Array]


class GatedDeltaNet(MatrixMemory):
    """`S' = alpha (I - beta k k^T) S + beta k v^T` and `y = S'^T q`, keys and queries of length one.

    What the state holds under the key k is replaced by v, to the share `beta = sigmoid(..)`; all of it decays by alpha,
    as in Mamba-2. Queries, keys and values pass a short convolution first; y is normalised per head and gated,
    `RMSNorm(y) silu(z)`, and read out with the input. Carry: (S [B, heads, D, D], the convolution's last inputs
    [B, window - 1, 3 width]).

    Within a chunk the rule is a sum, `S_t = share(t) S_0 + sum_s share(t, s) k_s u_s^T`, whose values solve the system
    `u_t + beta_t sum_{s<t} share(t, s) (k_t . k_s) u_s = beta_t (v_t - share(t) S_0^T k_t)`, the WY representation.

    Attributes: window: of the convolution.
    Source: Yang, Kautz & Hatamizadeh (2025), sec. 3.1 for the rule, 3.3 for the chunks, 3.4 for the block.
    """

    window: Depth = 4

    @nn.nowrap
    def initial_carry(self, batch: int) -> State:
        matrix = jnp.zeros((batch, self.heads, self.size, self.size))
        return matrix, jnp.zeros((batch, self.window - 1, 3 * self.width))

    @nn.compact
    def __call__(self, carry: State, xs: Codes, firsts: Array) -> tuple[State, Array]:
        matrix, before = carry
        mixed = InputDense(3 * self.width, use_bias=False, name="projection")(xs)
        gate = InputDense(self.width, use_bias=False, name="gate")(xs)
        before, mixed = ShortConvolution(self.window, name="convolution")(before, mixed, firsts)
        query, key, value = map(self.by_head, jnp.split(nn.silu(mixed), 3, -1))
        share = nn.sigmoid(InputDense(self.heads, name="share")(xs))
        log_decay, _ = DecayGate(self.heads, name="decay")(xs)
        steps = (_unit(query), _unit(key), value, share, log_decay)
        matrix, read = self.in_chunks(_advance, matrix, steps, (0, 0, 0, 0, 0), firsts)
        read = self.flat(nn.RMSNorm(epsilon=1e-5, name="norm")(read)) * nn.silu(gate)
        return (matrix, before), Readout(self.width, name="readout")(read, xs)


def _unit(vector: Array) -> Array:
    return vector * jax.lax.rsqrt(jnp.sum(jnp.square(vector), -1, keepdims=True) + 1e-6)


def _advance(matrix: Array, steps: Arrays, firsts: Array) -> tuple[Array, Array]:
    query, key, value, share, log_decay = steps
    within, before = map(jnp.exp, log_shares(log_decay, firsts))
    earlier = jnp.tril(jnp.ones((len(firsts),) * 2, bool), -1)[..., None, None]
    overlap = jnp.einsum("tbhk,sbhk->tsbh", key, key) * jnp.where(earlier, within, 0) * share[:, None]
    held = jnp.einsum("tbhk,bhkv->tbhv", key, matrix) * before[..., None]
    inverse = unit_lower_inverse(jnp.moveaxis(overlap, (0, 1), (-2, -1)))
    corrections = jnp.einsum("bhts,sbhv->tbhv", inverse, share[..., None] * (value - held))
    return attend(matrix, query, key, corrections, within, before)


def unit_lower_inverse(lower: Array) -> Array:
    """(I + L)^-1 [..., C, C] of L [..., C, C], of which the part below the diagonal is read.

    By halves, `[[A, 0], [B, D]]^-1 = [[A^-1, 0], [-D^-1 B A^-1, D^-1]]`: log2(C) pairs of products one after another,
    and no call of a linear algebra library.
    """
    size = lower.shape[-1]
    if size == 1:
        return jnp.ones_like(lower)
    half = size // 2
    top, bottom = unit_lower_inverse(lower[..., :half, :half]), unit_lower_inverse(lower[..., half:, half:])
    corner = -bottom @ lower[..., half:, :half] @ top
    above = jnp.concatenate([top, jnp.zeros_like(corner).swapaxes(-1, -2)], -1)
    return jnp.concatenate([above, jnp.concatenate([corner, bottom], -1)], -2)
