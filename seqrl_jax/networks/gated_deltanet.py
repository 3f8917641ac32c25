"""The delta rule with a forgetting gate: a matrix that is corrected, not only added to."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.chunks import Arrays, LinearChunk, MatrixMemory, advance, attended, log_shares
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.mamba2 import DecayGate
from seqrl_jax.networks.readout import Readout
from seqrl_jax.networks.window import ShortConvolution
from seqrl_jax.settings import Count, Depth

State = tuple[Array, Array]


class GatedDeltaNet(MatrixMemory):
    """`S' = alpha (I - beta k k^T) S + beta k v^T` and `y = S'^T q`, keys and queries of length one.

    What the state holds under the key k is replaced by v, to the share `beta = sigmoid(..)`; all of it decays by alpha,
    as in Mamba-2. Queries, keys and values pass a short convolution first; y is normalised per head and gated,
    `RMSNorm(y) silu(z)`, and read out with the input. Carry: (S [B, heads, D, D], the convolution's last inputs
    [B, window - 1, 3 width]).

    Within a chunk the rule is a sum, `S_t = share(t) S_0 + sum_s share(t, s) k_s u_s^T`, whose values solve the system
    `u_t + beta_t sum_{s<t} share(t, s) (k_t . k_s) u_s = beta_t (v_t - share(t) S_0^T k_t)`, the WY representation:
    C steps of substitution, in all chunks at once, and then T / C from chunk to chunk.

    Attributes: window: of the convolution. chunk: C; C + T / C steps are fewest near the root of T.
    Source: Yang, Kautz & Hatamizadeh (2025), sec. 3.1 for the rule, 3.3 for the chunks, 3.4 for the block.
    """

    chunk: Count = 16
    window: Depth = 4

    @nn.nowrap
    def initial_carry(self, batch: int) -> State:
        matrix = jnp.zeros((batch, self.heads, self.size, self.size))
        return matrix, jnp.zeros((batch, self.window - 1, 3 * self.width))

    @nn.compact
    def unroll(self, carry: State, xs: Codes, firsts: Array) -> tuple[State, Array]:
        matrix, before = carry
        mixed = InputDense(3 * self.width, use_bias=False, name="projection")(xs)
        gate = InputDense(self.width, use_bias=False, name="gate")(xs)
        before, mixed = ShortConvolution(self.window, name="convolution")(before, mixed, firsts)
        query, key, value = map(self.by_head, jnp.split(nn.silu(mixed), 3, -1))
        share = nn.sigmoid(InputDense(self.heads, name="share")(xs))
        log_decay, _ = DecayGate(self.heads, name="decay")(xs)
        steps = (_unit(query), _unit(key), value, share, log_decay)
        matrix, read = self.in_chunks(_prepare, _advance, matrix, steps, (0, 0, 0, 0, 0), firsts)
        read = self.flat(nn.RMSNorm(epsilon=1e-5, name="norm")(read)) * nn.silu(gate)
        return (matrix, before), Readout(self.width, name="readout")(read, xs)


def _unit(vector: Array) -> Array:
    return vector * jax.lax.rsqrt(jnp.sum(jnp.square(vector), -1, keepdims=True) + 1e-6)


def _prepare(steps: Arrays, firsts: Array) -> tuple[LinearChunk, Array]:
    """The chunk as if it only added, but with its own corrections; and what it erases, [B, heads, K, K]."""
    query, key, value, share, log_decay = steps
    within, before = map(jnp.exp, log_shares(log_decay, firsts))
    earlier = jnp.tril(jnp.ones((len(firsts),) * 2, bool), -1)[..., None, None]
    overlap = share[:, None] * jnp.einsum("tbhk,sbhk->tsbh", key, key) * jnp.where(earlier, within, 0)
    # u = corrected - held S solves the system whatever S is: one solution for both.
    right = share[..., None] * jnp.concatenate([value, key * before[..., None]], -1)
    both = attended(query, key, solve_unit_lower(overlap, right), within, before)
    read, held = jnp.split(both.read, [value.shape[-1]], -1)
    added, erased = jnp.split(both.added, [value.shape[-1]], -1)
    return LinearChunk(both.query - held, read, both.left, added), erased


def _advance(matrix: Array, chunk: tuple[LinearChunk, Array]) -> tuple[Array, Array]:
    corrected, erased = chunk
    after, read = advance(matrix, corrected)
    return after - jnp.einsum("bhkl,bhlv->bhkv", erased, matrix), read


def solve_unit_lower(lower: Array, right: Array) -> Array:
    """x [C, ..., N] of `x_t + sum_{s<t} L_ts x_s = b_t`, by substitution. Its gradient is another such solution.

    Args: lower: L [C, C, ...], zero where s >= t. right: b [C, ..., N].
    """

    def substitute(columns: Array, right: Array, reverse: bool) -> Array:
        take = lambda x, at: (x - at[1][..., None] * x[at[0]], None)
        return jax.lax.scan(take, right, (jnp.arange(len(right)), columns), reverse=reverse)[0]

    return jax.lax.custom_linear_solve(
        lambda x: x + jnp.einsum("ts...,s...n->t...n", lower, x),
        right,
        lambda _, right: substitute(lower.swapaxes(0, 1), right, reverse=False),
        lambda _, right: substitute(lower, right, reverse=True),
    )
