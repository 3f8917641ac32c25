"""Policy gradients on completions: REINFORCE and its relatives, down to PPO, RLOO and GRPO.

    max_pi E[r(x, y)] - kl_coef KL(pi || pi_0)

One update draws G completions for each of some prompts, turns rewards into advantages, and passes over the batch once
or several times. The methods differ in three places, and each place is a function here: what an advantage is, how a
changed policy is weighed (`surrogate`), and where the KL stands. In the reward (k1, `-log pi / pi_0`) it is the KL
of the objective. In the loss (k3, Schulman 2020, as in GRPO) its value is the same in expectation, but the gradient of
the estimate is that of the *forward* KL of each token, so that another policy is the optimum.

Sources: Williams (1992); Schulman et al. (2017) for the clip; Ahmadian et al. (2024) for RLOO; Shao et al. (2024) for
GRPO; Liu et al. (2025) for Dr. GRPO; Ouyang et al. (2022) for the KL in the reward of each token; Hu (2025) for
REINFORCE++; Yu et al. (2025) for DAPO; Zheng et al. (2025) for GSPO.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.estimators import gae
from seqrl_jax.lm.base import Reward, completion_hidden, token_distribution, token_log_probs
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.sampling import Completions, sample
from seqrl_jax.lm.stage import Aligning, Stage
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check, require
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat, Probability, Weight

GROUPED = ("leave_one_out", "group", "group_mean")
"""Advantages that compare the answers to one prompt with each other."""
BY_TOKEN = ("batch", "value")
"""Advantages that differ between the tokens of an answer."""
GROUP_EPSILON, BATCH_EPSILON = 1e-4, 1e-8


class Rollout(NamedTuple):
    """What an update learns from: B completions, G in a row for each prompt.

    tokens, mask, log_prob: as drawn, [B, L]. ref_log_prob: log pi_0 of the tokens [B, L]. reward: [B].
    advantage, value_target: [B, L].
    """

    prompt: Array
    tokens: Array
    mask: Array
    log_prob: Array
    ref_log_prob: Array
    reward: Array
    advantage: Array
    value_target: Array


def leave_one_out(reward: Array) -> Array:
    """`r_i - mean_{j != i} r_j` of groups [M, G]. Kool et al. (2019); Ahmadian et al. (2024), eq. 7."""
    size = reward.shape[1]
    return (reward - reward.mean(1, keepdims=True)) * size / (size - 1)


def group_normalised(reward: Array) -> Array:
    """`(r_i - mean) / (deviation + 1e-4)` of groups [M, G], the deviation with G - 1. Shao et al. (2024), eq. 3."""
    centred = reward - reward.mean(1, keepdims=True)
    return centred / (reward.std(1, keepdims=True, ddof=1) + GROUP_EPSILON)


def batch_normalised(reward: Array, mask: Array) -> Array:
    """`(A - mean) / deviation` [B, L] over all tokens of a batch, 0 outside the mask. Hu (2025)."""
    count = jnp.maximum(mask.sum().astype(jnp.float32), 1)
    mean = jnp.sum(jnp.where(mask, reward, 0.0)) / count
    centred = jnp.where(mask, reward - mean, 0.0)
    return centred / jnp.sqrt(jnp.sum(jnp.square(centred)) / count + BATCH_EPSILON)


def reward_to_go(reward: Array, penalty: Array) -> Array:
    """`r - sum_{s >= t} penalty_s` [B, L], of rewards at the end [B] and the price of each token [B, L]. Hu (2025)."""
    return reward[:, None] - jnp.cumsum(penalty[:, ::-1], 1)[:, ::-1]


def k1(log_prob: Array, ref_log_prob: Array) -> Array:
    """`log pi - log pi_0` of drawn tokens: unbiased for the KL. Schulman (2020)."""
    return log_prob - ref_log_prob


def k3(log_prob: Array, ref_log_prob: Array) -> Array:
    """`pi_0 / pi - 1 - log pi_0 / pi`: unbiased for the KL, never negative, of less variance. Schulman (2020)."""
    return jnp.exp(ref_log_prob - log_prob) - 1 - (ref_log_prob - log_prob)


def surrogate(
    log_prob: Array,
    old_log_prob: Array,
    mask: Array,
    advantage: Array,
    ratio: str,
    clip: float | None,
    clip_high: float | None = None,
) -> Array:
    """The objective of each token [B, L]: its gradient is the policy gradient where pi is still the old policy.

    ratio: `none`, the score function `log pi A`; `token`, `pi / pi_old A` token by token, whose bias is that earlier
    tokens are not weighed; `completion`, the ratio of the whole completion, which is unbiased where all tokens share
    one advantage, for it stands with their mean; `geometric`, its root of the order of the length (GSPO; Zheng et al.,
    2025, eq. 7), of less variance. clip: epsilon of PPO's pessimistic bound (Schulman et al., 2017, eq. 7), None for no
    bound; clip_high: another for ratios above 1 (Yu et al., 2025).
    """
    if ratio == "none":
        return log_prob * advantage
    change = jnp.where(mask, log_prob - old_log_prob, 0.0)
    if ratio != "token":
        length = jnp.maximum(mask.sum(1, keepdims=True).astype(jnp.float32), 1)
        total = change.sum(1, keepdims=True)
        # The completion's ratio stands at its every token; the mean over them is the ratio itself.
        change = jnp.broadcast_to(total / length if ratio == "geometric" else total, change.shape)
        advantage = advantage / length
    weight = jnp.exp(change)
    if clip is None:
        return weight * advantage
    bounded = jnp.clip(weight, 1 - clip, 1 + (clip if clip_high is None else clip_high))
    return jnp.minimum(weight * advantage, bounded * advantage)


def clipped_value_loss(value: Array, old_value: Array, target: Array, clip: float) -> Array:
    """`max((v - R)^2, (v_old + clip(v - v_old) - R)^2) / 2` for each token. Schulman et al. (2017), the code's form."""
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(near - target))


