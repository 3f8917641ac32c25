"""A row as one compiled program: one agent on every task with every seed, chunk by chunk between evaluations.

Runs (hyperparameters x tasks x seeds) lie on one axis, padded to the devices and laid over them; they need no
communication. A run is the run that its task and seed would have alone: keys come from the seed, lengths from the class
of the horizon, first weights from the entry that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.agents.base import Agent, updates_in
from seqrl_jax.results.record import PerSeed, Spent
from seqrl_jax.tasks.environment import Environment, Undiscounted
from seqrl_jax.tasks.simulator import stack
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.axis import RunAxis, Where, over_runs
from seqrl_jax.tracks.base import Budget, Loop, Status, plain_loop
from seqrl_jax.tracks.clock import Clock
from seqrl_jax.tracks.evaluation import Evaluation, judge_of

CLAIM_SEED = 2**31


@dataclass(frozen=True, eq=False)
class Stacked:
    """N tasks of one program. env: of all of them. params: [N, ...]. judged_in: where policies are played. tables: the
    tasks, where policies that are tables are valued exactly instead."""

    size: int
    env: Environment
    params: Any
    judged_in: Environment
    tables: Sequence[TabularPOMDP] = ()


def stacked(tasks: Sequence[TabularPOMDP]) -> Stacked:
    """Tabular tasks, padded to one shape."""
    env, params = stack(tasks)
    return Stacked(len(tasks), env, params, env, tasks)


def alone(env: Environment, params: Any) -> Stacked:
    """One environment, judged by what it pays, without its discount."""
    return Stacked(1, env, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params), Undiscounted(env))


@dataclass(frozen=True)
class Trained:
    """What a row's program returned; N tasks, S seeds, None for failed runs.

    steps: [E + 1], the first 0. curve: [E + 1][N][S], the first before any learning. scores, standard_errors, claims:
    [N][S], of the final policy; claims is None where the agent makes none. episodes: behind each score, None where it
    is exact. failures: [N] seed -> why. warnings: [N] sentences.
    """

    steps: list[int]
    curve: list[list[PerSeed]]
    scores: list[PerSeed]
    standard_errors: list[PerSeed]
    episodes: int | None
    claims: list[PerSeed] | None
    failures: list[dict[str, str]]
    warnings: list[list[str]]
    spent: Spent


class Row(NamedTuple):
    """What is kept of a row between its chunks: R states of runs, the curve [E + 1, H, N, S] with NaN where it is not
    known yet, the chunks made, and seconds of (compilation, training, evaluation)."""

    runs: Any
    curve: np.ndarray
    chunk: np.ndarray
    seconds: np.ndarray


def train_row(agent: Agent, tasks: Stacked, budget: Budget, loop: Loop = plain_loop) -> Trained:
    """Train one agent on every task with every seed in one program, reading its value between chunks.

    The agent is fitted to the longest horizon of the tasks and to the budget.
    """
    return train_rows([agent], tasks, budget, loop)[0]


def train_rows(agents: Sequence[Agent], tasks: Stacked, budget: Budget, loop: Loop = plain_loop) -> list[Trained]:
    """The same for agents that differ in traced hyperparameters alone, all in one program.

    Raises: ValueError where they differ in anything else, or cannot learn in these tasks.
    """
    env, params = tasks.env, tasks.params
    agents = [agent.for_run(env.longest, budget.steps) for agent in agents]
    agent, settings = agents[0], _stacked(agents)
    axis = RunAxis(len(agents), tasks.size, budget.seeds)
    rules = Evaluation.of(agent, env, budget, exact=bool(tasks.tables))
    updates = np.diff(np.round(np.linspace(0, updates_in(agent, budget.steps), rules.chunks + 1)).astype(int))
    clock = Clock()

    with clock.compiling():
        where = axis.placed()
        begin = jax.jit(over_runs(lambda a, p, key: a.init(key, env, p)), out_shardings=axis.sharding)
        runs = begin(settings, params, where, axis.keys())
        program = jax.jit(chunk_of(env), donate_argnums=3, out_shardings=axis.sharding)
        advance = program.lower(settings, params, where, runs, 1).compile()
        judge = judge_of(agent, tasks.judged_in, tasks.tables, axis, (settings, params, where, runs))
        claim = _claims(env, (settings, params, where, runs))
    with clock.evaluating():
        first = judge(settings, params, where, runs, rules.point(0))

    def chunk(row: Row) -> Row:
        number = int(row.chunk)
        with clock.training():
            runs = jax.block_until_ready(advance(settings, params, where, row.runs, int(updates[number])))
        with clock.evaluating():
            judged = judge(settings, params, where, runs, rules.point(number + 1))
        curve = row.curve.copy()
        curve[number + 1] = axis.split(judged.mean)
        return Row(runs, curve, row.chunk + 1, clock.take(row.seconds))

    def watch(row: Row) -> Status:
        made = int(updates[: int(row.chunk)].sum()) * agent.steps_per_update
        here = row.curve[int(row.chunk)]
        finite = here[np.isfinite(here)]
        return Status(made * axis.size, float(finite.mean()) if finite.size else None, axis.size)

    curve = np.full((rules.chunks + 1, *axis.shape), np.nan)
    curve[0] = axis.split(first.mean)
    # What this process spent until here counts with its first chunk, also where that goes on from another process.
    row = loop(Row(runs, curve, np.zeros((), int), np.zeros(3)), chunk, rules.chunks, watch)

    with clock.evaluating():
        judged = judge(settings, params, where, row.runs, rules.final)
        claims = None if claim is None else claim(settings, params, where, row.runs)
    alarms = {text: axis.split(flag) for text, flag in jax.vmap(agent.alarms)(row.runs).items()}
    ended = _Ended(
        steps=[int(made) * agent.steps_per_update for made in [0, *updates.cumsum()]],
        seeds=budget.seeds,
        episodes=rules.episodes,
        spent=clock.spent(row.seconds),
    )
    mean, error = axis.split(judged.mean), axis.split(judged.standard_error)
    claimed = None if claims is None else axis.split(claims)
    return [
        ended.trained(
            curve=row.curve[:, number],
            mean=mean[number],
            error=error[number],
            claims=None if claimed is None else claimed[number],
            alarms={text: flags[number] for text, flags in alarms.items()},
        )
        for number in range(len(agents))
    ]


@dataclass(frozen=True)
class _Ended:
    """What all agents of a program share when it has ended."""

    steps: list[int]
    seeds: tuple[int, ...]
    episodes: int | None
    spent: Spent

    def trained(
        self,
        curve: np.ndarray,
        mean: np.ndarray,
        error: np.ndarray,
        claims: np.ndarray | None,
        alarms: dict[str, np.ndarray],
    ) -> Trained:
        """What one agent's row comes to. curve: [E + 1, N, S]. mean, error, claims and each of alarms: [N, S]."""
        tasks = range(len(mean))
        return Trained(
            steps=self.steps,
            curve=[_by_task(point) for point in curve],
            scores=_by_task(mean),
            standard_errors=_by_task(error),
            episodes=self.episodes,
            claims=None if claims is None else _by_task(claims),
            failures=[_failures(self.seeds, self.steps, curve[:, task], mean[task]) for task in tasks],
            warnings=[_warnings(self.seeds, {text: flags[task] for text, flags in alarms.items()}) for task in tasks],
            spent=self.spent,
        )


