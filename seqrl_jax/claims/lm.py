"""What is claimed of aligning language models: the closed form, what preferences leave open, labels and proxies."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.claims.base import (
    ALIGNMENT,
    DPO,
    VALID,
    Claim,
    Evidence,
    Measured,
    Missing,
    NotMeasured,
    Rule,
    above,
    below,
    decided,
    exactly,
    metric_gain,
    within,
)
from seqrl_jax.lm import exact
from seqrl_jax.lm.preference import dpo
from seqrl_jax.lm.reward_model import plackett_luce
from seqrl_jax.results.statistics import difference
from seqrl_jax.tracks.suites import SUITES

BETA, OUTCOMES, PROMPTS = 0.1, 64, 3
DRAWS = 16
PROXIES = (
    "overoptimisation.json",
    "python benchmarks/overoptimisation.py --seeds 5 --proxies unigram 'unigram + bigram'",
)
GOLD, NATS = "gold reward", "nats"
FLOAT32 = 1e-5
"""What the losses, in single precision, are equal to within."""


def _laws() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log pi_0, r, log of some other policy), each [N, C]: any will do for an identity, so they are drawn."""
    draw = np.random.default_rng(0).normal
    normal = lambda logits: logits - np.log(np.exp(logits).sum(1, keepdims=True))
    shape = (PROMPTS, OUTCOMES)
    return normal(draw(size=shape)), draw(size=shape), normal(draw(size=shape))


def closed_form_error() -> float:
    """Of J(pi*) - J(pi) = beta KL(pi || pi*) for another policy, which says that pi* is the best and the only one."""
    reference, reward, other = _laws()
    best = exact.optimum(reference, reward, BETA)
    lost = exact.objective(best, reference, reward, BETA) - exact.objective(other, reference, reward, BETA)
    return abs(lost - BETA * exact.divergence(other, best))


def value_error() -> float:
    """Of J(pi*) = beta E[log Z]."""
    reference, reward, _ = _laws()
    best = exact.objective(exact.optimum(reference, reward, BETA), reference, reward, BETA)
    return abs(best - BETA * float(exact.log_partition(reference, reward, BETA).mean()))


def secret_reward_error() -> float:
    """Of r = beta log pi* / pi_0 + beta log Z, the largest."""
    reference, reward, _ = _laws()
    implied = BETA * (exact.optimum(reference, reward, BETA) - reference)
    constant = BETA * exact.log_partition(reference, reward, BETA)[:, None]
    return float(np.abs(implied + constant - reward).max())


def free_constant_of_policy() -> float:
    """By how much pi* changes, at most in any log-probability, when each prompt's rewards are shifted."""
    reference, reward, _ = _laws()
    shift = np.arange(1.0, PROMPTS + 1)[:, None]
    moved = exact.optimum(reference, reward + shift, BETA) - exact.optimum(reference, reward, BETA)
    return float(np.abs(moved).max())


def free_constant_of_labels() -> float:
    """By how much the likelihood of rankings changes when each prompt's rewards are shifted."""
    reward = jnp.asarray(_laws()[1][:, :4], jnp.float32)
    shift = jnp.arange(1.0, PROMPTS + 1, dtype=jnp.float32)[:, None]
    return abs(float(plackett_luce(reward + shift)) - float(plackett_luce(reward)))


def gradient_weight_error() -> float:
    """Of dL / dh_w = -beta sigmoid(beta (h_l - h_w)) and dL / dh_l its opposite, the largest."""
    chosen, rejected = (jnp.asarray(row[:8], jnp.float32) for row in _laws()[1][:2])
    of_pair = jax.vmap(jax.grad(lambda one, other: dpo(one, other, BETA), (0, 1)))
    to_chosen, to_rejected = map(np.asarray, of_pair(chosen, rejected))
    weight = BETA / (1 + np.exp(-BETA * (np.asarray(rejected) - np.asarray(chosen))))
    return float(max(np.abs(to_chosen + weight).max(), np.abs(to_rejected - weight).max()))


