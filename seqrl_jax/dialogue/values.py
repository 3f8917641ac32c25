"""Values of symbols, learned from logs."""

from __future__ import annotations

import distrax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.backups import Estimates, Expectile, Own, Soft, TowardsField, expectile_loss, fixed
from seqrl_jax.dialogue.bootstrapped import Bootstrapped
from seqrl_jax.dialogue.conversation import Talker
from seqrl_jax.dialogue.data import Batch
from seqrl_jax.dialogue.decisions import mean_over
from seqrl_jax.dialogue.offline import Reading, Terms
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.saying import Beam, Perturbed, SaysField
from seqrl_jax.dialogue.targets import Once, TargetsField
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.naming import require
from seqrl_jax.networks.distributions import masked
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Share, Weight


@hyperparameters
class Values(Bootstrapped):
    """Values of symbols, and what is said by them.

    Attributes:
        towards: what Q is learned towards. says: what is said by it.
        conservatism: alpha of `alpha (logsumexp Q - Q(a))`, which pushes down what was not said (Kumar et al., 2020);
            where candidates speak, over those that they are: logsumexp (log pi_logs + Q).
        symbol_discount: from one own symbol to the next, beside the game's from turn to turn. Below 1 what is learned
            depends on how utterances are cut into symbols, and is not what is earned.
    """

    towards: TowardsField = Expectile()
    says: SaysField = Perturbed()
    targets: TargetsField = Once()
    conservatism: Weight = 0.0
    symbol_discount: Share = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        soft = not isinstance(self.towards, Soft) or isinstance(self.says, Perturbed)
        require(soft, "a soft value is that of one who says softmax(log pi_logs + beta Q)", towards="soft")
        own = not isinstance(self.towards, Own) or not isinstance(self.says, Beam)
        require(own, "who chooses whole utterances has no law of the next symbol", towards="own", says="beam")

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        value = (("v", 1),) if self._has_value else ()
        said = self.says.heads(symbols)
        imitates = (("policy", symbols),) if self.pretraining and "policy" not in dict(said) else ()
        return (("q", symbols), *value, *said, *imitates)

    def loss(self, outputs: Outputs, target: Outputs, batch: Batch) -> Terms:
        own, q = batch.own.astype(jnp.float32), outputs["q"]
        batch = batch._replace(onward=self.symbol_discount * batch.onward)
        chosen = of_action(q, batch.symbol)
        estimates = fixed(self._estimates(outputs, target, batch))
        said = of_action(estimates.target_q, batch.symbol)
        goal = self.towards.goal(estimates, batch)
        terms = {
            "td_loss": 0.5 * mean_over(own, jnp.square(chosen - goal)),
            "conservative_loss": self.conservatism * mean_over(own, self.says.rivals(outputs, batch.legal) - chosen),
        }
        if self._has_value:
            terms["value_loss"] = mean_over(own, expectile_loss(said - outputs["v"][..., 0], self.towards.tau))
        terms |= self.says.losses(outputs, said - estimates.v, batch)
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    @property
    def dropout(self) -> float:
        return self.targets.dropout

    def outputs(self, read: Reading, key: Array) -> Outputs:
        return self.targets.outputs(read, key)

    def target_outputs(self, read: Reading, key: Array) -> Outputs:
        return self.targets.target_outputs(read, key)

    def promised(self, spelling: Spelling, weights: Weights, symbol: Array, own: Array) -> Array | None:
        if not self.towards.promises_returns or self.symbol_discount != 1:
            return None  # its values are no returns: less what it costs to leave the logs, or what many symbols cost
        q = predictions(self.reader(spelling), weights, symbol.T)["q"]
        first = jnp.argmax(own.T[1:], 0)
        return jnp.take_along_axis(of_action(q, symbol.T[1:]), first[None], 0)[0]

    def talker(self, spelling: Spelling, weights: Weights) -> Talker:
        return self.says.talker(super().talker(spelling, weights), self.listener(spelling, weights), spelling)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return self.says.law(outputs, legal)

    @property
    def _has_value(self) -> bool:
        """Whether V is learned: to be learned towards, or to be compared with where it is not that of its own law."""
        return self.towards.learns_value(self.says.compares)

    def _estimates(self, outputs: Outputs, target: Outputs, batch: Batch) -> Estimates:
        law = masked(self.law(target, batch.legal).logits, batch.legal)
        target_q = target["q"]
        v = outputs["v"][..., 0] if self._has_value else jnp.sum(jnp.exp(law) * target_q, -1)
        return Estimates(outputs["q"], target_q, v, law, self.says.price(law, target, batch.legal))