@dataclass(frozen=True)
class PolicyGradient(Method):
    """The family. As a method it maximises the gold reward itself; in RLHF it maximises another.

    Attributes:
        advantage: `total` (the reward itself), `mean` (minus the batch's mean), `leave_one_out` (RLOO), `group`
            (GRPO), `group_mean` (Dr. GRPO), `batch` (reward to go, normalised over the batch's tokens: REINFORCE++), or
            `value` (GAE on a value head).
        ratio, clip, clip_high: see `surrogate`. divergence: KL in the `reward` or the `loss`. kl_coef: reward per nat.
        average: a completion's loss is the `sum` over its tokens (Dr. GRPO, but for a constant) or their mean over the
            `completion` (GRPO); or all tokens of a `batch` weigh the same (DAPO).
        epochs, minibatches: passes over a batch, and parts of each.
        prompts, group: prompts of a batch, and G completions for each. candidates: of so many times as many groups,
            those are kept whose rewards differ, which alone have a gradient (DAPO's dynamic sampling, with a bound on
            the tries: where too few differ, the batch is filled with others). learning_rate: of Adam, falling to 0.
        updates: batches. lambda_, value_cost: of GAE, and of the value head's loss.
    """

    advantage: Literal["total", "mean", "leave_one_out", "group", "group_mean", "batch", "value"] = "mean"
    ratio: Literal["none", "completion", "geometric", "token"] = "none"
    clip: PositiveFloat | None = None
    clip_high: PositiveFloat | None = None
    divergence: Literal["reward", "loss"] = "reward"
    kl_coef: Weight = 0.05
    average: Literal["sum", "completion", "batch"] = "sum"
    epochs: Count = 1
    minibatches: Count = 1
    prompts: Count = 16
    group: Count = 8
    candidates: Count = 1
    learning_rate: PositiveFloat = 0.002
    updates: Count = 1500
    lambda_: Probability = 0.95
    value_cost: Weight = 0.1

    def __post_init__(self) -> None:
        check(self)
        batch = self.prompts * self.group
        whole = f"{batch} completions do not divide into equal parts"
        require(batch % self.minibatches == 0, whole, minibatches=self.minibatches)
        alone = self.group == 1 and self.advantage in GROUPED
        require(not alone, "there is no other answer to compare with", group=self.group, advantage=self.advantage)
        beyond = self.clip is None and self.clip_high is not None
        require(not beyond, "nothing is clipped", clip=self.clip, clip_high=self.clip_high)
        unclipped = self.ratio == "none" and self.clip is not None
        require(not unclipped, "there is no ratio to clip", ratio=self.ratio, clip=self.clip)

    def optimal_beta(self, task: LMTask) -> float | None:
        by_length = self.average != "sum" or self.ratio == "geometric"
        unweighed = self.ratio == "none" and self.epochs * self.minibatches > 1
        averaged = self.ratio == "completion" and self.advantage in BY_TOKEN
        biased = self.divergence == "loss" or self.advantage == "group" or self.candidates > 1
        return None if biased or by_length or unweighed or averaged else self.kl_coef

    @property
    def price(self) -> float | None:
        return self.kl_coef or None

    def stages(self, model: LanguageModel, task: LMTask) -> list[Stage]:
        return [self.stage(model, task, lambda aligning: task.rewards)]

    def stage(self, model: LanguageModel, task: LMTask, reward: Callable[[Aligning], Reward]) -> Stage:
        """The policy maximises a reward, which may depend on what earlier stages made.

        Metrics: `reward`, the mean of what was drawn; `kl`, its k1 estimate.
        """
        optimiser = self.optimiser()

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            weights = {"model": aligning.weights, "value": jnp.zeros(model.width)}
            return aligning, (weights, optimiser.init(weights)), key

        def update(aligning: Aligning, state: Any, key: Array) -> tuple[Any, dict[str, Array]]:
            collect_key, order_key = jax.random.split(key)
            rollout = self.collect(collect_key, model, task, state[0], aligning.reference, reward(aligning))
            state, _ = self.learn(order_key, model, optimiser, state, rollout)
            return state, {"reward": rollout.reward.mean(), "kl": log_ratio(rollout).mean()}

        return Stage(self.updates, begin, update, lambda aligning, state: aligning._replace(weights=state[0]["model"]))

    def collect(
        self, key: Array, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, reward: Reward
    ) -> Rollout:
        """Fresh completions, rewards and advantages."""
        prompt_key, sample_key = jax.random.split(key)
        prompt = jnp.repeat(task.draw_prompts(prompt_key, self.prompts * self.candidates), self.group, 0)
        drawn = sample(model, weights["model"], sample_key, prompt, task.length, task.end)
        worth = reward(prompt, drawn.tokens)
        if self.candidates > 1:
            rows = differing_groups(worth.reshape(-1, self.group), self.prompts)
            prompt, drawn, worth = jax.tree.map(lambda leaf: leaf[rows], (prompt, drawn, worth))
        return self.rollout(model, weights, reference, prompt, drawn, worth)

    def rollout(
        self,
        model: LanguageModel,
        weights: Weights,
        reference: Weights,
        prompt: Array,
        drawn: Completions,
        reward: Array,
    ) -> Rollout:
        """Drawn completions with their rewards [B], and what follows from these."""
        ref_log_prob = jnp.where(drawn.mask, token_log_probs(model, reference, prompt, drawn.tokens), 0.0)
        value = completion_hidden(model, weights["model"], prompt, drawn.tokens) @ weights["value"]
        advantage, target = self.advantages(reward, drawn.log_prob, ref_log_prob, drawn.mask, value)
        return Rollout(prompt, drawn.tokens, drawn.mask, drawn.log_prob, ref_log_prob, reward, advantage, target)

    def optimiser(self) -> optax.GradientTransformation:
        """Adam, whose rate is 0 after the last minibatch of the last update."""
        return falling_adam(self.learning_rate, self.updates * self.epochs * self.minibatches)

    def learn(
        self,
        key: Array,
        model: LanguageModel,
        optimiser: optax.GradientTransformation,
        carry: tuple[Weights, optax.OptState],
        rollout: Rollout,
    ) -> tuple[tuple[Weights, optax.OptState], Array]:
        """Every pass over a rollout. Returns weights and the optimiser's state, and losses [epochs * minibatches]."""

        def minibatch(
            carry: tuple[Weights, optax.OptState], rows: Array
        ) -> tuple[tuple[Weights, optax.OptState], Array]:
            part = jax.tree.map(lambda leaf: leaf[rows], rollout)
            return gradient_step(optimiser, lambda weights: self.loss(model, weights, part), *carry)

        size = len(rollout.reward)
        orders = jax.vmap(lambda key: jax.random.permutation(key, size))(jax.random.split(key, self.epochs))
        return jax.lax.scan(minibatch, carry, orders.reshape(self.epochs * self.minibatches, -1))

    def advantages(
        self, reward: Array, log_prob: Array, ref_log_prob: Array, mask: Array, value: Array
    ) -> tuple[Array, Array]:
        """Advantages and targets of the value head, both [B, L], of rewards [B] and values before each token [B, L]."""
        kl_coef = self.kl_coef if self.divergence == "reward" else 0.0
        penalty = jnp.where(mask, kl_coef * k1(log_prob, ref_log_prob), 0.0)
        if self.advantage == "value":
            last = mask & ~jnp.concatenate([mask[:, 1:], jnp.zeros_like(mask[:, :1])], 1)
            token_reward = jnp.where(last, reward[:, None], 0.0) - penalty
            discount = jnp.where(last | ~mask, 0.0, 1.0)
            following = jnp.concatenate([value[:, 1:], jnp.zeros_like(value[:, :1])], 1)
            by_time = lambda array: array.swapaxes(0, 1)
            advantage = by_time(
                gae(
                    by_time(token_reward),
                    by_time(discount),
                    by_time(discount),
                    by_time(value),
                    by_time(following),
                    self.lambda_,
                )
            )
            return advantage, advantage + value
        if self.advantage == "batch":
            return batch_normalised(reward_to_go(reward, penalty), mask), jnp.zeros(mask.shape)
        total = reward - penalty.sum(1)
        groups = total.reshape(-1, self.group)
        centred = {
            "total": lambda: groups,
            "mean": lambda: groups - total.mean(),
            "leave_one_out": lambda: leave_one_out(groups),
            "group": lambda: group_normalised(groups),
            "group_mean": lambda: groups - groups.mean(1, keepdims=True),
        }[self.advantage]()
        return jnp.broadcast_to(centred.reshape(-1, 1), mask.shape), jnp.zeros(mask.shape)

    def loss(self, model: LanguageModel, weights: Weights, rollout: Rollout) -> Array:
        """The loss of a rollout or a part of it."""
        log_prob, value = log_probs_and_values(model, weights, rollout.prompt, rollout.tokens)
        return self.token_loss(log_prob, value, rollout)

    def token_loss(self, log_prob: Array, value: Array, rollout: Rollout) -> Array:
        """The loss, from log pi and values [B, L] of the rollout's tokens."""
        mask = rollout.mask
        gain = surrogate(log_prob, rollout.log_prob, mask, rollout.advantage, self.ratio, self.clip, self.clip_high)
        if self.divergence == "loss":
            # Masked before the exponential: 0 times infinity has no gradient.
            gain = gain - self.kl_coef * k3(jnp.where(mask, log_prob, rollout.ref_log_prob), rollout.ref_log_prob)
        if self.advantage == "value":
            old_value = rollout.value_target - rollout.advantage
            gain = gain - self.value_cost * clipped_value_loss(value, old_value, rollout.value_target, VALUE_CLIP)
        per_completion, length = jnp.sum(jnp.where(mask, gain, 0.0), 1), mask.sum(1).astype(jnp.float32)
        if self.average == "batch":
            return -per_completion.sum() / jnp.maximum(length.sum(), 1)
        return -jnp.mean(per_completion / jnp.maximum(length, 1) if self.average == "completion" else per_completion)


VALUE_CLIP = 0.2


def differing_groups(reward: Array, count: int) -> Array:
    """[count * G]: rows of the first groups whose rewards [M, G] differ, and of others where those are too few."""
    differ = jnp.any(reward != reward[:, :1], 1)
    first = jnp.argsort(~differ, stable=True)[:count]
    return (first[:, None] * reward.shape[1] + jnp.arange(reward.shape[1])).reshape(-1)


def log_ratio(rollout: Rollout) -> Array:
    """[B]: log pi - log pi_0 of each completion, whose mean estimates the KL."""
    return jnp.sum(jnp.where(rollout.mask, k1(rollout.log_prob, rollout.ref_log_prob), 0.0), 1)


def log_probs_and_values(model: LanguageModel, weights: Weights, prompt: Array, tokens: Array) -> tuple[Array, Array]:
    """log pi of the tokens of completions [B, L], and values before each; both [B, L]."""
    hidden = completion_hidden(model, weights["model"], prompt, tokens)
    logits = model.apply(weights["model"], hidden, method="logits")
    return token_distribution(logits).log_prob(tokens), hidden @ weights["value"]