def token_error() -> float:
    """Of the telescoping sum of token-level advantages against beta log pi* / pi_0 of the whole answer, the largest."""
    size, length = 4, 3
    reference, reward, _ = (law[0] for law in _laws())
    values = exact.soft_values(reference, reward, BETA, size)
    texts = exact.completions(size, length, None)
    prefix = lambda t: texts[:, :t] @ size ** np.arange(t - 1, -1, -1) if t else np.zeros(len(texts), int)
    steps = [values[t + 1][prefix(t + 1)] - values[t][prefix(t)] for t in range(length)]
    whole = BETA * (exact.optimum(reference[None], reward[None], BETA)[0] - reference)
    return float(np.abs(sum(steps) - whole).max())


def best_of_slack() -> float:
    """How far the KL of the best of n lies below log n - (n - 1) / n."""
    reference, reward, _ = _laws()
    return float(
        np.log(DRAWS) - (DRAWS - 1) / DRAWS - exact.divergence(exact.best_of(reference, reward, DRAWS), reference)
    )


def _identity(id_: str, statement: str, source: str, error: Callable[[], float], within_: float = VALID) -> Claim:
    """An equation, by the error of its two sides."""

    def measure(_: Evidence) -> Measured:
        return decided(exactly(error()), below(within_), "difference of both sides", "exact, on rewards that are drawn")

    return Claim(id_, statement, source, f"both sides differ by less than {within_:g}", measure)


def _best_of(_: Evidence) -> Measured:
    return decided(exactly(best_of_slack()), above(0.0), NATS, f"exact: log n - (n - 1) / n less the KL, n = {DRAWS}")


def _gain(
    id_: str,
    statement: str,
    source: str,
    first: tuple[str, str],
    second: tuple[str, str],
    tasks: Sequence[str] | None = None,
    positive: bool = True,
    unit: str = GOLD,
) -> Claim:
    """Whether one metric of a method exceeds (or stays below) another, paired by seed."""

    def measure(evidence: Evidence) -> Measured:
        found, on = metric_gain(evidence, "lm", first, second, tasks)
        return decided(found, above(0.0) if positive else below(0.0), unit, on)

    side = "above" if positive else "below"
    return Claim(id_, statement, source, f"the whole 95% interval of the difference lies {side} 0", measure)


def _on_every_task(
    first: tuple[str, str], second: tuple[str, str], rule: Rule, unit: str
) -> Callable[[Evidence], Measured]:
    """The difference of two metrics, paired by seed, on the task of all that have both where it speaks most against the
    claim: where the rule says no, else nothing, and there the largest."""

    def measure(evidence: Evidence) -> Measured:
        found = list[Measured]()
        for task in SUITES["lm"].tasks:
            # Some tasks have no such metric, as their optimum is not known.
            with contextlib.suppress(NotMeasured):
                gain, on = metric_gain(evidence, "lm", first, second, (task,))
                found.append(decided(gain, rule, unit, on))
        if not found:
            raise Missing(f"{first[0]} and {second[0]} have {first[1]} on no task of the suite lm in common")
        worst = min(found, key=lambda each: ((False, None, True).index(each.holds), -(each.value or 0.0)))
        return replace(worst, evidence=f"{worst.evidence}, the worst of the {len(found)} that have it")

    return measure


def _falls(evidence: Evidence) -> Measured:
    rows = evidence.rows(*PROXIES, ("gold_peaks", "gold_ends"), proxy="unigram")
    falls = [np.stack([row["gold_peaks"], row["gold_ends"]], 1) for row in rows]
    found = [difference([fall]) for fall in falls]
    sure = [-math.inf if fall.low is None else fall.low for fall in found]
    least = sure.index(min(sure))
    on = f"`{PROXIES[1]}`: unigram proxy, the least sure fall of {len(rows)} settings, {rows[least]['pairs']} pairs"
    return decided(found[least], above(0.5), f"{GOLD}, peak less end", on)


def _shape(evidence: Evidence) -> Measured:
    rows = evidence.rows(*PROXIES, ("fit_optima", "pairs", "proxy"))
    worst = min(rows, key=lambda row: row["fit_optima"]["r2"])
    on = f"`{PROXIES[1]}`: the worst fit of {len(rows)}, {worst['proxy']} on {worst['pairs']} pairs"
    return decided(exactly(worst["fit_optima"]["r2"]), above(0.9), "share of the variance explained", on)


