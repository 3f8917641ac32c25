"""What is claimed of estimates and of where they lead: by the audit, which is exact on any task.

It is read where it was recorded of all tasks, else computed on two small ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from seqrl_jax.audit import audit
from seqrl_jax.claims.base import (
    METHODS,
    STATES,
    VALID,
    Claim,
    Evidence,
    Measured,
    Row,
    above,
    below,
    decided,
    exactly,
    within,
)
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.tabular import TabularPOMDP

AUDIT, AUDITED = "audit/audit.json", "seqrl audit"

SMALL = ("two_doors", "aliased_line")

COMPUTED: dict[str, Callable[[TabularPOMDP], list[audit.Row]]] = {
    "rows": audit.gradient_rows,
    "observed": audit.observed_rows,
    "claims": audit.claim_rows,
    "groups": audit.group_rows,
    "old_data": audit.old_data_rows,
}
"""The parts of the audit that need no best policy, each from its task."""

RETURN, GRADIENT = "return", "relative bias of the gradient"


def audited(evidence: Evidence, part: str, fields: Sequence[str], **where: object) -> tuple[list[Row], str]:
    """Rows of the audit, and of which tasks they are."""
    if evidence.has(AUDIT) or part not in COMPUTED:
        return evidence.rows(AUDIT, AUDITED, fields, part, **where), f"`{AUDITED}`"
    mine = [row for row in _computed(part) if all(row[key] == value for key, value in where.items())]
    return mine, f"exact on {' and '.join(SMALL)}"


@functools.cache
def _computed(part: str) -> list[Row]:
    """Of the small tasks; many claims ask for the same part."""
    return [{"task": spec, **row} for spec in SMALL for row in COMPUTED[part](make(spec))]


def _bias(id_: str, statement: str, estimator: str, valid: bool, part: str = "rows", key: str = "estimator") -> Claim:
    """Whether a gradient is unbiased on every task, or biased on some."""

    def measure(evidence: Evidence) -> Measured:
        rows, origin = audited(evidence, part, (key, "relative_bias"), **{key: estimator})
        biases = {row["task"]: row["relative_bias"] for row in rows if row["relative_bias"] is not None}
        worst = max(biases, key=lambda task: biases[task])
        on = f"{origin}: {estimator}, the worst of {len(biases)} tasks with a gradient, {worst}"
        return decided(exactly(biases[worst]), below(VALID) if valid else above(VALID), GRADIENT, on)

    rule = f"the largest relative bias over all tasks is {'below' if valid else 'above'} {VALID:g}"
    return Claim(id_, statement, METHODS, rule, measure)


def _everywhere(
    id_: str, statement: str, words: str, first: str, second: str, field: str, unit: str, threshold: float = 1 + 1e-9
) -> Claim:
    """Whether a number of one estimator is never above that of another: their largest ratio over tasks."""

    def measure(evidence: Evidence) -> Measured:
        rows = {name: audited(evidence, "rows", ("estimator", field), estimator=name) for name in (first, second)}
        origin = rows[first][1]
        one, other = ({row["task"]: row[field] for row in rows[name][0]} for name in (first, second))
        ratios = {task: value / other[task] for task, value in one.items() if value is not None and other[task]}
        worst = max(ratios, key=lambda task: ratios[task])
        on = f"{origin}: {first} over {second}, the worst of {len(ratios)} tasks, {worst}"
        return decided(exactly(ratios[worst]), below(threshold), unit, on)

    return Claim(id_, statement, METHODS, words, measure)


def _overclaim(id_: str, statement: str, method: str, setting: str, valid: bool, source: str) -> Claim:
    """What a method promises of its plan, less what that earns."""

    def measure(evidence: Evidence) -> Measured:
        rows, origin = audited(evidence, "claims", ("claims", "earns"), method=method, setting=setting)
        gaps = {row["task"]: row["claims"] - row["earns"] for row in rows}
        worst = max(gaps, key=lambda task: abs(gaps[task]))
        rule = within(-VALID, VALID) if valid else above(VALID)
        on = f"{origin}: {method}, {setting}, the largest gap of {len(gaps)} tasks, {worst}"
        return decided(exactly(gaps[worst]), rule, f"{RETURN}, promised less earned", on)

    words = f"the largest gap between promise and return over all tasks is {'below' if valid else 'above'} {VALID:g}"
    return Claim(id_, statement, source, words, measure)


def _retries(_: Evidence) -> Measured:
    (row,) = audit.retry_rows(make("locked_doors"))
    gap = row["believed"][1] - row["true"][1]
    believed, true = (f"{row[which][1]:.3g}" for which in ("believed", "true"))
    on = f"exact on locked_doors, its second {row['action']}: believed {believed}, true {true}"
    return decided(exactly(gap), above(VALID), "probability, believed less true", on)


def _old_data(evidence: Evidence) -> Measured:
    rows, origin = audited(evidence, "old_data", ("lag", "effective_share", "improvement"))
    # Without a gradient the policy stays where it is, and no data grow old.
    moved = {row["task"] for row in rows if row["improvement"] > VALID}
    lags = sorted({row["lag"] for row in rows})
    share = {(row["task"], row["lag"]): row["effective_share"] for row in rows}
    drops = {task: share[task, lags[0]] - share[task, lags[-1]] for task, _ in share if task in moved}
    least = min(drops, key=lambda task: drops[task])
    between = f"after {lags[0]} less after {lags[-1]} steps of the gradient"
    on = f"{origin}: {between}, the least of {len(drops)} tasks, {least}"
    return decided(exactly(drops[least]), above(VALID), "effective share of the episodes", on)


def _ends(evidence: Evidence) -> Measured:
    rows, origin = audited(evidence, "ends", ("value", "best", "random"), **{"lambda": 0.0})
    lost = {
        row["task"]: (row["best"] - row["value"]) / (row["best"] - row["random"])
        for row in rows
        if row["best"] - row["random"] > VALID
    }
    worst = max(lost, key=lambda task: lost[task])
    on = f"{origin}: TD(0) on V(o) from the uniform policy, the worst of {len(lost)} tasks, {worst}"
    return decided(exactly(lost[worst]), above(0.01), "of the way from random to the best policy of o", on)


CLAIMS = (
    Claim(
        "naive_retries",
        "A model p(o' | o, a) believes that retrying a locked door may open it.",
        STATES,
        "the believed probability of the second try exceeds the true one",
        _retries,
    ),
    _overclaim(
        "naive_model_overclaims",
        "Planning on p(o' | o, a) promises more than it earns under partial observability.",
        "naive_model",
        "partially observed",
        False,
        STATES,
    ),
    _overclaim(
        "model_right_when_observed",
        "On fully observed tasks a model of p(o' | o, a) plans what it promises.",
        "naive_model",
        "observed",
        True,
        STATES,
    ),
    _overclaim(
        "q_learning_overclaims",
        "Q-learning on the observation converges to values that its policy does not earn.",
        "q_obs",
        "partially observed",
        False,
        METHODS,
    ),
    _overclaim(
        "q_learning_right_when_observed",
        "On fully observed tasks Q-learning converges to values that its policy earns.",
        "q_obs",
        "observed",
        True,
        METHODS,
    ),
    _bias("reinforce_unbiased", "REINFORCE on the observation is unbiased.", "reinforce", True),
    _bias("reward_to_go_unbiased", "The policy gradient with reward to go is unbiased on o.", "reward_to_go", True),
    _bias("observation_baseline_unbiased", "A baseline b(o) leaves it unbiased.", "pg_obs_baseline", True),
    _bias("state_baseline_unbiased", "So does a baseline that sees the hidden state.", "pg_state_baseline", True),
    _bias("history_baseline_unbiased", "So does a baseline of the history.", "pg_history_baseline", True),
    _bias("td_on_observation_biased", "Actor-critic with TD(0) on V(o) is biased.", "a2c_obs", False),
    _bias("gae_on_observation_biased", "GAE(.95) on V(o) is biased still.", "gae:lambda_=0.95", False),
    _bias(
        "monte_carlo_unbiased", "With lambda = 1 nothing is bootstrapped and the bias is gone.", "gae:lambda_=1", True
    ),
    _bias("td_valid_when_observed", "TD(0) is unbiased where the state is observed.", "a2c_obs", True, "observed"),
    _bias("td_on_history_unbiased", "TD(0) on V(history, own actions included) is unbiased.", "a2c_history", True),
    _bias(
        "history_without_actions_biased",
        "TD(0) on a history of observations alone, without own actions, is biased.",
        "a2c_history:previous_action=false",
        False,
    ),
    _bias("ppo_with_actions_unbiased", "PPO's first step on the history is along the policy gradient.", "ppo", True),
    _bias(
        "ppo_without_actions_biased",
        "PPO whose memory does not read its own actions is biased.",
        "ppo:previous_action=false",
        False,
    ),
    _bias(
        "leave_one_out_unbiased",
        "Group baselines that leave one's own reward out are unbiased.",
        "leave_one_out",
        True,
        "groups",
        "baseline",
    ),
    _bias(
        "mean_of_talking_biased",
        "A baseline over those of a group that still go on is biased.",
        "mean_of_talking",
        False,
        "groups",
        "baseline",
    ),
    _everywhere(
        "bias_falls_with_lambda",
        "On every task GAE(.95) on V(o) is less biased than TD(0).",
        "the largest ratio of the two biases over all tasks is below 1",
        "gae:lambda_=0.95",
        "a2c_obs",
        "relative_bias",
        "ratio of biases",
        1.0,
    ),
    _everywhere(
        "reward_to_go_is_quieter",
        "Reward to go never has more variance than the total return.",
        "the largest ratio of the two deviations over all tasks is 1 at most",
        "reward_to_go",
        "reinforce",
        "std",
        "ratio of standard deviations",
    ),
    _everywhere(
        "state_baseline_is_quieter",
        "A baseline that sees the state never leaves more variance than one of the observation.",
        "the largest ratio of the two deviations over all tasks is 1 at most",
        "pg_state_baseline",
        "pg_obs_baseline",
        "std",
        "ratio of standard deviations",
    ),
    Claim(
        "td_ends_below_best",
        "Actor-critic on V(o) may converge to less than the best policy of the observation.",
        METHODS,
        "on some task it ends by more than 1% of the way from random below the best",
        _ends,
    ),
    Claim(
        "old_data_fades",
        "Importance weights over whole histories leave less and less of old episodes.",
        METHODS,
        "on every task with a gradient the effective share of episodes falls with the lag",
        _old_data,
    ),
)
