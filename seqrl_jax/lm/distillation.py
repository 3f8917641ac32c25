"""Best-of-n distillation: supervised training on the best of n answers of pi_0, so that one answer is enough.

Its optimum is the law of the best of n (`exact.best_of`), which trades reward against KL nearly as well as can be.
Stiennon et al. (2020) for the best of n; Sessa et al. (2024) for distilling it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.labels import Rankings
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.sft import cross_entropy
from seqrl_jax.lm.stage import Aligning, Stage
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat

AT_ONCE = 512
"""Prompts that are answered together."""


@dataclass(frozen=True)
class BestOfDistilled(Method):
    """Cross-entropy on the best answers by the gold reward.

    Attributes: draws: n. prompts: of the data, each with its best answer. learning_rate: of Adam, falling to 0.
        updates: gradient steps. batch: answers in each.
    """

    draws: Count = 16
    prompts: Count = 16384
    learning_rate: PositiveFloat = 0.003
    updates: Count = 1500
    batch: Count = 128

    def __post_init__(self) -> None:
        check(self)

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        optimiser = falling_adam(self.learning_rate, self.updates)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            data_key, train_key = jax.random.split(key)
            best = self.best_answers(data_key, model, task, aligning.reference)
            state = (aligning.weights, optimiser.init(aligning.weights))
            return aligning._replace(rankings=best), state, train_key

        def update(aligning: Aligning, state: Any, key: Array) -> tuple[Any, Array]:
            drawn = jax.random.randint(key, (self.batch,), 0, self.prompts)
            prompt, tokens = aligning.rankings.prompt[drawn], aligning.rankings.chosen[drawn]
            mask = drawn_mask(tokens, task.end)
            loss = lambda weights: cross_entropy(token_log_probs(model, weights, prompt, tokens), mask)
            return gradient_step(optimiser, loss, *state)

        return [Stage(self.updates, begin, update, lambda aligning, state: aligning._replace(weights=state[0]))]

    def best_answers(self, key: Array, model: LanguageModel, task: LMTask, reference: Weights) -> Rankings:
        """Prompts with the best of so many answers each, as rankings of one."""
        prompt_key, sample_key = jax.random.split(key)
        prompts = task.draw_prompts(prompt_key, self.prompts)

        def best(prompt_and_key: tuple[Array, Array]) -> Array:
            prompt, key = prompt_and_key
            each = jnp.repeat(prompt[None], self.draws, 0)
            tokens = sample(model, reference, key, each, task.length, task.end).tokens
            return tokens[jnp.argmax(task.rewards(each, tokens))]

        keys = jax.random.split(sample_key, self.prompts)
        tokens = jax.lax.map(best, (prompts, keys), batch_size=AT_ONCE)
        return Rankings(prompts, tokens[:, None])
