"""What a `.POMDP` file says, in its own terms: names, rows as they were written, rewards in order, annotations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from seqrl_jax.tasks.pomdp_rewards import Entry
from seqrl_jax.tasks.pomdp_tokens import NameSet, Token
from seqrl_jax.tasks.tables import row_numbers

MAX_ENTRIES = 2**25
"""Most numbers that are not 0 in one table: a typing error in a count must not take the memory."""


class Written:
    """Distributions [..., K] as a file writes them, later entries over earlier ones.

    lines: [...], the line of the last entry of each (0: none).
    """

    def __init__(self, *shape: int) -> None:
        self.width = shape[-1]
        self.lines = np.zeros(shape[:-1], int)
        self.number = np.arange(self.lines.size).reshape(self.lines.shape)
        """[...]: of each distribution."""
        self._blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._entries = 0
        # The block with which a distribution was written anew.
        self._anew = np.zeros(self.lines.size, int)

    def put(self, row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        """Write single numbers, all arrays [N], of distributions by number."""
        self._blocks.append((row, column, value))
        self._entries += len(row)

    def write(self, row: np.ndarray, content: sparse.csr_array) -> None:
        """Write distributions anew. Args: row: [M, N], their numbers. content: [N, K], for each of the M."""
        self._anew[row.ravel()] = len(self._blocks)
        shape = (len(row), content.nnz)
        column, value = (np.broadcast_to(part, shape).ravel() for part in (content.indices, content.data))
        self.put(row[:, row_numbers(content)].ravel(), column, value)

    def has_room(self, entries: int) -> bool:
        """Whether so many numbers more fit."""
        if self._entries + entries > MAX_ENTRIES:
            self.rows()
        return self._entries + entries <= MAX_ENTRIES

    def rows(self) -> sparse.csr_array:
        """[R, K]: the distributions as they are now."""
        blocks = self._blocks or [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        row, column, value = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        block = np.repeat(np.arange(len(blocks)), [len(part) for part, _, _ in blocks])
        holds = np.flatnonzero(block >= self._anew[row])
        key = row[holds].astype(np.int64) * self.width + column[holds]
        order = np.argsort(key, kind="stable")
        last = np.diff(key[order], append=-1) != 0
        holds = holds[order[last]]
        holds = holds[value[holds] != 0]
        row, column, value = row[holds], column[holds], value[holds]
        self._blocks, self._entries, self._anew = [(row, column, value)], len(row), np.zeros_like(self._anew)
        begins = np.searchsorted(row, np.arange(self.lines.size + 1))
        return sparse.csr_array((value, column, begins), shape=(self.lines.size, self.width))


@dataclass
class Model:
    """What a file says, in its own terms: unnormalised rows, `R` entries in their order, annotations.

    start: [S]; start_line: of its entry, 0 where there is none.
    """

    source: str
    discount: float
    cost: bool
    states: NameSet
    actions: NameSet
    observations: NameSet
    start: np.ndarray
    start_line: int
    transition: Written
    observation: Written
    end: Token
    origin: tuple[str, ...]
    rewards: list[Entry] = field(default_factory=list)
    horizon: int | None = None
    terminal_lines: np.ndarray | None = None
    initial_observation: Written | None = None
