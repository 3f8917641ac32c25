"""Functions of what has been seen: a memory over the observations, and one linear layer over the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.networks import features
from seqrl_jax.memory import Memory, Table
from seqrl_jax.tasks.environment import Discrete, Space

Step = Callable[[Any, Array, Array], tuple[Any, Array]]
"""(carry, obs [B, ...], first [B] bool) -> carry, outputs [B, outputs]."""


@dataclass(frozen=True)
class HistoryFunction:
    """(carry, obs, first) -> outputs. The last layer starts at zero, so that all outputs do.

    Attributes: memory: the backbone. outputs: how many. space: of the observations. normalise: whether the features
    are normalised before the last layer (Ba et al., 2016).
    """

    memory: Memory
    outputs: int
    space: Space
    normalise: bool = False

    def init(self, key: Array) -> Any:
        example = jnp.zeros((), jnp.int32) if isinstance(self.space, Discrete) else jnp.zeros(self.space.shape)
        inputs = features(example, self.space).shape[-1]
        head = {"kernel": jnp.zeros((self.memory.features(inputs), self.outputs))}
        if not isinstance(self.memory, Table):
            head["bias"] = jnp.zeros(self.outputs)
        return {"memory": self.memory.init(key, inputs), "head": head}

    def initialise(self, weights: Any, batch: int) -> Any:
        """The carry [B, ...] before an episode."""
        return self.memory.initialise(weights["memory"], batch)

    def step(self, weights: Any, carry: Any, obs: Array, first: Array) -> tuple[Any, Array]:
        """One step of B episodes: the carry, and outputs [B, outputs]."""
        carry, seen = self.memory.step(weights["memory"], carry, features(obs, self.space), first)
        return carry, self._head(weights["head"], seen)

    def unroll(self, weights: Any, carry: Any, obs: Array, first: Array) -> Array:
        """Outputs [T, B, outputs] along a rollout: obs [T, B, ...], first [T, B] bool."""
        _, seen = self.memory.unroll(weights["memory"], carry, features(obs, self.space), first)
        return self._head(weights["head"], seen)

    def carry_after(self, weights: Any, carry: Any, obs: Array, first: Array) -> Any:
        """The carry after a rollout: obs [T, B, ...], first [T, B] bool."""
        return self.memory.unroll(weights["memory"], carry, features(obs, self.space), first)[0]

    def unroll_pairs(
        self, weights: Any, carry: Any, obs: Array, first: Array, next_obs: Array, across_truncation: bool
    ) -> tuple[Array, Array]:
        """Outputs at o_t, and at the observation that really followed step t: both [T, B, outputs].

        Inside an episode the second is the first, one step later; after the rollout's last step it is at `next_obs`.
        Where an episode ended inside the rollout, it is what the *next* episode begins with and must not be used,
        unless `across_truncation`: then the memory steps to `next_obs` at every t, at twice the cost.
        """
        if not across_truncation:
            more_obs = jnp.concatenate([obs, next_obs[-1:]])
            more_first = jnp.concatenate([first, jnp.zeros_like(first[:1])])
            out = self.unroll(weights, carry, more_obs, more_first)
            return out[:-1], out[1:]

        def both(carry: Any, at: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
            obs_t, first_t, next_obs_t = at
            carry, here = self.step(weights, carry, obs_t, first_t)
            return carry, (here, self.step(weights, carry, next_obs_t, jnp.zeros_like(first_t))[1])

        return jax.lax.scan(both, carry, (obs, first, next_obs))[1]

    def acting(self, weights: Any) -> Step:
        """`step` with these weights; tabulated where it is a function of one integer observation."""
        if self.memory.reach == 1 and isinstance(self.space, Discrete):
            table = self.table(weights)
            return lambda carry, obs, first: (carry, table[obs])
        return lambda carry, obs, first: self.step(weights, carry, obs, first)

    def table(self, weights: Any) -> Array:
        """[O, outputs]: the outputs at every observation, of a function that remembers nothing."""
        assert isinstance(self.space, Discrete), "only discrete observations can be listed"
        assert self.memory.reach == 1, "a function of the history is no table over observations"
        size = self.space.size
        return self.step(weights, self.initialise(weights, size), jnp.arange(size), jnp.zeros(size, bool))[1]

    def _head(self, head: Any, seen: Array) -> Array:
        if self.normalise:
            centred = seen - seen.mean(-1, keepdims=True)
            seen = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
        return seen @ head["kernel"] + head.get("bias", 0.0)


def single(function: HistoryFunction, weights: Any, choose: Callable[[Array, Array], Array]) -> Policy:
    """The policy of one environment that chooses by the function's outputs: choose(key, outputs [outputs])."""
    step = function.acting(weights)

    def act(key: Array, carry: Any, obs: Array) -> tuple[Any, Array]:
        carry, out = step(carry, obs[None], jnp.zeros(1, bool))
        return carry, choose(key, out[0])

    return Policy(lambda: function.initialise(weights, 1), act)
