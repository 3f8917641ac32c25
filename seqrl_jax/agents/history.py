"""Functions of what has been seen: a memory over the observations, and one linear layer over the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.networks import blocks, features
from seqrl_jax.agents.rollout import Experience, StepInput
from seqrl_jax.memory import Memory, Table
from seqrl_jax.memory.base import total
from seqrl_jax.tasks.environment import Discrete, Space, split_key_cheaply

Step = Callable[[Any, StepInput, Array | None], tuple[Any, Array]]
"""(carry, what is seen [B], key or None) -> carry, outputs [B, outputs]."""


@dataclass(frozen=True)
class HistoryFunction:
    """(carry, seen) -> outputs. The last layer starts at zero, so that all outputs do.

    `key` is for functions that draw a state (`LatentFunction`); without one they use its mean. This one draws nothing.

    Attributes: memory: the backbone. outputs: how many. space: of the observations. normalise: whether the features
    are normalised before the last layer (Ba et al., 2016).
    """

    memory: Memory
    outputs: int
    space: Space
    normalise: bool = False

    def init(self, key: Array) -> Any:
        inputs = blocks(self.space)
        head = {"kernel": jnp.zeros((self.memory.features(total(inputs)), self.outputs))}
        if not isinstance(self.memory, Table):
            head["bias"] = jnp.zeros(self.outputs)
        return {"memory": self.memory.init(key, inputs), "head": head}

    def initialise(self, weights: Any, batch: int) -> Any:
        """The carry [B, ...] before an episode."""
        return self.memory.initialise(weights["memory"], batch)

    def step(self, weights: Any, carry: Any, seen: StepInput, key: Array | None = None) -> tuple[Any, Array]:
        """One step of B episodes: the carry, and outputs [B, outputs]."""
        carry, kept = self.memory.step(weights["memory"], carry, features(seen.obs, self.space), seen.first)
        return carry, self._head(weights["head"], kept)

    def unroll(self, weights: Any, carry: Any, seen: StepInput, key: Array | None = None) -> Array:
        """Outputs [T, B, outputs] along what was seen [T, B]."""
        _, kept = self.memory.unroll(weights["memory"], carry, features(seen.obs, self.space), seen.first)
        return self._head(weights["head"], kept)

    def carry_after(self, weights: Any, carry: Any, seen: StepInput) -> Any:
        """The carry after what was seen [T, B]."""
        return self.memory.unroll(weights["memory"], carry, features(seen.obs, self.space), seen.first)[0]

    def model_loss(
        self, weights: Any, carry: Any, seen: Experience, observation_mask: Array, key: Array
    ) -> tuple[Array, dict[str, Array]]:
        """What the memory learns by itself along a rollout [T, B], and the terms of it: nothing."""
        return jnp.float32(0), {}

    def unroll_pairs(
        self,
        weights: Any,
        carry: Any,
        seen: StepInput,
        action: Array,
        next_obs: Array,
        across_truncation: bool,
        key: Array | None = None,
    ) -> tuple[Array, Array]:
        """Outputs at o_t, and at the observation that really followed step t: both [T, B, outputs].

        Inside an episode the second is the first, one step later; after the rollout's last step it is at `next_obs`.
        Where an episode ended inside the rollout, it is what the *next* episode begins with and must not be used,
        unless `across_truncation`: then the memory steps to `next_obs` at every t, at twice the cost.
        """
        following = StepInput(next_obs, jnp.zeros_like(seen.first), action)
        if not across_truncation:
            more = jax.tree.map(lambda here, after: jnp.concatenate([here, after[-1:]]), seen, following)
            out = self.unroll(weights, carry, more, key)
            return out[:-1], out[1:]

        def both(carry: Any, at: tuple[StepInput, StepInput]) -> tuple[Any, tuple[Array, Array]]:
            carry, here = self.step(weights, carry, at[0], key)
            return carry, (here, self.step(weights, carry, at[1], key)[1])

        return jax.lax.scan(both, carry, (seen, following))[1]

    def acting(self, weights: Any) -> Step:
        """`step` with these weights; tabulated where it is a function of one integer observation."""
        if self.memory.reach == 1 and isinstance(self.space, Discrete):
            table = self.table(weights)
            return lambda carry, seen, key: (carry, table[seen.obs])
        return lambda carry, seen, key: self.step(weights, carry, seen, key)

    def table(self, weights: Any) -> Array:
        """[O, outputs]: the outputs at every observation, of a function that remembers nothing."""
        assert isinstance(self.space, Discrete), "only discrete observations can be listed"
        assert self.memory.reach == 1, "a function of the history is no table over observations"
        size = self.space.size
        every = StepInput(jnp.arange(size), jnp.zeros(size, bool), jnp.zeros(size, jnp.int32))
        return self.step(weights, self.initialise(weights, size), every)[1]

    def _head(self, head: Any, kept: Array) -> Array:
        # A table's features are the code itself, whose mean would tell how many observations it has room for.
        if self.normalise and not isinstance(self.memory, Table):
            centred = kept - kept.mean(-1, keepdims=True)
            kept = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
        return kept @ head["kernel"] + head.get("bias", 0.0)


def single(step: Step, start: Any, choose: Callable[[Array, Array], Array]) -> Policy:
    """The policy of one environment that chooses by a function's outputs.

    Args: step: what acts. start: its carry [1, ...] before an episode. choose: (key, outputs [outputs]) -> action.
    """

    def act(key: Array, before: tuple[Any, Array, Array], obs: Array) -> tuple[tuple[Any, Array, Array], Array]:
        carry, first, previous = before
        carry, out = step(carry, StepInput(obs[None], first, previous), split_key_cheaply(key))
        action = choose(key, out[0])
        return (carry, jnp.zeros(1, bool), action[None]), action

    return Policy(lambda: (start, jnp.ones(1, bool), jnp.zeros(1, jnp.int32)), act)
