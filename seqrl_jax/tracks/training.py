"""Fill a table: one compiled program per row, one result file per cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqrl_jax.agents.base import Agent, configuration
from seqrl_jax.agents.registry import make_agent
from seqrl_jax.results import provenance
from seqrl_jax.tracks.evaluation import exact_scores, simulate
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.results.store import Cell, Certificate, read_cells, write_cell
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.solve import Solution, cache_directory, solve
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.simulator import stack
from seqrl_jax.tasks.tabular import TabularPOMDP

Progress = Callable[[int, int], None]
PerRun = list[list[float | None]]
"""[N tasks, seeds]."""


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


def solved(specs: Sequence[str], progress: Progress = lambda done, total: None) -> list[Problem]:
    """The problem of each."""
    problems = []
    for spec in specs:
        problems.append(problem(spec))
        progress(len(problems), len(specs))
    return problems


@dataclass(frozen=True)
class Budget:
    """steps: environment steps of each run. evaluations: how often the curve is read. seeds: the runs of a cell."""

    steps: int
    evaluations: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Trained:
    """What a row's program returned; N tasks, None for failed runs.

    steps: [E + 1], the first 0. curve: [E + 1, N, seeds], the first before any learning. scores, standard_errors,
    claims: [N, seeds], of the final policy; claims is None where the agent makes none. warnings: [N] sentences.
    """

    steps: list[int]
    curve: list[PerRun]
    scores: PerRun
    standard_errors: PerRun
    claims: PerRun | None
    warnings: list[list[str]]
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


def train_row(agent: Agent, problems: list[Problem], budget: Budget, progress: Progress) -> Trained:
    """Train one agent on every task with every seed in one program, reading its value between chunks.

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
    evaluate = (_exactly if agent.memoryless else _by_playing)(agent, env, problems)
    compile_seconds = time.perf_counter() - began

    began = time.perf_counter()
    curve = [evaluate(params, states, 1)[0]]
    for chunk in range(chunks):
        states = advance(agent, params, states)
        curve.append(evaluate(params, states, 1)[0])
        progress(chunk + 1, chunks)
    scores, errors = evaluate(params, states, FINAL_ROUNDS)
    return Trained(
        steps=[chunk * updates * agent.steps_per_update for chunk in range(chunks + 1)],
        curve=curve,
        scores=scores,
        standard_errors=errors,
        claims=_claims(agent, env, params, states),
        warnings=_warnings(agent, states, budget.seeds, len(problems)),
        compile_seconds=compile_seconds,
        run_seconds=time.perf_counter() - began,
    )


ROUND = 500
FINAL_ROUNDS = 8
"""Episodes per run: `ROUND` at each point of the curve, `ROUND * FINAL_ROUNDS` for the final score."""

Evaluate = Callable[[Any, Any, int], tuple[PerRun, PerRun]]
"""(params [N], states [S, N], rounds) -> J and its standard error."""


def _exactly(agent: Any, env: Environment, problems: list[Problem]) -> Evaluate:
    assert agent.memoryless
    read = jax.jit(over_runs(lambda params, state: agent.probabilities(env, params, state), state_axis=0))
    whole = jax.jit(over_runs(lambda params, state: _finite(state), state_axis=0))

    def evaluate(params: Any, states: Any, rounds: int) -> tuple[PerRun, PerRun]:
        tables = np.where(np.asarray(whole(params, states))[..., None, None], read(params, states), np.nan)
        by_task = zip(problems, tables.swapaxes(0, 1), strict=True)
        values = [exact_scores(problem.task, mine) for problem, mine in by_task]
        return values, [[None if value is None else 0.0 for value in row] for row in values]

    return evaluate


