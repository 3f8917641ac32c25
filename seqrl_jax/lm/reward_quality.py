"""What a learned reward knows: how it ranks pairs, how it goes with the gold reward, and what optimising it is worth.

The exact optimum of the learned reward tells a weak reward model from weak optimisation: what it falls short of the
gold reward's optimum is the model's fault, what a policy falls short of it is the policy gradient's.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.lm import exact
from seqrl_jax.lm.base import Reward
from seqrl_jax.lm.evaluation import Judge, outcome_laws
from seqrl_jax.lm.exact import Law
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.preference import compared
from seqrl_jax.lm.reward_model import Fitted, plackett_luce
from seqrl_jax.lm.stage import Aligning
from seqrl_jax.lm.tasks import LMTask

FRESH_PAIRS = 8192
"""Of pi_0's answers, labelled once more: neither a gradient nor early stopping has seen them."""
Learned = Callable[[Fitted], Reward]


def known_of_pairs(judge: Judge, reward: Learned, aligning: Aligning, labeller: Labeller) -> dict[str, list[float]]:
    """Of fresh pairs, a list [S] each: `rm_loss` in nats and `rm_accuracy`, the share that is ranked as it was
    labelled; `gold_loss` and `gold_accuracy` of the gold reward on the same pairs."""
    task, model = judge.task, judge.model

    def of(seed: tuple[Array, Aligning]) -> tuple[Array, ...]:
        key, mine = seed
        pairs = compared(key, model, task, mine.reference, FRESH_PAIRS, 2, labeller)
        scores = lambda score: jnp.stack([score(pairs.prompt, pairs.chosen), score(pairs.prompt, pairs.rejected)], 1)
        learned, gold = scores(reward(mine.fitted)), scores(task.rewards)
        return plackett_luce(learned), accuracy(learned), plackett_luce(gold), accuracy(gold)

    keys = jax.random.split(jax.random.key(1), len(judge.references))
    # What was ranked is not read again.
    values = jax.jit(lambda *seeds: jax.lax.map(of, seeds))(keys, aligning._replace(rankings=None))
    names = ("rm_loss", "rm_accuracy", "gold_loss", "gold_accuracy")
    return {name: np.asarray(value, np.float64).tolist() for name, value in zip(names, values, strict=True)}


def known_of_texts(judge: Judge, reward: Learned, aligning: Aligning, beta: float) -> dict[str, list[float]]:
    """Of all completions, exactly, a list [S] each.

    rm_correlation: with the gold reward within prompts, under pi_0. learned_reward, learned_kl, learned_regret: where
    the learned reward's optimum at this beta stands, by the gold reward. climbing_gap: the learned `beta log Z` minus
    what the policy reaches, `E[learned] - beta KL`, whatever constants the learned reward has.
    """
    of_texts = jax.jit(lambda fitted: jax.lax.map(lambda one: outcome_scores(reward(one), judge.task), fitted))
    scores = np.asarray(of_texts(aligning.fitted), np.float64)
    policies = outcome_laws(judge.model, judge.task, aligning.weights)
    known: dict[str, list[float]] = {}
    for learned, law, before in zip(scores, policies, judge.references, strict=True):
        star = exact.optimum(before, learned, beta)
        stands = exact.standing(star, before, judge.rewards)
        best, reached = (exact.objective(one, before, learned, beta) for one in (star, law))
        of_seed = {
            "rm_correlation": correlation_within(before, learned, judge.rewards),
            "learned_reward": stands.reward,
            "learned_kl": stands.kl,
            "learned_regret": stands.regret,
            "climbing_gap": best - reached,
        }
        for name, value in of_seed.items():
            known.setdefault(name, []).append(value)
    return known


def accuracy(scores: Array) -> Array:
    """The share of pairs [M, 2] whose first score is the larger; equal ones count half."""
    return jnp.mean(0.5 * (1 + jnp.sign(scores[:, 0] - scores[:, 1])))


def outcome_scores(reward: Reward, task: LMTask) -> Array:
    """[N, C]: a reward of every completion, where they can be listed (float32; for `jit`)."""
    texts = jnp.asarray(exact.completions(task.size, task.length, task.end))

    def of_prompt(prompt: Array) -> Array:
        one = lambda text: reward(prompt[None], text[None])[0]
        return jax.lax.map(one, texts, batch_size=exact.CHUNK)

    return jax.lax.map(of_prompt, jnp.asarray(task.prompts, jnp.int32))


def correlation_within(law: Law, first: np.ndarray, second: np.ndarray) -> float:
    """Of two rewards [N, C] under a law, within prompts: mean covariance over the root of mean variances.

    0 where one of them is constant within every prompt.
    """
    share = np.exp(law)
    one, other = (values - (share * values).sum(1, keepdims=True) for values in (first, second))
    product = lambda a, b: float((share * a * b).sum(1).mean())
    spread = (product(one, one) * product(other, other)) ** 0.5
    return product(one, other) / spread if spread > 0 else 0.0
