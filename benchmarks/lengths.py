"""How far back each memory learns to reach: PPO on tasks of growing length, one memory at a time.

    python benchmarks/lengths.py --memories gru mingru lstm lru nbrc --out benchmarks/results/lengths_cpu.json

A T-maze whose corridor moves the agent on by itself (`carried=true`), so that exploration plays no part, and a memory
chain: one bit, seen first, is asked for last. A score is 0 for the best policy that forgot it and 1 for the optimum.
All episodes of a task are of one length, and rollouts hold whole ones, as many as it takes to be at least as long as
shipped: no gradient is cut short between what is shown and what it is needed for. All else is as shipped, at every
length. Rows that the file holds already are not run again.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recorded import recorded_rows

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.ppo import PPO
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.figures import new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.training import alone, train_row

LENGTHS = (5, 10, 20, 50, 100, 200)
MEMORIES = ("gru", "lstm", "nbrc", "mingru", "lru", "s5", "linear_attention", "mlstm")
"""Those whose cost does not grow with the square of the length."""


@dataclass(frozen=True)
class Ladder:
    """A task at every length. spec: of a length n. blind, best: what is earned without memory, and the optimum."""

    spec: str
    blind: float
    best: float


LADDERS = {
    "tmaze": Ladder("tmaze:length={n},carried=true,discount=1,horizon={reached}", (4.0 - 0.1) / 2, 4.0),
    "memory_chain": Ladder("memory_chain:length={n}", 0.0, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=list(MEMORIES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    budget = Budget(options.steps, 1, tuple(range(options.seeds)))
    rows = recorded_rows(options.out, seeds=options.seeds, steps=options.steps)
    for name in options.memories:
        for task in LADDERS:
            for length in LENGTHS:
                if any((row["memory"], row["task"], row["length"]) == (name, task, length) for row in rows):
                    continue
                rows.append({"memory": name, "task": task, "length": length, **measured(name, task, length, budget)})
                print(name, task, length, f"{rows[-1]['value']:.2f}", flush=True)
                if options.out:
                    write_measurement(options.out, {"seeds": options.seeds, "steps": options.steps, "rows": rows})
    if options.out:
        write_whole(options.out.with_suffix(".png"), picture(rows))


def measured(memory: str, task: str, length: int, budget: Budget) -> dict[str, Any]:
    """The scores of all seeds, their mean and its interval. None lies outside -1 (always wrong) and 1."""
    ladder = LADDERS[task]
    ready = environment(ladder.spec.format(n=length, reached=length + 2))
    episode = int(ready.env.horizon(ready.params))
    rollout = episode * math.ceil(PPO().rollout_length / episode)
    agent = make_agent(f"ppo:memory={memory},rollout_length={rollout}")
    (returns,) = train_row(agent, alone(ready.env, ready.params), budget).scores
    scores = (np.array(returns, float) - ladder.blind) / (ladder.best - ladder.blind)
    return {"scores": scores.tolist(), **estimate(scores, within=(-1.0, 1.0)).as_json()}


def picture(rows: list[dict[str, Any]]) -> bytes:
    """PNG: the score against the length, a panel for each task, with intervals."""
    tasks, memories = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "memory"))
    figure = new_figure(1, len(tasks), legend_inches=0.6)
    for axes, task in zip(figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        for number, name in enumerate(memories):
            mine = [row for row in rows if (row["task"], row["memory"]) == (task, name)]
            lengths, values = [row["length"] for row in mine], [row["value"] for row in mine]
            axes.plot(lengths, values, "o-", color=f"C{number}", label=name)
            low, high = (np.array([row[end] for row in mine], float) for end in ("low", "high"))
            axes.fill_between(lengths, low, high, color=f"C{number}", alpha=0.12)
        axes.set_xscale("log")
        axes.set_xticks(LENGTHS, map(str, LENGTHS), minor=False)
        axes.set_xticks([], minor=True)
        axes.set_title(task)
        axes.set_xlabel("length")
    figure.axes[0].set_ylabel("0: best without memory, 1: optimum")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=8)
    return png(figure, 110)


if __name__ == "__main__":
    main()
