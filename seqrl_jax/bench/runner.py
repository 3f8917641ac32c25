"""Fill a table: one compiled program per row, one result file per cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqrl_jax import naming
from seqrl_jax.agents.base import MemorylessAgent, configuration
from seqrl_jax.agents.registry import AGENTS, make_agent
from seqrl_jax.bench import provenance
from seqrl_jax.bench.evaluation import exact_scores
from seqrl_jax.bench.oracles import ORACLES
from seqrl_jax.bench.results import Cell, Certificate, read_cells, write_cell
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.solve import Solution, cache_directory, solve
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.simulator import stack
from seqrl_jax.tasks.tabular import TabularPOMDP

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Problem:
    """A task with its name and what is known of it."""

    spec: str
    task: TabularPOMDP
    solution: Solution


def problem(spec: str) -> Problem:
    """The task that `spec` names and its solution, from the user's cache where it is known."""
    task = make(spec)
    return Problem(spec, task, solve(task, cache_directory()))


@dataclass(frozen=True)
class Budget:
    """steps: environment steps of each run. evaluations: how often the curve is read. seeds: the runs of a cell."""

    steps: int
    evaluations: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Trained:
    """What a row's program returned. scores: [E + 1, N, seeds], the first before any learning; None for failed runs."""

    steps: list[int]
    scores: list[list[list[float | None]]]
    compile_seconds: float
    run_seconds: float


def run_table(
    agents: Iterable[str],
    problems: list[Problem],
    budget: Budget,
    directory: Path,
    suite: str,
    progress: Callable[[str], Progress] = lambda _: lambda done, total: None,
) -> Iterator[Cell]:
    """Run every cell that `directory` lacks, row by row, and yield all cells as they stand there.

    A cell is kept when it was made by the same hyperparameters on the same arrays with the same seeds and budget.
    """
    kept = {}
    if directory.is_dir():
        kept = {(cell.agent, cell.task): cell for cell in read_cells(directory)[0]}
    for agent in agents:
        config = _configuration(agent, problems, budget)
        cells = [_usable(kept.get((agent, problem.spec)), problem, budget, config) for problem in problems]
        if None in cells:
            # The whole row again, since what a run draws depends on the shapes it is stacked to.
            fresh = _row(agent, problems, budget, config, suite, progress(agent))
            for index, (old, new) in enumerate(zip(cells, fresh, strict=True)):
                if old is None:
                    write_cell(directory, new)
                    cells[index] = new
        yield from (cell for cell in cells if cell is not None)


def _usable(cell: Cell | None, problem: Problem, budget: Budget, config: dict[str, Any]) -> Cell | None:
    wanted = (config, problem.solution.fingerprint, list(budget.seeds))
    return cell if cell and (cell.config, cell.fingerprint, cell.seeds) == wanted else None


def train_row(agent: MemorylessAgent, problems: list[Problem], budget: Budget, progress: Progress) -> Trained:
    """Train one agent on every task with every seed in one program, reading its exact value between chunks.

    Run i of the stacked program is the run that task and seed would have alone: keys depend on the seed only.
    """
    env, params = stack([problem.task for problem in problems])
    spread = over_devices(len(budget.seeds))
    keys = jax.device_put(jax.vmap(jax.random.key)(jnp.array(budget.seeds)), spread)
    chunks, updates = _schedule(agent, budget)

    began = time.perf_counter()
    start = jax.jit(over_runs(lambda params, key: agent.init(key, env, params)), out_shardings=spread)
    states = start(params, keys)
    program = jax.jit(chunk_of(env, updates), donate_argnums=2, out_shardings=spread)
    advance = program.lower(agent, params, states).compile()
    compile_seconds = time.perf_counter() - began

    began = time.perf_counter()
    read = jax.jit(over_runs(lambda params, state: agent.probabilities(env, params, state), state_axis=0))
    scores = [_scores(problems, read(params, states))]
    for chunk in range(chunks):
        states = advance(agent, params, states)
        scores.append(_scores(problems, read(params, states)))
        progress(chunk + 1, chunks)
    return Trained(
        steps=[chunk * updates * agent.steps_per_update for chunk in range(chunks + 1)],
        scores=scores,
        compile_seconds=compile_seconds,
        run_seconds=time.perf_counter() - began,
    )


def over_runs(function: Callable[[Any, Any], Any], state_axis: int | None = None) -> Callable[[Any, Any], Any]:
    """A function of one run, (params, key or state), over seeds [S] and tasks [N]: results are [S, N, ...].

    Params are [N, ...], shared by the seeds. The second argument is [S, ...], or [S, N, ...] with state_axis 0.
    """
    return jax.vmap(jax.vmap(function, in_axes=(0, state_axis)), in_axes=(None, 0))


