"""The whole loop of RLHF: answers, labels, a reward model, and a policy that maximises it.

Once, it is the offline recipe of Ouyang et al. (2022, fig. 2). Iterated, the policy's own answers are labelled again,
so that the reward model learns about what the policy says now (Bai et al., 2022, sec. 4.5).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.evaluation import Judge
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import compared
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.reward_quality import known_of_pairs, known_of_texts
from seqrl_jax.lm.stage import Aligning, Stage
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.naming import check, require
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.settings import Count, Several


@dataclass(frozen=True)
class RLHF(Method):
    """Rounds of labelling, fitting and optimising.

    Attributes:
        reward_model, policy: how each is trained. labeller: who ranks.
        prompts, answers: of the data of all rounds together: K answers to each prompt, ranked. rounds: how often new
            answers are drawn, from the policy of the round before; the reward model fits all that was ranked so far.
    """

    reward_model: RewardModel = RewardModel()
    policy: PolicyGradient = PolicyGradient()
    labeller: Labeller = Labeller()
    prompts: Count = 65536
    answers: Several = 2
    rounds: Count = 1

    def __post_init__(self) -> None:
        check(self)
        enough = self.prompts >= 2 * self.rounds
        why = "a round needs a ranking to learn from and one that is held out"
        require(enough, why, prompts=self.prompts, rounds=self.rounds)

    def optimal_beta(self, task: LMTask) -> float | None:
        """That of the policy: a reward model of faithful labels has the gold reward's unit, and tends to it."""
        faithful = self.labeller.is_faithful(task) and not self.reward_model.pessimistic
        return self.policy.optimal_beta(task) if faithful else None

    @property
    def price(self) -> float | None:
        return self.policy.price

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        reward = lambda aligning: self.reward_model.reward(model, task, aligning.fitted)
        climb = self.policy.stage(model, task, reward)
        shares = [(self.prompts + number) // self.rounds for number in range(self.rounds)]
        return [stage for prompts in shares for stage in (self._fit(model, task, prompts), climb)]

    def diagnostics(self, judge: Judge, aligning: Aligning) -> dict[str, list[float]]:
        """What the reward model knows (see `reward_quality`): of fresh pairs always, of all completions where they can
        be listed."""
        reward = lambda fitted: self.reward_model.reward(judge.model, judge.task, fitted)
        known = known_of_pairs(judge, reward, aligning, self.labeller)
        if judge.is_listed and self.policy.kl_coef > 0:
            known |= known_of_texts(judge, reward, aligning, self.policy.kl_coef)
        return known

    def _fit(self, model: LanguageModel, task: LMTask, prompts: int) -> Stage:
        """The reward model's stage, which begins with answers of the policy as it is, ranked beside all before."""
        fit = self.reward_model.stage(model, task)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            data_key, fit_key = jax.random.split(key)
            new = compared(data_key, model, task, aligning.weights, prompts, self.answers, self.labeller)
            parts = [new] if aligning.rankings is None else [aligning.rankings, new]
            rankings = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
            return fit.begin(fit_key, aligning._replace(rankings=rankings))

        return dataclasses.replace(fit, begin=begin)
