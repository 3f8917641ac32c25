import pytest
from records import made_up

from seqrl_jax.results.record import Bound, Curve, Spent

BOUNDS = {
    "random": Bound(0.0, 0.0, "exact: expectation under the uniform policy"),
    "memoryless_stochastic": Bound(0.4, 0.5, "lower: gradient ascent; upper: branch and bound"),
    "history": Bound(1.0, 1.0, "exact: recursion over beliefs"),
    "state": Bound(1.0, 2.0, "lower: a policy; upper: a relaxation"),
}


@pytest.fixture(scope="session")
def make_record():
    """A record of three seeds, exactly judged, with the given fields changed."""

    def make_record(**changes):
        fields = {
            "config": {"learning_rate": 0.01, "memory": {"name": "gru", "width": 32}, "clip": None, "sizes": [1, 2]},
            "metrics": {"return": [0.2, 0.3, 0.4], "claim": [0.5, None, 0.7]},
            "standard_errors": {"return": [0.0, 0.0, 0.0]},
            "curves": {"return": Curve("environment steps", [0.0, 100.0], [[0.0, 0.1, 0.0], [0.2, 0.3, 0.4]])},
            "bounds": dict(BOUNDS),
            "spent": Spent(1.5, 2.5, 0.5),
            "cells": 16,
            "warnings": ["The window is shorter than the task."],
            "versions": {"jax": "0.10.2", "python": "3.11.7"},
            "command": "seqrl run quick",
        }
        return made_up(**{**fields, **changes})

    return make_record
