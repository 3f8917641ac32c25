"""The loop that a row is carried through: it goes on from its checkpoint, saves its state, and may stop in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from seqrl_jax import hosts
from seqrl_jax.runs.checkpoint import Checkpoint, Snapshot
from seqrl_jax.runs.compilations import Compilations
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.observer import Observer, RowProgress
from seqrl_jax.tracks.base import Status

State = TypeVar("State")


class CheckpointedLoop:
    """A `tracks.base.Loop` that saves its state. A row may call it several times; each call is saved by its number."""

    def __init__(self, checkpoint: Checkpoint, every: int, observer: Observer, interrupt: Interrupt) -> None:
        self._checkpoint = checkpoint
        self._every = every
        self._observer = observer
        self._interrupt = interrupt
        self._calls = 0

    def __call__(
        self, state: State, advance: Callable[[State], State], chunks: int, watch: Callable[[State], Status]
    ) -> State:
        """The state after `chunks` chunks.

        It is saved every so many of them, when the run is to end, and after the last, from which the row is judged.
        Raises: Interrupted, with the state saved; OSError, if it cannot be.
        """
        loop, self._calls = self._calls, self._calls + 1
        # No other name for the state: the one that goes into a chunk may be given up to it.
        state, begun_at = self._restored(loop, state, chunks)
        began = time.perf_counter()
        first = watch(state)
        self._observer.chunk(RowProgress(begun_at, chunks, begun_at, first.steps, None, first.score, first.runs))
        with Compilations() as compilations:
            for done in range(begun_at + 1, chunks + 1):
                with self._interrupt.under_way():
                    state = advance(state)
                    status = watch(state)
                    if self._interrupt.agree() or done == chunks or done % self._every == 0:
                        self._checkpoint.save(loop, Snapshot(state, done), chunks)
                if done == begun_at + 1:
                    compilations.count = 0
                rate = (status.steps - first.steps) / (time.perf_counter() - began)
                self._observer.chunk(
                    RowProgress(
                        done, chunks, begun_at, status.steps, rate, status.score, status.runs, compilations.count
                    )
                )
        return state

    def _restored(self, loop: int, state: State, chunks: int) -> tuple[State, int]:
        """The state to go on from, and the chunk that it is at."""
        saved = None
        with hosts.together():
            try:
                saved = self._checkpoint.restore(loop, state, chunks)
            except ValueError as error:
                self._observer.note(f"{error}; it begins anew")
        hosts.require_same("how far the row is", saved.chunk if saved else 0)
        return (saved.state, saved.chunk) if saved else (state, 0)
