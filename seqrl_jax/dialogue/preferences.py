"""Learning to speak from preferences between logged dialogues.

    loss = -E[log sigma(beta (rho_w - rho_l))],    rho = sum_t phi_t log pi(a_t | h_t) / pi_ref(a_t | h_t)

w is preferred to l, which opens alike, with probability sigma(R_w - R_l). Whole returns are compared, so luck counts as
merit: with a user that leaves nothing to chance and phi = 1 the optimum is that of E[R] - beta KL, with any other it
is not (see `luck`). The reference is the method's own imitation of the logs, learned beside it.

Sources: Rafailov et al. (2023) for one turn; Shani et al. (2024) for many; Shi et al. (2024), DMPO, for the weights of
turns phi(t, T) = gamma^t (1 - gamma^(T - t)) / (1 - gamma^T), which keep long dialogues from counting for more.
"""

from __future__ import annotations

from typing import Annotated

import distrax
import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.data import Batch, Data
from seqrl_jax.dialogue.offline import Offline, Terms, imitation
from seqrl_jax.dialogue.reader import Outputs
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.parts import Choice
from seqrl_jax.settings import PositiveFloat

Decay = Annotated[float, Meta(gt=0, lt=1)]


def turn_weights(turn: Array, turns: Array, decay: Array | float) -> Array:
    """phi(t, T) of turns t among T, numbered from 0: falling from 1. Source: Shi et al. (2024), eq. 13."""
    t, length = turn.astype(jnp.float32), turns.astype(jnp.float32)
    return decay**t * (1 - decay ** (length - t)) / (1 - decay**length)


@hyperparameters
class Alike:
    """Every turn counts 1."""

    def of(self, turn: Array, turns: Array) -> Array:
        """[T, B]: of turns t [T, B] among T [B]."""
        return jnp.ones(turn.shape)


@hyperparameters
class Falling:
    """Later turns count less (DMPO). Attributes: decay: gamma."""

    decay: Decay = 0.9

    def of(self, turn: Array, turns: Array) -> Array:
        return turn_weights(turn, turns, self.decay)


WEIGHTS = {"alike": Alike, "falling": Falling}
WeightsField = Annotated[Alike | Falling, Choice(WEIGHTS), TRACED]


@hyperparameters
class Preferences(Offline):
    """Multi-turn DPO. Attributes: beta: in units of return. weights: of turns."""

    beta: PositiveFloat = 0.5
    weights: WeightsField = Alike()

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("reference", symbols), ("shift", symbols))

    def drawn(self, key: Array, data: Data) -> Array:
        """Dialogues, and behind them as many that open alike."""
        return data.alike.pairs(key, self.batch // 2)

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own = batch.own
        reference = Categorical(jax.lax.stop_gradient(outputs["reference"]), batch.legal).log_prob(batch.symbol)
        log_prob = self.law(outputs, batch.legal).log_prob(batch.symbol)
        weight = self.weights.of(batch.turn, jnp.max(jnp.where(own, batch.turn, 0), 0) + 1)
        rho = jnp.sum(jnp.where(own, weight * (log_prob - reference), 0.0), 0)
        loss = preference_loss(self.beta * apart(rho), batch.unit * apart(batch.earned))
        terms = {
            "preference_loss": loss,
            "cross_entropy": imitation(outputs["reference"], batch, own.astype(jnp.float32)),
        }
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return shifted(outputs["reference"], outputs["shift"], legal)


def shifted(reference: Array, shift: Array, legal: Array) -> distrax.Categorical:
    """The law whose log-ratio to the reference, of logits [..., V] and without gradient, is a shift [..., V] and a
    constant."""
    return Categorical(jax.nn.log_softmax(masked(jax.lax.stop_gradient(reference), legal), -1) + shift, legal)


def apart(value: Array) -> Array:
    """[M]: the first half of values [2 M] less the second."""
    half = value.shape[0] // 2
    return value[:half] - value[half:]


def preference_loss(margin: Array, difference: Array) -> Array:
    """Cross-entropy of sigma(margin) where the first of a pair is preferred with probability sigma(difference)."""
    preferred = jax.nn.sigmoid(difference)
    return -jnp.mean(preferred * jax.nn.log_sigmoid(margin) + (1 - preferred) * jax.nn.log_sigmoid(-margin))
