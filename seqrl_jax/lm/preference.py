"""Learning from comparisons without a reward model: DPO and its relatives, on pairs of answers.

The reward that a policy is optimal for is `r = beta log pi / pi_0 + beta log Z`, so a model of rewards may be written
as a policy. Throughout, `h = log pi(y | x) - log pi_0(y | x)`, of a chosen and of a rejected completion, and `p` is the
mean log-probability of a completion's tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

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
from seqrl_jax.settings import Count, PositiveFloat, Weight

Flip = Annotated[float, Meta(ge=0, le=0.49)]
"""The chance that a label is turned around; at a half labels say nothing."""


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
    estimate of KL(pi || pi_0), 0 at least and without gradient (see `lm.kto`).
    """
    return 0.5 * (kto_answers(chosen, 1.0, beta, baseline) + kto_answers(rejected, -1.0, beta, baseline))


def kto_answers(h: Array, good: Array | float, beta: float, baseline: Array) -> Array:
    """`mean(1 - sigmoid(good beta (h - z)))` of answers, good (1) or bad (-1). Ethayarajh et al. (2024), eq. 8."""
    z = jax.lax.stop_gradient(jnp.maximum(baseline, 0.0))
    return jnp.mean(1 - jax.nn.sigmoid(good * beta * (h - z)))


def conservative_dpo(chosen: Array, rejected: Array, beta: float, flip: float) -> Array:
    """`(1 - flip) dpo(h_w, h_l) + flip dpo(h_l, h_w)`: cross-entropy against smoothed labels. Mitchell (2023).

    At its optimum a certain label asks for a finite margin, `log((1 - flip) / flip) / beta`.
    """
    return (1 - flip) * dpo(chosen, rejected, beta) + flip * dpo(rejected, chosen, beta)


def robust_dpo(chosen: Array, rejected: Array, beta: float, flip: float) -> Array:
    """`((1 - flip) dpo(h_w, h_l) - flip dpo(h_l, h_w)) / (1 - 2 flip)`. Chowdhury et al. (2024), sec. 3.

    Over labels of which this share is turned around, its mean is DPO's over the labels as they were.
    """
    return ((1 - flip) * dpo(chosen, rejected, beta) - flip * dpo(rejected, chosen, beta)) / (1 - 2 * flip)


def orpo(chosen: Array, rejected: Array, weight: float) -> Array:
    """`-p_w - weight log sigmoid(logit(e^p_w) - logit(e^p_l))`, of mean log-probabilities p. Hong et al. (2024), eq. 6.

    Supervised training on the chosen answer, and its odds against the rejected one; there is no pi_0.
    """
    log_odds = lambda p: p - jnp.log(-jnp.expm1(jnp.minimum(p, -SURE)))
    return jnp.mean(-chosen - weight * jax.nn.log_sigmoid(log_odds(chosen) - log_odds(rejected)))


def simpo(chosen: Array, rejected: Array, beta: float, margin: float) -> Array:
    """`-log sigmoid(beta (p_w - p_l) - margin)`, of mean log-probabilities p. Meng et al. (2024), eq. 6.

    The reward that it stands for is what generation maximises; there is no pi_0.
    """
    return -jnp.mean(jax.nn.log_sigmoid(beta * (chosen - rejected) - margin))


SURE = 1e-6
"""The odds of what is said with certainty are infinite; nobody is surer than this."""


class Scored(NamedTuple):
    """Completions as the policy and pi_0 see them: log-probabilities, sums over `length` tokens; all [M]."""

    log_prob: Array
    ref_log_prob: Array
    length: Array

    @property
    def h(self) -> Array:
        """log pi - log pi_0."""
        return self.log_prob - self.ref_log_prob

    @property
    def per_token(self) -> Array:
        """p, the mean of log pi over tokens."""
        return self.log_prob / self.length


@dataclass(frozen=True)
class FromLabels(Method):
    """Training on labelled pairs of answers.

    Attributes:
        pairs: how many are labelled, once, from pi_0's own answers. labeller: by whom.
        learning_rate: of Adam, falling to 0. updates: gradient steps. batch: pairs in each.
        online: label fresh answers of the policy itself at every update, instead of the offline pairs.
    """

    pairs: Count = 65536
    labeller: Labeller = Labeller()
    learning_rate: PositiveFloat = 0.003
    updates: Count = 2000
    batch: Count = 128
    online: bool = False

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def loss_of(self, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, labels: Any) -> Array:
        """The loss of what `labelled` made, or of rows of it."""

    def labelled(self, key: Array, model: LanguageModel, task: LMTask, weights: Weights, pairs: int) -> Any:
        """So many labels of a policy's answers, `pairs` in every leaf: `Rankings` of two."""
        return compared(key, model, task, weights, pairs, 2, self.labeller)

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        optimiser = falling_adam(self.learning_rate, self.updates)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            data_key, train_key = jax.random.split(key)
            if not self.online:
                labels = self.labelled(data_key, model, task, aligning.reference, self.pairs)
                aligning = aligning._replace(rankings=labels)
            return aligning, (aligning.weights, optimiser.init(aligning.weights)), train_key

        def update(aligning: Aligning, state: Any, key: Array) -> tuple[Any, Array]:
            if self.online:
                labels = self.labelled(key, model, task, state[0], self.batch)
            else:
                drawn = jax.random.randint(key, (self.batch,), 0, self.pairs)
                labels = jax.tree.map(lambda leaf: leaf[drawn], aligning.rankings)
            loss = lambda weights: self.loss_of(model, task, weights, aligning.reference, labels)
            return gradient_step(optimiser, loss, *state)

        return [Stage(self.updates, begin, update, lambda aligning, state: aligning._replace(weights=state[0]))]


