"""What Q of a symbol is learned towards: the return, or r + gamma times a value of the next decision.

towards.goal(estimates, batch) -> [T, B]
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.data import Batch
from seqrl_jax.dialogue.decisions import at_next_decision, return_to_go
from seqrl_jax.networks.distributions import masked
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Share


class Estimates(NamedTuple):
    """At the places of a batch: q, target_q: [T, B, V] of the current and the target network. v: [T, B], where V is
    learned. law: [T, B, V], log-probabilities of who would speak by the target network. cost: [T, B],
    what its divergence from the imitated logs costs."""

    q: Array
    target_q: Array
    v: Array
    law: Array
    cost: Array


class Towards:
    """What every one of them is."""

    @property
    def tau(self) -> float:
        """Of which expectile of Q' over what was said V is, where it is learned; .5: the mean."""
        return 0.5

    @property
    def promises_returns(self) -> bool:
        """Whether Q is a return, and not less some price."""
        return True

    def learns_value(self, compares: bool) -> bool:
        """Whether V is learned. Args: compares: whether what is said is compared with it."""
        return compares

    def goal(self, estimates: Estimates, batch: Batch) -> Array:
        """[T, B]: what Q of what was said is fitted to."""
        raise NotImplementedError


@hyperparameters
class Return(Towards):
    """Q of who spoke in the logs: the whole return from there on."""

    def goal(self, estimates: Estimates, batch: Batch) -> Array:
        return return_to_go(batch.reward, batch.onward, batch.own)


class OneStep(Towards):
    """r + the value of the next decision."""

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        """[T, B]: of every decision, what it is worth to one who comes from the decision before."""
        raise NotImplementedError

    def goal(self, estimates: Estimates, batch: Batch) -> Array:
        return batch.reward + batch.onward * at_next_decision(self.following(estimates, batch), batch.own)


@hyperparameters
class Sarsa(OneStep):
    """Q' of what was said next."""

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        return of_action(estimates.target_q, batch.symbol)


@hyperparameters
class Max(OneStep):
    """The largest Q'. Attributes: double: Q' of the symbol that the current network prefers (van Hasselt et al.,
    2016)."""

    double: bool = True

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        by = estimates.q if self.double else estimates.target_q
        return of_action(estimates.target_q, jnp.argmax(masked(by, batch.legal), -1))


@hyperparameters
class Expectile(OneStep):
    """V, an expectile of Q' over what was said. Attributes: expectile: tau; .5 is the mean, and what `Sarsa` learns.
    Source: Kostrikov et al. (2022), eq. 5-6."""

    expectile: Share = 0.8

    @property
    def tau(self) -> float:
        return self.expectile

    def learns_value(self, compares: bool) -> bool:
        return True

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        return estimates.v


@hyperparameters
class Own(OneStep):
    """The mean of Q' over what the method itself would say: of who draws candidates, the mean of the best of them. That
    is V as well."""

    def learns_value(self, compares: bool) -> bool:
        return False

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        return jnp.sum(jnp.exp(estimates.law) * estimates.target_q, -1)


@hyperparameters
class Soft(OneStep):
    """The same, less what its divergence from the logs costs: for one who says softmax(log pi_logs + beta Q) that is
    log sum pi_logs exp(beta Q') / beta, the value of KL control, whose Psi is log pi_logs + beta Q.

    Source: Jaques et al. (2019), sec. 4.2."""

    @property
    def promises_returns(self) -> bool:
        return False

    def following(self, estimates: Estimates, batch: Batch) -> Array:
        return jnp.sum(jnp.exp(estimates.law) * estimates.target_q, -1) - estimates.cost


TOWARDS = {"return": Return, "sarsa": Sarsa, "max": Max, "expectile": Expectile, "own": Own, "soft": Soft}
TowardsField = Annotated[Return | Sarsa | Max | Expectile | Own | Soft, Choice(TOWARDS), TRACED]


def expectile_loss(error: Array, expectile: Array | float) -> Array:
    """|tau - 1(u < 0)| u^2 of errors u. Source: Kostrikov et al. (2022), eq. 5."""
    return jnp.where(error > 0, expectile, 1 - expectile) * jnp.square(error)


def fixed(tree: Estimates) -> Estimates:
    """The same, passing no gradient."""
    return jax.tree.map(jax.lax.stop_gradient, tree)
