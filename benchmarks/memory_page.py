"""The tables of docs/memory.md."""

from __future__ import annotations

from recorded import measurement

from seqrl_jax.report.words import two, with_interval
from seqrl_jax.results.statistics import Estimate


def horizon_table() -> str:
    """Scores of every memory at multiples of the length of training, task by task."""
    measured = measurement("horizon_generalisation_cpu.json")
    parts = []
    for task in dict.fromkeys(row["task"] for row in measured["rows"]):
        mine = [row for row in measured["rows"] if row["task"] == task]
        times = list(mine[0]["scores"])
        heads = " | ".join(f"{number} L" for number in times)
        lines = [f"| `{task}`, L = {mine[0]['length']} | {heads} | rate | steps/s | bytes |"]
        lines.append("|---|" + "---:|" * (len(times) + 3))
        for row in mine:
            shown = " | ".join(two(row["scores"][number]["value"]) for number in times)
            speed = f"{row['steps_per_second'] / 1e3:.0f}k"
            lines.append(
                f"| `{row['memory']}` | {shown} | {row['learning_rate']:g} | {speed} | {row['carry_bytes']:,} |"
            )
        parts.append("\n".join(lines))
    where = f"{measured['seeds']} seeds, {measured['steps']:,} steps per run, on {measured['device']}"
    return "\n\n".join([*parts, f"`{measured['command']}`: {where}, jax {measured['versions']['jax']}."])


def lengths_table() -> str:
    """The score that each memory learns to reach at each length, task by task."""
    measured = measurement("lengths_cpu.json")
    scores = {
        (row["task"], row["memory"], row["length"]): Estimate(row["value"], row["low"], row["high"])
        for row in measured["rows"]
    }
    tasks, memories, lengths = (list(dict.fromkeys(key)) for key in zip(*scores, strict=True))
    parts = []
    for task in tasks:
        lines = [f"| `{task}` | {' | '.join(map(str, lengths))} |", "|---|" + "---:|" * len(lengths)]
        for memory in memories:
            lines.append(f"| `{memory}` | {' | '.join(with_interval(scores[task, memory, n]) for n in lengths)} |")
        parts.append("\n".join(lines))
    budget = f"{measured['seeds']} seeds, {measured['steps']:,} steps per run, on {measured['device']}"
    return "\n\n".join([*parts, f"`{measured['command']}`: {budget}, jax {measured['versions']['jax']}."])
