"""Replay of sequences: a ring of whole rollouts, from which single environments' sequences are drawn."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Capacity, Exponent, Share


class Replay(NamedTuple):
    """The last N blocks of T steps of B environments.

    data: what was added, [N, B, ...]. priority: [N, B], 0 where nothing was added yet. added: int32, blocks so far.
    """

    data: Any
    priority: Array
    added: Array

    @property
    def newest(self) -> Array:
        """The slot of the block that was added last."""
        return (self.added - 1) % self.priority.shape[0]


@hyperparameters
class Uniform:
    """Sequences are drawn alike. Attribute: capacity: environment steps of a run that are kept."""

    capacity: Capacity = 4096

    priority_exponent = 0.0
    importance_exponent = 0.0


@hyperparameters
class Prioritised:
    """Sequences are drawn by their TD errors. Source: Schaul et al. (2016), sec. 3; Kapturowski et al. (2019).

    Attributes: capacity: environment steps of a run that are kept. priority_exponent: alpha, 0 for all alike.
        importance_exponent: beta, of the weights that make up for it.
    """

    capacity: Capacity = 4096
    priority_exponent: Exponent = 0.9
    importance_exponent: Share = 0.6


BUFFERS = {"uniform": Uniform, "prioritised": Prioritised}
BufferField = Annotated[Uniform | Prioritised, Choice(BUFFERS), TRACED]


class Replaying(Protocol):
    """The fields of an agent that learns from replayed sequences."""

    @property
    def num_envs(self) -> int: ...

    @property
    def rollout_length(self) -> int: ...

    @property
    def batch_sequences(self) -> int: ...

    @property
    def learning_steps(self) -> int: ...


AnyReplaying = TypeVar("AnyReplaying", bound=Replaying)


def resized(agent: AnyReplaying, num_envs: int, length: int) -> AnyReplaying:
    """An agent whose rollouts have another shape: as many steps in a batch, and as many gradient steps for an
    environment step, also where one environment is already more than there were."""
    longer = num_envs * length / (agent.num_envs * agent.rollout_length)
    return dataclasses.replace(  # type: ignore[type-var]
        agent,
        num_envs=num_envs,
        rollout_length=length,
        batch_sequences=max(1, agent.batch_sequences * agent.rollout_length // length),
        learning_steps=max(1, round(agent.learning_steps * longer)),
    )


class Draw(NamedTuple):
    """Sequences drawn: slot and env [M], and the probability of each [M]."""

    slot: Array
    env: Array
    probability: Array


def empty(blocks: int, example: Any) -> Replay:
    """Room for `blocks` blocks shaped like `example` [B, ...]."""
    data = jax.tree.map(lambda leaf: jnp.zeros((blocks, *leaf.shape), leaf.dtype), example)
    num_envs = jax.tree.leaves(example)[0].shape[0]
    return Replay(data, jnp.zeros((blocks, num_envs)), jnp.int32(0))


def add(replay: Replay, block: Any) -> Replay:
    """The block takes the place of the oldest one, with the largest priority so far (Schaul et al., 2016, sec. 3.3)."""
    slot = replay.added % replay.priority.shape[0]
    data = jax.tree.map(lambda ring, leaf: ring.at[slot].set(leaf), replay.data, block)
    largest = jnp.where(replay.added == 0, 1.0, replay.priority.max())
    return Replay(data, replay.priority.at[slot].set(largest), replay.added + 1)


def sample(key: Array, replay: Replay, sequences: int, exponent: Array | float, after_another: bool) -> Draw:
    """Draw sequences with probability in proportion to priority ** exponent (0: all alike).

    `after_another` leaves out a block whose predecessor was overwritten. (The first block of all has none, and begins
    with first observations.)
    """
    blocks, num_envs = replay.priority.shape
    filled = replay.priority > 0
    law = jnp.where(filled, jnp.where(filled, replay.priority, 1.0) ** exponent, 0.0)
    if after_another:
        overwritten = (replay.added > blocks) & (jnp.arange(blocks) == replay.added % blocks)
        law = jnp.where(overwritten[:, None], 0.0, law)
    cumulative = jnp.cumsum(law.ravel())
    # Just below 1, so that rounding never leads beyond the last place that can be drawn.
    at = jax.random.uniform(key, (sequences,)) * cumulative[-1] * (1 - 1e-6)
    flat = jnp.searchsorted(cumulative, at, side="right").astype(jnp.int32)
    return Draw(flat // num_envs, flat % num_envs, law.ravel()[flat] / cumulative[-1])


def read(replay: Replay, slot: Array, env: Array) -> Any:
    """The sequences [M, ...] at these places."""
    return jax.tree.map(lambda ring: ring[slot, env], replay.data)


def before(replay: Replay, slot: Array) -> Array:
    """The slots of the blocks that were added just before these."""
    return (slot - 1) % replay.priority.shape[0]


def set_priority(replay: Replay, drawn: Draw, priority: Array) -> Replay:
    """New priorities [M] of the sequences drawn; of one drawn twice, the larger. None falls to 0, which means empty."""
    priority = jnp.maximum(priority, SMALLEST_PRIORITY)
    cleared = replay.priority.at[drawn.slot, drawn.env].set(0.0)
    return replay._replace(priority=cleared.at[drawn.slot, drawn.env].max(priority))


SMALLEST_PRIORITY = 1e-6
