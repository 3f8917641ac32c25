"""Learning to speak from logs: imitation, and values of what was said.

A method reads logged dialogues symbol by symbol, in either view. Decisions are the agent's own symbols alone: what the
other says is read and never chosen, it neither ends a return nor counts as a step. The discount is the game's, from
turn to turn.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.data import Batch, Data, batch_of
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.reader import Outputs, read
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.naming import check, require
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Fraction, Several, Share, Weight

MOST_MERIT = 20.0
"""Of a weight of imitation: exponentials have no largest."""
Quantiles = Annotated[int, Meta(ge=2, le=1000)]


def at_next_decision(value: Array, own: Array) -> Array:
    """[T, B]: the value [T, B] at the next own place behind each, 0 where none follows."""

    def back(later: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        value, own = at
        return jnp.where(own, value, later), later

    return jax.lax.scan(back, jnp.zeros(value.shape[1:]), (value, own), reverse=True)[1]


def return_to_go(reward: Array, onward: Array, own: Array) -> Array:
    """[T, B]: of own places, the discounted rewards from there on."""

    def back(later: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        reward, onward, own = at
        here = jnp.where(own, reward + onward * later, later)
        return here, here

    return jax.lax.scan(back, jnp.zeros(reward.shape[1:]), (reward, onward, own), reverse=True)[1]


def mean_over(weight: Array, value: Array) -> Array:
    """The mean of a value [T, B] where it counts; what does not count may be anything but no number."""
    return jnp.sum(jnp.where(weight > 0, weight * value, 0.0)) / jnp.maximum(jnp.sum(weight), 1e-9)


class Terms(NamedTuple):
    """loss: a scalar. metrics: scalars by name."""

    loss: Array
    metrics: dict[str, Array]


@hyperparameters
class Offline(Method):
    """What methods share that learn from logs.

    Attributes: batch: dialogues per update. polyak: how far the target network moves towards the current one in an
        update. The others: see `Method`.
    """

    batch: Several = 64
    polyak: Fraction = 0.005

    def condition(self, batch: Batch) -> Array | None:
        """[T, B] int32: what a logged dialogue is read with."""
        return None

    @abstractmethod
    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        """Args: outputs, target: of the current and of the target weights, [T, B, ...] at the places of the batch."""

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
        # One place more is read than is decided at.
        condition = None if condition is None else jnp.concatenate([condition[:1], condition])
        before = lambda weights: {name: leaf[:-1] for name, leaf in read(reader, weights, symbol, condition).items()}
        target = before(training.target)

        def loss(weights: Weights) -> tuple[Array, dict[str, Array]]:
            return self.loss(before(weights), target, batch)

        gradient, metrics = jax.grad(loss, has_aux=True)(training.weights)
        change, opt_state = self.optimiser.update(gradient, training.opt_state, training.weights)
        weights = optax.apply_updates(training.weights, change)
        polyak = optax.incremental_update(weights, training.target, self.polyak)
        return Training(weights, polyak, opt_state, key), metrics


def imitation(logits: Array, batch: Batch, weight: Array) -> Array:
    """Cross-entropy with what was said, at own places with this weight [T, B]."""
    return mean_over(weight, -Categorical(logits, batch.legal).log_prob(batch.symbol))


@hyperparameters
class Imitation(Offline):
    """Says what was said: behaviour cloning.

    Attributes: best: of the dialogues in the log, the share with the highest returns that is copied; 1: all of them.
    """

    best: Fraction = 1.0

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols),)

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        copied = batch.own & (batch.merit >= 1 - self.best)
        loss = imitation(outputs["policy"], batch, copied.astype(jnp.float32))
        return Terms(loss, {"cross_entropy": loss})

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)


@hyperparameters
class ReturnConditioned(Offline):
    """A decision transformer: says what was said in dialogues that ended as well as is wanted.

    The condition is the quantile of the whole return, so that no scale has to be known.
    Attributes: quantiles: how many. Source: Chen et al. (2021), over a recurrent memory like the others'.
    """

    quantiles: Quantiles = 10

    @property
    def conditions(self) -> int:
        return self.quantiles

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols),)

    def condition(self, batch: Batch) -> Array | None:
        quantile = jnp.minimum((batch.merit * self.quantiles).astype(jnp.int32), self.quantiles - 1)
        return jnp.broadcast_to(quantile, batch.symbol.shape)

    @property
    def wanted(self) -> int:
        return self.quantiles - 1

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        loss = imitation(outputs["policy"], batch, batch.own.astype(jnp.float32))
        return Terms(loss, {"cross_entropy": loss})

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)


@hyperparameters
class Values(Offline):
    """Values of symbols, learned from logs, and a policy that is read off them.

    Attributes:
        towards: what Q is learned towards: the `return`; r + Q' of what was said next (`sarsa`); r + max Q' (`max`);
            r + V', V being an expectile of Q' over what was said (`expectile`: Kostrikov et al., 2022).
        expectile: tau; .5 is the mean, and with it `expectile` learns what `sarsa` does.
        conservatism: alpha of `alpha (logsumexp Q - Q(a))`, which pushes down what was not said (Kumar et al., 2020).
        says: the best symbol by Q (`greedy`); by log pi_logs + beta (Q - V), pi_logs its imitation of the logs
            (`perturbed`: Snell et al., 2023); or by a policy of its own that imitates with weights exp(beta (Q - V))
            (`weighted`: Peng et al., 2019; Nair et al., 2020).
        beta: how much values count against the logs, per unit of the largest return.
        double: evaluate the target's value at the current network's best symbol.
    """

    towards: Literal["return", "sarsa", "max", "expectile"] = "expectile"
    expectile: Share = 0.8
    conservatism: Weight = 0.0
    says: Literal["greedy", "perturbed", "weighted"] = "perturbed"
    beta: Weight = 4.0
    double: bool = True

    def __post_init__(self) -> None:
        check(self)
        why = "the best symbol by Q alone knows no trade against the logs"
        require(self.says != "greedy" or self.beta == 4.0, why, says=self.says, beta=self.beta)

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        heads = [("q", symbols), ("policy", symbols), ("v", 1)]
        return (*heads, ("actor", symbols)) if self.says == "weighted" else tuple(heads)

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own = batch.own.astype(jnp.float32)
        q, v = outputs["q"], outputs["v"][..., 0]
        chosen, fixed = of_action(q, batch.symbol), of_action(target["q"], batch.symbol)
        goal = jax.lax.stop_gradient(self._goal(q, v, target["q"], fixed, batch))
        value_error = jax.lax.stop_gradient(fixed) - v
        pull = jnp.where(value_error > 0, self.expectile, 1 - self.expectile)
        terms = {
            "td_loss": 0.5 * mean_over(own, jnp.square(chosen - goal)),
            "value_loss": mean_over(own, pull * jnp.square(value_error)),
            "cross_entropy": imitation(outputs["policy"], batch, own),
            "conservative_loss": self.conservatism
            * mean_over(own, jax.nn.logsumexp(masked(q, batch.legal), -1) - chosen),
        }
        if self.says == "weighted":
            merit = jnp.minimum(jnp.exp(self.beta * jax.lax.stop_gradient(fixed - v)), MOST_MERIT)
            terms["actor_loss"] = imitation(outputs["actor"], batch, jnp.where(batch.own, merit, 0.0))
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def _goal(self, q: Array, v: Array, target_q: Array, target_chosen: Array, batch: Batch) -> Array:
        if self.towards == "return":
            return return_to_go(batch.reward, batch.onward, batch.own)
        if self.towards == "sarsa":
            here = target_chosen
        elif self.towards == "max":
            by = q if self.double else target_q
            here = of_action(target_q, jnp.argmax(masked(by, batch.legal), -1))
        else:
            here = v
        return batch.reward + batch.onward * at_next_decision(here, batch.own)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        if self.says == "weighted":
            return Categorical(outputs["actor"], legal)
        q = outputs["q"]
        if self.says == "greedy":
            # A hard choice that still has probabilities.
            best = jnp.argmax(masked(q, legal), -1)
            return Categorical(jnp.where(jax.nn.one_hot(best, q.shape[-1]) > 0, 0.0, -1e9), legal)
        return Categorical(jax.nn.log_softmax(masked(outputs["policy"], legal), -1) + self.beta * q, legal)
