"""Fill the tables of the README and of docs/ from recorded results and exact values.

--check only says whether they are up to date.

python benchmarks/readme.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from alignment_page import estimators_table
from dialogue_page import dialogue_facts, dialogue_table, longer_table, offline_table
from exact_page import finite_table, infinite_table
from memory_page import far_table, gymnax_table, horizon_table, lengths_table, suite_table
from peers_page import memorax_table, popjaxrl_table, stepping
from pomdp_page import line_picture, line_values, tiger_beliefs, tiger_picture
from recorded import ROOT, measurement, section_of, where
from speed_page import agents_speed, highlights, language_speed, measurements, stepping_speed

from seqrl_jax.agents import AGENTS, configuration, make_agent
from seqrl_jax.files import write_whole
from seqrl_jax.report.overall import STATISTICS, overall
from seqrl_jax.report.pictures import all_pictures, panels, styles
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import Row, rows
from seqrl_jax.report.words import two, with_interval, with_unit
from seqrl_jax.results.coverage import coverage
from seqrl_jax.results.statistics import Estimate, estimate
from seqrl_jax.tracks.lm import FAR, far_from_optimum
from seqrl_jax.tracks.pomdp import CLAIM, POMDP

BLIND = "ppo:previous_action=false"
BOUNDS = {"memoryless_deterministic": "best deterministic", "memoryless_stochastic": "best memoryless"}


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
        shown = (f"{two(row.metrics[CLAIM].value)} / {_value(row.score)}" for row in mine)
        lines.append(f"| `{task}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _learners(section: Section) -> list[str]:
    return [agent for agent in section.methods if agent not in POMDP.oracles]


def _head(method: str, marked_wrong: bool = False) -> str:
    return f"`{method}`{'†' if marked_wrong else ''}"


def _origin(suite: str, section: Section) -> str:
    """What was run, from the record of a method that learns."""
    first = next(record for record in section.records if record.steps_asked)
    return f"`seqrl run {suite}`: {len(first.seeds)} seeds, {first.steps_asked:,} steps per run, {where(first)}."


def _earned(row: Row) -> str:
    """Gold reward / KL / regret / short of J*."""
    others = (row.metrics.get(name) for name in ("kl", "regret", "shortfall"))
    return " / ".join(_value(entry) for entry in (row.score, *others))


def _value(estimate: Estimate | None) -> str:
    return two(estimate.value if estimate else None)


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


def luck_table() -> str:
    """Regret by the dial: what training reached, and where a method ends with unlimited data."""
    measured = measurement("luck_cpu.json")
    found = {(row["agent"], row["noise"]): row for row in measured["rows"]}
    agents = list(dict.fromkeys(row["agent"] for row in measured["rows"]))
    lines = [f"| luck | {' | '.join(f'`{agent}`' for agent in agents)} |", "|---:|" + "---:|" * len(agents)]
    for noise in dict.fromkeys(row["noise"] for row in measured["rows"]):
        mine = [found[agent, noise] for agent in agents]
        limits = (f" / {row['limits']['limit']:.2f}" if "limit" in row["limits"] else "" for row in mine)
        shown = (f"{row['regret']['value']:.2f}{limit}" for row, limit in zip(mine, limits, strict=True))
        lines.append(f"| {mine[0]['luck_share']:.0%} | {' | '.join(shown)} |")
    cool = {
        agent: row["limits"]["without_luck"] for (agent, _), row in found.items() if "without_luck" in row["limits"]
    }
    costs = ", ".join(f"{cost:.2f} of `{agent}`" for agent, cost in cool.items())
    where = f"{measured['seeds']} seeds, on {measured['device']}, jax {measured['versions']['jax']}"
    return "\n".join(
        [*lines, "", f"What their temperature costs without luck: {costs}. `{measured['command']}`: {where}."]
    )


def alignment_table() -> str:
    """What every method earns, spends and leaves on the table, and lacks of its own optimum: means over seeds."""
    section = section_of("lm")
    found = {(row.method, row.task): row for row in rows(section)}
    tasks, methods = list(section.tasks), list(section.methods)
    lines = [f"| method | {' | '.join(f'`{task}`' for task in tasks)} |", "|---|" + "---:|" * len(tasks)]
    for method in methods:
        shown = (_earned(found[method, task]) if (method, task) in found else "" for task in tasks)
        lines.append(f"| `{method}` | {' | '.join(shown)} |")
    best = ", ".join(f"`{task}` {two(section.bounds(task)['best'].lower)}" for task in tasks)
    first = section.records[0]
    origin = f"`seqrl run lm`: {len(first.seeds)} seeds, {where(first)}."
    told = [f"Largest gold reward: {best}.", _far(section), _with_more(), origin, _not_recorded(section)]
    table = "\n".join([*lines, "", " ".join(filter(None, told))])
    return "\n\n".join(filter(None, [table, reward_models_table(section)]))


def _far(section: Section) -> str:
    """On how many of the tasks each method with a known optimum ends close to it."""
    far = far_from_optimum(section.records)
    judged = [record for record in section.records if record.finished("shortfall")]
    counts = {
        method: (
            sum(record.method == method and method not in far.get(record.task, {}) for record in judged),
            sum(record.method == method for record in judged),
        )
        for method in dict.fromkeys(record.method for record in judged)
    }
    listed = ", ".join(f"`{method}` on {near} of {all_}" for method, (near, all_) in counts.items())
    return f"Within {FAR:g} of J* where it is known: {listed}." if listed else ""


def _with_more() -> str:
    larger = section_of("lm_larger")
    left = [
        f"`{row.method}` {_value(row.metrics.get('shortfall'))} on `{row.task}`"
        for row in rows(larger)
        if row.kind == "agent"
    ]
    return f"Short of J* with more, {len(larger.records[0].seeds)} seeds: {', '.join(left)}."


def _not_recorded(section: Section) -> str:
    """Tasks and methods without any record, and single cells of the others."""
    found = {(record.method, record.task) for record in section.records}
    tasks = [task for task in section.track.tasks if task not in section.tasks]
    methods = [method for method in section.track.methods if method not in section.methods]
    cells = [(m, t) for t in section.tasks for m in section.methods if (m, t) not in found]
    missing = [*(f"`{name}`" for name in (*tasks, *methods)), *(f"`{m}` on `{t}`" for m, t in cells)]
    return f"Not recorded yet: {', '.join(missing)}." if missing else ""


def reward_models_table(section: Section) -> str:
    """What learned reward models know, and whether they or the climbing fall short; nothing where no record says it."""
    told = [row for row in rows(section) if "rm_accuracy" in row.metrics]
    if not told:
        return ""
    metrics = ("rm_accuracy", "rm_correlation", "learned_reward", "climbing_gap", "shortfall")
    heads = ("ranks right", "with gold", "its optimum", "short of that", "short of J*")
    lines = [f"| method | task | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for row in told:
        shown = " | ".join(_value(row.metrics.get(name)) for name in metrics)
        lines.append(f"| `{row.method}` | `{row.task}` | {shown} |")
    return "\n".join(lines)


def overoptimisation_table(name: str) -> str:
    """Where the gold reward peaks and ends when a proxy is climbed to the end."""
    measured = measurement(f"{name}.json")
    rows = {(row["proxy"], row["pairs"], row["noise"]): row for row in measured["rows"]}
    proxies = list(dict.fromkeys(row["proxy"] for row in measured["rows"]))
    noises = list(dict.fromkeys(row["noise"] for row in measured["rows"]))
    columns = [(proxy, noise) for proxy in proxies for noise in noises]
    heads = [f"{proxy}{f', noise {noise:g}' if noise else ''}" for proxy, noise in columns]
    lines = [f"| pairs | {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
    for pairs in dict.fromkeys(row["pairs"] for row in measured["rows"]):
        mine = [rows[proxy, pairs, noise] for proxy, noise in columns]
        shown = (f"{two(row['gold_peak'])} / {two(row['gold_end'])}" for row in mine)
        lines.append(f"| {pairs:,} | {' | '.join(shown)} |")
    seeds = f"{measured['seeds']} seed{'s' if measured['seeds'] > 1 else ''}"
    where = f"{seeds}, on {measured['device']}, jax {measured['versions']['jax']}"
    return "\n".join([*lines, "", f"`{measured['command']}`: {where}."])


def overoptimisation_tables() -> str:
    """Of the recorded proxies, and of learned ones."""
    return "\n\n".join(map(overoptimisation_table, ("overoptimisation", "overoptimisation_models")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for name, tables in PAGES.items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        text = filled(old, {mark: table() for mark, table in tables.items()})
        if text != old and options.check:
            stale.append(name)
        elif text != old:
            write_whole(path, text.encode())
    if not options.check:
        for name, picture in PICTURES.items():
            write_whole(ROOT / name, picture())
    if stale:
        sys.exit(f"{', '.join(stale)}: not what is recorded, run benchmarks/readme.py")


def filled(text: str, contents: Mapping[str, str]) -> str:
    """The text with these contents between the marks of their names and of an end."""
    for name, content in contents.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{mark}{content}\n{end}{after}"
    return text


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"solved": solved_line, "headline table": headline_table, "speed": highlights},
    "docs/results.md": {
        "quick table": quick_table,
        "reads": reads_table,
        "claims": claims_table,
        "audit": audit_table,
        "latent": latent_table,
    },
    "docs/dialogue.md": {
        "dialogue": dialogue_table,
        "dialogue facts": dialogue_facts,
        "dialogue longer": longer_table,
        "offline": offline_table,
        "luck": luck_table,
    },
    "docs/memory.md": {
        "horizon": horizon_table,
        "far": far_table,
        "lengths": lengths_table,
        "suite": suite_table,
        "gymnax": gymnax_table,
    },
    "docs/alignment.md": {
        "alignment": alignment_table,
        "overoptimisation": overoptimisation_tables,
        "estimators": estimators_table,
    },
    "docs/exact.md": {"finite": finite_table, "infinite": infinite_table},
    "docs/peers.md": {"popjaxrl": popjaxrl_table, "memorax": memorax_table, "speed": stepping},
    "docs/what_is_a_pomdp.md": {
        "line": line_picture,
        "line values": line_values,
        "tiger": tiger_picture,
        "tiger beliefs": tiger_beliefs,
    },
    "docs/speed.md": {
        "steps": stepping_speed,
        "training": agents_speed,
        "language": language_speed,
        "measurements": measurements,
    },
}


PICTURES: dict[str, Callable[[], bytes]] = {"docs/headline.png": headline_picture}
"""Not compared by --check: other versions of the library that draws them make other bytes."""


def _word(entry: dict[str, Any] | None, percent: bool) -> str:
    if entry is None:
        return ""
    if entry["word"] == "valid":
        return f"valid on {entry['tasks']} tasks"
    number = f"{entry['number']:.0%}" if percent else f"{entry['number']:+.3g}"
    return f"wrong by up to {number}, on {entry['wrong_tasks']} of {entry['tasks']}"


if __name__ == "__main__":
    main()
