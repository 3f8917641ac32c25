"""Learning to speak from logs: what every such method shares, and imitation.

A method reads logged dialogues symbol by symbol, in either view. Decisions are the agent's own symbols alone (see
`decisions`). The discount is the game's, from turn to turn.
"""

from __future__ import annotations

from abc import abstractmethod
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
from seqrl_jax.settings import Fraction, PositiveFloat, Several

Quantiles = Annotated[int, Meta(ge=2, le=1000)]


class Terms(NamedTuple):
    """loss: a scalar. metrics: scalars by name."""

    loss: Array
    metrics: dict[str, Array]


@hyperparameters
class Offline(Method):
    """What methods share that learn from logs.

    Attributes: batch: dialogues per update. The others: see `Method`.
    """

    learning_rate: PositiveFloat = 0.01
    batch: Several = 256

    def condition(self, batch: Batch) -> Array | None:
        """[T, B] int32: what a logged dialogue is read with."""
        return None

    @abstractmethod
    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        """Args: outputs, target: of the current and of the target weights, [T, B, ...] at the places of the batch."""

    def follow(self, target: Weights, weights: Weights) -> Weights:
        """The target network after an update: the current one, where a method has no other."""
        return weights

    def drawn(self, key: Array, data: Data) -> Array:
        """[batch]: the dialogues of an update."""
        return jax.random.randint(key, (self.batch,), 0, data.symbol.shape[0])

    def update(
        self, game: Game, spelling: Spelling, data: Data, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        """One step down the loss on dialogues drawn from the log."""
        key, draw_key = jax.random.split(training.key)
        reader = self.reader(spelling)
        symbol, batch = batch_of(data, spelling, self.drawn(draw_key, data))
        condition = self.condition(batch)
        outputs = lambda weights: predictions(reader, weights, symbol, condition)
        # XLA leaves out what no loss looks at.
        target = outputs(training.target)

        def loss(weights: Weights) -> tuple[Array, dict[str, Array]]:
            return self.loss(outputs(weights), target, batch)

        gradient, metrics = jax.grad(loss, has_aux=True)(training.weights)
        change, opt_state = self.optimiser.update(gradient, training.opt_state, training.weights)
        weights = optax.apply_updates(training.weights, change)
        return Training(weights, self.follow(training.target, weights), opt_state, key), metrics


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

    @property
    def conditions(self) -> int:
        return self.quantiles

    def condition(self, batch: Batch) -> Array | None:
        quantile = jnp.minimum((batch.merit * self.quantiles).astype(jnp.int32), self.quantiles - 1)
        return jnp.broadcast_to(quantile, batch.symbol.shape)

    @property
    def wanted(self) -> int:
        return self.quantiles - 1
