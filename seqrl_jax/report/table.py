"""The table as data: one row per task and agent or certified value, and one row per agent over all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from seqrl_jax.results.store import CERTIFIED, Cell
from seqrl_jax.results.statistics import (
    exceeds_optimum,
    interval,
    iqm,
    memory_score,
    normalised,
    stratified_interval,
)

Row = dict[str, Any]
Summary = dict[str, float | None]


def by_task(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """The cells of each task, tasks in the order of their first cell."""
    tasks: dict[str, list[Cell]] = {}
    for cell in cells:
        tasks.setdefault(cell.task, []).append(cell)
    return tasks


def newest(cells: Sequence[Cell]) -> Cell:
    """The cell made last: its certificates stand for the task."""
    return max(cells, key=lambda cell: cell.created)


def table_rows(cells: Sequence[Cell]) -> list[Row]:
    """For each task its five certified values, then its agents.

    A row: {"task", "agent", "kind", "marked_wrong", "seeds", "failed", "score", "normalised", "memory", "claims",
    "warnings"}.
    kind: "agent" or "certified" (then agent is the name of the value, and seeds is 0). seeds: how many ran;
    failed: how many of them failed and are left out. score, normalised, memory: {"mean", "iqm", "low", "high"}; for an
    agent over seeds, low and high the 95% bootstrap interval of the mean; for a certified value its proven ends, mean
    and iqm the lower one. Entries are None where no seed finished or the score is not defined; memory as a whole is
    None where memory gains nothing on the task. claims: the mean over seeds of what the agent's own value function says
    of its policy, in units of return; None where it says nothing. warnings: sentences about the runs.
    """
    rows = []
    for group in by_task(cells).values():
        task = newest(group)
        rows += [_certified_row(task, name) for name in CERTIFIED]
        rows += [_agent_row(cell) for cell in group]
    return rows


def aggregate_rows(cells: Sequence[Cell]) -> list[Row]:
    """Over all tasks: the five certified values, then the agents, best first.

    A row: {"agent", "kind", "marked_wrong", "tasks", "seeds", "failed", "iqm", "low", "high"}.
    iqm: interquartile mean of the normalised score over all tasks and finished seeds. low, high: for an agent its 95%
    bootstrap interval, seeds resampled within each task; for a certified value the interquartile means of its lower and
    of its upper ends, which enclose it because the statistic is monotone. tasks: how many count, which are those where
    a normalised score is defined and a seed finished. iqm, low and high are None where there is none.
    """
    newest_cells = [newest(group) for group in by_task(cells).values()]
    certified = [_aggregate_certified(newest_cells, name) for name in CERTIFIED] if cells else []
    agents: dict[str, list[Cell]] = {}
    for cell in cells:
        agents.setdefault(cell.agent, []).append(cell)
    found = [_aggregate_agent(group) for group in agents.values()]
    found.sort(key=lambda row: (row["iqm"] is None, -(row["iqm"] or 0.0)))
    return certified + found


def problems(cells: Sequence[Cell]) -> list[str]:
    """What makes the table wrong: scores above a proven bound, and tasks that changed between their cells."""
    found = [message for cell in cells if (message := exceeds_optimum(cell))]
    for task, group in by_task(cells).items():
        fingerprint = newest(group).fingerprint
        if old := [cell.agent for cell in group if cell.fingerprint != fingerprint]:
            found.append(f"{task} has changed since these agents ran on it: {', '.join(old)}; run them again")
    return found


def _agent_row(cell: Cell) -> Row:
    scores = cell.finished
    score: Summary = dict.fromkeys(("mean", "iqm", "low", "high"))
    if scores:
        low, high = interval(scores)
        score = {"mean": sum(scores) / len(scores), "iqm": float(iqm(scores)), "low": low, "high": high}
    return {
        "task": cell.task,
        "agent": cell.agent,
        "kind": cell.kind,
        "marked_wrong": cell.marked_wrong,
        "seeds": len(cell.seeds),
        "failed": cell.failed,
        **_scores(cell, score),
        "claims": _mean([claim for claim in cell.claims or [] if claim is not None]),
        "warnings": cell.warnings,
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _certified_row(cell: Cell, name: str) -> Row:
    lower, upper = cell.certified[name]["lower"], cell.certified[name]["upper"]
    return {
        "task": cell.task,
        "agent": name,
        "kind": "certified",
        "marked_wrong": False,
        "seeds": 0,
        "failed": 0,
        **_scores(cell, {"mean": lower, "iqm": lower, "low": lower, "high": upper}),
        "claims": None,
        "warnings": [],
    }


def _scores(cell: Cell, score: Summary) -> Row:
    """The three scores. Mean, trimmed mean and percentiles follow an increasing linear map: mapping them is enough."""
    memory = {key: None if J is None else _memory(cell, J) for key, J in score.items()}
    gains = _memory(cell, cell.certified["history"]["lower"]) is not None
    return {
        "score": score,
        "normalised": {key: None if J is None else _normalised(cell, J) for key, J in score.items()},
        "memory": memory if gains else None,
    }


def _normalised(cell: Cell, J: float) -> float | None:
    return normalised(J, cell.certified["random"]["lower"], cell.certified["history"]["lower"])


def _memory(cell: Cell, J: float) -> float | None:
    return memory_score(J, cell.certified["memoryless_stochastic"]["lower"], cell.certified["history"]["lower"])


def _finite(cell: Cell, values: Iterable[float]) -> list[float]:
    return [score for J in values if (score := _normalised(cell, J)) is not None]


def _aggregate_agent(cells: list[Cell]) -> Row:
    samples = [sample for cell in cells if (sample := _finite(cell, cell.finished))]
    low, high = stratified_interval(samples) if samples else (None, None)
    return {
        "agent": cells[0].agent,
        "kind": "agent",
        "marked_wrong": any(cell.marked_wrong for cell in cells),
        "tasks": len(samples),
        "seeds": sum(len(cell.seeds) for cell in cells),
        "failed": sum(cell.failed for cell in cells),
        "iqm": float(iqm([score for sample in samples for score in sample])) if samples else None,
        "low": low,
        "high": high,
    }


def _aggregate_certified(cells: list[Cell], name: str) -> Row:
    lower = [score for cell in cells for score in _finite(cell, [cell.certified[name]["lower"]])]
    upper = [score for cell in cells for score in _finite(cell, [cell.certified[name]["upper"]])]
    low = float(iqm(lower)) if lower else None
    return {
        "agent": name,
        "kind": "certified",
        "marked_wrong": False,
        "tasks": len(lower),
        "seeds": 0,
        "failed": 0,
        "iqm": low,
        "low": low,
        "high": float(iqm(upper)) if upper else None,
    }
