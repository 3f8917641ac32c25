"""Seconds of what a row does: compilation, training and evaluation apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from seqrl_jax.results.record import Spent


class Clock:
    """A row keeps its seconds [3] in its state, so that they survive a restart: `take` adds what has passed since."""

    def __init__(self) -> None:
        self._seconds = np.zeros(3)

    def take(self, before: np.ndarray) -> np.ndarray:
        """[3]: `before` and what has passed since the last call."""
        taken, self._seconds = before + self._seconds, np.zeros(3)
        return taken

    def spent(self, before: np.ndarray) -> Spent:
        """The same as it is recorded."""
        return Spent(*map(float, self.take(before)))

    def compiling(self) -> AbstractContextManager[None]:
        return self._measure(0)

    def training(self) -> AbstractContextManager[None]:
        return self._measure(1)

    def evaluating(self) -> AbstractContextManager[None]:
        return self._measure(2)

    @contextmanager
    def _measure(self, place: int) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[place] += time.perf_counter() - began
