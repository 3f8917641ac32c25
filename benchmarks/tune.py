"""The hyperparameters that agents ship with, chosen on tasks and seeds that no table reports.

    python benchmarks/tune.py ppo pqn drqn --results benchmarks/results/tuning

Every agent gets one setting for all tasks (cross-environment hyperparameter setting: Patterson, Neumann, White & White,
2024, sec. 5). All settings of its grid run on all tuning tasks and seeds in one compiled program. Returns are made
comparable between tasks by the place that they take among all returns of that task in the sweep (its empirical
distribution function), so that no task counts for more because it pays more; returns that evaluation cannot tell apart
share a place, or tasks that nearly every setting solves would be ranked by luck. A setting's score is its mean place.
The setting on the best plateau, whose score and those of its neighbours in the grid have the largest mean, is written
to `seqrl_jax/agents/tuned.json`, which the registry reads: the best of many scores is mostly a lucky one. All returns,
and the picture of the score against the learning rate, go into the directory of results; settings that it holds already
are not run again, so that a grid can grow. `sweeps.py` hands the scores on to the pages of agents.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.tuned import PATH
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.figures import new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import make
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.training import stacked, train_rows
from seqrl_jax.tracks.tuning import SEEDS, STEPS, TASKS

ERRORS_APART, RANGE_APART = 5.0, 0.01
"""Places are counted down from the best return, as wide as so many standard errors (the median of the sweep) or as this
share of the range: the best of a hundred equal runs lies 2.5 errors too high."""
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "ppo": {
        "learning_rate": (0.001, 0.003, 0.01, 0.03),
        "entropy_cost": (0.06, 0.12, 0.24, 0.48),
        "lambda_": (0.65, 0.8, 0.9),
    },
    "impala": {
        "learning_rate": (0.001, 0.003, 0.01, 0.03),
        "entropy_cost": (0.003, 0.01, 0.03, 0.06),
        "lambda_": (0.8, 0.9, 0.97),
    },
    "pqn": {
        "learning_rate": (0.00025, 0.0005, 0.001, 0.002, 0.004),
        "lambda_": (0.5, 0.65, 0.8, 0.9),
        "exploration_share": (0.15, 0.3, 0.5),
    },
    "latent_q": {"learning_rate": (0.00075, 0.0015, 0.003, 0.006, 0.012)},
    "drqn": {"learning_rate": (0.003, 0.006, 0.012, 0.024, 0.048, 0.096), "exploration_share": (0.3, 0.5, 0.8)},
    "latent_plan": {"learning_rate": (0.001, 0.003, 0.01, 0.03, 0.1), "exploration_share": (0.3, 0.5, 0.8)},
    "soft_q": {"learning_rate": (0.006, 0.012, 0.024), "temperature": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)},
}
"""Agent -> traced setting -> values tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*", default=list(GRIDS), help=f"of {', '.join(GRIDS)}")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    use_every_core()
    for name in options.agents:
        path, settings = options.results / f"{name}.json", combinations(GRIDS[name])
        runs = known(path, options.steps)
        if missing := [setting for setting in settings if _key(setting) not in runs]:
            made = sweep(name, missing, options.steps)
            runs |= dict(zip(map(_key, missing), made, strict=True))
        rows = [runs[_key(setting)] for setting in settings]
        scores = cdf_scores(*arrays(rows))
        best = settings[int(np.argmax(plateaus(GRIDS[name], scores)))]
        write_measurement(
            path,
            {
                "agent": name,
                "tasks": TASKS,
                "seeds": SEEDS,
                "steps": options.steps,
                "chosen": best,
                "rows": [
                    {"settings": setting, "score": float(score), **row}
                    for setting, score, row in zip(settings, scores, rows, strict=True)
                ],
            },
        )
        write_whole(options.results / f"{name}.png", sensitivity(name, settings, scores))
        chosen = json.loads(PATH.read_text(encoding="utf-8")) | {
            name: {key: f"{value:g}" for key, value in best.items()}
        }
        write_whole(PATH, (json.dumps(dict(sorted(chosen.items())), indent=1) + "\n").encode())
        print(
            f"{name}: {best} ({scores.max():.3f}; all settings {np.sort(scores)[::-1].round(3).tolist()})", flush=True
        )


