"""Arrays that grow."""

from __future__ import annotations

import numpy as np


class Rows:
    """An array [N, ...] to which rows are added, in a buffer that doubles."""

    def __init__(self, rows: np.ndarray) -> None:
        self._buffer, self._count = rows, len(rows)

    @property
    def all(self) -> np.ndarray:
        return self._buffer[: self._count]

    def add(self, rows: np.ndarray) -> None:
        count = self._count + len(rows)
        if count > len(self._buffer):
            wider = np.empty((2 * count, *self._buffer.shape[1:]), self._buffer.dtype)
            wider[: self._count] = self.all
            self._buffer = wider
        self._buffer[self._count : count] = rows
        self._count = count
