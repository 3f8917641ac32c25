import dataclasses

import pytest

from seqrl_jax.report.sections import sections
from seqrl_jax.results.record import Bound, Curve, Record, Spent
from seqrl_jax.tracks.base import Column, Entry, Picture, Scale


@dataclasses.dataclass(frozen=True)
class Made:
    """A track that runs nothing, with everything that a table can show."""

    name: str = "made"
    about: str = "made up"
    notes_below: tuple = ()
    errors_below: tuple = ()
    modules: dict = dataclasses.field(default_factory=dict)
    pictures_beside: tuple = ()
    scales: tuple = (
        Scale("normalised", "random", "best", "0 is random, 1 the best"),
        Scale("memory", "plain", "best", "0 is plain, 1 the best"),
    )

    columns = (Column("return", "return", "return", "higher"), Column("price", "price", "coins", "lower"))

    @property
    def tasks(self):
        return {"first": Entry("the first"), "second": Entry("the second")}

    @property
    def methods(self):
        return {"good": Entry("as it should be"), "bad": Entry("not so", marked_wrong=True)}

    @property
    def bounds(self):
        return {"random": "of chance", "plain": "without memory", "best": "of all"}

    def knows(self, task):
        return task in self.tasks

    def fingerprint(self, task):
        return "aa"

    def task_facts(self, task):
        return {"states": "2: heads, tails", "fully observed twin": "second"}

    def method_facts(self, method):
        return {"reads": "o_t"}

    def notes(self, records):
        return self.notes_below

    def errors(self, records):
        return self.errors_below

    def task_code(self, task):
        return self.modules.get(task, ())

    def pictures(self, records):
        return self.pictures_beside


@pytest.fixture(scope="session")
def track():
    """A made-up track; changes: its fields."""
    return Made


@pytest.fixture(scope="session")
def record():
    """A made-up record: random 0, plain .5, best 1, all exact; three seeds."""

    def record(**changes):
        exact = {"random": 0.0, "plain": 0.5, "best": 1.0}
        fields = {
            "track": "made",
            "suite": "test",
            "task": "first",
            "method": "good",
            "seeds": [0, 1, 2],
            "config": {"learning_rate": 0.1},
            "metrics": {"return": [0.2, 0.3, 0.4]},
            "standard_errors": {},
            "curves": {"return": Curve("steps", [0.0, 100.0], [[0.0, 0.0, 0.0], [0.2, 0.3, 0.4]])},
            "bounds": {name: Bound(end, end, "by hand") for name, end in exact.items()},
            "bounded_by": ["best"],
            "marked_wrong": False,
            "policy": "sampled",
            "episodes": [None, None, None],
            "steps_asked": 100,
            "steps_made": 100,
            "spent": Spent(1.0, 2.0, 3.0),
            "cells": 2,
            "warnings": [],
            "failures": {},
            "task_fingerprint": "aa",
            "code_fingerprint": "bb",
            "versions": {"jax": "0.10.2"},
            "device": "2 CPU cores",
            "commit": None,
            "command": "seqrl run test",
            "created": "2026-01-01T00:00:00+00:00",
        }
        values = changes.get("metrics", {}).get("return", [None] * 3)
        if len(values) != 3:
            fields |= {"seeds": list(range(len(values))), "episodes": [None] * len(values), "curves": {}}
        return Record(**{**fields, **changes})

    return record


@pytest.fixture(scope="session")
def section(track):
    """Records of the made-up track as their section."""

    def section(*records, **changes):
        (found,), unknown = sections(records, {"made": track(**changes)})
        assert not unknown
        return found

    return section


@pytest.fixture(scope="session")
def picture():
    return Picture("A view", "what is seen", b"\x89PNG nothing")