def _labels(evidence: Evidence) -> Measured:
    rows = evidence.rows(*PROXIES, ("pairs", "gold_peaks"), proxy="unigram + bigram", noise=0.25)
    few, many = (pick(rows, key=lambda row: row["pairs"]) for pick in (min, max))
    on = f"`{PROXIES[1]}`: peak on {many['pairs']} noisy pairs less on {few['pairs']}, by seed"
    return decided(difference([np.stack([many["gold_peaks"], few["gold_peaks"]], 1)]), above(0.0), GOLD, on)


CLAIMS = (
    _identity(
        "tilting_is_optimal", "pi_0 exp(r / beta) / Z is the best policy, and the only one.", DPO, closed_form_error
    ),
    _identity("value_is_log_partition", "What it is worth is beta E[log Z].", DPO, value_error),
    _identity(
        "policy_is_a_reward_model",
        "The reward is beta log pi / pi_0 + beta log Z of its optimum.",
        DPO,
        secret_reward_error,
    ),
    _identity(
        "dpo_gradient_weight",
        "DPO weighs a pair by the probability with which the model would rank it wrong.",
        DPO,
        gradient_weight_error,
        FLOAT32,
    ),
    _identity(
        "constant_free_in_labels",
        "Rankings leave a reward model free up to a constant of the prompt.",
        ALIGNMENT,
        free_constant_of_labels,
        FLOAT32,
    ),
    _identity("constant_free_in_policy", "That constant changes no optimal policy.", DPO, free_constant_of_policy),
    _identity("tokens_telescope", "Word by word the optimum is that of whole answers.", DPO, token_error),
    Claim(
        "best_of_n_is_close",
        "The best of n answers stays within log n - (n - 1) / n nats of the reference.",
        ALIGNMENT,
        "the bound exceeds the KL",
        _best_of,
    ),
    Claim(
        "baseline_helps",
        "With a baseline REINFORCE ends closer to the optimum.",
        ALIGNMENT,
        "the whole 95% interval of the difference lies below 0 on every task",
        _on_every_task(
            ("lm_reinforce_baseline", "shortfall"), ("lm_reinforce", "shortfall"), below(0.0), "reward short of J*"
        ),
    ),
    _gain(
        "learned_reward_costs",
        "Optimising a learned reward earns less than optimising the gold one.",
        ALIGNMENT,
        ("rlhf", "reward"),
        ("rloo", "reward"),
        positive=False,
    ),
    _gain(
        "fresh_labels_help",
        "Labelling answers of the policy anew and fitting again earns more than labelling once.",
        ALIGNMENT,
        ("rlhf_iterated", "reward"),
        ("rlhf", "reward"),
    ),
    _gain(
        "dpo_over_optimises",
        "DPO on pairs of the reference can end below the reference it began from.",
        DPO,
        ("dpo", "reward"),
        ("dpo", "reference_reward"),
        ("overopt",),
        positive=False,
    ),
    _gain(
        "online_dpo_beats_dpo",
        "DPO on pairs of its own answers earns more than on those of the reference.",
        DPO,
        ("online_dpo", "reward"),
        ("dpo", "reward"),
    ),
    _gain(
        "ipo_stays_closer",
        "IPO, which asks the same margin of every pair, stays closer to the reference than DPO.",
        DPO,
        ("ipo", "kl"),
        ("dpo", "kl"),
        positive=False,
        unit=NATS,
    ),
    Claim(
        "policy_gradient_on_frontier",
        "RLOO trades reward against KL as well as any policy can.",
        ALIGNMENT,
        "the whole 95% interval of its regret, less that of the reference, lies within .05 of 0 on every task",
        _on_every_task(("rloo", "regret"), ("sft", "regret"), within(-0.05, 0.05), GOLD),
    ),
    Claim(
        "proxy_is_over_optimised",
        "Climbed to the end, a proxy's gold reward falls behind its peak.",
        ALIGNMENT,
        "the whole 95% interval of its fall in every recorded setting of the simplest proxy lies above .5",
        _falls,
    ),
    Claim(
        "gold_by_root_of_kl",
        "Gold reward is d (alpha - beta log d) along the way, d = sqrt(KL).",
        ALIGNMENT,
        "the fit explains more than .9 of the variance in every recorded setting",
        _shape,
    ),
    Claim(
        "labels_buy_reward",
        "Labels are the cost: more of them raise the peak of the gold reward.",
        ALIGNMENT,
        "the whole 95% interval of the difference lies above 0",
        _labels,
    ),
)
