"""Learning to speak from logs: imitation, and values of what was said.

A method reads logged dialogues symbol by symbol, in either view. Decisions are the agent's own symbols alone: what the
other says is read and never chosen, it neither ends a return nor counts as a step. The discount is the game's, from
turn to turn.
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

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.data import Batch, Data, batch_of
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.reader import Outputs, read
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.networks.module import Weights
from seqrl_jax.parts import Choice
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

    Attributes: batch: dialogues per update. The others: see `Method`.
    """

    batch: Several = 64

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
        # One place more is read than is decided at.
        condition = None if condition is None else jnp.concatenate([condition[:1], condition])
        before = lambda weights: {name: leaf[:-1] for name, leaf in read(reader, weights, symbol, condition).items()}
        # XLA leaves out what no loss looks at.
        target = before(training.target)

        def loss(weights: Weights) -> tuple[Array, dict[str, Array]]:
            return self.loss(before(weights), target, batch)

        gradient, metrics = jax.grad(loss, has_aux=True)(training.weights)
        change, opt_state = self.optimiser.update(gradient, training.opt_state, training.weights)
        weights = optax.apply_updates(training.weights, change)
        return Training(weights, self.follow(training.target, weights), opt_state, key), metrics


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
class Return:
    """Q of who spoke in the logs: the whole return from there on."""

    def goal(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        return return_to_go(batch.reward, batch.onward, batch.own)


class _OneStep:
    """r + the value of the next decision."""

    def following(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        raise NotImplementedError

    def goal(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        following = self.following(q, v, target_q, batch)
        return batch.reward + batch.onward * at_next_decision(following, batch.own)


@hyperparameters
class Sarsa(_OneStep):
    """Q' of what was said next."""

    def following(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        return of_action(target_q, batch.symbol)


@hyperparameters
class Max(_OneStep):
    """The largest Q'. Attributes: double: Q' of the symbol that the current network prefers (van Hasselt et al.,
    2016)."""

    double: bool = True

    def following(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        by = q if self.double else target_q
        return of_action(target_q, jnp.argmax(masked(by, batch.legal), -1))


@hyperparameters
class Expectile(_OneStep):
    """V, an expectile of Q' over what was said. Attributes: expectile: tau; .5 is the mean, and what `Sarsa` learns.
    Source: Kostrikov et al. (2022), eq. 5-6."""

    expectile: Share = 0.8

    def following(self, q: Array, v: Array, target_q: Array, batch: Batch) -> Array:
        return v


TOWARDS = {"return": Return, "sarsa": Sarsa, "max": Max, "expectile": Expectile}
TowardsField = Annotated[Return | Sarsa | Max | Expectile, Choice(TOWARDS), TRACED]


@hyperparameters
class Greedy:
    """The best symbol by Q."""


@hyperparameters
class Perturbed:
    """softmax of log pi_logs + beta Q, pi_logs its own imitation of the logs. Attributes: beta: how much values count
    against the logs, per unit of the largest return. Source: Snell et al. (2023), sec. 4."""

    beta: Weight = 4.0


@hyperparameters
class Weighted:
    """A policy of its own that imitates with weights exp(beta (Q - V)). Attributes: beta: as above. Source: Peng et al.
    (2019); Nair et al. (2020)."""

    beta: Weight = 4.0


SAYS = {"greedy": Greedy, "perturbed": Perturbed, "weighted": Weighted}
SaysField = Annotated[Greedy | Perturbed | Weighted, Choice(SAYS), TRACED]


@hyperparameters
class Values(Offline):
    """Values of symbols, learned from logs, and a policy that is read off them.

    Attributes:
        towards: what Q is learned towards. says: what is said by it.
        conservatism: alpha of `alpha (logsumexp Q - Q(a))`, which pushes down what was not said (Kumar et al., 2020).
        polyak: how far the target network moves towards the current one in an update.
    """

    towards: TowardsField = Expectile()
    says: SaysField = Perturbed()
    conservatism: Weight = 0.0
    polyak: Fraction = 0.005

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        value = (("v", 1),) if self._has_value else ()
        policy = () if isinstance(self.says, Greedy) else (("policy", symbols),)
        return (("q", symbols), *value, *policy)

    def follow(self, target: Weights, weights: Weights) -> Weights:
        return optax.incremental_update(weights, target, self.polyak)

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own, q = batch.own.astype(jnp.float32), outputs["q"]
        chosen, fixed = of_action(q, batch.symbol), jax.lax.stop_gradient(of_action(target["q"], batch.symbol))
        v = outputs["v"][..., 0] if self._has_value else jnp.zeros_like(chosen)
        goal = jax.lax.stop_gradient(self.towards.goal(q, v, target["q"], batch))
        pushed = jax.nn.logsumexp(masked(q, batch.legal), -1) - chosen
        terms = {
            "td_loss": 0.5 * mean_over(own, jnp.square(chosen - goal)),
            "conservative_loss": self.conservatism * mean_over(own, pushed),
        }
        if self._has_value:
            tau = self.towards.expectile if isinstance(self.towards, Expectile) else 0.5
            pull = jnp.where(fixed > v, tau, 1 - tau)
            terms["value_loss"] = mean_over(own, pull * jnp.square(fixed - v))
        if isinstance(self.says, Perturbed):
            terms["cross_entropy"] = imitation(outputs["policy"], batch, own)
        if isinstance(self.says, Weighted):
            merit = jnp.minimum(jnp.exp(self.says.beta * (fixed - jax.lax.stop_gradient(v))), MOST_MERIT)
            terms["actor_loss"] = imitation(outputs["policy"], batch, jnp.where(batch.own, merit, 0.0))
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        if isinstance(self.says, Greedy):
            # A hard choice that still has probabilities.
            best = jax.nn.one_hot(jnp.argmax(masked(outputs["q"], legal), -1), legal.shape[-1], dtype=bool)
            return Categorical(jnp.zeros(best.shape), best)
        if isinstance(self.says, Weighted):
            return Categorical(outputs["policy"], legal)
        logs = jax.nn.log_softmax(masked(outputs["policy"], legal), -1)
        return Categorical(logs + self.says.beta * outputs["q"], legal)

    @property
    def _has_value(self) -> bool:
        """Whether V is learned: to be learned towards, or to be compared with."""
        return isinstance(self.towards, Expectile) or isinstance(self.says, Weighted)
