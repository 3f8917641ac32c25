"""How far back each memory learns to reach: PPO on tasks of growing length, one memory at a time.

    python benchmarks/lengths.py --out benchmarks/results/lengths_cpu.json

A T-maze whose corridor moves the agent on by itself (`carried=true`), so that exploration plays no part, and a memory
chain: one bit, seen first, is asked for last. A score is 0 for the best policy that forgot it and 1 for the optimum.
All lengths and seeds of a memory are one compiled program; rollouts are as long as the longest episode, so that no
gradient is cut short. Settings are the shipped ones at every length.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqrl_jax.agents import make_agent
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.figures import new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tasks import make
from seqrl_jax.tasks.chain import ChainParams, MemoryChain
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.training import Stacked, stacked, train_row

LENGTHS = (5, 10, 20, 50, 100, 200)
MEMORIES = ("gru", "lstm", "nbrc", "mingru", "lru", "s5", "linear_attention", "mlstm")
"""Those whose cost grows with the length of an episode, and the window, which is short, can be asked for by name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ladder:
    """A task at every length. blind, best: what is earned without memory, and the optimum."""

    tasks: Stacked
    blind: float
    best: float


def ladders() -> dict[str, Ladder]:
    mazes = stacked([make(f"tmaze:length={n},carried=true,discount=1,horizon={n + 2}") for n in LENGTHS])
    chain, lengths = MemoryChain(max(LENGTHS) + 1, bits=1), ChainParams(jnp.array(LENGTHS))
    chains = Stacked(len(LENGTHS), chain, lengths, judged_in=chain)
    return {"tmaze": Ladder(mazes, (4.0 - 0.1) / 2, 4.0), "memory_chain": Ladder(chains, 0.0, 1.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=list(MEMORIES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    budget = Budget(options.steps, 1, tuple(range(options.seeds)))
    rows: list[dict[str, Any]] = []
    for name in options.memories:
        for task, ladder in ladders().items():
            agent = make_agent(f"ppo:memory={name},rollout_length={ladder.tasks.env.longest}")
            trained = train_row(agent, ladder.tasks, budget)
            scores = (np.array(trained.scores, float) - ladder.blind) / (ladder.best - ladder.blind)
            mine = [
                {"memory": name, "task": task, "length": length, "scores": of_length.tolist()}
                | estimate(of_length).as_json()
                for length, of_length in zip(LENGTHS, scores, strict=True)
            ]
            rows += mine
            line = ", ".join(f"{row['length']}: {row['value']:.2f}" for row in mine)
            print(f"{name:<18}{task:<14}{line}   ({trained.spent.training:.0f} s)", flush=True)
    if options.out:
        write_measurement(options.out, {"seeds": options.seeds, "steps": options.steps, "rows": rows})
        write_whole(options.out.with_suffix(".png"), picture(rows))


def picture(rows: list[dict[str, Any]]) -> bytes:
    """PNG: the score against the length, a panel for each task, with intervals."""
    tasks, memories = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "memory"))
    figure = new_figure(1, len(tasks), legend_inches=0.6)
    for axes, task in zip(figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        for number, name in enumerate(memories):
            mine = [row for row in rows if (row["task"], row["memory"]) == (task, name)]
            lengths, values = [row["length"] for row in mine], [row["value"] for row in mine]
            axes.plot(lengths, values, "o-", color=f"C{number}", label=name)
            low, high = ([row[end] for row in mine] for end in ("low", "high"))
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
