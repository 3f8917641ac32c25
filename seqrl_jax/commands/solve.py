"""`seqrl solve`: the certified values of a task."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import jax

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.tasks import named
from seqrl_jax.exact.ladder import Rung, ladder
from seqrl_jax.exact.solve import VALUES, Solution, cache_directory, solve
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.evaluation import controller_policy, simulate


def run(options: argparse.Namespace) -> None:
    """Print what is known of a task."""
    task = named(options.task, horizon=options.horizon, discount=options.discount)
    solution = solve(task, cache_directory(), fresh=options.fresh)
    output = {
        "task": options.task,
        "horizon": task.horizon,
        "discount": task.discount,
        "values": {name: asdict(solution.values[name]) for name in VALUES},
    }
    if options.episodes is not None:
        output["played"] = _play(task, solution, options.episodes)
    rungs: list[Rung] = []
    if options.memory_states is not None:
        first = Rung(1, solution.values["memoryless_stochastic"], solution.stochastic)
        rungs = ladder(task, first, options.memory_states, history_upper=solution.values["history"].upper)
        output["memory_states"] = [{"memories": rung.memories, **asdict(rung.value)} for rung in rungs]
    if options.json:
        return print_json(output)
    print(f"{options.task}: horizon {task.horizon}, discount {task.discount:g}")
    for name, value in (solution.values | {f"{rung.memories} memory states": rung.value for rung in rungs}).items():
        ends = f"{value.lower:.7g}" if value.is_exact else f"[{value.lower:.7g}, {value.upper:.7g}]"
        print(f"  {name:<26}{ends:<26}{value.method}")
    if options.episodes is not None:
        played = output["played"]
        print(f"  played {played['episodes']} episodes: {played['mean']:.7g} +- {played['standard_error']:.2g}")


def _play(task: TabularPOMDP, solution: Solution, episodes: int) -> dict[str, Any]:
    policy = controller_policy(solution.history)
    play = jax.jit(lambda key: simulate(key, tabular_env(task), tabular_params(task), policy, episodes, task.horizon))
    returns = play(jax.random.key(0))
    error = float(returns.std(ddof=1)) / episodes**0.5
    return {"episodes": episodes, "mean": float(returns.mean()), "standard_error": error}
