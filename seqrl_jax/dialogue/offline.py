"""Learning to speak from logs: what every such method shares, and imitation.

A method reads logged dialogues symbol by symbol, in either view. Decisions are the agent's own symbols alone (see
`decisions`). The discount is the game's, from turn to turn.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.data import Batch, Data, batch_of
from seqrl_jax.dialogue.decisions import mean_over
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.distributions import Categorical
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, Fraction, PositiveFloat, Several

Quantiles = Annotated[int, Meta(ge=2, le=1000)]


class Terms(NamedTuple):
    """loss: a scalar. metrics: scalars by name."""

    loss: Array
    metrics: dict[str, Array]


Reading = Callable[[Array | None], Outputs]
"""Outputs along the dialogues of an update; without dropout, or where a key drops features."""


@hyperparameters
class FromLogs(Method):
    """What methods share that learn from logs.

    Attributes: batch: dialogues per update. The others: see `Method`.
    """

    learning_rate: PositiveFloat = 0.01
    updates: Count = 4000
    batch: Several = 64

    @abstractmethod
    def terms(self, spelling: Spelling, data: Data, weights: Weights, target: Weights, key: Array) -> Terms:
        """Of an update. Args: weights, target: of the current and of the target network. key: of all its chances."""

    def follow(self, target: Weights, weights: Weights) -> Weights:
        """The target network after an update: the current one, where a method has no other."""
        return weights

    def drawn(self, key: Array, data: Data) -> Array:
        """[batch]: the dialogues of an update."""
        return jax.random.randint(key, (self.batch,), 0, data.symbol.shape[0])

    def update(
        self, game: Game, spelling: Spelling, data: Data, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        """One step down the loss."""
        key, terms_key = jax.random.split(training.key)
        terms = lambda weights: tuple(self.terms(spelling, data, weights, training.target, terms_key))
        gradient, metrics = jax.grad(terms, has_aux=True)(training.weights)
        change, opt_state = self.optimiser.update(gradient, training.opt_state, training.weights)
        weights = optax.apply_updates(training.weights, change)
        return Training(weights, self.follow(training.target, weights), opt_state, key), metrics


@hyperparameters
class Offline(FromLogs):
    """What methods share that learn from outputs along whole dialogues as they were logged."""

    def condition(self, batch: Batch) -> Array | None:
        """[T, B] int32: what a logged dialogue is read with."""
        return None

    @abstractmethod
    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        """Args: outputs, target: of the current and of the target weights, [T, B, ...] at the places of the batch."""

    def outputs(self, read: Reading, key: Array) -> Outputs:
        """Of the current weights."""
        return read(None)

    def target_outputs(self, read: Reading, key: Array) -> Outputs:
        """Of the target weights."""
        return read(None)

    def terms(self, spelling: Spelling, data: Data, weights: Weights, target: Weights, key: Array) -> Terms:
        symbol, batch = batch_of(data, spelling, self.drawn(key, data))
        reader, condition = self.reader(spelling), self.condition(batch)
        read = lambda weights: lambda drop_key: predictions(reader, weights, symbol, condition, drop_key)
        key, target_key = jax.random.split(jax.random.fold_in(key, 1))
        # XLA leaves out what no loss looks at.
        return self.loss(self.outputs(read(weights), key), self.target_outputs(read(target), target_key), batch)


def imitation(logits: Array, batch: Batch, weight: Array) -> Array:
    """Cross-entropy with what was said, at own places with this weight [T, B]."""
    return mean_over(weight, -Categorical(logits, batch.legal).log_prob(batch.symbol))


class Copying(Offline):
    """Says what was said."""

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols),)

    def copied(self, batch: Batch) -> Array:
        """[T, B] bool: what is learned from."""
        return batch.own

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        loss = imitation(outputs["policy"], batch, self.copied(batch).astype(jnp.float32))
        return Terms(loss, {"cross_entropy": loss})

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)


@hyperparameters
class Imitation(Copying):
    """Behaviour cloning.

    Attributes: best: of the dialogues in the log, the share with the highest returns that is copied; 1: all of them.
        Of equals all are copied or none; the very best always are.
    """

    best: Fraction = 1.0

    def copied(self, batch: Batch) -> Array:
        return batch.own & (batch.merit >= 1 - self.best)


@hyperparameters
class ReturnConditioned(Copying):
    """A decision transformer: says what was said in dialogues that ended as well as is wanted.

    The condition is the quantile of the whole return, so that no scale has to be known.
    Attributes: quantiles: how many. Source: Chen et al. (2021); `memory=transformer` reads as theirs does.
    """

    quantiles: Quantiles = 10

    def conditions(self, spelling: Spelling) -> int:
        return self.quantiles

    def condition(self, batch: Batch) -> Array | None:
        quantile = jnp.minimum((batch.merit * self.quantiles).astype(jnp.int32), self.quantiles - 1)
        return jnp.broadcast_to(quantile, batch.symbol.shape)

    @property
    def wanted(self) -> int:
        return self.quantiles - 1