@dataclass(frozen=True)
class OnPairs(FromLabels):
    """A loss of the chosen and the rejected answer."""

    @abstractmethod
    def pair_loss(self, chosen: Scored, rejected: Scored) -> Array: ...

    def loss_of(self, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, labels: Any) -> Array:
        texts = jnp.concatenate([labels.chosen, labels.rejected])
        both = scored(model, task, weights, reference, jnp.tile(labels.prompt, (2, 1)), texts)
        chosen, rejected = (Scored(*half) for half in zip(*(jnp.split(leaf, 2) for leaf in both), strict=True))
        return self.pair_loss(chosen, rejected)


@dataclass(frozen=True)
class Preference(OnPairs):
    """DPO and IPO.

    Attributes: loss: `dpo` or `ipo`. beta: in units of reward per nat.
    """

    loss: Literal["dpo", "ipo"] = "dpo"
    beta: PositiveFloat = 0.1

    def optimal_beta(self, task: LMTask) -> float | None:
        """DPO's optimum is pi* when the labels follow the gold reward; that of IPO never is."""
        return self.beta if self.loss == "dpo" and self.labeller.is_faithful(task) else None

    @property
    def price(self) -> float | None:
        return self.beta

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Array:
        return {"dpo": dpo, "ipo": ipo}[self.loss](chosen.h, rejected.h, self.beta)


@dataclass(frozen=True)
class NoisyPreference(OnPairs):
    """DPO that expects wrong labels.

    Attributes: loss: `cdpo` (conservative) or `rdpo` (robust). beta: in units of reward per nat.
        flip: the share of labels that it takes to be turned around.
    """

    loss: Literal["cdpo", "rdpo"] = "cdpo"
    beta: PositiveFloat = 0.1
    flip: Flip = 0.1

    def optimal_beta(self, task: LMTask) -> float | None:
        """The optimum of rDPO is pi* when it is right about the labels; that of cDPO is more careful."""
        expected = self.loss == "rdpo" and self.labeller.noise == self.flip and self.labeller.bias(task) == 0
        return self.beta if expected else None

    @property
    def price(self) -> float | None:
        return self.beta

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Array:
        loss = {"cdpo": conservative_dpo, "rdpo": robust_dpo}[self.loss]
        return loss(chosen.h, rejected.h, self.beta, self.flip)


@dataclass(frozen=True)
class ORPO(OnPairs):
    """Odds-ratio preference optimisation. Attributes: weight: of the odds beside supervised training."""

    weight: Weight = 0.1

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Array:
        return orpo(chosen.per_token, rejected.per_token, self.weight)


@dataclass(frozen=True)
class SimPO(OnPairs):
    """Simple preference optimisation. Attributes: beta, margin: of the mean log-probability, in nats for each token."""

    beta: PositiveFloat = 2.0
    margin: Weight = 1.0

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Array:
        return simpo(chosen.per_token, rejected.per_token, self.beta, self.margin)


def scored(
    model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, prompt: Array, tokens: Array
) -> Scored:
    """Completions [B, L] behind prompts [B, P], read at once."""
    mask = drawn_mask(tokens, task.end)
    log_prob = lambda weights: jnp.sum(jnp.where(mask, token_log_probs(model, weights, prompt, tokens), 0.0), -1)
    before = jax.lax.stop_gradient(log_prob(reference))
    return Scored(log_prob(weights), before, mask.sum(-1).astype(jnp.float32))


AT_ONCE = 4096
"""Prompts that are answered together."""


def compared(
    key: Array, model: LanguageModel, task: LMTask, weights: Weights, prompts: int, answers: int, labeller: Labeller
) -> Rankings:
    """So many prompts with so many answers of a policy each, ranked."""
    prompt_key, sample_key, label_key = jax.random.split(key, 3)
    prompt = task.draw_prompts(prompt_key, prompts)

    def answered(prompt_and_key: tuple[Array, Array]) -> Array:
        prompt, key = prompt_and_key
        each = jnp.broadcast_to(prompt, (answers, *prompt.shape))
        return sample(model, weights, key, each, task.length, task.end).tokens

    # What all prompts together are read with would not fit into the memory of many runs.
    tokens = jax.lax.map(answered, (prompt, jax.random.split(sample_key, prompts)), batch_size=AT_ONCE)
    return labeller.rank(label_key, task, prompt, tokens)
