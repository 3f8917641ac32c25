"""Q-learning by supervised learning: probabilities of symbols that are values times those of the logs.

    loss = -[y log p(a|h) + (1 - y) log p(nothing|h)],   y = r + gamma max_a' p'(a'|h') / pi_logs(a'|h')

for returns in [0, 1]. At the minimum p / pi_logs is Q of the best symbols that the logs say, and weights that imitate
the logs are a fair place to begin. What is said: softmax(log pi_logs + beta p / pi_logs).

The paper spreads 1 - y over all other words of a vocabulary. Of a large one the logs say next to none of them, so that
it comes to nothing; where a few symbols may be said it is added to their values, and hides them.

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
    pretraining: Updates = 1000

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols), ("shift", symbols), ("nothing", 1))

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own = batch.own.astype(jnp.float32)
        following = at_next_decision(jnp.max(self.worth(target, batch.legal), -1), batch.own)
        y = jax.lax.stop_gradient(jnp.clip(goal(following, batch), 0.0, 1.0))
        said, nothing = self.valued(outputs, batch.legal)
        loss = -(y * jnp.take_along_axis(said, batch.symbol[..., None], -1)[..., 0] + (1 - y) * nothing)
        terms = {
            "value_loss": mean_over(own, loss),
            "cross_entropy": imitation(outputs["policy"], batch, own),
        }
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(logs(outputs, legal) + self.beta * self.worth(outputs, legal), legal)

    def valued(self, outputs: Outputs, legal: Array) -> tuple[Array, Array]:
        """[..., V]: log p of symbols, and [...] of nothing."""
        logits = jnp.concatenate([logs(outputs, legal) + outputs["shift"], outputs["nothing"]], -1)
        may = jnp.concatenate([legal, jnp.ones_like(legal[..., :1])], -1)
        log_prob = jax.nn.log_softmax(masked(logits, may), -1)
        return log_prob[..., :-1], log_prob[..., -1]

    def worth(self, outputs: Outputs, legal: Array) -> Array:
        """[..., V]: p / pi_logs, of returns in [0, 1]; 0 where nothing may be said."""
        prior = jnp.exp(logs(outputs, legal))
        return jnp.where(legal, jnp.exp(self.valued(outputs, legal)[0]) / jnp.maximum(prior, LEAST), 0.0)


def goal(following: Array, batch: Batch) -> Array:
    """[T, B]: r + gamma V' where returns from `batch.least` to `batch.most` are 0 to 1, as V' is already."""
    width = jnp.maximum(batch.most - batch.least, 1e-6)
    return (batch.reward - (1 - batch.onward) * batch.least) / width + batch.onward * following
