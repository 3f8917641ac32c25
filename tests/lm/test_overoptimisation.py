"""The fits of `benchmarks/overoptimisation.py`."""

import importlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module("overoptimisation")


def test_what_a_fit_misses_on_average_is_not_explained(measured):
    """d = 1, 2, 3 and gains of 1, 0, 1: `alpha d - beta d^2` misses 4/19 of (3, -3, 1), 16/19 in squares, and the mean
    2/3."""
    points = np.array([[1.0, 1.0], [4.0, 0.0], [9.0, 1.0]])
    assert measured.fitted(points, 0.0, lambda d: d)["r2"] == pytest.approx(1 - (16 / 19) / (2 / 3))


def test_a_form_that_holds_is_found(measured):
    d = np.linspace(0.5, 3, 9)
    points = np.stack([d**2, 0.2 + d * (1.5 - 0.4 * np.log(d))], 1)
    assert measured.fitted(points, 0.2, np.log) == pytest.approx({"alpha": 1.5, "beta": 0.4, "r2": 1.0})
