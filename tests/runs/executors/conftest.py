"""A pool that carries out jobs in this process, and whatever befalls them on their way."""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest
from toy import Toy

from seqrl_jax.runs.executors.job import encode
from seqrl_jax.runs.executors.pool import Report
from seqrl_jax.runs.executors.resources import Resources
from seqrl_jax.runs.executors.worker import answer
from seqrl_jax.runs.plan import Order
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.registry import TRACKS


@dataclass
class FakeCluster:
    """fate: (number of the job, report) -> reports that come of it now."""

    fate: object = lambda number, report: [report]
    width: int = 4
    shared_folder: object = None
    resources: Resources = field(default_factory=lambda: Resources(1))
    jobs: list = field(default_factory=list)
    opened: int = 0
    is_open: bool = False

    @contextmanager
    def open(self, directory, note):
        self.opened, self.is_open = self.opened + 1, True
        self._numbers, self._waiting = count(), deque()
        try:
            yield self
        finally:
            self.is_open = False

    def submit(self, job):
        number = next(self._numbers)
        self.jobs.append(job)
        self._waiting.append((number, job))
        return f"job {number}"

    def wait(self, seconds):
        """One job each time, the latest first."""
        number, job = self._waiting.pop()
        return self.fate(number, Report(f"job {number}", encode(answer(job))))


@pytest.fixture
def cluster(monkeypatch):
    """fate -> a cluster whose workers know the toy."""
    monkeypatch.setitem(TRACKS, "toy", Toy())
    return FakeCluster


@pytest.fixture
def small_table():
    """Two tasks without and with learning: two rows that take a second each, once they are compiled."""
    track = TRACKS["pomdp"]
    problems = track.problems(["tiger", "aliased_line"], lambda done, total: None)
    return Order(track, ["random", "q_obs"], problems, Budget(400, 2, (0, 1)), "small")
