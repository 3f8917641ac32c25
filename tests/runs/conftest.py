"""The toy's table, filled once, and processes that fill it again."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from toy import SUITE, Toy

from seqrl_jax import files
from seqrl_jax.results import provenance, store
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Of this process only: no waiting for the disk, and git is not asked."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(provenance, "commit", lambda: None)


@pytest.fixture
def order():
    """changes -> an order of the toy's table, with changed fields."""

    def order(track=None, tasks=SUITE.tasks, methods=SUITE.methods, steps=SUITE.steps, seeds=(0, 1), **changes):
        track = track or Toy()
        budget = Budget(steps, SUITE.evaluations, seeds)
        return replace(Order(track, methods, track.problems(tasks, None), budget, SUITE.name), **changes)

    return order


@pytest.fixture(scope="session")
def numbers():
    """A directory or records -> what was measured in each cell, by (method, task)."""

    def numbers(records):
        if isinstance(records, Path):
            records, damage = store.read(records)
            assert damage == []
        return {(record.method, record.task): (record.metrics, record.curves) for record in records}

    return numbers


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, numbers):
    """The numbers of the toy's table from a run that nothing disturbed."""
    toy = Toy()
    order = Order(
        toy, SUITE.methods, toy.problems(SUITE.tasks, None), Budget(SUITE.steps, SUITE.evaluations, (0, 1)), ""
    )
    return numbers(run(order, tmp_path_factory.mktemp("uninterrupted")))


@pytest.fixture
def filling():
    """(directory, seconds a chunk) -> a process that fills the toy's table there, ended with the test."""
    running = []

    def filling(directory, pause, **more):
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, str(TESTS / "toy_process.py"), str(directory), str(pause)]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **more))
        return running[-1]

    yield filling
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def until():
    """Wait for a condition, and fail where it does not come."""

    def until(condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.002)

    return until
