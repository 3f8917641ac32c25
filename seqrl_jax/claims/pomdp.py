"""What is claimed of observations, of the methods that act on them, of learned states and of histories.

The audit is exact on any task: it is read where it was recorded of all of them, else computed on two small ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import hypot

from seqrl_jax.audit import audit
from seqrl_jax.claims.base import (
    HISTORIES,
    METHODS,
    MODELS,
    STATES,
    VALID,
    Claim,
    Estimate,
    Evidence,
    Measured,
    Row,
    Rule,
    above,
    below,
    between_ends,
    decided,
    exactly,
    gain_of,
    paired,
    score_of,
    within,
)
from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.memoryless import memoryless_deterministic
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.exact.state import start_value, state_values
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
FLICKER = ("flicker_cpu.json", "python benchmarks/flicker.py")
STALE = ("stale_states_cpu.json", "python benchmarks/stale_states.py")
LATENT = ("latent_cpu.json", "python benchmarks/latent.py --seeds 5 --steps 300000")
GROWTH = ("history_memory_cpu.json", "python benchmarks/history_memory.py")
RETURN, GRADIENT, SCORE, NATS = "return", "relative bias of the gradient", "normalised score", "nats"
NORMAL = 1.96
"""Standard errors to either end of a 95% interval."""


def _line() -> Claim:
    def measure(_: Evidence) -> Measured:
        values = solve(make("aliased_line"), cache_directory()).values
        best, of_maps = values["memoryless_stochastic"], values["memoryless_deterministic"]
        rule = above(of_maps.upper)
        ends = f"{of_maps.upper:.4g}, the best that any map of the observation earns"
        return decided(_value(best), rule, RETURN, f"the best policy of the observation on aliased_line against {ends}")

    return Claim(
        "stochastic_beats_deterministic",
        "Where three states in a line look alike, a random policy beats every deterministic one.",
        STATES,
        "the proved value of the best stochastic policy lies above that of the best deterministic one",
        measure,
    )


def _exact(
    id_: str, statement: str, source: str, words: str, rule: Rule, found: Callable[[], Estimate], on: str
) -> Claim:
    """A claim about values that are solved for."""
    return Claim(id_, statement, source, words, lambda _: decided(found(), rule, RETURN, f"exact: {on}"))


def _history(spec: str) -> Interval:
    return history_interval(make(spec))[0]


def _of_map(spec: str) -> Interval:
    """The best deterministic policy of the observation."""
    task = make(spec)
    graph = belief_graph(task)
    assert graph is not None
    return memoryless_deterministic(task, graph.graph)[0]


def _state(spec: str) -> Interval:
    task = make(spec)
    value = start_value(task, state_values(task)[0])
    return Interval(value, value, "exact")


def _value(interval: Interval) -> Estimate:
    return between_ends(interval.lower, interval.upper)


def _less(one: Interval, other: Interval) -> Estimate:
    return between_ends(one.lower - other.upper, one.upper - other.lower)


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


def _gain(
    id_: str,
    statement: str,
    first: str,
    second: str,
    suite: str,
    source: str = METHODS,
    scale: str = "normalised",
    tasks: Sequence[str] | None = None,
) -> Claim:
    """Whether a method scores more than another, paired by seed."""

    def measure(evidence: Evidence) -> Measured:
        found, on = gain_of(evidence, suite, first, second, scale, tasks)
        return decided(found, above(0.0), f"{scale} score", on)

    return Claim(id_, statement, source, "the whole 95% interval of the difference lies above 0", measure)


def _score(
    id_: str, statement: str, method: str, suite: str, rule: Rule, words: str, tasks: Sequence[str] | None = None
) -> Claim:
    """What a method's memory score is."""

    def measure(evidence: Evidence) -> Measured:
        found, on = score_of(evidence, suite, method, "memory", tasks)
        return decided(found, rule, "memory score", on)

    return Claim(id_, statement, METHODS, words, measure)


def _flicker_observed(evidence: Evidence) -> Measured:
    found = evidence.measurement(*FLICKER)["observed_twins"]
    value = Estimate(found["difference"], found["low"], found["high"])
    return decided(value, within(-0.01, 0.01), SCORE, f"`{FLICKER[1]}`: drqn less q_obs on the fully observed twins")


def _flicker(evidence: Evidence) -> Measured:
    (row,) = evidence.rows(*FLICKER, ("difference", "low", "high"), task="flicker_grid")
    value = Estimate(row["difference"], row["low"], row["high"])
    return decided(value, above(0.0), SCORE, f"`{FLICKER[1]}`: drqn less q_obs on flicker_grid, paired by seed")


