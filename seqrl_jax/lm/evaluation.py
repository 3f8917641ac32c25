"""Where policies stand on a task: exactly where completions can be listed, else with the KL drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.lm import exact
from seqrl_jax.lm.base import completion_logits, token_distribution
from seqrl_jax.lm.exact import Law, Standing
from seqrl_jax.lm.sampling import sample
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights

DRAWS = 8192
RATIOS = np.geomspace(100.0, 1e-4, 80)
"""Prices of KL in units of the range of rewards, at which the frontier is drawn."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A task with its references, one for each of S seeds.

    Attributes: rewards: [N, C], of every outcome. references: S laws [N, C]. weights: of the references [S, ...].
    """

    model: LanguageModel
    task: LMTask
    rewards: np.ndarray
    references: list[Law]
    weights: Weights

    @property
    def is_listed(self) -> bool:
        """Whether outcomes are single completions."""
        return exact.is_listed(self.task)

    def repeated(self, times: int) -> Judge:
        """The judge of so many policies of each seed: its references one after another, so many times."""
        tiled = jax.tree.map(lambda leaf: jnp.tile(leaf, (times,) + (1,) * (leaf.ndim - 1)), self.weights)
        return replace(self, references=self.references * times, weights=tiled)

    def standings(self, weights: Weights) -> list[Standing]:
        """Of policies with weights [S, ...], each against its own reference."""
        laws = outcome_laws(self.model, self.task, weights)
        if self.is_listed:
            return [
                exact.standing(law, before, self.rewards) for law, before in zip(laws, self.references, strict=True)
            ]
        drawn = jax.jit(jax.vmap(lambda key, new, old: drawn_divergence(key, self.model, self.task, new, old, DRAWS)))
        kl, error = (
            np.asarray(part) for part in drawn(jax.random.split(jax.random.key(0), len(laws)), weights, self.weights)
        )
        return [
            exact.standing(law, before, self.rewards, float(kl[seed]), float(error[seed]))
            for seed, (law, before) in enumerate(zip(laws, self.references, strict=True))
        ]

    def best_of(self, draws: int) -> list[Standing]:
        """Of the best of so many answers by the gold reward. Its ratio to pi_0 depends on the reward alone, so that its
        KL is that of the outcomes also where they are sets of completions."""
        laws = [exact.best_of(before, self.rewards, draws) for before in self.references]
        return [exact.standing(law, before, self.rewards) for law, before in zip(laws, self.references, strict=True)]

    def frontier(self, seed: int) -> list[list[float]]:
        """Points (KL, reward) of the frontier of one reference, from no KL to the most that pays."""
        reference = self.references[seed]
        scale = float(np.ptp(self.rewards))
        laws = [exact.optimum(reference, self.rewards, scale * ratio) for ratio in RATIOS]
        points = [[exact.divergence(law, reference), exact.expected(law, self.rewards)] for law in laws]
        return [*points, list(exact.limit(reference, self.rewards))]

    def best_objective(self, beta: float) -> list[float]:
        """beta E[log Z] for each seed: what E[r] - beta KL can be at most; where KL costs nothing, the best reward."""
        if beta == 0:
            return [exact.limit(before, self.rewards)[1] for before in self.references]
        return [beta * float(exact.log_partition(before, self.rewards, beta).mean()) for before in self.references]


def judge(model: LanguageModel, task: LMTask, references: Weights) -> Judge:
    """The judge of a task, from the weights of its references [S, ...]."""
    return Judge(model, task, exact.outcome_rewards(task), outcome_laws(model, task, references), references)


def outcome_laws(model: LanguageModel, task: LMTask, weights: Weights) -> list[Law]:
    """The laws of policies with weights [S, ...] over the task's outcomes."""
    of = exact.law_of if exact.is_listed(task) else exact.rewarded_law
    laws = jax.jit(lambda weights: jax.lax.map(lambda one: of(model, task, one), weights))(weights)
    return [exact.normalised(law) for law in np.asarray(laws)]


def drawn_divergence(
    key: Array, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, draws: int
) -> tuple[Array, Array]:
    """KL(pi || pi_0) and its standard error, nats: the exact KL of each token's law, summed along drawn completions."""
    prompt = jnp.asarray(task.prompts, jnp.int32)[jnp.arange(draws) % len(task.prompts)]
    drawn = sample(model, weights, key, prompt, task.length, task.end)
    policy, ref_policy = (
        token_distribution(completion_logits(model, w, prompt, drawn.tokens)) for w in (weights, reference)
    )
    along = jnp.sum(jnp.where(drawn.mask, policy.kl_divergence(ref_policy), 0.0), 1)
    return along.mean(), along.std() / draws**0.5
