"""The five certified values of a task, with the policies that prove them; solved once and kept."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.memoryless import memoryless_deterministic, memoryless_stochastic
from seqrl_jax.exact.state import evaluate_memoryless, largest_return, start_value, state_values, uniform_policy
from seqrl_jax.files import write_whole
from seqrl_jax.tasks.tabular import TabularPOMDP, fingerprint

VALUES = ("random", "memoryless_deterministic", "memoryless_stochastic", "history", "state")
# Part of the cache's key: raise it when a solver changes what it returns.
SOLVER_VERSION = 5
# Branch and bound sweeps the belief graph thousands of times; above this size the state graph serves instead.
BELIEF_NODES_FOR_BOUNDS = 2000


@dataclass(frozen=True, eq=False)
class Solution:
    """What is known of a task.

    values: the five intervals by name, in units of return. deterministic, stochastic: [O, A], the kept memoryless
    policies. history: the kept controller. state: [H, S] int, the policy that sees state and time.
    """

    fingerprint: str
    values: dict[str, Interval]
    deterministic: np.ndarray
    stochastic: np.ndarray
    history: Controller
    state: np.ndarray


def solve(task: TabularPOMDP, cache: Path, fresh: bool = False) -> Solution:
    """The solution kept in the cache directory under the task's fingerprint, else `solve_anew`, then kept.

    Args: cache: `cache_directory()` is the usual one. fresh: solve anew in any case.
    """
    path = cache / f"solution-{SOLVER_VERSION}-{fingerprint(task)}.npz"
    known = None if fresh else _read(path)
    if known is not None:
        return known
    solution = solve_anew(task)
    _write(path, solution)
    return solution


def solve_anew(task: TabularPOMDP) -> Solution:
    """Solve the task, whatever the cache holds."""
    unit = largest_return(task)
    uniform = float(evaluate_memoryless(task, uniform_policy(task)))
    state_by_time, state_policy = state_values(task)
    state = start_value(task, state_by_time)
    history, controller = history_interval(task)
    history = replace(history, upper=max(history.lower, min(history.upper, state)), unit=unit)
    beliefs = belief_graph(task, limit=BELIEF_NODES_FOR_BOUNDS)
    graph = state_graph(task) if beliefs is None else beliefs.graph
    deterministic, deterministic_policy = memoryless_deterministic(task, graph)
    stochastic, stochastic_policy = memoryless_stochastic(task, graph, deterministic_policy, history.upper)
    return Solution(
        fingerprint=fingerprint(task),
        values={
            "random": Interval(uniform, uniform, "exact: expectation under the uniform policy", unit),
            "memoryless_deterministic": replace(
                deterministic, upper=max(deterministic.lower, min(deterministic.upper, stochastic.upper))
            ),
            "memoryless_stochastic": stochastic,
            "history": history,
            "state": Interval(state, state, "exact: backward induction over states and time", unit),
        },
        deterministic=deterministic_policy,
        stochastic=stochastic_policy,
        history=controller,
        state=state_policy,
    )


def cache_directory() -> Path:
    """Where solutions and compiled programs are kept: $SEQRL_CACHE, else `seqrl_jax` in the user's cache directory."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SEQRL_CACHE") or Path(root) / "seqrl_jax")


def _write(path: Path, solution: Solution) -> None:
    values = solution.values
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        fingerprint=solution.fingerprint,
        ends=[[values[name].lower, values[name].upper] for name in VALUES],
        methods=[values[name].method for name in VALUES],
        unit=values["state"].unit,
        deterministic=solution.deterministic,
        stochastic=solution.stochastic,
        start=solution.history.start,
        action=solution.history.action,
        successor=solution.history.successor,
        state=solution.state,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


def _read(path: Path) -> Solution | None:
    """The kept solution; None where there is none or the file is damaged, and then it is solved again."""
    try:
        with np.load(path, allow_pickle=False) as data:
            kept = {name: data[name] for name in data.files}
        return Solution(
            fingerprint=str(kept["fingerprint"]),
            values={
                name: Interval(float(low), float(high), str(method), float(kept["unit"]))
                for name, (low, high), method in zip(VALUES, kept["ends"], kept["methods"], strict=True)
            },
            deterministic=kept["deterministic"],
            stochastic=kept["stochastic"],
            history=Controller(kept["start"], kept["action"], kept["successor"]),
            state=kept["state"],
        )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
