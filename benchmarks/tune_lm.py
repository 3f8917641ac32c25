"""The hyperparameters that alignment methods ship with, chosen on tasks and seeds that no table reports.

    python benchmarks/tune_lm.py rloo dpo rlhf --results benchmarks/results/tuning_lm

As in `tune.py`, every method gets one setting for all tasks, that on the best plateau of mean places. What is placed is
what a policy reaches of `E[gold] - beta KL` at the method's own beta (.05 where it names none), which is exact but for
the KL of `random_walks`. The choice is written to `seqrl_jax/lm/tuned.json`, which the registry reads. A key
`part.setting` is a setting of a part. All objectives go into the directory of results; settings that it holds already
are not run again, so that a grid can grow and a sweep that was stopped goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tune import cdf_scores, plateaus, sensitivity

from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.files import write_whole
from seqrl_jax.lm import tasks
from seqrl_jax.lm.alignment import references, trained
from seqrl_jax.lm.evaluation import Judge
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.registry import METHODS, make_model, shortened
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.tuned import PATH, with_settings
from seqrl_jax.results.provenance import write_measurement

TASKS: dict[str, Callable[[], LMTask]] = {
    "keyword of 7 words": lambda: tasks.keyword(size=7),
    "keyword of 3 places": lambda: tasks.keyword(length=3),
    "overopt of another word": lambda: tasks.overopt(word=5, seed=3),
    "length_hack of 4 places": lambda: tasks.length_hack(length=4, price=0.3),
    "reversal of 5 words": lambda: tasks.reversal(size=5, length=3),
    "mod_sum of 5 digits": lambda: tasks.mod_sum(size=5),
    "random_walks of another graph": lambda: tasks.random_walks(seed=11),
}
SEEDS = tuple(range(2000, 2003))
WHOLE = 1_000_000
"""More updates than any stage makes."""
PRICE = 0.05
"""Of a nat of KL, in units of reward, for a method that names none."""
RATES = (0.0003, 0.001, 0.003, 0.01)
CLIMBING = {"learning_rate": RATES}
LABELLED = {"learning_rate": RATES, "batch": (128, 512)}
LOOP = {"policy.learning_rate": (0.0005, 0.001, 0.002, 0.004), "reward_model.learning_rate": (0.001, 0.003)}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    **dict.fromkeys(
        ("lm_reinforce", "lm_reinforce_baseline", "reinforce_pp", "lm_importance", "lm_ppo", "rloo"), CLIMBING
    ),
    **dict.fromkeys(("grpo", "dr_grpo", "gspo", "dapo", "best_of_16_distilled"), CLIMBING),
    **dict.fromkeys(("dpo", "ipo", "kto", "orpo", "simpo", "dpo_noisy", "cdpo", "rdpo", "online_dpo"), LABELLED),
    **dict.fromkeys(("rlhf", "rlhf_ensemble", "rlhf_worst_case", "rlhf_iterated"), LOOP),
}
"""Method -> setting -> values tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(GRIDS), help=f"of {', '.join(GRIDS)}")
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    use_every_core()
    judges = [judge_of(build(), SEEDS, WHOLE) for build in TASKS.values()]
    for name in options.methods:
        tune(name, judges, GRIDS[name], options.results, PATH)


def judge_of(task: LMTask, seeds: Sequence[int], updates: int) -> Judge:
    """Of pi_0 of these seeds on a tuning task, trained for at most so many updates."""
    return references(make_model(task), task, shortened(Supervised(), updates), seeds)


def tune(
    name: str,
    judges: Sequence[Judge],
    grid: dict[str, tuple[float, ...]],
    results: Path,
    chosen: Path,
    seeds: Sequence[int] = SEEDS,
    updates: int = WHOLE,
) -> dict[str, float]:
    """Run what is missing of a grid, write it to `results`, and the choice to the file `chosen`."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.json"
    protocol = {"method": name, "tasks": list(TASKS), "seeds": list(seeds), "updates": updates}
    runs = known(path, protocol)
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for setting in settings:
        if _key(setting) not in runs:
            method = shortened(with_settings(METHODS[name].method, setting), updates)
            runs[_key(setting)] = [objectives(method, judge, seeds) for judge in judges]
            write_measurement(path, protocol | {"rows": _rows(runs)})
    returns = np.array([runs[_key(setting)] for setting in settings], float)
    scores = cdf_scores(np.where(np.isfinite(returns), returns, -np.inf), np.zeros(len(judges)))
    best = settings[int(np.argmax(plateaus(grid, scores)))]
    told = {"chosen": best, "scores": scores.round(6).tolist(), "settings": settings}
    write_measurement(path, protocol | told | {"rows": _rows(runs)})
    if "learning_rate" in grid:
        write_whole(results / f"{name}.png", sensitivity(name, settings, scores))
    shipped = json.loads(chosen.read_text(encoding="utf-8")) | {name: best}
    write_whole(chosen, (json.dumps(dict(sorted(shipped.items())), indent=1) + "\n").encode())
    print(f"{name}: {best} ({scores.max():.3f})", flush=True)
    return best


def objectives(method: Method, judge: Judge, seeds: Sequence[int]) -> list[float | None]:
    """[S] `E[gold] - price KL`; None of failed runs."""
    price = method.price or PRICE
    reached = [end.reward - price * end.kl for end in method.standings(judge, trained(method, judge, seeds))]
    return [round(value, 6) if np.isfinite(value) else None for value in reached]


def known(path: Path, protocol: dict[str, Any]) -> dict[tuple[tuple[str, float], ...], Any]:
    """What an earlier sweep recorded by the same protocol: setting -> objectives [tasks][seeds]."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    if any(kept.get(key) != value for key, value in protocol.items()):
        return {}
    return {_key(row["settings"]): row["objectives"] for row in kept["rows"]}


def _rows(runs: dict[tuple[tuple[str, float], ...], Any]) -> list[dict[str, Any]]:
    return [{"settings": dict(key), "objectives": reached} for key, reached in runs.items()]


def _key(setting: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(setting.items()))


if __name__ == "__main__":
    main()
