"""Q-learning by supervised learning: probabilities of symbols that are values times those of the logs.

    loss = -[y log p(a|h) + (1 - y) / (V - 1) sum_{a' != a} log p(a'|h)]
    y = r + gamma max_a' p'(a'|h') / pi_logs(a'|h')

for returns in [0, 1], where V symbols may be said. At the minimum p / pi_logs lies between the value of the logs and
that of the optimum, and weights that imitate the logs are a fair place to begin. What is said:
softmax(log pi_logs + beta p / pi_logs).

Source: Hong, Dragan & Levine (2024), eq. 3-5.
"""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.bootstrapped import Bootstrapped
from seqrl_jax.dialogue.data import Batch
from seqrl_jax.dialogue.decisions import at_next_decision, mean_over
from seqrl_jax.dialogue.method import Updates
from seqrl_jax.dialogue.offline import Terms, imitation
from seqrl_jax.dialogue.reader import Outputs
from seqrl_jax.dialogue.saying import logs
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.settings import Weight

LEAST = 1e-3
"""A probability that is divided by is at least this."""


@hyperparameters
class QSFT(Bootstrapped):
    """Values as probabilities.

    Attributes: beta: how much values count against the logs.
    """

    beta: Weight = 8.0
    pretraining: Updates = 500

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols), ("shift", symbols))

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own = batch.own.astype(jnp.float32)
        following = at_next_decision(jnp.max(self.worth(target, batch.legal), -1), batch.own)
        y = jax.lax.stop_gradient(jnp.clip(goal(following, batch), 0.0, 1.0))
        log_prob = masked(self.valued(outputs, batch.legal), batch.legal)
        said = jax.nn.one_hot(batch.symbol, log_prob.shape[-1], dtype=bool)
        others = batch.legal & ~said
        count = jnp.maximum(others.sum(-1), 1).astype(jnp.float32)
        among_others = jnp.sum(jnp.where(others, log_prob, 0.0), -1) / count
        loss = -(y * jnp.sum(jnp.where(said, log_prob, 0.0), -1) + (1 - y) * among_others)
        terms = {
            "value_loss": mean_over(own, loss),
            "cross_entropy": imitation(outputs["policy"], batch, own),
        }
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(logs(outputs, legal) + self.beta * self.worth(outputs, legal), legal)

    def valued(self, outputs: Outputs, legal: Array) -> Array:
        """[..., V]: log p."""
        return jax.nn.log_softmax(masked(jax.lax.stop_gradient(outputs["policy"]) + outputs["shift"], legal), -1)

    def worth(self, outputs: Outputs, legal: Array) -> Array:
        """[..., V]: p / pi_logs, of returns in [0, 1]; 0 where nothing may be said."""
        prior = jnp.exp(logs(outputs, legal))
        return jnp.where(legal, jnp.exp(self.valued(outputs, legal)) / jnp.maximum(prior, LEAST), 0.0)


def goal(following: Array, batch: Batch) -> Array:
    """[T, B]: r + gamma V' where returns from `batch.least` to `batch.most` are 0 to 1, as V' is already."""
    width = jnp.maximum(batch.most - batch.least, 1e-6)
    return (batch.reward - (1 - batch.onward) * batch.least) / width + batch.onward * following
