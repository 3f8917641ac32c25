"""Records that are made up, for tests of what reads them."""

from seqrl_jax.results.record import Bound, Record, Spent


def made_up(**changes):
    """Three seeds, exactly judged, on a task whose values are 0 and 1, with the given fields changed."""
    fields = {
        "track": "pomdp",
        "suite": "quick",
        "task": "tmaze:length=10",
        "method": "ppo",
        "seeds": [0, 1, 2],
        "config": {},
        "metrics": {"return": [0.2, 0.3, 0.4]},
        "standard_errors": {},
        "curves": {},
        "bounds": {"random": Bound(0.0, 0.0, "exact"), "history": Bound(1.0, 1.0, "exact")},
        "bounded_by": ["history"],
        "marked_wrong": False,
        "policy": "sampled",
        "episodes": [None, None, None],
        "steps_asked": 100,
        "steps_made": 100,
        "spent": Spent(),
        "cells": 1,
        "warnings": [],
        "failures": {},
        "task_fingerprint": "abc",
        "code_fingerprint": None,
        "versions": {},
        "device": "2 CPU cores",
        "commit": None,
        "command": None,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Record(**{**fields, **changes})
