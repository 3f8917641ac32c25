"""What is said by Q: the best symbol, the logs shifted by values, the best of some candidates, a policy of its own.

says.heads(symbols); says.law(outputs, legal); says.losses(outputs, merit, batch); says.talker(talker, listener, ...)
"""

from __future__ import annotations

from typing import Annotated

import distrax
import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.beam import best_utterance, planning
from seqrl_jax.dialogue.conversation import Talker
from seqrl_jax.dialogue.data import Batch
from seqrl_jax.dialogue.decisions import mean_over
from seqrl_jax.dialogue.method import Listener
from seqrl_jax.dialogue.offline import imitation
from seqrl_jax.dialogue.reader import Outputs
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Weight

MOST_MERIT = 20.0
"""Of a weight of imitation: exponentials have no largest."""
RAREST = 1e-12
"""A probability below which nothing is said."""
Candidates = Annotated[int, Meta(ge=1, le=4096)]
Heads = tuple[tuple[str, int], ...]


class Says:
    """What every one of them is; most imitate the logs beside."""

    @property
    def compares(self) -> bool:
        """Whether it wants to know Q - V of what was said."""
        return False

    def heads(self, symbols: int) -> Heads:
        return (("policy", symbols),)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        """What is said next, from outputs [..., n] and what may be said [..., V]."""
        raise NotImplementedError

    def talker(self, talker: Talker, listener: Listener, spelling: Spelling) -> Talker:
        """Who says it. Args: talker: one who draws symbol by symbol from the law; listener: how it reads on."""
        return talker

    def rivals(self, outputs: Outputs, legal: Array) -> Array:
        """[...]: logsumexp of Q over what might have been said instead, which conservatism pushes down."""
        return jax.nn.logsumexp(masked(outputs["q"], legal), -1)

    def price(self, law: Array, outputs: Outputs, legal: Array) -> Array:
        """[...]: what it costs to say what its law, log-probabilities [..., V], says and not what the logs say."""
        return jnp.zeros(law.shape[:-1])

    def losses(self, outputs: Outputs, merit: Array, batch: Batch) -> dict[str, Array]:
        """Args: merit: [T, B], Q - V of what was said, without gradient."""
        return {"cross_entropy": imitation(outputs["policy"], batch, batch.own.astype(jnp.float32))}


def logs(outputs: Outputs, legal: Array) -> Array:
    """[..., V]: log pi_logs as it was imitated, without gradient."""
    return jax.nn.log_softmax(masked(jax.lax.stop_gradient(outputs["policy"]), legal), -1)


@hyperparameters
class Greedy(Says):
    """The best symbol by Q."""

    def heads(self, symbols: int) -> Heads:
        return ()

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return surely(jnp.argmax(masked(outputs["q"], legal), -1), legal)

    def losses(self, outputs: Outputs, merit: Array, batch: Batch) -> dict[str, Array]:
        return {}


@hyperparameters
class Perturbed(Says):
    """softmax of log pi_logs + beta Q, pi_logs its own imitation of the logs. Attributes: beta: how much values count
    against the logs, per deviation of returns. Source: Snell et al. (2023), sec. 4."""

    beta: Weight = 16.0

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(logs(outputs, legal) + self.beta * outputs["q"], legal)

    def price(self, law: Array, outputs: Outputs, legal: Array) -> Array:
        """KL / beta. At beta = 0 it says what the logs say, which costs nothing, however logarithms are rounded."""
        divergence = jnp.sum(jnp.exp(law) * (law - logs(outputs, legal)), -1)
        return jnp.where(self.beta > 0, divergence / jnp.where(self.beta > 0, self.beta, 1.0), 0.0)


@hyperparameters
class BestOf(Says):
    """The best by Q of some symbols that the imitated logs would say. Attributes: candidates: how many."""

    candidates: Candidates = 32

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return _possible(best_of(logs(outputs, legal), masked(outputs["q"], legal), self.candidates), legal)

    def rivals(self, outputs: Outputs, legal: Array) -> Array:
        """Of candidates: as often as the imitated logs would say them."""
        return jax.nn.logsumexp(masked(outputs["q"], legal) + logs(outputs, legal), -1)