def over_devices(seeds: int) -> NamedSharding:
    """A leading axis of `seeds` laid over as many devices as divide it; runs need no communication."""
    devices = max(n for n in range(1, jax.device_count() + 1) if seeds % n == 0)
    mesh = jax.make_mesh((devices,), ("seeds",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    return NamedSharding(mesh, PartitionSpec("seeds"))


def chunk_of(env: Environment, updates: int) -> Callable[[MemorylessAgent, Any, Any], Any]:
    """`updates` updates of every run at once: (agent, params [N, ...], states [S, N, ...]) -> states."""

    def chunk(agent: MemorylessAgent, params: Any, states: Any) -> Any:
        def one(params: Any, state: Any) -> Any:
            return jax.lax.scan(lambda state, _: (agent.update(env, params, state)[0], None), state, length=updates)[0]

        return over_runs(one, state_axis=0)(params, states)

    return chunk


def _schedule(agent: MemorylessAgent, budget: Budget) -> tuple[int, int]:
    """(chunks, updates in each): about `budget.steps` in all, at least one update, at most `evaluations` chunks."""
    total = max(1, round(budget.steps / agent.steps_per_update))
    chunks = min(budget.evaluations, total)
    return chunks, max(1, round(total / chunks))


def _scores(problems: list[Problem], tables: Array) -> list[list[float | None]]:
    """[N][S] exact values, from tables [S, N, O, A]."""
    by_task = np.asarray(tables).swapaxes(0, 1)
    return [exact_scores(problem.task, mine) for problem, mine in zip(problems, by_task, strict=True)]


def _configuration(agent: str, problems: list[Problem], budget: Budget) -> dict[str, Any]:
    if agent in ORACLES:
        return {}
    fitted = _fitted(agent, problems)
    return {**configuration(fitted), "steps": budget.steps, "evaluations": budget.evaluations}


def _fitted(agent: str, problems: list[Problem]) -> MemorylessAgent:
    return make_agent(agent).for_horizon(max(problem.task.horizon for problem in problems))


def _row(
    agent: str, problems: list[Problem], budget: Budget, config: dict[str, Any], suite: str, progress: Progress
) -> list[Cell]:
    shared: dict[str, Any] = {
        "suite": suite,
        "agent": agent,
        "config": config,
        "seeds": list(budget.seeds),
        "row": len(problems),
        "versions": provenance.versions(),
        "device": provenance.device(),
        "commit": provenance.commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    make = _oracle_fields if agent in ORACLES else _learner_fields
    return [
        Cell(
            **shared,
            **fields,
            task=problem.spec,
            fingerprint=problem.solution.fingerprint,
            certified={name: _certificate(value) for name, value in problem.solution.values.items()},
        )
        for problem, fields in zip(problems, make(agent, problems, budget, progress), strict=True)
    ]


def _certificate(value: Interval) -> Certificate:
    return {"lower": value.lower, "upper": value.upper, "method": value.method}


def _oracle_fields(
    agent: str, problems: list[Problem], budget: Budget, progress: Progress
) -> Iterator[Mapping[str, Any]]:
    oracle = ORACLES[agent]
    for done, problem in enumerate(problems):
        began = time.perf_counter()
        scores, errors = oracle.scores(problem.task, problem.solution, list(budget.seeds))
        progress(done + 1, len(problems))
        yield {
            "marked_wrong": False,
            "memoryless": oracle.memoryless,
            "steps": [],
            "curve": [],
            "scores": scores,
            "standard_errors": errors,
            "evaluation": oracle.evaluation,
            "compile_seconds": 0.0,
            "run_seconds": time.perf_counter() - began,
        }


def _learner_fields(
    agent: str, problems: list[Problem], budget: Budget, progress: Progress
) -> Iterator[Mapping[str, Any]]:
    trained = train_row(_fitted(agent, problems), problems, budget, progress)
    for index in range(len(problems)):
        curve = [scores[index] for scores in trained.scores]
        yield {
            "marked_wrong": AGENTS[naming.base(agent)].marked_wrong,
            "memoryless": True,
            "steps": trained.steps,
            "curve": curve,
            "scores": curve[-1],
            "standard_errors": [None if score is None else 0.0 for score in curve[-1]],
            "evaluation": "exact",
            "compile_seconds": trained.compile_seconds,
            "run_seconds": trained.run_seconds,
        }
