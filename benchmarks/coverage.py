"""How often the 95% intervals of the tables hold the truth, with few seeds, on simulated scores.

The truth is what the same statistic of very many seeds is. Single cells: the mean over seeds of one distribution.
Tables: 12 tasks, each with a level of its own between .3 and .9, as mean, median, interquartile mean and optimality gap
over tasks; `mixed` gives the tasks all six shapes in turn. In `rare failure` one seed in ten scores 0.2 and the others
0.9: with few seeds most samples hold no failure, and no method of these data alone could know of it.

With 2,000 repetitions a coverage of .95 of single cells is measured to .005, one standard error; that of tables, with a
quarter as many, to .01.

    python benchmarks/coverage.py [--repetitions N] [--out FILE]

What tables and pages say about their intervals is made of `seqrl_jax/results/coverage.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import Statistic, iqm, mean, median, optimality_gap, over_tasks

Shape = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Scores of mean 0 or so, to be moved to a task's level."""
MANY = 400_000


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return 0.1 * rng.normal(size=size)


def beta(a: float, b: float, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return 0.5 * rng.beta(a, b, size) - 0.5 * a / (a + b)


def two_modes(failing: float, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Some seeds fail: .7 lower than the others, with a little noise."""
    return np.where(rng.random(size) < failing, -0.7, 0.0) + 0.02 * rng.normal(size=size)


SHAPES: dict[str, Shape] = {
    "normal": normal,
    "skewed: beta(8, 2)": partial(beta, 8, 2),
    "piled up at its bound: beta(2, 1/2)": partial(beta, 2, 0.5),
    "at both ends: beta(1/2, 1/2)": partial(beta, 0.5, 0.5),
    "half of the seeds fail": partial(two_modes, 0.5),
    "3 in 10 seeds fail": partial(two_modes, 0.3),
}
RARE: dict[str, Shape] = {"rare failure: 1 in 10 seeds": partial(two_modes, 0.1)}
STATISTICS: tuple[Statistic, ...] = (mean, median, iqm, optimality_gap)
ALIKE = ("normal", "piled up at its bound: beta(2, 1/2)", "half of the seeds fail")
LEVELS = np.linspace(0.3, 0.9, 12)
SEEDS = (3, 5, 10, 20)


def coverage(
    shapes: Sequence[Shape], levels: np.ndarray, statistic: Statistic, seeds: int, repetitions: int, resamples: int
) -> float:
    """The share of tables of that many seeds whose interval holds the truth; task k has shape k and level k."""
    rng = np.random.default_rng(seeds)
    draw = lambda size: [level + shape(rng, (size,)) for shape, level in zip(shapes, levels, strict=True)]
    truth = float(statistic(draw(MANY)))
    held = 0
    for _ in range(repetitions):
        found = over_tasks(draw(seeds), statistic, resamples=resamples)
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    return held / repetitions


def single_cells(shapes: dict[str, Shape], repetitions: int) -> list[dict[str, Any]]:
    """The mean of one cell."""
    return [
        {
            "scores": name,
            "tasks": 1,
            "statistic": "mean",
            "coverage": {n: coverage([shape], np.zeros(1), mean, n, repetitions, 999) for n in SEEDS},
        }
        for name, shape in shapes.items()
    ]


def tables(repetitions: int) -> list[dict[str, Any]]:
    """Aggregates over 12 tasks."""
    rows = []
    alike = {name: [SHAPES[name]] * 12 for name in ALIKE}
    for name, shapes in {**alike, "mixed": list(SHAPES.values()) * 2}.items():
        for statistic in STATISTICS:
            found = {n: coverage(shapes, LEVELS, statistic, n, repetitions, 999) for n in (5, 10)}
            rows.append({"scores": name, "tasks": 12, "statistic": statistic.__name__, "coverage": found})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cells, rare = single_cells(SHAPES, options.repetitions), single_cells(RARE, options.repetitions)
    for row in cells + rare:
        print(row, flush=True)
    over = tables(options.repetitions // 4)
    if options.out:
        write_measurement(
            options.out, {"repetitions": options.repetitions, "cells": cells, "rare": rare, "tables": over}
        )


if __name__ == "__main__":
    main()
