"""The tables of docs/memory.md."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
from recorded import measurement, section_of, where

from seqrl_jax import naming
from seqrl_jax.report.table import Row, rows
from seqrl_jax.report.words import NONE, two, with_interval
from seqrl_jax.results.statistics import Estimate, difference
from seqrl_jax.tracks.suites import suite


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
    return "\n\n".join([*parts, _origin(measured)])


def rates_table() -> str:
    """Scores of every memory in the T-maze at every rate, far beyond the length of training."""
    measured = measurement("horizon_rates_cpu.json")
    far = list(measured["rows"][0]["scores"])[1:]
    rates = list(measured["rows"][0]["scores"][far[0]])
    lines = [f"| at rates {' / '.join(rates)} | {' | '.join(f'{number} L' for number in far)} |"]
    lines.append("|---|" + "---:|" * len(far))
    for row in measured["rows"]:
        cells = (" / ".join(two(row["scores"][number][rate]) for rate in rates) for number in far)
        lines.append(f"| `{row['memory']}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _origin(measured)])


def bistable_table() -> str:
    """Scores of bistable cells that are to repeat the previous symbol, and the best that was found for any of them."""
    measured = measurement("bistable_cpu.json")
    rates = list(measured["rows"][0]["scores"])
    lines = [f"| `bmru` on `repeat_previous`, L = 10 | {' | '.join(f'rate {rate}' for rate in rates)} |"]
    lines.append("|---|" + "---:|" * len(rates))
    for row in measured["rows"]:
        lines.append(f"| {row['cell']} | {' | '.join(two(fmean(row['scores'][rate])) for rate in rates)} |")
    found = f"the best of {measured['starts']} searches over answers to each order of inputs"
    lines.append(f"| any such cell: {found} | {' | '.join([two(measured['best_found'])] * len(rates))} |")
    return "\n".join([*lines, "", _origin(measured)])


def far_table() -> str:
    """Returns of every memory in mazes far longer than that of its training, and how many seeds solve them."""
    measured = measurement("far_tmaze_cpu.json")
    cells = list(measured["rows"][0]["returns"])
    lines = [f"| memory | {' | '.join(f'{int(number):,} cells' for number in cells)} |"]
    lines.append("|---|" + "---:|" * len(cells))
    for row in measured["rows"]:
        found = (f"{two(row['returns'][n]['value'])}, {row['solved'][n]} of {measured['seeds']}" for n in cells)
        lines.append(f"| `{row['memory']}` | {' | '.join(found)} |")
    return "\n".join([*lines, "", _origin(measured)])


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
    return "\n\n".join([*parts, _origin(measured)])


def suite_table() -> str:
    """The memory score of every memory on every task of the suite, under PPO / under PQN."""
    section = section_of("memory")
    found = {
        (naming.base(row.method), _reads(row.method), row.task): row for row in rows(section) if row.kind == "agent"
    }
    agents, readers, _ = (list(dict.fromkeys(key)) for key in zip(*found, strict=True))
    lines = [
        f"| memory | {' | '.join(f'`{task}`' for task in section.tasks)} |",
        "|---|" + "---:|" * len(section.tasks),
    ]
    for reader in sorted(readers):
        cells = (
            " / ".join(_memory_score(found.get((agent, reader, task))) for agent in agents) for task in section.tasks
        )
        lines.append(f"| `{reader}` | {' | '.join(cells)} |")
    first = section.records[0]
    rollouts = f"rollouts of {first.config['rollout_length']} steps where nothing else is said"
    budget = f"{len(first.seeds)} seeds, {first.steps_made:,} steps per run, {rollouts}, {where(section)}"
    return "\n".join([*lines, "", f"`seqrl run memory`, {' / '.join(f'`{agent}`' for agent in agents)}: {budget}."])


def gymnax_table() -> str:
    """What each agent earns in environments of gymnax, and how long the run of all seeds took."""
    return _returns("gymnax")


def flicker_table() -> str:
    """The same of a screen that flickers, and what the history wins there, paired by seed."""
    found = {(record.task, record.method): record.metrics["return"] for record in section_of("flicker").records}
    _, flickering, window = suite("flicker").tasks
    history = found[flickering, "drqn"]
    gains = []
    for what, rival in (("what is shown", flickering), ("a window of four frames", window)):
        gain = difference([np.stack([history, found[rival, "drqn:memory=none"]], 1)])
        gains.append(f"{with_interval(gain)} more than by {what}")
    earned = f"On the flickering screen Q of the history earns {' and '.join(gains)} (paired by seed)."
    return f"{_returns('flicker')}\n\n{earned}"


def _returns(suite: str) -> str:
    section = section_of(suite)
    found = {(row.task, row.method): row for row in rows(section) if row.kind == "agent"}
    spent = {(record.task, record.method): record.spent for record in section.records}
    lines = [f"| environment | {' | '.join(f'`{name}`' for name in section.methods)} |"]
    lines.append("|---|" + "---:|" * len(section.methods))
    for task in section.tasks:
        cells = []
        for method in section.methods:
            row, seconds = found.get((task, method)), spent.get((task, method))
            trained = "" if seconds is None else f", {seconds.compilation + seconds.training:.0f} s"
            cells.append(NONE if row is None else with_interval(row.score) + trained)
        lines.append(f"| `{task}` | {' | '.join(cells)} |")
    first = section.records[0]
    budget = f"{len(first.seeds)} seeds in one program, {first.steps_made:,} steps per run, {where(section)}"
    return "\n".join([*lines, "", f"`seqrl run {suite}`: return, and seconds with compilation; {budget}."])


def _origin(measured: dict[str, Any]) -> str:
    """By what, from how much and on what a measurement was made."""
    budget = f"{measured['seeds']} seeds, {measured['steps']:,} steps per run, on {measured['device']}"
    return f"`{measured['command']}`: {budget}, jax {measured['versions']['jax']}."


def _memory_score(row: Row | None) -> str:
    return NONE if row is None else two(row.scales["memory"].value.value)


def _reads(method: str) -> str:
    """The memory that a method names, and what else it sets."""
    rest, memory = naming.without(method, "memory")
    assert memory is not None
    return ",".join([memory, *(f"{key}={value}" for key, value in naming.parse(rest)[1].items())])
