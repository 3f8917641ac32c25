"""`seqrl solve`: the certified values of a task."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import Any

import jax

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.progress import ends
from seqrl_jax.commands.tasks import named
from seqrl_jax.exact.budget import MEMORY, SearchBudget
from seqrl_jax.exact.gaps import Gap, gaps
from seqrl_jax.exact.infinite import refuse_undiscounted
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.ladder import Rung, ladder
from seqrl_jax.exact.solve import VALUES, Solution, cache_directory, solve
from seqrl_jax.settings import INFINITE
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP, with_horizon
from seqrl_jax.tracks.evaluation import controller_policy, simulate

UNPLAYED = 1e-6
"""Of the largest return: what may be left when an episode without a horizon is cut."""


def run(options: argparse.Namespace) -> None:
    """Print what is known of a task."""
    infinite = options.horizon == INFINITE
    task = named(options.task, horizon=None if infinite else options.horizon, discount=options.discount)
    if infinite:
        refuse_undiscounted(task)
        if options.memory_states is not None:
            raise ValueError("--memory-states ascends over a horizon of so many steps: give --horizon a number")
    budget = SearchBudget(seconds=options.seconds, memory=options.memory or MEMORY)
    with ends("history") as watch:
        solution = solve(task, cache_directory(), options.fresh, budget, watch, infinite)
    width = gaps(solution.values)
    output = {
        "task": options.task,
        "horizon": INFINITE if infinite else task.horizon,
        "discount": task.discount,
        "values": {name: asdict(solution.values[name]) | asdict(width[name]) for name in VALUES},
    }
    if options.episodes is not None:
        played = with_horizon(task, _played_steps(task)) if infinite else task
        output["played"] = _play(played, solution, options.episodes)
    rungs: list[Rung] = []
    if options.memory_states is not None:
        first = Rung(1, solution.values["memoryless_stochastic"], solution.stochastic)
        rungs = ladder(task, first, options.memory_states, history_upper=solution.values["history"].upper)
        output["memory_states"] = [{"memories": rung.memories, **asdict(rung.value)} for rung in rungs]
    if options.json:
        return print_json(output)
    print(f"{options.task}: horizon {output['horizon']}, discount {task.discount:g}")
    shown = solution.values | {f"{rung.memories} memory states": rung.value for rung in rungs}
    width = gaps(shown)
    for name, value in shown.items():
        print(f"  {name:<26}{_in_words(value, width[name])}")
    if options.episodes is not None:
        played = output["played"]
        print(f"  played {played['episodes']} episodes: {played['mean']:.7g} +- {played['standard_error']:.2g}")


def _in_words(value: Interval, width: Gap) -> str:
    if value.is_exact:
        return f"{value.lower:<26.7g}{value.method}"
    shares = [(width.relative_gap, "|history|"), (width.normalised_gap, "history - random")]
    wide = [f"{share:.2g} of {whole}" for share, whole in shares if share is not None]
    width_in_words = f"gap {', '.join([f'{width.gap:.2g}', *wide])}"
    return f"{f'[{value.lower:.7g}, {value.upper:.7g}]':<26}{width_in_words}; {value.method}"


def _played_steps(task: TabularPOMDP) -> int:
    return max(1, math.ceil(math.log(UNPLAYED) / math.log(task.discount)))


def _play(task: TabularPOMDP, solution: Solution, episodes: int) -> dict[str, Any]:
    policy = controller_policy(solution.history)
    play = jax.jit(lambda key: simulate(key, tabular_env(task), tabular_params(task), policy, episodes, task.horizon))
    returns = play(jax.random.key(0))
    error = float(returns.std(ddof=1)) / episodes**0.5
    return {"episodes": episodes, "mean": float(returns.mean()), "standard_error": error}