@hyperparameters
class Beam(Says):
    """The best by Q of the whole utterances that a beam finds in what the imitated logs would say (see `beam`).

    Its law is that of utterances of one symbol; word by word there is none that outputs at one place could tell.
    Attributes: beam_width: how many beginnings are kept.
    """

    beam_width: Candidates = 8

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        prior = logs(outputs, legal)
        likely = jax.lax.top_k(prior, min(self.beam_width, legal.shape[-1]))[1]
        kept = legal & jax.nn.one_hot(likely, legal.shape[-1], dtype=bool).any(-2)
        return surely(jnp.argmax(masked(outputs["q"], kept), -1), legal)

    def talker(self, talker: Talker, listener: Listener, spelling: Spelling) -> Talker:
        plan = lambda at: best_utterance(at, listener, spelling, self.beam_width, logs)
        return planning(talker, plan, spelling.said.shape[1])


@hyperparameters
class Weighted(Says):
    """A policy of its own that imitates with weights exp(beta (Q - V)). Attributes: beta: as above. Source: Peng et al.
    (2019); Nair et al. (2020)."""

    beta: Weight = 4.0

    @property
    def compares(self) -> bool:
        return True

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)

    def losses(self, outputs: Outputs, merit: Array, batch: Batch) -> dict[str, Array]:
        weight = jnp.minimum(jnp.exp(self.beta * merit), MOST_MERIT)
        return {"actor_loss": imitation(outputs["policy"], batch, jnp.where(batch.own, weight, 0.0))}


@hyperparameters
class Distilled(Says):
    """A policy of its own that imitates the best of the candidates, where it is better than the logs are on average.
    Attributes: candidates: how many. Source: Bai et al. (2025), Digi-Q, sec. 4.3."""

    candidates: Candidates = 32

    def heads(self, symbols: int) -> Heads:
        return (("policy", symbols), ("actor", symbols))

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["actor"], legal)

    def losses(self, outputs: Outputs, merit: Array, batch: Batch) -> dict[str, Array]:
        prior, q = logs(outputs, batch.legal), jax.lax.stop_gradient(outputs["q"])
        average = jnp.sum(jnp.exp(prior) * q, -1, keepdims=True)
        taught = jnp.where(q > average, best_of(prior, masked(q, batch.legal), self.candidates), 0.0)
        loss = -jnp.sum(taught * Categorical(outputs["actor"], batch.legal).logits, -1)
        actor_loss = mean_over(batch.own.astype(jnp.float32), loss)
        return super().losses(outputs, merit, batch) | {"actor_loss": actor_loss}


@hyperparameters
class Actor(Says):
    """A policy of its own that maximises its mean Q, the logs beside it only as far as values know of them."""

    def heads(self, symbols: int) -> Heads:
        return (("actor", symbols),)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["actor"], legal)

    def losses(self, outputs: Outputs, merit: Array, batch: Batch) -> dict[str, Array]:
        mean = jnp.sum(self.law(outputs, batch.legal).probs * jax.lax.stop_gradient(outputs["q"]), -1)
        return {"actor_loss": -mean_over(batch.own.astype(jnp.float32), mean)}


SAYS = {
    "greedy": Greedy,
    "perturbed": Perturbed,
    "best_of": BestOf,
    "beam": Beam,
    "weighted": Weighted,
    "distilled": Distilled,
    "actor": Actor,
}
SaysField = Annotated[Greedy | Perturbed | BestOf | Beam | Weighted | Distilled | Actor, Choice(SAYS), TRACED]


def surely(symbol: Array, legal: Array) -> distrax.Categorical:
    """A hard choice [...] that still has probabilities."""
    chosen = jax.nn.one_hot(symbol, legal.shape[-1], dtype=bool)
    return Categorical(jnp.zeros(chosen.shape), chosen)


def best_of(log_prob: Array, q: Array, candidates: int) -> Array:
    """[..., V]: how likely each symbol is to be the best by q [..., V] of so many draws, log_prob [..., V] each.

    With F the cumulative law in the order of q: F(a)^n - F(before a)^n. Of equals the first in that order is worse.
    """
    order = jnp.argsort(q, -1)
    prob = jnp.take_along_axis(jnp.exp(log_prob), order, -1)
    upto = jnp.cumsum(prob, -1)
    upto = upto / upto[..., -1:]
    powers = upto**candidates
    chosen = jnp.diff(powers, axis=-1, prepend=jnp.zeros_like(powers[..., :1]))
    return jnp.take_along_axis(chosen, jnp.argsort(order, -1), -1)


def _possible(probability: Array, legal: Array) -> distrax.Categorical:
    return Categorical(jnp.log(jnp.maximum(probability, RAREST)), legal & (probability > RAREST))
