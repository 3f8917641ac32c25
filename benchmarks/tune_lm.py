"""The hyperparameters that alignment methods ship with, chosen on tasks and seeds that no table reports.

    python benchmarks/tune_lm.py rloo dpo rlhf --results benchmarks/results/tuning_lm

As in `tune.py`, every method gets one setting for all tasks; with four to eight settings of it that of the best mean
place, without a plateau. What is placed is what a policy reaches of `E[gold] - beta KL` at the method's own beta (.05
where it names none), which is exact but for the KL of `random_walks`. The choice is written to
`seqrl_jax/lm/tuned.json`, which the registry reads. A key `part.setting` is a setting of a part; all learning rates and
seeds run in one program. All objectives go into the directory of results, a file for each task and method; settings
that stand there already are not run again, so that a grid can grow and a sweep that was stopped goes on. With `--tasks`
the sweep is made on these alone and nothing is chosen: several processes may share the work. With `--choose` nothing is
run, and the choice is made from the tasks that were swept whole. `sweeps.py` hands the scores on to the pages of
methods.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tune import cdf_scores, sensitivity

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
from seqrl_jax.tracks.tuning import SEEDS

TASKS: dict[str, Callable[[], LMTask]] = {
    "keyword of 7 words": lambda: tasks.keyword(size=7),
    "overopt of another word": lambda: tasks.overopt(word=5, seed=3),
    "length_hack of 4 places": lambda: tasks.length_hack(length=4, price=0.3),
    "reversal of 5 words": lambda: tasks.reversal(size=5, length=3),
    "mod_sum of 5 digits": lambda: tasks.mod_sum(size=5),
    "random_walks of another graph": lambda: tasks.random_walks(seed=11),
}
"""A relative of each task that is reported."""
FEWEST = 3
"""Tasks from which a method is chosen; each choice says which they were."""
WHOLE = 1_000_000
"""More updates than any stage makes."""
PRICE = 0.05
"""Of a nat of KL, in units of reward, for a method that names none."""
RATE = "learning_rate"
RATES = (0.0003, 0.001, 0.003, 0.01)
BY_RATE = {RATE: RATES}
LOOP = {"policy.learning_rate": (0.0005, 0.001, 0.002, 0.004), "reward_model.learning_rate": (0.001, 0.003)}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    **dict.fromkeys(
        ("lm_reinforce", "lm_reinforce_baseline", "reinforce_pp", "lm_importance", "lm_ppo", "rloo"), BY_RATE
    ),
    **dict.fromkeys(("grpo", "dr_grpo", "gspo", "dapo", "best_of_16_distilled"), BY_RATE),
    **dict.fromkeys(("dpo", "ipo", "kto", "orpo", "simpo", "online_dpo"), BY_RATE),
    "rlhf": LOOP,
}
"""Method -> setting -> values tried. What learns from labels reads 128 in each update, as many as every other."""
SHARED = {
    **dict.fromkeys(("dpo_noisy", "cdpo", "rdpo"), "dpo"),
    **dict.fromkeys(("rlhf_implicit", "rlhf_ensemble", "rlhf_worst_case", "rlhf_iterated"), "rlhf"),
}
"""Method -> the method of which it changes one thing, and whose settings it has: what differs is that one thing."""
Setting = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(GRIDS), help=f"of {', '.join(GRIDS)}")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[], help="sweep these alone, and choose nothing")
    parser.add_argument("--choose", action="store_true", help="from what is there")
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    use_every_core()
    judge = cache(lambda task: judge_of(TASKS[task](), SEEDS, WHOLE))
    for name in options.methods:
        for task in () if options.choose else options.tasks or TASKS:
            sweep(name, task, judge, GRIDS[name], options.results)
        if not options.tasks:
            choose(name, GRIDS[name], options.results, PATH)


def judge_of(task: LMTask, seeds: Sequence[int], updates: int) -> Judge:
    """Of pi_0 of these seeds on a tuning task, trained for at most so many updates."""
    return references(make_model(task), task, shortened(Supervised(), updates), seeds)


def sweep(
    name: str,
    task: str,
    judge: Callable[[str], Judge],
    grid: dict[str, tuple[float, ...]],
    results: Path,
    seeds: Sequence[int] = SEEDS,
    updates: int = WHOLE,
) -> None:
    """Run what is missing of a grid on a tuning task, a program for each choice of what is no learning rate."""
    path = part(results, task, name)
    protocol = {"method": name, "task": task, "seeds": list(seeds), "updates": updates}
    runs = known(path, protocol)
    missing = [setting for setting in settings_of(grid) if _key(setting) not in runs]
    unswept = lambda setting: {key: value for key, value in setting.items() if not key.endswith(RATE)}
    for _, program in itertools.groupby(sorted(missing, key=lambda s: _key(unswept(s))), unswept):
        settings = list(program)
        method = shortened(with_settings(METHODS[name].method, unswept(settings[0])), updates)
        rates = [{key: value for key, value in setting.items() if key.endswith(RATE)} for setting in settings]
        reached = objectives(method, judge(task), seeds, rates)
        runs |= {_key(setting): row for setting, row in zip(settings, reached, strict=True)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_measurement(path, protocol | {"rows": [{"settings": dict(k), "objectives": r} for k, r in runs.items()]})
        print(f"{task}: {name}, {len(runs)} settings", flush=True)


def objectives(
    method: Method, judge: Judge, seeds: Sequence[int], rates: Sequence[Setting]
) -> list[list[float | None]]:
    """[K][S] `E[gold] - price KL` of a method at each of K learning rates; None of failed runs."""
    price = method.price or PRICE
    columns = {key: [setting[key] for setting in rates] for key in rates[0]}
    ends = method.standings(judge.repeated(len(rates)), trained(method, judge, seeds, columns))
    reached = [end.reward - price * end.kl for end in ends]
    rounded = [round(value, 6) if np.isfinite(value) else None for value in reached]
    return [rounded[first : first + len(seeds)] for first in range(0, len(rounded), len(seeds))]


def choose(name: str, grid: dict[str, tuple[float, ...]], results: Path, chosen: Path) -> Setting:
    """Write the choice from all tasks that were swept whole to `results`, and to the file `chosen` for the method and
    those that share its settings. Raises: SystemExit where these are fewer than `FEWEST`."""
    settings = settings_of(grid)
    swept = {task: objectives_of(part(results, task, name)) for task in TASKS}
    whole = [task for task in TASKS if all(_key(setting) in swept[task] for setting in settings)]
    if len(whole) < FEWEST:
        raise SystemExit(f"{name}: {len(whole)} tasks are swept whole, a choice needs {FEWEST}")
    by_task = [swept[task] for task in whole]
    returns = np.array([[runs[_key(setting)] for runs in by_task] for setting in settings], float)
    scores = cdf_scores(np.where(np.isfinite(returns), returns, -np.inf), np.zeros(len(by_task)))
    best = settings[int(np.argmax(scores))]
    tuned = {"method": name, "chosen": best, "scores": scores.round(6).tolist(), "settings": settings}
    write_measurement(results / f"{name}.json", tuned | {"tasks": whole})
    if RATE in grid:
        write_whole(results / f"{name}.png", sensitivity(name, settings, scores))
    sharing = [name, *(other for other, whose in SHARED.items() if whose == name)]
    shipped = json.loads(chosen.read_text(encoding="utf-8")) | dict.fromkeys(sharing, best)
    write_whole(chosen, (json.dumps(dict(sorted(shipped.items())), indent=1) + "\n").encode())
    print(f"{name}: {best} ({scores.max():.3f})", flush=True)
    return best


def settings_of(grid: dict[str, tuple[float, ...]]) -> list[Setting]:
    """Every choice from a grid, the last setting fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def part(results: Path, task: str, name: str) -> Path:
    """Where the sweep of a method on a task is kept."""
    return results / task.replace(" ", "_") / f"{name}.json"


def known(path: Path, protocol: dict[str, Any]) -> dict[tuple[tuple[str, float], ...], Any]:
    """What an earlier sweep recorded by the same protocol: setting -> objectives [seeds]."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return objectives_of(path) if all(kept.get(key) == value for key, value in protocol.items()) else {}


def objectives_of(path: Path) -> dict[tuple[tuple[str, float], ...], Any]:
    """What a file of a sweep holds: setting -> objectives [seeds]; nothing where there is none."""
    if not path.exists():
        return {}
    return {_key(row["settings"]): row["objectives"] for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}


def _key(setting: Setting) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(setting.items()))


if __name__ == "__main__":
    main()
