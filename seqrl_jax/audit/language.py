"""Which estimates of the gradient are valid where a language model is aligned: by enumeration, nothing sampled.

The policy is a table, softmax of logits of its own behind every beginning of an answer to every prompt, so that what is
found is the estimate's and no network's. Its logits are standard normal (seed 0); those of pi_0, and of the policy that
old data came from, are moved from them.

All estimates are weighted scores, `sum_t w_t(y) grad log p(y_t | y_<t)` of an answer y: an estimate is what it draws y
from, the weights, and whose score it takes. So one function gives all expectations.

Five kinds of estimates, each against the gradient that it stands for:

    k1 / k2 / k3     of KL(pi || pi_0), differentiated in the loss or detached in the reward, summed over tokens or of
                     the completion (Schulman, 2020)
    old data         of E[r], from answers of an older policy, by ratios of tokens, of completions, or none
    group            of E[r], by rewards that are compared within a group
    by length        of E[r], the score divided by the length of the answer
    top-k, top-p     of E_q[r] of the truncated policy q that answers are drawn from, by its score or the whole policy's
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from seqrl_jax.lm import exact
from seqrl_jax.lm.policy_gradient import GROUP_EPSILON
from seqrl_jax.lm.tasks import TASKS, LMTask, make_task
from seqrl_jax.naming import SpecError

Row = dict[str, Any]
GROUP, CLIP, TOP_P = 4, 0.2, 0.8
MOVED = 0.3
"""By how much logits of pi_0 and of the older policy differ from the policy's, in standard deviations."""
MOST_LEVELS = 50
"""Different rewards of the answers to one prompt, at which groups are still enumerated."""
NO_GRADIENT = 1e-12


def names() -> list[str]:
    """The tasks of the language track whose answers can be listed, by name."""
    return [name for name in TASKS if exact.is_listed(make_task(name))]


