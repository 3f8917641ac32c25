"""What weighs the score of an action in a policy gradient, and the value function that it needs, if any.

Psi_t in `sum_t Psi_t grad log pi(a_t | h_t)`. Every weight carries gamma^t, without which none gives the gradient of a
discounted J.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.naming import check, require
from seqrl_jax.parts import Choice
from seqrl_jax.settings import PositiveFloat, Share

Sees = Literal["observation", "history", "state"]


class Evidence(NamedTuple):
    """What a weight may look at, all [T, B]: rewards, the conventions of `estimators`, gamma^t, and the values of what
    the critic saw at t and of what really followed (0 without a critic)."""

    reward: Array
    discount: Array
    continues: Array
    first: Array
    gamma_t: Array
    value: Array
    next_value: Array


class _WithoutCritic:
    """What a weight says that needs no value function (see `_WithCritic`)."""

    critic: ClassVar[None] = None
    value_learning_rate: ClassVar[float] = 0.0
    bootstrap_truncated: ClassVar[bool] = False
    bootstraps: ClassVar[bool] = False

    def fitted(self, e: Evidence) -> Array:
        raise NotImplementedError


@hyperparameters
class TotalReturn(_WithoutCritic):
    """Psi_t = sum_k gamma^k r_k over the whole episode, also what was paid before a_t."""

    def psi(self, e: Evidence) -> Array:
        return estimators.return_so_far(e.reward, e.gamma_t, e.first) + _to_go(e)


@hyperparameters
class RewardToGo(_WithoutCritic):
    """Psi_t = gamma^t G_t: an action has no part in what was paid before it."""

    def psi(self, e: Evidence) -> Array:
        return _to_go(e)


@hyperparameters
class _WithCritic:
    """A weight with a value function that fits lambda-returns. `bootstraps`: whether the value of what followed stands
    in the weight.

    Attributes:
        critic: what the value function sees: the `observation` (linear in its code, unless the policy's own memory
            holds no more), the `history` (a memory of its own, like the policy's), or the hidden `state` (of a tabular
            task; it is needed for learning only, not for acting).
        value_learning_rate: of Adam. lambda_: of the returns that it fits (1: Monte Carlo).
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    critic: Sees = "observation"
    value_learning_rate: PositiveFloat = 0.1
    lambda_: Share = 1.0
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        blind = self.critic == "state" and self.bootstrap_truncated
        why = "a critic of the state ends with the horizon: it does not see the state behind it"
        require(not blind, why, critic=self.critic, bootstrap_truncated=self.bootstrap_truncated)

    def fitted(self, e: Evidence) -> Array:
        """[T, B]: the lambda-returns, in units of return."""
        return e.value + self.advantage(e)

    def advantage(self, e: Evidence) -> Array:
        """GAE(lambda), [T, B]; with lambda = 1 the return minus the value."""
        return estimators.gae(e.reward, e.discount, e.continues, e.value, e.next_value, self.lambda_)


@hyperparameters
class MinusBaseline(_WithCritic):
    """Psi_t = gamma^t (G_t - b): a function of what came before a_t changes the variance and not the mean."""

    bootstraps: ClassVar[bool] = False

    def psi(self, e: Evidence) -> Array:
        return e.gamma_t * (estimators.reward_to_go(e.reward, e.discount * e.continues) - e.value)


@hyperparameters
class GeneralisedAdvantage(_WithCritic):
    """Psi_t = gamma^t A_t with GAE(lambda); at lambda = 0 the TD error r + gamma V(o') - V(o)."""

    @property
    def bootstraps(self) -> bool:
        return float(self.lambda_) < 1

    def psi(self, e: Evidence) -> Array:
        return e.gamma_t * self.advantage(e)


def _to_go(e: Evidence) -> Array:
    return e.gamma_t * estimators.reward_to_go(e.reward, e.discount * e.continues)


WEIGHTS = {
    "total_return": TotalReturn,
    "reward_to_go": RewardToGo,
    "minus_baseline": MinusBaseline,
    "generalised_advantage": GeneralisedAdvantage,
}
WeightField = Annotated[TotalReturn | RewardToGo | MinusBaseline | GeneralisedAdvantage, Choice(WEIGHTS), TRACED]
