"""The tables and picture of the first page, and the tables of docs/results.md: tasks, agents, and what is proved."""

from __future__ import annotations

import sys
from typing import Any

from recorded import measurement, section_of, where

from seqrl_jax.agents import AGENTS, configuration, make_agent
from seqrl_jax.release import packed, sha256
from seqrl_jax.report.overall import STATISTICS, overall
from seqrl_jax.report.pictures import all_pictures, panels, styles
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import rows
from seqrl_jax.report.words import two, with_interval, with_unit
from seqrl_jax.results.coverage import coverage
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tracks.pomdp import CLAIM, POMDP

BLIND = "ppo:previous_action=false"
BOUNDS = {"memoryless_deterministic": "best deterministic", "memoryless_stochastic": "best memoryless"}


def releases_table() -> str:
    """The recorded tables by the names of their releases. Exits if the records of one are others than were packed."""
    released = measurement("releases.json")
    lines = ["| table | cells | made last | sha256 |", "|---|---:|---|---|"]
    for row in released["rows"]:
        if sha256(packed(section_of(row["table"]).records)) != row["records_sha256"]:
            sys.exit(f"{row['table']}: not the records that were released, run benchmarks/releases.py")
        lines.append(f"| `{row['table']}` | {row['cells']} | {row['created'][:10]} | `{row['name']}` |")
    made = f"`{released['command']}`, pyarrow {released['pyarrow']}."
    return "\n".join([*lines, "", f"`seqrl release benchmarks/results/TABLE --out RELEASE` makes each again. {made}"])