def _stale(first: str, second: str) -> Callable[[Evidence], Measured]:
    """The least advantage of one start over another at any age."""

    def measure(evidence: Evidence) -> Measured:
        fields = (first, second, f"{first}_error", f"{second}_error")
        rows = evidence.rows(*STALE, fields)
        least = min(rows, key=lambda row: row[first] - row[second])
        gap, error = least[first] - least[second], hypot(least[f"{first}_error"], least[f"{second}_error"])
        found = Estimate(gap, gap - NORMAL * error, gap + NORMAL * error)
        on = f"`{STALE[1]}`: error from {first} less from {second}, at the age of {len(rows)} where it is least"
        return decided(found, above(0.0), "standard deviations of the true values", on)

    return measure


def _ageing(evidence: Evidence) -> Measured:
    rows = sorted(evidence.rows(*STALE, ("age", "stored", "stored_error")), key=lambda row: row["age"])
    new, old = rows[0], rows[-1]
    gap, error = old["stored"] - new["stored"], hypot(old["stored_error"], new["stored_error"])
    found = Estimate(gap, gap - NORMAL * error, gap + NORMAL * error)
    on = f"`{STALE[1]}`: error from a stored state of age {old['age']} less from one of age {new['age']}"
    return decided(found, above(0.0), "standard deviations of the true values", on)


def _learned_state(evidence: Evidence) -> Measured:
    scores: dict[str, dict[str, dict[int, float]]] = {
        agent: {row["task"]: dict(enumerate(row["memory"])) for row in rows}
        for agent in ("belief_q", "latent_q")
        for rows in [evidence.rows(*LATENT, ("task", "memory"), agent=agent)]
    }
    tasks = [task for task in scores["belief_q"] if task in scores["latent_q"]]
    found = paired([(scores["belief_q"][task], scores["latent_q"][task]) for task in tasks])
    on = f"`{LATENT[1]}`: belief_q less latent_q on {len(tasks)} tasks, paired by seed"
    return decided(found, within(-0.05, 0.05), "memory score", on)


def _model(one: str, other: str, what: str) -> Callable[[Evidence], Measured]:
    """The most by which a learned model falls short of the filter on any task."""

    def measure(evidence: Evidence) -> Measured:
        rows = evidence.rows(*LATENT, (one, other), agent="latent_q")
        gaps = {row["task"]: row[one] - row[other] for row in rows}
        worst = max(gaps, key=lambda task: gaps[task])
        on = f"`{LATENT[1]}`: {what}, the worst of {len(gaps)} tasks, {worst}"
        return decided(exactly(gaps[worst]), below(0.05), NATS, on)

    return measure


def _growth(field: str, power: float) -> Callable[[Evidence], Measured]:
    def measure(evidence: Evidence) -> Measured:
        found = evidence.measurement(*GROWTH)["growth_exponent"][field]
        on = f"`{GROWTH[1]}`: exponent of the bytes' growth with the horizon"
        return decided(exactly(found), within(power - 0.1, power + 0.1), "power of the horizon", on)

    return measure


ABOVE_ZERO = "the whole 95% interval lies above 0"
WINDOW_TASK = "tmaze:length=10"
DELAYED = "aliased_line:observed=true,delay=1"
WITH_ACTION = f"{DELAYED},previous_action=true"

