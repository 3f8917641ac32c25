"""The whole loop of RLHF: answers, labels, a reward model, and a policy that climbs it.

Once, it is the offline recipe of Ouyang et al. (2022, fig. 2). Iterated, the policy's own answers are labelled again,
so that the reward model learns about what the policy found (Bai et al., 2022, sec. 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import LanguageModel
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import compared
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.naming import check
from seqrl_jax.settings import Count, Several


@dataclass(frozen=True)
class RLHF(Method):
    """Rounds of labelling, fitting and climbing.

    Attributes:
        reward_model, policy: how each is trained. labeller: who ranks.
        prompts, answers: of a round's data: K answers to each prompt, ranked. rounds: how often new answers are drawn,
            from the policy of the round before; the reward model fits all that was ranked so far.
    """

    reward_model: RewardModel = RewardModel()
    policy: PolicyGradient = PolicyGradient()
    labeller: Labeller = Labeller()
    prompts: Count = 16384
    answers: Several = 2
    rounds: Count = 1

    def __post_init__(self) -> None:
        check(self)

    @property
    def total_updates(self) -> int:
        return self.rounds * (self.reward_model.updates + self.policy.updates)

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        return self.train(key, model, task, reference)[0]

    def train(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> tuple[Any, dict[str, Array]]:
        """Weights of the policy, and the metrics of its last round, from the weights of pi_0."""
        weights, rankings = reference, []
        metrics: dict[str, Array] = {}
        for round_key in jax.random.split(key, self.rounds):
            data_key, fit_key, climb_key = jax.random.split(round_key, 3)
            rankings.append(compared(data_key, model, task, weights, self.prompts, self.answers, self.labeller))
            known = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rankings)
            fitted, _ = self.reward_model.train(fit_key, model, task, reference, known)
            reward = self.reward_model.reward(model, task, fitted)
            weights, metrics = self.policy.train(climb_key, model, task, reference, reward, weights)
        return weights, metrics