def combinations(grid: dict[str, tuple[float, ...]]) -> list[dict[str, float]]:
    """Every setting of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


MARKERS = "os^D"
"""Beside ten colours, of forty lines."""
FIELDS = ("returns", "standard_errors")
Runs = dict[str, list[Any]]
"""Of one setting: `returns` [tasks][seeds], None of failed runs; their `standard_errors`, 0 where they are exact."""


def known(path: Path, steps: int) -> dict[tuple[tuple[str, float], ...], Runs]:
    """What an earlier sweep recorded of the same tasks, seeds and steps: by setting."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    if (kept["tasks"], kept["seeds"], kept["steps"]) != ([*TASKS], [*SEEDS], steps):
        return {}
    return {_key(row["settings"]): {field: row[field] for field in FIELDS} for row in kept["rows"]}


def sweep(name: str, settings: list[dict[str, float]], steps: int) -> list[Runs]:
    """The runs of each setting, in one program."""
    spec = lambda setting: f"{name}:" + ",".join(f"{key}={value:g}" for key, value in setting.items())
    agents = [make_agent(spec(setting)) for setting in settings]
    trained = train_rows(agents, stacked([make(task) for task in TASKS]), Budget(steps, 1, SEEDS))
    rounded = lambda table: [[None if x is None else round(x, 6) for x in task] for task in table]
    return [{"returns": rounded(row.scores), "standard_errors": rounded(row.standard_errors)} for row in trained]


def arrays(rows: list[Runs]) -> tuple[np.ndarray, np.ndarray]:
    """[settings, tasks, seeds]: returns, minus infinity of failed runs. [tasks]: the median of their errors."""
    returns, errors = (np.array([row[field] for row in rows], float) for field in FIELDS)
    return np.where(np.isfinite(returns), returns, -np.inf), np.nanmedian(errors, (0, 2))


def _key(setting: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(setting.items()))


def cdf_scores(returns: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """[settings]: the mean place of a setting's returns among all returns of the same task, in [0, 1].

    Args: returns: [settings, tasks, seeds], minus infinity of failed runs. errors: [tasks], their standard errors. Ties
        share their places.
    """
    by_task = [_rounded(task, error) for task, error in zip(returns.swapaxes(0, 1), errors, strict=True)]
    places = np.stack([rankdata(task.ravel()).reshape(task.shape) for task in by_task], 1)
    runs = returns.shape[0] * returns.shape[2]
    return ((places - 0.5) / runs).mean((1, 2))


def _rounded(returns: np.ndarray, error: float) -> np.ndarray:
    """Of one task, counted down from the best in steps that evaluation can tell apart."""
    finite = returns[np.isfinite(returns)]
    step = max(RANGE_APART * np.ptp(finite), ERRORS_APART * error) if finite.size else 0.0
    return -np.floor((finite.max() - returns) / step) if step > 0 else returns


def plateaus(grid: dict[str, tuple[float, ...]], scores: np.ndarray) -> np.ndarray:
    """[settings]: the mean of a setting's score and those of its neighbours, one step away in one direction.

    A neighbour beyond the end of the grid counts as an average setting: ends smoothed over fewer neighbours would vary
    more, and luck would choose them too often.
    """
    table = scores.reshape([len(values) for values in grid.values()])
    padded = np.pad(table, 1, constant_values=scores.mean())
    inside = tuple(slice(1, -1) for _ in grid)
    shifted = [np.roll(padded, by, axis)[inside] for axis in range(table.ndim) for by in (-1, 1)]
    return np.mean([table, *shifted], 0).ravel()


def sensitivity(name: str, settings: list[dict[str, float]], scores: np.ndarray) -> bytes:
    """PNG: the score against the learning rate, one line for every choice of the other settings."""
    figure = new_figure(1, 1, legend_inches=1.6)
    axes = figure.add_subplot()
    others = lambda setting: ", ".join(f"{key}={value:g}" for key, value in setting.items() if key != "learning_rate")
    for label in dict.fromkeys(map(others, settings)):
        line = [(s["learning_rate"], score) for s, score in zip(settings, scores, strict=True) if others(s) == label]
        number = len(axes.lines)
        axes.plot(*zip(*line, strict=True), marker=MARKERS[number // 10], color=f"C{number % 10}", label=label)
    axes.set_xscale("log")
    axes.set_xlabel(f"{name}: learning rate")
    axes.set_ylabel("mean place among all returns of a task")
    if any(map(others, settings)):
        figure.legend(loc="outside lower center", fontsize=7, ncols=2)
    return png(figure, 110)


if __name__ == "__main__":
    main()