CLAIMS = (
    _line(),
    _exact(
        "memory_beats_randomness",
        "On the three-state line a memory of what failed beats the best random policy.",
        STATES,
        "the proved difference lies above 0",
        above(0.0),
        lambda: _less(
            _history("aliased_line"), solve(make("aliased_line"), cache_directory()).values["memoryless_stochastic"]
        ),
        "the best policy of the history less the best of the observation on aliased_line",
    ),
    _exact(
        "hidden_state_costs",
        "What is hidden costs even the best policy of the whole history.",
        STATES,
        "the proved difference lies above 0",
        above(0.0),
        lambda: _less(_state("tiger"), _history("tiger")),
        "the best policy that sees the state less the best of the history on tiger",
    ),
    _exact(
        "memory_can_restore_the_state",
        "Where the history tells all that matters, hidden state costs nothing.",
        STATES,
        f"the difference is within {VALID:g} of 0",
        within(-VALID, VALID),
        lambda: _less(_state("tmaze"), _history("tmaze")),
        "the best policy that sees the state less the best of the history on tmaze",
    ),
    _exact(
        "information_gathering",
        "An action that pays nothing is worth taking for what it shows.",
        STATES,
        "the proved difference lies above 0",
        above(0.0),
        lambda: _less(_history("peek_maze"), _history("peek_maze:accuracy=0.5")),
        "the optimum of peek_maze less that where the peek shows a coin toss",
    ),
    _exact(
        "delay_costs",
        "A delay of one step makes a task partially observed that was not, and costs reward.",
        STATES,
        "the proved difference lies above 0",
        above(0.0),
        lambda: _less(_state("aliased_line:observed=true"), _history(DELAYED)),
        "the optimum of the observed three-state line less that with a delay of one step",
    ),
    _exact(
        "delay_needs_actions",
        "Under a delay the last observation, with the action since, is a state: no more history is needed.",
        HISTORIES,
        f"the difference is within {VALID:g} of 0",
        within(-VALID, VALID),
        lambda: _less(_history(WITH_ACTION), _of_map(WITH_ACTION)),
        "the best policy of the history less the best map of late observation and last action, three-state line",
    ),
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
    _gain(
        "policy_gradients_beat_q_on_observation",
        "On observations policy gradients beat Q-learning, whose policy is deterministic.",
        "reward_to_go",
        "q_obs",
        "quick",
    ),
    _gain("memory_beats_observation", "The same PPO with a memory earns more.", "ppo", "ppo_obs", "quick"),
    _score(
        "ppo_wins_memory_back",
        "Recurrent PPO wins back most of what memory is worth.",
        "ppo",
        "headline",
        above(0.5),
        "the whole 95% interval of the mean memory score lies above .5",
    ),
    _score(
        "pqn_wins_memory_back",
        "So does recurrent Q-learning without replay.",
        "pqn",
        "headline",
        above(0.5),
        "the whole 95% interval of the mean memory score lies above .5",
    ),
    _score(
        "q_on_observation_has_no_memory",
        "Q-learning on the observation earns less than the best policy of the observation.",
        "q_obs",
        "headline",
        below(0.0),
        "the whole 95% interval of the mean memory score lies below 0",
    ),
    _gain(
        "window_too_short",
        "A window shorter than the dependence does not reach: memory beats it in a long corridor.",
        "drqn",
        "q_window",
        "headline",
        HISTORIES,
        "memory",
        (WINDOW_TASK,),
    ),
    _score(
        "window_suffices",
        "Where two observations tell the place, a window of two is enough.",
        "q_window",
        "headline",
        above(0.9),
        "the whole 95% interval of the memory score lies above .9",
        ("mini_hallway",),
    ),
    _gain(
        "memory_beats_naive_model",
        "Q-learning on the history beats planning on a model of observations.",
        "drqn",
        "naive_model",
        "pomdp",
        MODELS,
    ),
    _gain(
        "window_model_beats_naive_model",
        "A model of a window is less wrong than one of the observation.",
        "window_model",
        "naive_model",
        "pomdp",
        MODELS,
    ),
    Claim(
        "drqn_equals_dqn_when_observed",
        "On fully observed tasks recurrence changes nothing (DRQN's first finding).",
        HISTORIES,
        "the whole 95% interval of the difference lies within .01 of 0",
        _flicker_observed,
    ),
    Claim(
        "drqn_wins_under_flicker",
        "Where the screen flickers, recurrence wins (DRQN's second finding).",
        HISTORIES,
        ABOVE_ZERO,
        _flicker,
    ),
    Claim(
        "stored_beats_zero",
        "Replayed sequences are read more truly from stored states than from zeros, however old.",
        HISTORIES,
        "at every age the 95% interval of the difference of errors lies above 0",
        _stale("zero", "stored"),
    ),
    Claim(
        "burn_in_helps",
        "A burn-in from the stored state reads them more truly still.",
        HISTORIES,
        "at every age the 95% interval of the difference of errors lies above 0",
        _stale("stored", "burn_in"),
    ),
    Claim("stored_states_age", "Stored states go stale as the weights move on.", HISTORIES, ABOVE_ZERO, _ageing),
    Claim(
        "history_is_cheap_by_cache",
        "The whole history, kept in a cache, takes memory that grows linearly with the horizon.",
        HISTORIES,
        "the exponent of growth is within .1 of 1",
        _growth("carry_bytes", 1.0),
    ),
    Claim(
        "history_written_out",
        "Written out as every state's history, it grows quadratically.",
        HISTORIES,
        "the exponent of growth is within .1 of 2",
        _growth("written_out_bytes", 2.0),
    ),
    Claim(
        "learned_state_is_as_good",
        "A learned state earns as much as the exact belief.",
        MODELS,
        "the whole 95% interval of the mean difference lies within .05 of 0",
        _learned_state,
    ),
    Claim(
        "learned_model_predicts",
        "A learned state-space model predicts observations as well as the exact filter.",
        MODELS,
        "its log-loss exceeds the filter's by less than .05 nats on every task",
        _model("log_loss", "filter_log_loss", "log-loss less the filter's"),
    ),
    Claim(
        "learned_state_holds_belief",
        "What the belief knows of the hidden state can be read off the learned one.",
        MODELS,
        "a probe's loss exceeds the belief's entropy by less than .05 nats on every task",
        _model("probe", "belief_entropy", "loss of a probe of the state less the belief's entropy"),
    ),
)
