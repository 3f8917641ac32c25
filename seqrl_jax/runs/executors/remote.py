"""Rows on other processes: submitted, and submitted again when they are lost, until every record is written here."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from seqrl_jax.exact.solve import NO_CACHE, cache_place
from seqrl_jax.failures import RowsFailed
from seqrl_jax.results import provenance, store
from seqrl_jax.results.record import Record
from seqrl_jax.runs.executors.base import Table
from seqrl_jax.runs.executors.job import Answer, Job, decode_answer, encode
from seqrl_jax.runs.executors.pool import Cluster, Pool, Report, Ticket
from seqrl_jax.runs.identity import identity_of
from seqrl_jax.runs.plan import Row

POLL = 0.5
"""Seconds after which signals are looked for again."""
WRITTEN_CELLS_ARE_KEPT = "ending now: cells that are written are kept, and rows that run elsewhere are stopped"


@dataclass(frozen=True)
class Remote:
    """See `executors.base.Executor`. attempts: how often a row is submitted at most.

    A worker is given names, so that a track must be the one that has its name there. Raises: RowsFailed, once all other
    rows are written.
    """

    cluster: Cluster
    attempts: int = 3

    def fill(self, table: Table, rows: Sequence[Row]) -> Iterator[Record]:
        """A row's records are those of the worker that first had them all; a row that was begun here begins anew."""
        if not rows:
            return
        with (
            table.interrupt.under_way(WRITTEN_CELLS_ARE_KEPT),
            self.cluster.open(table.directory, table.observer.note) as pool,
        ):
            yield from _Filling(table, rows, pool, self.cluster, self.attempts)


@dataclass
class _Sent:
    """A row on its way. lacking: tasks without a record. failures: why attempts came to nothing. tickets: of those that
    are not reported."""

    row: Row
    lacking: set[str]
    failures: list[str] = field(default_factory=list)
    tickets: set[Ticket] = field(default_factory=set)


class _Filling:
    """Iterates over the records of rows as they come."""

    def __init__(self, table: Table, rows: Sequence[Row], pool: Pool, cluster: Cluster, attempts: int) -> None:
        self._table, self._pool, self._cluster, self._attempts = table, pool, cluster, attempts
        self._waiting = deque(_Sent(row, set(row.missing)) for row in rows)
        self._sent_as: dict[Ticket, _Sent] = {}
        self._flying = 0
        self._given_up: list[_Sent] = []
        self._command = provenance.command()

    def __iter__(self) -> Iterator[Record]:
        while self._waiting or self._flying:
            self._table.interrupt.check()
            while self._waiting and self._flying < self._pool.width:
                sent = self._waiting.popleft()
                # Meanwhile a job that was held for lost may have brought them all.
                if sent.lacking:
                    self._submit(sent)
            for report in self._pool.wait(POLL):
                yield from self._take(report)
        if self._given_up:
            raise RowsFailed("; ".join(map(_in_a_line, self._given_up)))

    def _submit(self, sent: _Sent) -> None:
        if sent.row.begun and not sent.failures:
            self._table.observer.note(f"{sent.row.name} was begun here; it runs elsewhere, and begins anew")
        ticket = self._pool.submit(encode(self._job(sent.row)))
        sent.tickets.add(ticket)
        self._sent_as[ticket] = sent
        self._flying += 1

    def _job(self, row: Row) -> Job:
        order, shared = self._table.order, self._pool.shared_folder
        return Job(
            cells=self._table.identities(row),
            steps=order.budget.steps,
            evaluations=order.budget.evaluations,
            checkpoint_every=order.checkpoint_every,
            cores=self._cluster.resources.cpus,
            environment=self._cluster.resources.environment | _cacheless(),
            folder=os.getcwd(),
            shared_folder=None if shared is None else str(shared),
        )

    def _take(self, report: Report) -> Iterator[Record]:
        """Write what a report brings of what its row lacks; without that, submit the row again or give it up.

        Reports may come twice, and those of a job that was held for lost after those of the next one.
        """
        sent = self._sent_as[report.ticket]
        is_new = report.ticket in sent.tickets
        sent.tickets.discard(report.ticket)
        self._flying -= is_new
        if not sent.lacking:
            return
        failure = report.lost
        if report.answer is not None:
            try:
                answer = decode_answer(report.answer)
            except ValueError as error:
                failure = f"no answer ({error})"
            else:
                yield from self._written(sent, answer)
                failure = f"{answer.failure or 'its records are of other cells'} (on {answer.host})"
        if not sent.lacking:
            if sent in self._given_up:
                self._given_up.remove(sent)
            if sent.row.begun:
                sent.row.begun.remove()
        elif is_new:
            self._failed(sent, failure)

    def _written(self, sent: _Sent, answer: Answer) -> Iterator[Record]:
        """What an answer holds of the row's cells, written. A row counts as one that begins when its records come."""
        row, cells = sent.row, self._table.cells
        wanted = [record for record in answer.records if record.task in sent.lacking]
        fitting = [record for record in wanted if identity_of(record) == cells[row.method, record.task]]
        if fitting:
            self._table.observer.row(row.method, [problem.spec for problem in row.problems], len(sent.lacking))
        for made in fitting:
            record = msgspec.structs.replace(made, suite=self._table.order.suite, command=self._command)
            store.write(self._table.directory, record)
            sent.lacking.discard(record.task)
            yield record

    def _failed(self, sent: _Sent, failure: str) -> None:
        sent.failures.append(failure)
        if len(sent.failures) < self._attempts:
            which = f"attempt {len(sent.failures)} of {self._attempts}"
            self._table.observer.note(f"{sent.row.name}: {which} failed, {failure}; it is submitted again")
            self._waiting.append(sent)
        else:
            self._given_up.append(sent)


def _cacheless() -> dict[str, str]:
    """What is not to be kept here is not kept there."""
    return {NO_CACHE: "1"} if cache_place() is None else {}


def _in_a_line(lost: _Sent) -> str:
    """A row that was given up, and why."""
    count = len(lost.failures)
    how = "failed" if count == 1 else f"failed {count} times, the last time"
    return f"{lost.row.name} {how}: {lost.failures[-1]}"
