"""What a method is: hyperparameters, the stages that lead from pi_0 to a policy, and the optimum that it aims at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jax import Array

from seqrl_jax.lm.evaluation import Judge
from seqrl_jax.lm.exact import Standing
from seqrl_jax.lm.stage import Aligning, Stage, run_all
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.naming import check
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count


class Method(ABC):
    """A frozen dataclass of hyperparameters."""

    @abstractmethod
    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        """How the policy is trained, from the weights of pi_0; none where no policy is."""

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Weights) -> Weights:
        """Weights of the policy, from those of pi_0. Pure, for `jit` and `vmap` over keys and references."""
        return run_all(self.stages(model, task), key, Aligning(reference, reference)).weights

    def optimal_beta(self, task: LMTask) -> float | None:
        """The beta at which the method's optimum is pi* of the gold reward; None where its optimum is another."""
        return None

    @property
    def price(self) -> float | None:
        """Units of reward that it pays for a nat of KL; None where it names no price."""
        return None

    def standings(self, judge: Judge, weights: Weights) -> list[Standing]:
        """Where the policies with weights [S, ...], those of `align`, stand with the judge's S references."""
        return judge.standings(weights)

    def diagnostics(self, judge: Judge, aligning: Aligning) -> dict[str, list[float]]:
        """What else a record says of S runs, by name, from what their stages handed on [S, ...]; lists [S]."""
        return {}


@dataclass(frozen=True)
class Reference(Method):
    """pi_0 itself."""

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        return []


@dataclass(frozen=True)
class BestOf(Method):
    """The best of `draws` answers of pi_0 by the gold reward. No policy is trained: its law is computed exactly."""

    draws: Count = 16

    def __post_init__(self) -> None:
        check(self)

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        return []

    def standings(self, judge: Judge, weights: Weights) -> list[Standing]:
        return judge.best_of(self.draws)