@dataclass(frozen=True, eq=False)
class Table:
    """A policy as a table, and its law over all texts of L tokens of V words behind N prompts.

    tokens: for each t the probabilities of the next word behind every beginning, [N, V ** t, V]. logs: log-probability
    of each token along every text [N, T, L], 0 behind the end. law: of texts [N, T], 0 of those that go on behind an
    end. mask: [T, L], the tokens that were drawn.
    """

    tokens: tuple[np.ndarray, ...]
    logs: np.ndarray
    law: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is drawn, whose score is taken, and the weights of its tokens: their mean and mean square given the text,
    [N, T, L] or [N, T, 1]."""

    drawn: Table
    scored: Table
    weights: np.ndarray
    squares: np.ndarray


def listed(task: LMTask) -> LMTask:
    """The task. Raises: SpecError where its answers are too many to list."""
    if not exact.is_listed(task):
        raise SpecError(f"{task.name}: its answers are too many to list, and gradients are audited by listing them")
    return task


def language_rows(task: LMTask) -> list[Row]:
    """{"task", "estimator", "cosine", "relative_bias", "bias", "std"} of every estimate, see `audit.Audit`. The answers
    are listed: see `listed`."""
    rng = np.random.default_rng(0)
    logits = _normals(rng, task)
    policy = table(task, logits)
    moved = lambda: table(task, [here + MOVED * step for here, step in zip(logits, _normals(rng, task), strict=True)])
    reference, older = moved(), moved()
    reward = rewards(task)
    baseline = (policy.law * reward).sum(1, keepdims=True)
    followed = gradient(simple(policy, policy, (reward - baseline)[..., None]))
    away = (policy.logs - reference.logs).sum(2)
    kl = gradient(simple(policy, policy, away[..., None]))
    rows = [
        *((name, kl, estimate) for name, estimate in kl_estimates(policy, reference)),
        *((name, followed, estimate) for name, estimate in old_data_estimates(policy, older, reward)),
        *((name, followed, estimate) for name, estimate in group_estimates(policy, reward)),
    ]
    length = np.maximum(policy.mask.sum(1), 1)[:, None]
    rows.append(("by length", followed, simple(policy, policy, (reward - baseline)[..., None] / length)))
    for name, truncated in (("top-k", top_k(task, policy)), ("top-p", top_p(task, policy))):
        worth = (reward - (truncated.law * reward).sum(1, keepdims=True))[..., None]
        truth = gradient(simple(truncated, truncated, worth))
        rows.append((f"{name}, truncated score", truth, simple(truncated, truncated, worth)))
        rows.append((f"{name}, whole score", truth, simple(truncated, policy, worth)))
    return [{"task": task.name, "estimator": name, **compared(truth, estimate)} for name, truth, estimate in rows]


def kl_estimates(policy: Table, reference: Table) -> Iterator[tuple[str, Estimate]]:
    """Of KL(pi || pi_0). In the loss, k(log pi - log pi_0) is differentiated where it stands, at every token or once
    for the completion; in the reward its value weighs the score of the whole completion."""
    by_token = policy.logs - reference.logs
    whole = by_token.sum(2, keepdims=True)
    for name, (value, slope) in ESTIMATORS.items():
        yield f"{name} in reward", simple(policy, policy, (value(by_token) * policy.mask).sum(2, keepdims=True))
        yield f"{name} in loss", simple(policy, policy, slope(by_token))
        if name != "k1":
            yield f"{name} in reward, of completions", simple(policy, policy, value(whole))
            yield f"{name} in loss, of completions", simple(policy, policy, slope(whole))


ESTIMATORS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "k1": (lambda x: x, lambda x: np.ones(x.shape)),
    "k2": (lambda x: np.square(x) / 2, lambda x: x),
    "k3": (lambda x: np.exp(-x) - 1 + x, lambda x: 1 - np.exp(-x)),
}
"""Of x = log pi - log pi_0: k(x) and its derivative. Schulman (2020)."""


def old_data_estimates(policy: Table, older: Table, reward: np.ndarray) -> Iterator[tuple[str, Estimate]]:
    """Of E[r], from answers of an older policy: with ratios of tokens, of completions, their root (see
    `policy_gradient.surrogate`), or none; and clipped as in PPO."""
    advantage = (reward - (older.law * reward).sum(1, keepdims=True))[..., None]
    change = policy.logs - older.logs
    total, length = change.sum(2, keepdims=True), np.maximum(policy.mask.sum(1), 1)[:, None]
    yield "old data, no ratio", simple(older, policy, advantage)
    ratios = {
        "ratios of tokens": (np.exp(change), advantage),
        "ratio of the completion": (np.exp(total), advantage),
        "geometric ratio": (np.exp(total / length), advantage / length),
    }
    for name, (ratio, worth) in ratios.items():
        yield f"old data, {name}", simple(older, policy, ratio * worth)
        bounded = np.where(worth > 0, ratio > 1 + CLIP, ratio < 1 - CLIP)
        yield f"old data, {name}, clipped", simple(older, policy, np.where(bounded, 0.0, ratio * worth))


def group_estimates(policy: Table, reward: np.ndarray) -> Iterator[tuple[str, Estimate]]:
    """Of E[r], from `GROUP` answers to each prompt: the mean over the others of one member's weight, given its reward.

    Nothing where rewards are too many to enumerate the groups.
    """
    levels = [np.unique(row, return_inverse=True) for row in reward]
    if max(len(values) for values, _ in levels) > MOST_LEVELS:
        return
    moments = {name: np.zeros((2, *reward.shape)) for name in GROUPED}
    for prompt, (values, level) in enumerate(levels):
        mass = np.bincount(level, policy.law[prompt], len(values))
        for name, of_level in advantages_by_level(values, mass).items():
            moments[name][:, prompt] = of_level[:, level]
    for name, (mean, square) in moments.items():
        yield f"group, {name}", Estimate(policy, policy, mean[..., None], square[..., None])


GROUPED = ("leave one out", "minus mean", "minus mean, by deviation")


def advantages_by_level(values: np.ndarray, mass: np.ndarray) -> dict[str, np.ndarray]:
    """name -> [2, K]: mean and mean square of a member's advantage given its reward, one of K values of this mass; the
    other members are drawn from the same. See `policy_gradient.leave_one_out` and `group_normalised`."""
    others = np.array(list(combinations_with_replacement(range(len(values)), GROUP - 1)))
    counts = np.stack([np.sum(others == k, 1) for k in range(len(values))], 1)
    orders = math.factorial(GROUP - 1) / np.prod([[math.factorial(c) for c in row] for row in counts], 1)
    chance = orders * np.prod(mass[others], 1)
    own, theirs = values[None, :], values[others]
    mean = (own + theirs.sum(1)[:, None]) / GROUP
    square = np.square(own - mean) + np.square(theirs[:, :, None] - mean[:, None]).sum(1)
    each = {
        "leave one out": own - theirs.mean(1)[:, None],
        "minus mean": own - mean,
        "minus mean, by deviation": (own - mean) / (np.sqrt(square / (GROUP - 1)) + GROUP_EPSILON),
    }
    return {name: np.stack([chance @ advantage, chance @ np.square(advantage)]) for name, advantage in each.items()}


def table(task: LMTask, logits: list[np.ndarray]) -> Table:
    """The policy with these logits [N, V ** t, V] for each t."""
    exponentials = [np.exp(here - here.max(-1, keepdims=True)) for here in logits]
    return _with_law(task, [here / here.sum(-1, keepdims=True) for here in exponentials])


def top_k(task: LMTask, policy: Table) -> Table:
    """The policy among the likelier half of the words."""
    allowed = [here >= np.sort(here, -1)[..., [-(task.size // 2)]] for here in policy.tokens]
    return _truncated(task, policy, allowed)


def top_p(task: LMTask, policy: Table) -> Table:
    """The policy among the fewest words that have `TOP_P` of the probability. Holtzman et al. (2020)."""
    allowed = []
    for here in policy.tokens:
        order = np.argsort(-here, -1)
        ranked = np.take_along_axis(here, order, -1)
        enough = np.cumsum(ranked, -1) - ranked < TOP_P
        allowed.append(np.take_along_axis(enough, np.argsort(order, -1), -1))
    return _truncated(task, policy, allowed)


def _truncated(task: LMTask, policy: Table, allowed: list[np.ndarray]) -> Table:
    shares = [np.where(mask, here, 0.0) for mask, here in zip(allowed, policy.tokens, strict=True)]
    return _with_law(task, [here / here.sum(-1, keepdims=True) for here in shares])


def _with_law(task: LMTask, tokens: list[np.ndarray]) -> Table:
    size, length = task.size, task.length
    texts = np.stack(np.unravel_index(np.arange(size**length), (size,) * length), -1)
    is_end = texts == (-1 if task.end is None else task.end)
    ended = np.cumsum(is_end, 1) - is_end > 0
    behind = np.any(ended & ~is_end, 1)
    with np.errstate(divide="ignore"):
        along = [np.repeat(np.log(p).reshape(len(p), -1), size ** (length - t - 1), 1) for t, p in enumerate(tokens)]
    logs = np.where(ended, 0.0, np.stack(along, -1))
    law = np.where(behind, 0.0, np.exp(logs.sum(-1)))
    # Ratios of what is never drawn are never read.
    return Table(tuple(tokens), np.where(np.isfinite(logs), logs, 0.0), law, ~ended)


def rewards(task: LMTask) -> np.ndarray:
    """[N, V ** L]: the gold reward of every text, 0 of what is no completion."""
    out = np.zeros((len(task.prompts), task.size**task.length))
    texts = exact.completions(task.size, task.length, task.end)
    out[:, texts @ task.size ** np.arange(task.length - 1, -1, -1)] = exact.outcome_rewards(task)
    return out


def simple(drawn: Table, scored: Table, weights: np.ndarray) -> Estimate:
    """An estimate whose weights follow from the text alone."""
    return Estimate(drawn, scored, weights, np.square(weights))


def gradient(estimate: Estimate) -> np.ndarray:
    """The expectation by all logits, flat: `E[sum_t w_t (1[y_t = v] - p_t(v))]` of the beginnings of every text, mean
    over prompts."""
    law, parts = estimate.drawn.law, []
    weights = np.broadcast_to(estimate.weights, estimate.drawn.logs.shape)
    for t, p in enumerate(estimate.scored.tokens):
        passing = (law * weights[..., t] * estimate.drawn.mask[:, t]).reshape(*p.shape, -1).sum(-1)
        parts.append(passing - p * passing.sum(-1, keepdims=True))
    return np.concatenate([part.ravel() for part in parts]) / len(law)


def mean_square(estimate: Estimate) -> float:
    """E of the squared length of one answer's estimate. Its tokens' parts stand at different logits."""
    law, total = estimate.drawn.law, 0.0
    squares = np.broadcast_to(estimate.squares, estimate.drawn.logs.shape)
    for t, p in enumerate(estimate.scored.tokens):
        passing = (law * squares[..., t] * estimate.drawn.mask[:, t]).reshape(*p.shape, -1).sum(-1)
        total += float((passing * (1 - 2 * p + np.square(p).sum(-1, keepdims=True))).sum())
    return total / len(law)


def compared(truth: np.ndarray, estimate: Estimate) -> Row:
    """Cosine, biases and standard deviation; None where there is no gradient."""
    mean = gradient(estimate)
    length, norm = float(np.linalg.norm(truth)), float(np.linalg.norm(mean))
    there = length > NO_GRADIENT
    variance = max(mean_square(estimate) - norm**2, 0.0)
    return {
        "cosine": float(truth @ mean) / (length * norm) if there and norm > NO_GRADIENT else None,
        "relative_bias": float(np.linalg.norm(mean - truth)) / length if there else None,
        "bias": float(np.abs(mean - truth).max()),
        "std": variance**0.5 / length if there else None,
    }


def _normals(rng: np.random.Generator, task: LMTask) -> list[np.ndarray]:
    return [rng.normal(size=(len(task.prompts), task.size**t, task.size)) for t in range(task.length)]
