"""What is claimed of memory cells: at which lengths they learn, and how far beyond that they reach."""

from __future__ import annotations

from collections.abc import Callable

from seqrl_jax.claims.base import (
    HISTORIES,
    Claim,
    Evidence,
    Measured,
    Rule,
    above,
    below,
    decided,
    estimate_in,
    paired,
    score_of,
)
from seqrl_jax.results.statistics import Estimate
from seqrl_jax.tracks.suites import KEEPING

HORIZON = ("horizon_generalisation_cpu.json", "python benchmarks/horizon_generalisation.py --seeds 10")
LENGTHS = ("lengths_cpu.json", "python benchmarks/lengths.py --memories gru mingru lstm lru nbrc")
SCORE = "memory score"


def _reach(task: str, memory: str, times: int, rule: Rule) -> Callable[[Evidence], Measured]:
    """The score of a memory at a multiple of the length that it was trained at."""

    def measure(evidence: Evidence) -> Measured:
        (row,) = evidence.rows(*HORIZON, ("scores", "length"), task=task, memory=memory)
        on = f"`{HORIZON[1]}`: {memory} on {task}, trained at {row['length']}, judged at {times} times that"
        return decided(estimate_in(row["scores"][str(times)]), rule, SCORE, on)

    return measure


def _at_length(task: str, memory: str, length: int, rule: Rule) -> Callable[[Evidence], Measured]:
    def measure(evidence: Evidence) -> Measured:
        (row,) = evidence.rows(*LENGTHS, ("value", "low", "high"), task=task, memory=memory, length=length)
        on = f"`{LENGTHS[1]}`: {memory} on {task}, trained and judged at {length}"
        return decided(estimate_in(row), rule, SCORE, on)

    return measure


def _gated_against_lstm(evidence: Evidence) -> Measured:
    rows = [
        evidence.rows(*LENGTHS, ("scores",), task="tmaze", memory=memory, length=100)[0] for memory in ("gru", "lstm")
    ]
    one, other = (dict(enumerate(row["scores"])) for row in rows)
    return decided(paired([(one, other)]), above(0.0), SCORE, f"`{LENGTHS[1]}`: gru less lstm on tmaze of 100, by seed")


def _best_of_all(evidence: Evidence) -> Measured:
    agents = [f"{agent}:memory={memory}" for agent in ("ppo", "pqn") for memory in KEEPING]
    scores: dict[str, Estimate] = {
        agent: score_of(evidence, "memory", agent, "memory", ("autoencode_cards",))[0] for agent in agents
    }
    best = max(scores, key=lambda agent: scores[agent].value)
    on = f"`seqrl run memory`: the best of {len(scores)} on autoencode_cards, {best}"
    return decided(scores[best], below(0.05), SCORE, on)


HALF_ABOVE, HALF_BELOW = "the whole 95% interval lies above .5", "the whole 95% interval lies below .5"

CLAIMS = (
    Claim(
        "gates_hold_a_bit",
        "A cell whose gates can shut keeps a bit a hundred times as long as it was trained to.",
        HISTORIES,
        HALF_ABOVE,
        _reach("tmaze", "nbrc", 100, above(0.5)),
    ),
    Claim(
        "gru_holds_a_bit",
        "So does a GRU.",
        HISTORIES,
        HALF_ABOVE,
        _reach("tmaze", "gru", 100, above(0.5)),
    ),
    Claim(
        "fixed_decay_forgets",
        "A linear recurrence with a fixed decay loses a bit at ten times the length of training.",
        HISTORIES,
        HALF_BELOW,
        _reach("tmaze", "lru", 10, below(0.5)),
    ),
    Claim(
        "fixed_decay_is_enough_nearby",
        "For what lies one step back a linear recurrence reaches a hundred times as far.",
        HISTORIES,
        "the whole 95% interval lies above .9",
        _reach("repeat_previous", "lru", 100, above(0.9)),
    ),
    Claim(
        "attention_does_not_generalise",
        "Attention over the whole history does not generalise to a hundred times the length of training.",
        HISTORIES,
        HALF_BELOW,
        _reach("repeat_previous", "transformer", 100, below(0.5)),
    ),
    Claim(
        "gru_learns_long",
        "A GRU learns to keep a bit over 100 steps.",
        HISTORIES,
        "the whole 95% interval lies above .9",
        _at_length("tmaze", "gru", 100, above(0.9)),
    ),
    Claim(
        "mingru_ends_at_200",
        "Gates that do not see the state learn it no longer over 200.",
        HISTORIES,
        HALF_BELOW,
        _at_length("tmaze", "mingru", 200, below(0.5)),
    ),
    Claim(
        "gru_beats_lstm",
        "Over 100 steps a GRU learns what an LSTM does not.",
        HISTORIES,
        "the whole 95% interval of the difference lies above 0",
        _gated_against_lstm,
    ),
    Claim(
        "no_memory_autoencodes",
        "No memory learns within the budget to say a pack of cards backwards.",
        HISTORIES,
        "the 95% interval of the best of all memories lies below .05",
        _best_of_all,
    ),
)
