"""Fill the table of the language-model track: one compiled program, all seeds, for each method and task."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.results import provenance
from seqrl_jax.bench.alignment_results import AlignmentCell, read_alignment, write_alignment
from seqrl_jax.lm.evaluation import Judge, judge
from seqrl_jax.lm.exact import Standing, expected
from seqrl_jax.lm.registry import BestOf, make_method, make_model, shortened
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.tasks import LMTask, make_task

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is run: methods, tasks and the language model by name, seeds, and the settings that all share.

    updates: gradient updates of every stage at most, for rehearsals; None: as many as each method ships with.
    """

    suite: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str = "gpt"
    supervised: Supervised = Supervised()
    updates: int | None = None

    def method(self, name: str) -> Any:
        method = make_method(name)
        return method if self.updates is None else shortened(method, self.updates)

    def config(self, name: str, task: LMTask) -> dict[str, Any]:
        """Every setting behind a cell, as JSON values."""
        return {
            "method": _plain(self.method(name)),
            "model": _plain(make_model(self.model, task)),
            "supervised": _plain(shortened(self.supervised, self.updates or self.supervised.updates)),
        }

    def references(self, task: LMTask) -> Judge:
        """pi_0 of every seed, and the judge that knows them."""
        supervised = shortened(self.supervised, self.updates or self.supervised.updates)
        model = make_model(self.model, task)
        train = jax.vmap(lambda key: supervised.train(key, model, task)[0])
        return judge(model, task, jax.jit(train)(self.keys))

    @property
    def keys(self) -> Array:
        """[S]"""
        return jax.vmap(jax.random.key)(jnp.array(self.seeds))


def run_alignment(
    plan: Plan, directory: Path, progress: Callable[[str], Progress] = lambda _: lambda done, total: None
) -> Iterator[AlignmentCell]:
    """Run every cell that `directory` lacks and yield all, task by task.

    A cell is kept when the same settings made it, with the same seeds, on the same rewards.
    """
    kept = {(cell.method, cell.task): cell for cell in read_alignment(directory)[0]} if directory.is_dir() else {}
    for spec in plan.tasks:
        task, judged, bar = make_task(spec), None, progress(spec)
        fingerprint = _fingerprint(task)
        for done, name in enumerate(plan.methods):
            wanted = (plan.config(name, task), list(plan.seeds), fingerprint)
            cell = kept.get((name, spec))
            if cell is None or (cell.config, cell.seeds, cell.fingerprint) != wanted:
                judged = judged or plan.references(task)
                cell = _run(plan, name, spec, task, judged, fingerprint)
                write_alignment(directory, cell)
            yield cell
            bar(done + 1, len(plan.methods))


def _run(plan: Plan, name: str, spec: str, task: LMTask, judged: Judge, fingerprint: str) -> AlignmentCell:
    method = plan.method(name)
    found, compiling, running = _align(plan, method, task, judged)
    beta = method.price(task) if hasattr(method, "price") else None
    shortfall = None
    if beta is not None:
        best = judged.best_objective(beta)
        shortfall = [_finite(most - (one.reward - beta * one.kl)) for most, one in zip(best, found, strict=True)]
    return AlignmentCell(
        suite=plan.suite,
        task=spec,
        method=name,
        config=plan.config(name, task),
        fingerprint=fingerprint,
        seeds=list(plan.seeds),
        reward=[_finite(one.reward) for one in found],
        kl=[_finite(one.kl) for one in found],
        kl_standard_errors=[_finite(one.kl_standard_error) for one in found],
        regret=[_finite(one.regret) for one in found],
        shortfall=shortfall,
        beta=beta,
        reference_reward=[expected(law, judged.rewards) for law in judged.references],
        best_reward=[float(judged.rewards.max(1).mean())] * len(found),
        frontier=judged.frontier(0),
        compile_seconds=compiling,
        run_seconds=running,
        versions=provenance.versions(),
        device=provenance.device(),
        commit=provenance.commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _align(plan: Plan, method: Any, task: LMTask, judged: Judge) -> tuple[list[Standing], float, float]:
    """Where a method ends with every seed, and the seconds that compiling and running took."""
    began = time.perf_counter()
    if isinstance(method, BestOf):
        return judged.best_of(method.draws), 0.0, time.perf_counter() - began
    align = jax.vmap(lambda key, reference: method.align(key, judged.model, task, reference))
    program = jax.jit(align).lower(plan.keys, judged.weights).compile()
    compiled = time.perf_counter()
    weights = jax.block_until_ready(program(plan.keys, judged.weights))
    return judged.standings(weights), compiled - began, time.perf_counter() - compiled


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(settings: Any) -> dict[str, Any]:
    """A dataclass and those in it as JSON values, with the names of their classes."""
    parts = {field.name: getattr(settings, field.name) for field in fields(settings)}
    told = {name: _plain(value) if hasattr(value, "__dataclass_fields__") else value for name, value in parts.items()}
    return {"name": type(settings).__name__, **told}


def _fingerprint(task: LMTask) -> str:
    """Of the prompts and of what some completions are worth."""
    key = jax.random.key(0)
    prompt = jnp.asarray(np.resize(task.prompts, (256, task.prompts.shape[1])), jnp.int32)
    tokens = jax.random.randint(key, (256, task.length), 0, task.size)
    said = jax.vmap(task.corpus)(jax.random.split(key, 256), prompt)
    worth = [np.asarray(task.rewards(prompt, texts), np.float32).round(5) for texts in (tokens, said)]
    told = b"".join(array.tobytes() for array in (task.prompts.astype(np.int32), *worth))
    return hashlib.sha256(told).hexdigest()
