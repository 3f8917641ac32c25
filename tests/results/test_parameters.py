import pytest

from seqrl_jax.results import parameters as module
from seqrl_jax.results.parameters import metric, parameters
from seqrl_jax.results.record import Record

FIELDS = {
    "track": "pomdp",
    "suite": "quick",
    "task": "tiger",
    "method": "ppo",
    "seeds": [0, 1],
    "config": {},
    "standard_errors": {},
    "curves": {},
    "bounds": {},
    "bounded_by": [],
    "marked_wrong": False,
    "policy": "sampled",
    "episodes": [None, None],
    "steps_asked": 1,
    "steps_made": 1,
    "spent": {},
    "cells": 1,
    "warnings": [],
    "failures": {},
    "task_fingerprint": "",
    "code_fingerprint": None,
    "versions": {},
    "device": "",
    "commit": None,
    "command": None,
    "created": "2026-01-01T00:00:00+00:00",
}


def record(**changes):
    return Record(**{**FIELDS, "metrics": {"return": [0.0, 1.0]}, **changes})


def test_a_record_says_how_many_and_older_ones_are_counted(monkeypatch):
    monkeypatch.setattr(module, "counted", lambda: {"pomdp": {"ppo": {"tiger": 7}}})
    assert parameters(record(metrics={"return": [0.0, 1.0], **metric(12, [None, 1.0])})) == 12
    assert parameters(record()) == 7
    assert parameters(record(task="tmaze")) is None and parameters(record(track="lm")) is None
    assert metric(0, [0.0, 1.0]) == {}, "what trains no network has no number of it"


@pytest.mark.parametrize("said", [[0.0, 0.0], [-3.0, -3.0], [None, None]])
def test_no_positive_number_is_none(monkeypatch, said):
    monkeypatch.setattr(module, "counted", dict)
    assert parameters(record(metrics={"return": [0.0, 1.0], "parameters": said})) is None