def chunk_of(env: Environment) -> Callable[[Agent, Any, Where, Any, Array | int], Any]:
    """Some updates of every run at once: (agents [H], params [N, ...], where [R], states [R, ...], updates) -> states.

    How many updates is an argument, so that chunks of different lengths are one program.
    """

    def chunk(settings: Agent, params: Any, where: Where, states: Any, updates: Array | int) -> Any:
        def one(agent: Agent, params: Any, state: Any) -> Any:
            return jax.lax.fori_loop(0, updates, lambda _, state: agent.update(env, params, state)[0], state)

        return over_runs(one)(settings, params, where, states)

    return chunk


def _stacked(agents: Sequence[Agent]) -> Agent:
    """The agents as one whose traced fields are [H]. Raises: ValueError where static fields differ."""
    shapes = {jax.tree.structure(agent) for agent in agents}
    if len(shapes) > 1:
        raise ValueError("agents of one program may differ in traced hyperparameters alone")
    return jax.tree.map(lambda *leaves: jnp.asarray(leaves, jnp.float32), *agents)


def _claims(env: Environment, example: tuple[Agent, Any, Where, Any]) -> Callable[..., Any] | None:
    """What agents say that their policies are worth, [R], compiled for arguments like `example`; None where they say
    nothing."""
    key = jax.random.key(CLAIM_SEED)
    claim = over_runs(lambda agent, params, state: agent.claim(env, params, state, key))
    if jax.eval_shape(claim, *example) is None:
        return None
    return jax.jit(claim).lower(*example).compile()


def _by_task(values: np.ndarray) -> list[PerSeed]:
    """[N, S] as [N][S], None where a number is not finite."""
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def _failures(seeds: Sequence[int], steps: Sequence[int], curve: np.ndarray, scores: np.ndarray) -> dict[str, str]:
    """Of one task: curve [E + 1, S], scores [S]."""
    failures = {}
    for number in map(int, np.flatnonzero(~np.isfinite(scores))):
        finite = np.isfinite(curve[:, number])
        since = steps[int(np.argmin(finite))] if not finite.all() else steps[-1]
        failures[str(seeds[number])] = f"its state or its score is not finite, found after {since} steps"
    return failures


def _warnings(seeds: Sequence[int], alarms: dict[str, np.ndarray]) -> list[str]:
    """A sentence for each alarm that holds for some of the seeds [S]."""
    who = {text: [str(seed) for seed, held in zip(seeds, flags, strict=True) if held] for text, flags in alarms.items()}
    return [f"seed {', '.join(held)}: {text}" for text, held in who.items() if held]
