"""Where rows run, as the runner sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seqrl_jax.results.record import Record
from seqrl_jax.runs.identity import Identity
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.observer import Observer
from seqrl_jax.runs.plan import Cell, Order, Row


@dataclass(frozen=True)
class Table:
    """A table that is being filled. cells: what makes each. directory: of its records, to which only this process
    writes."""

    order: Order
    cells: Mapping[Cell, Identity]
    directory: Path
    observer: Observer
    interrupt: Interrupt

    def identities(self, row: Row) -> list[Identity]:
        """What makes the cells of a row, in their order."""
        return [self.cells[row.method, problem.spec] for problem in row.problems]


class Executor(Protocol):
    """Has rows run."""

    def fill(self, table: Table, rows: Sequence[Row]) -> Iterator[Record]:
        """The records that the rows lack, each once it is written to the table's directory, in any order.

        Raises: Interrupted, with what was written kept, as for everything else: what tracks raise, or RowsFailed.
        """
        ...
