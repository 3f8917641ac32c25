"""Rows one after another in this process, from chunk to chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from seqrl_jax import hosts
from seqrl_jax.failures import device_is_full
from seqrl_jax.results import provenance, store
from seqrl_jax.results.record import Record
from seqrl_jax.runs.checkpoint import Checkpoint, Origin, begin, resume
from seqrl_jax.runs.executors.base import Table
from seqrl_jax.runs.identity import Identity
from seqrl_jax.runs.loop import CheckpointedLoop
from seqrl_jax.runs.plan import Order, Row
from seqrl_jax.tracks.base import Outcome, Problem


class Local:
    """See `executors.base.Executor`. Raises: MemoryError or RuntimeError, naming the row, if it is too large."""

    def fill(self, table: Table, rows: Sequence[Row]) -> Iterator[Record]:
        """Run rows in their order; those that a killed or interrupted process began go on from their checkpoints."""
        for row in rows:
            table.observer.row(row.method, [problem.spec for problem in row.problems], len(row.missing))
            yield from _run(table, row)


def _run(table: Table, row: Row) -> Iterator[Record]:
    """Run a row and write its missing cells. Its checkpoint goes when they are all written, not before."""
    here = Origin(provenance.device(), provenance.versions())
    identities = table.identities(row)
    checkpoint = resume(row.begun, here) if row.begun else begin(table.directory, identities, here)
    loop = CheckpointedLoop(checkpoint, table.order.checkpoint_every, table.observer, table.interrupt)
    outcomes = _outcomes(table.order, row, loop)
    commit = provenance.commit()
    with table.interrupt.under_way():
        for identity, problem, outcome in zip(identities, row.problems, outcomes, strict=True):
            if problem.spec in row.missing:
                record = _record(table.order, identity, problem, outcome, checkpoint, commit)
                hosts.on_first(partial(store.write, table.directory, record))
                yield record
        checkpoint.remove()


def _outcomes(order: Order, row: Row, loop: CheckpointedLoop) -> Sequence[Outcome]:
    """What the row gives; where it does not fit into memory, the error names it."""
    try:
        return order.track.row(row.method, row.problems, order.budget, loop)
    except MemoryError as error:
        raise MemoryError(f"{row.name}: {error}") from error
    except RuntimeError as error:
        if not device_is_full(error):
            raise
        raise RuntimeError(f"{row.name}: {error}") from error


def _record(
    order: Order,
    identity: Identity,
    problem: Problem,
    outcome: Outcome,
    checkpoint: Checkpoint,
    commit: str | None,
) -> Record:
    origins = checkpoint.manifest.origins
    moved = [f"run in parts: {'; then '.join(map(_in_words, origins))}"] if len(origins) > 1 else []
    return Record(
        **msgspec.structs.asdict(identity),
        suite=order.suite,
        **vars(outcome) | {"warnings": [*outcome.warnings, *moved]},
        bounds=dict(problem.bounds),
        steps_asked=order.budget.steps,
        cells=len(checkpoint.cells),
        versions=origins[-1].versions,
        device=origins[-1].device,
        commit=commit,
        command=provenance.command(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _in_words(origin: Origin) -> str:
    return f"on {origin.device} with {', '.join(f'{name} {version}' for name, version in origin.versions.items())}"