def quick_table() -> str:
    """Tasks down, proved values and agents across; below them what is over all tasks."""
    section = section_of("quick")
    found = {(row.task, row.method): row for row in rows(section)}
    total = {row.method: row for row in overall(section)}
    agents = _learners(section)
    agents = sorted(agents, key=lambda agent: total[agent].marked_wrong)
    columns = [*BOUNDS, *agents]
    heads = [*BOUNDS.values(), *(_head(agent, total[agent].marked_wrong) for agent in agents)]
    lines = [f"| task | {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
    for task in section.tasks:
        scores = (found[task, column].scales["normalised"].value.value for column in columns)
        lines.append(f"| `{task}` | {' | '.join(map(two, scores))} |")
    for statistic in STATISTICS:
        shown = (with_interval(total[column].statistics[statistic]) for column in columns)
        lines.append(f"| **{statistic}** | {' | '.join(shown)} |")
    return "\n".join([*lines, "", f"{_origin('quick', section)} {coverage()}"])


def solved_line() -> str:
    """Of how many tasks every value is known exactly, and what is left of the others."""
    section = section_of("quick")
    left = {task: _not_exact(section, task) for task in section.tasks}
    others = [f"`{task}` (its {' and '.join(names)} value)" for task, names in left.items() if names]
    rest = f"; an interval is known instead for {', '.join(others)}" if others else ""
    return f"{len(left) - len(others)} of {len(left)} default tasks are solved exactly in all five values{rest}."


def _not_exact(section: Section, task: str) -> list[str]:
    return [name.replace("_", " ") for name, value in section.bounds(task).items() if not value.is_exact]


def headline_table() -> str:
    """The memory score of every agent on the tasks that need memory: mean over seeds, with its interval."""
    section = section_of("headline")
    found = {(row.task, row.method): row for row in rows(section)}
    agents = _learners(section)
    heads = [_head(agent, section.methods[agent][0].marked_wrong) for agent in agents]
    lines = [f"| task | {' | '.join(heads)} |", "|---|" + "---:|" * len(agents)]
    for task in section.tasks:
        shown = (with_interval(found[task, agent].scales["memory"].value) for agent in agents)
        lines.append(f"| `{task}` | {' | '.join(shown)} |")
    return "\n".join([*lines, "", _origin("headline", section)])


def headline_picture() -> bytes:
    """PNG: the learning curves of these tasks, each between what is proved."""
    section = section_of("headline")
    score = POMDP.columns[0]
    drawn = [
        panel
        for task, records in section.tasks.items()
        for panel in panels(records, score.metric, with_unit(score.label, score.unit), section.bounds(task))
    ]
    wrong = {method for method, records in section.methods.items() if records[0].marked_wrong}
    return all_pictures(drawn, styles(section.records), wrong, dpi=80)


def reads_table() -> str:
    """What the policy of every agent is a function of, as the agents themselves say."""
    readers: dict[str, list[str]] = {}
    for spec in (*AGENTS, BLIND):
        agent = make_agent(spec)
        readers.setdefault(str(agent.reads), []).append(_head(spec, agent.marked_wrong))
    lines = ["| what the policy sees | agents |", "|---|---|"]
    lines += [f"| {reads} | {', '.join(agents)} |" for reads, agents in readers.items()]
    privileged = ", ".join(_head(name) for name in AGENTS if configuration(make_agent(name)).get("critic") == "state")
    return "\n".join([*lines, "", f"In training the baseline of {privileged} sees the hidden state as well."])


def claims_table() -> str:
    """What value-based agents say of their final policy, and what it earns: means over seeds."""
    section = section_of("headline")
    found = {(row.task, row.method): row for row in rows(section) if CLAIM in row.metrics}
    agents = [agent for agent in section.methods if any(method == agent for _, method in found)]
    lines = [f"| task | {' | '.join(map(_head, agents))} |", "|---|" + "---:|" * len(agents)]
    for task in section.tasks:
        mine = [found[task, agent] for agent in agents]
        shown = (f"{two(row.metrics[CLAIM].value)} / {two(row.score.value)}" for row in mine)
        lines.append(f"| `{task}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def audit_table() -> str:
    """The lecture's summary: a number behind every word."""
    measured = measurement("audit/audit.json")
    lines = ["| method | fully observed | partially observed | the number is |", "|---|---|---|---|"]
    for row in measured["summary"]:
        percent = row["unit"].startswith("relative")
        shown = (_word(row[setting], percent) for setting in ("observed", "partially observed"))
        method = row["method"].replace("|", "\\|")
        lines.append(f"| {method} | {' | '.join(shown)} | {row['unit']} |")
    return "\n".join([*lines, "", f"`{measured['command']}`, exact, jax {measured['versions']['jax']}."])


def _word(entry: dict[str, Any] | None, percent: bool) -> str:
    if entry is None:
        return ""
    if entry["word"] == "valid":
        return f"valid on {entry['tasks']} tasks"
    number = f"{entry['number']:.0%}" if percent else f"{entry['number']:+.3g}"
    return f"wrong by up to {number}, on {entry['wrong_tasks']} of {entry['tasks']}"


def latent_table() -> str:
    """Agents on a learned state and on the exact belief, and what the learned model knows."""
    measured = measurement("latent_cpu.json")
    rows = {(row["agent"], row["task"]): row for row in measured["rows"]}
    lines = [
        "| task | memory score of `latent_q` | of `belief_q` | log-loss, model / filter | state, probe / belief |",
        "|---|---:|---:|---:|---:|",
    ]
    for task in dict.fromkeys(row["task"] for row in measured["rows"]):
        latent, belief = rows["latent_q", task], rows["belief_q", task]
        shown = (with_interval(estimate(row["memory"])) for row in (latent, belief))
        pairs = (("log_loss", "filter_log_loss"), ("probe", "belief_entropy"))
        nats = (f"{latent[one]:.3f} / {latent[other]:.3f}" for one, other in pairs)
        lines.append(f"| `{task}` | {' | '.join(shown)} | {' | '.join(nats)} |")
    where = f"{measured['seeds']} seeds, {measured['steps']:,} steps per run, on {measured['device']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}, jax {measured['versions']['jax']}."])


def _learners(section: Section) -> list[str]:
    return [agent for agent in section.methods if agent not in POMDP.oracles]


def _head(method: str, marked_wrong: bool = False) -> str:
    return f"`{method}`{'†' if marked_wrong else ''}"


def _origin(suite: str, section: Section) -> str:
    """What was run, from the record of a method that learns."""
    first = next(record for record in section.records if record.steps_asked)
    return f"`seqrl run {suite}`: {len(first.seeds)} seeds, {first.steps_asked:,} steps per run, {where(section)}."
