"""Learning from comparisons without a reward model: DPO, IPO, KTO.

The reward that a policy is optimal for is `r = beta log pi / pi_0 + beta log Z`, so a model of rewards may be written
as a policy. Throughout, `h = log pi(y | x) - log pi_0(y | x)`, of a chosen and of a rejected completion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.labels import Labeller, Rankings
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.stage import Aligning, Stage
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat


def dpo(chosen: Array, rejected: Array, beta: float) -> Array:
    """`-log sigmoid(beta (h_w - h_l))`. Rafailov et al. (2023), eq. 7.

    Its gradient is `-beta sigmoid(beta (h_l - h_w)) (grad log pi(y_w) - grad log pi(y_l))`: the weight is the
    probability with which the model would rank the pair wrong.
    """
    return -jnp.mean(jax.nn.log_sigmoid(beta * (chosen - rejected)))


def ipo(chosen: Array, rejected: Array, beta: float) -> Array:
    """`((h_w - h_l) - 1 / (2 beta))^2`, with sums over tokens. Azar et al. (2024), eq. 17.

    Every pair, however sure, asks for the same margin, where DPO asks for more and more.
    """
    return jnp.mean(jnp.square(chosen - rejected - 1 / (2 * beta)))


def kto(chosen: Array, rejected: Array, beta: float, baseline: Array) -> Array:
    """Chosen and rejected completions judged one by one against a reference point. Ethayarajh et al. (2024), eq. 8.

    `mean(1 - sigmoid(beta (h_w - z)))` and `mean(1 - sigmoid(beta (z - h_l)))` at equal weights. baseline: z [], an
    estimate of KL(pi || pi_0), 0 at least and without gradient (see `answers_of_others`).
    """
    z = jax.lax.stop_gradient(jnp.maximum(baseline, 0.0))
    return 0.5 * jnp.mean(2 - jax.nn.sigmoid(beta * (chosen - z)) - jax.nn.sigmoid(beta * (z - rejected)))


@dataclass(frozen=True)
class Preference(Method):
    """Offline training on pairs.

    Attributes:
        loss: `dpo`, `ipo` or `kto`. beta: in units of reward per nat.
        pairs: how many are labelled, once, from pi_0's own answers. labeller: by whom.
        learning_rate: of Adam, falling to 0. updates: gradient steps. batch: pairs in each.
        online: label fresh answers of the policy itself at every update, instead of the offline pairs.
    """

    loss: Literal["dpo", "ipo", "kto"] = "dpo"
    beta: PositiveFloat = 0.1
    pairs: Count = 65536
    labeller: Labeller = Labeller()
    learning_rate: PositiveFloat = 0.003
    updates: Count = 2000
    batch: Count = 128
    online: bool = False

    def __post_init__(self) -> None:
        check(self)

    def optimal_beta(self, task: LMTask) -> float | None:
        """DPO's optimum is pi* when the labels follow the gold reward; that of IPO and KTO never is."""
        return self.beta if self.loss == "dpo" and self.labeller.is_faithful(task) else None

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        optimiser = falling_adam(self.learning_rate, self.updates)
        labelled = lambda key, weights, pairs: compared(key, model, task, weights, pairs, 2, self.labeller)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            data_key, train_key = jax.random.split(key)
            if not self.online:
                aligning = aligning._replace(rankings=labelled(data_key, aligning.reference, self.pairs))
            return aligning, (aligning.weights, optimiser.init(aligning.weights)), train_key

        def update(aligning: Aligning, state: Any, key: Array) -> tuple[Any, Array]:
            if self.online:
                pairs = labelled(key, state[0], self.batch)
            else:
                drawn = jax.random.randint(key, (self.batch,), 0, self.pairs)
                pairs = jax.tree.map(lambda leaf: leaf[drawn], aligning.rankings)
            loss = lambda weights: self.pair_loss(model, task, weights, aligning.reference, pairs)
            return gradient_step(optimiser, loss, *state)

        return [Stage(self.updates, begin, update, lambda aligning, state: aligning._replace(weights=state[0]))]

    def pair_loss(
        self, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, pairs: Rankings
    ) -> Array:
        """The loss of pairs. All their texts are read at once."""
        texts = [pairs.chosen, pairs.rejected]
        if self.loss == "kto":
            texts += answers_of_others(pairs)
        prompt = jnp.tile(pairs.prompt, (len(texts), 1))
        h = log_ratio(model, task, weights, reference, prompt, jnp.concatenate(texts))
        chosen, rejected, *others = h.reshape(len(texts), -1)
        if self.loss == "kto":
            return kto(chosen, rejected, self.beta, jnp.mean(jnp.stack(others)))
        return LOSSES[self.loss](chosen, rejected, self.beta)


def answers_of_others(pairs: Rankings) -> list[Array]:
    """Each prompt with the answers to the one before it: the mean of their h is KTO's reference point.

    Ethayarajh et al. (2024), sec. 4.1.
    """
    return [jnp.roll(pairs.chosen, 1, 0), jnp.roll(pairs.rejected, 1, 0)]


def log_ratio(
    model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, prompt: Array, tokens: Array
) -> Array:
    """h [B] of completions [B, L], summed over their tokens."""
    mask = drawn_mask(tokens, task.end)
    log_prob = lambda weights: jnp.sum(jnp.where(mask, token_log_probs(model, weights, prompt, tokens), 0.0), -1)
    return log_prob(weights) - jax.lax.stop_gradient(log_prob(reference))


def compared(
    key: Array, model: LanguageModel, task: LMTask, weights: Weights, prompts: int, answers: int, labeller: Labeller
) -> Rankings:
    """So many prompts with so many answers of a policy each, ranked."""
    prompt_key, sample_key, label_key = jax.random.split(key, 3)
    prompt = task.draw_prompts(prompt_key, prompts)
    drawn = sample(model, weights, sample_key, jnp.repeat(prompt, answers, 0), task.length, task.end)
    return labeller.rank(label_key, task, prompt, drawn.tokens.reshape(prompts, answers, -1))


LOSSES: dict[str, Callable[[Array, Array, float], Array]] = {"dpo": dpo, "ipo": ipo}
