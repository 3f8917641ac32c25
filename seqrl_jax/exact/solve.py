"""The five certified values of a task, with the policies that prove them; solved once, kept, and improved."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.bounds import LISTING, MOST_BELIEFS, bounded_interval, listed_interval
from seqrl_jax.exact.branch_and_bound import WORK
from seqrl_jax.exact.budget import DEFAULT, Meter, SearchBudget, Watch, unseen
from seqrl_jax.exact.controller import Controller, controller_from_map
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.infinite import (
    infinite_history_interval,
    infinite_memoryless,
    infinite_state_interval,
    infinite_uniform,
    largest_infinite_return,
    refuse_undiscounted,
)
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.memoryless import memoryless_deterministic, memoryless_stochastic
from seqrl_jax.exact.state import evaluate_memoryless, largest_return, start_value, state_values, uniform_policy
from seqrl_jax.files import write_whole
from seqrl_jax.tasks.tabular import TabularPOMDP, fingerprint

VALUES = ("random", "memoryless_deterministic", "memoryless_stochastic", "history", "state")
# Part of the cache's key: raise it when a solver changes what it returns.
SOLVER_VERSION = 8
# Branch and bound sweeps the belief graph thousands of times; above this size the state graph serves instead.
BELIEF_NODES_FOR_BOUNDS = 2500
NO_CACHE = "SEQRL_NO_CACHE"
"""The variable that, set to anything, has nothing read from a cache nor kept in one."""
FOR_MAPS = 0.5
"""Of the seconds for memoryless policies, what may be taken to find the best map."""
ROUNDING = 1e-9
"""Of the largest return: by no more than this the values of two policies differ by rounding."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What is known of a task.

    values: the five intervals by name, in units of return. deterministic, stochastic: [O, A], the kept memoryless
    policies. history: the kept controller. state: [H, S] int, the policy that sees state and time ([1, S] without a
    horizon). budget: the largest that the history value was given.
    """

    fingerprint: str
    values: dict[str, Interval]
    deterministic: np.ndarray
    stochastic: np.ndarray
    history: Controller
    state: np.ndarray
    budget: SearchBudget


def solve(
    task: TabularPOMDP,
    cache: Path | None,
    fresh: bool = False,
    budget: SearchBudget = DEFAULT,
    watch: Watch = unseen,
    infinite: bool = False,
) -> Solution:
    """The solution that the cache directory holds under the task's fingerprint, else `solve_anew`, then kept; without a
    directory it is solved anew and not kept.

    Where a value is an interval and `budget` is larger than what was given, the task is solved again, and the better of
    both lower and of both upper ends is kept.

    Args: cache: `cache_directory()` is the usual one. fresh: solve anew in any case. watch: is shown the history
        value's ends. infinite: without the horizon. Raises: ValueError for an infinite task without discount.
    """
    name = f"solution-{SOLVER_VERSION}-{'infinite-' if infinite else ''}{_identity(task, infinite)}.npz"
    path = None if cache is None else cache / name
    kept = None if fresh or path is None else _read(path)
    if kept is not None and (all(value.is_exact for value in kept.values.values()) or kept.budget.covers(budget)):
        return kept
    solution = solve_infinite(task, budget, watch) if infinite else solve_anew(task, budget, watch)
    if kept is not None:
        solution = _better(task, kept, solution, infinite)
    if path is not None:
        _write(path, solution)
    return solution


def solve_anew(task: TabularPOMDP, budget: SearchBudget = DEFAULT, watch: Watch = unseen) -> Solution:
    """Solve the task over its horizon, whatever the cache holds."""
    meter = Meter(budget)
    uniform = float(evaluate_memoryless(task, uniform_policy(task)))
    state_by_time, state_policy = state_values(task)
    state = start_value(task, state_by_time)
    beliefs = belief_graph(task, MOST_BELIEFS, meter, LISTING)
    if beliefs is None:
        history, controller = bounded_interval(task, meter, watch)
    else:
        history, controller = listed_interval(task, beliefs)
    small = beliefs is not None and beliefs.graph.num_nodes <= BELIEF_NODES_FOR_BOUNDS
    graph = beliefs.graph if beliefs is not None and small else state_graph(task)
    # As many seconds again as for the history value, half of them at most for maps.
    meter = Meter(budget)
    deterministic, deterministic_policy = memoryless_deterministic(task, graph, meter=meter.part(WORK, FOR_MAPS))
    ceiling = max(history.lower, min(history.upper, state))
    stochastic, stochastic_policy = memoryless_stochastic(
        task, graph, deterministic_policy, ceiling, meter=meter.part(WORK)
    )
    solution = Solution(
        fingerprint=fingerprint(task),
        values={
            "random": Interval(uniform, uniform, "exact: expectation under the uniform policy"),
            "memoryless_deterministic": _with_budget(deterministic, budget),
            "memoryless_stochastic": _with_budget(stochastic, budget),
            "history": _with_budget(history, budget),
            "state": Interval(state, state, "exact: backward induction over states and time"),
        },
        deterministic=deterministic_policy,
        stochastic=stochastic_policy,
        history=controller,
        state=state_policy,
        budget=budget.spent,
    )
    return _in_order(solution, largest_return(task))


def solve_infinite(task: TabularPOMDP, budget: SearchBudget = DEFAULT, watch: Watch = unseen) -> Solution:
    """Solve the task without its horizon, discounted. Raises: ValueError where the discount is 1."""
    refuse_undiscounted(task)
    meter = Meter(budget)
    state, state_policy = infinite_state_interval(task)
    history, controller = infinite_history_interval(task, meter, watch)
    deterministic, deterministic_policy, stochastic, stochastic_policy = infinite_memoryless(
        task, history.upper, Meter(budget)
    )
    solution = Solution(
        fingerprint=_identity(task, infinite=True),
        values={
            "random": infinite_uniform(task),
            "memoryless_deterministic": _with_budget(deterministic, budget),
            "memoryless_stochastic": _with_budget(stochastic, budget),
            "history": _with_budget(history, budget),
            "state": state,
        },
        deterministic=deterministic_policy,
        stochastic=stochastic_policy,
        history=controller,
        state=state_policy[None],
        budget=budget.spent,
    )
    return _in_order(solution, largest_infinite_return(task))


def _identity(task: TabularPOMDP, infinite: bool) -> str:
    return fingerprint(replace(task, horizon=1) if infinite else task)


def _with_budget(value: Interval, budget: SearchBudget) -> Interval:
    """The interval with what its ends depend on."""
    if budget.seconds is None or value.gap == 0 or value.method.startswith("exact"):
        return value
    return replace(value, method=f"{value.method}; in {budget.seconds:g} s of this machine")


def _better(task: TabularPOMDP, kept: Solution, found: Solution, infinite: bool) -> Solution:
    """The better of both ends of every value, each with its proof, and all that follows from them."""
    parts = {name: _joined(name, kept, found) for name in VALUES}
    solution = Solution(
        fingerprint=found.fingerprint,
        values={name: value for name, (value, _) in parts.items()},
        deterministic=parts["memoryless_deterministic"][1].deterministic,
        stochastic=parts["memoryless_stochastic"][1].stochastic,
        history=parts["history"][1].history,
        state=parts["state"][1].state,
        budget=kept.budget.joined(found.budget),
    )
    return _in_order(solution, largest_infinite_return(task) if infinite else largest_return(task))


def _joined(name: str, kept: Solution, found: Solution) -> tuple[Interval, Solution]:
    """The better of both ends of a value, and the solution whose policy proves the lower one."""
    for one, other in ((found, kept), (kept, found)):
        value, beside = one.values[name], other.values[name]
        if value.lower >= beside.lower and value.upper <= beside.upper:
            return value, one
    below, above = sorted((kept, found), key=lambda each: -each.values[name].lower)
    lower, upper = below.values[name], above.values[name]
    method = f"lower end: {lower.method}. upper end: {upper.method}"
    return Interval(lower.lower, max(lower.lower, upper.upper), method), below


def _in_order(solution: Solution, unit: float) -> Solution:
    """What one value says of another: who may see more earns no less, with the policy that proves it.

    unit: the largest return, of which tolerances are shares.
    """
    values = {name: replace(value, unit=unit) for name, value in solution.values.items()}
    rounding = ROUNDING * unit
    history, controller = values["history"], solution.history
    deterministic, stochastic = values["memoryless_deterministic"], values["memoryless_stochastic"]
    best = max(deterministic, stochastic, key=lambda value: value.lower)
    if best.lower > history.lower + rounding:
        upper = history.method.partition("upper: ")[2] or history.method
        if deterministic.lower + rounding >= best.lower:
            controller, words = controller_from_map(solution.deterministic.argmax(1)), "the kept map o -> a"
        else:
            words = f"the kept memoryless stochastic policy (the kept controller earns {history.lower:.7g})"
        history = replace(history, method=f"lower: {words}; upper: {upper}")
    lower = max(history.lower, best.lower)
    history = replace(history, lower=lower, upper=max(lower, min(history.upper, values["state"].upper)))
    stochastic = _capped(stochastic, history.upper)
    values = {
        **values,
        "memoryless_deterministic": _capped(deterministic, stochastic.upper),
        "memoryless_stochastic": stochastic,
        "history": history,
    }
    return replace(solution, values=values, history=controller)


def _capped(value: Interval, upper: float) -> Interval:
    return replace(value, upper=max(value.lower, min(value.upper, upper)))


def cache_place() -> Path | None:
    """Where solutions and compiled programs are kept: $SEQRL_CACHE, else `seqrl_jax` in the user's cache directory.

    None where nothing is to be kept ($SEQRL_NO_CACHE)."""
    if os.environ.get(NO_CACHE):
        return None
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SEQRL_CACHE") or Path(root) / "seqrl_jax")


def cache_directory() -> Path | None:
    """The same, made where it is missing. Raises: OSError, naming it, where nothing can be written there."""
    directory = cache_place()
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory).close()
        except OSError as error:
            raise OSError(
                f"nothing can be kept in {directory} ({error.strerror}): SEQRL_CACHE names another place for solutions "
                f"and compiled programs, --no-cache or {NO_CACHE}=1 keeps none"
            ) from error
    return directory


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
        budget=[solution.budget.work, solution.budget.seconds or 0, solution.budget.memory],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


def _read(path: Path) -> Solution | None:
    """The kept solution; None where there is none or the file is damaged, and then it is solved again."""
    try:
        with np.load(path, allow_pickle=False) as data:
            kept = {name: data[name] for name in data.files}
        work, seconds, memory = kept["budget"]
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
            budget=SearchBudget(float(work), float(seconds) or None, int(memory)),
        )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