def _by_playing(agent: Agent, env: Environment, problems: list[Problem]) -> Evaluate:
    horizon = max(problem.task.horizon for problem in problems)

    @jax.jit
    def play(params: Any, states: Any, key: Array) -> Array:
        def one(params: Any, state: Any, key: Array) -> Array:
            returns = simulate(key, env, params, agent.policy(env, params, state), ROUND, horizon)
            return jnp.where(_finite(state), returns, jnp.nan)

        # Seeds play other episodes, so that their errors are independent.
        keys = jax.random.split(key, jax.tree.leaves(states)[0].shape[0])
        return jax.vmap(jax.vmap(one, in_axes=(0, 0, None)), in_axes=(None, 0, 0))(params, states, keys)

    def evaluate(params: Any, states: Any, rounds: int) -> tuple[PerRun, PerRun]:
        keys = jax.random.split(jax.random.key(EVALUATION_SEED), rounds)
        returns = np.concatenate([np.asarray(play(params, states, key), np.float64) for key in keys], -1)
        errors = returns.std(-1, ddof=1) / np.sqrt(returns.shape[-1])
        return _per_run(returns.mean(-1)), _per_run(errors)

    return evaluate


EVALUATION_SEED = 2**31


def _claims(agent: Any, env: Environment, params: Any, states: Any) -> PerRun | None:
    """What the agent says that its final policy is worth."""
    if not hasattr(agent, "claim"):
        return None
    key = jax.random.key(EVALUATION_SEED)
    claim = jax.jit(over_runs(lambda params, state: agent.claim(env, params, state, key), state_axis=0))
    return _per_run(np.asarray(claim(params, states), np.float64))


def _warnings(agent: Any, states: Any, seeds: Sequence[int], tasks: int) -> list[list[str]]:
    """What a reader should know of each task's runs."""
    if not hasattr(agent, "collapsed"):
        return [[] for _ in range(tasks)]
    collapsed = np.asarray(agent.collapsed(states))
    who = [[str(seed) for seed, gone in zip(seeds, column, strict=True) if gone] for column in collapsed.T]
    said = "posterior collapse, its latent state told nothing for 1,000 updates or more"
    return [[f"seed {', '.join(gone)}: {said}"] if gone else [] for gone in who]


def _finite(state: Any) -> Array:
    """Whether every number of a run's state is one. A policy may act on, and score, long after its weights are not."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def _per_run(values: np.ndarray) -> PerRun:
    """[S, N] as [N][S], None where a run failed."""
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values.T]


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


def chunk_of(env: Environment, updates: int) -> Callable[[Agent, Any, Any], Any]:
    """`updates` updates of every run at once: (agent, params [N, ...], states [S, N, ...]) -> states."""

    def chunk(agent: Agent, params: Any, states: Any) -> Any:
        def one(params: Any, state: Any) -> Any:
            return jax.lax.scan(lambda state, _: (agent.update(env, params, state)[0], None), state, length=updates)[0]

        return over_runs(one, state_axis=0)(params, states)

    return chunk


def _schedule(agent: Agent, budget: Budget) -> tuple[int, int]:
    """(chunks, updates in each): about `budget.steps` in all, at least one update, at most `evaluations` chunks."""
    total = max(1, round(budget.steps / agent.steps_per_update))
    chunks = min(budget.evaluations, total)
    return chunks, max(1, round(total / chunks))


def _configuration(agent: str, problems: list[Problem], budget: Budget) -> dict[str, Any]:
    if agent in ORACLES:
        return {}
    fitted = _fitted(agent, problems, budget)
    return {**configuration(fitted), "steps": budget.steps, "evaluations": budget.evaluations}


def _fitted(agent: str, problems: list[Problem], budget: Budget) -> Agent:
    return make_agent(agent).for_run(max(problem.task.horizon for problem in problems), budget.steps)


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
    fitted = _fitted(agent, problems, budget)
    trained = train_row(fitted, problems, budget, progress)
    for index in range(len(problems)):
        yield {
            "marked_wrong": fitted.marked_wrong,
            "memoryless": fitted.memoryless,
            "steps": trained.steps,
            "curve": [values[index] for values in trained.curve],
            "scores": trained.scores[index],
            "standard_errors": trained.standard_errors[index],
            "claims": trained.claims and trained.claims[index],
            "warnings": trained.warnings[index],
            "evaluation": "exact" if fitted.memoryless else f"{ROUND * FINAL_ROUNDS} episodes",
            "compile_seconds": trained.compile_seconds,
            "run_seconds": trained.run_seconds,
        }
