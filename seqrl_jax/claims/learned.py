"""What is claimed of agents: of what they earn on observations, histories and learned states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import hypot

from seqrl_jax.claims.base import (
    HISTORIES,
    METHODS,
    MODELS,
    Claim,
    Evidence,
    Measured,
    Rule,
    above,
    below,
    decided,
    exactly,
    gain_of,
    paired,
    score_of,
    within,
)
from seqrl_jax.results.statistics import Estimate

FLICKER = ("flicker_cpu.json", "python benchmarks/flicker.py")

STALE = ("stale_states_cpu.json", "python benchmarks/stale_states.py")

LATENT = ("latent_cpu.json", "python benchmarks/latent.py --seeds 5 --steps 300000")

GROWTH = ("history_memory_cpu.json", "python benchmarks/history_memory.py")

SCORE, NATS = "normalised score", "nats"

NORMAL = 1.96
"""Standard errors to either end of a 95% interval."""


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
    """The least that one start's advantage over another may be at any age."""

    def measure(evidence: Evidence) -> Measured:
        fields = (first, second, f"{first}_error", f"{second}_error")
        rows = evidence.rows(*STALE, fields)
        reach = lambda row: NORMAL * hypot(row[f"{first}_error"], row[f"{second}_error"])
        gap, error = min(((row[first] - row[second], reach(row)) for row in rows), key=lambda each: each[0] - each[1])
        found = Estimate(gap, gap - error, gap + error)
        on = f"`{STALE[1]}`: error from {first} less from {second}, at the age of {len(rows)} where it is least sure"
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

CLAIMS = (
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
