"""What is claimed of the tasks themselves: what is solved, without an agent."""

from __future__ import annotations

from collections.abc import Callable

from seqrl_jax.claims.base import (
    HISTORIES,
    STATES,
    VALID,
    Claim,
    Evidence,
    Measured,
    Rule,
    above,
    between_ends,
    decided,
    within,
)
from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.memoryless import memoryless_deterministic
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.exact.state import start_value, state_values
from seqrl_jax.results.statistics import Estimate
from seqrl_jax.tasks.registry import make

RETURN = "return"


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
)
