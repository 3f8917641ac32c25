"""The tables of docs/alignment.md."""

from __future__ import annotations

from typing import Any

from recorded import measurement, section_of, where

from seqrl_jax.audit.language import names
from seqrl_jax.audit.report import bias_in_words
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import Row, rows
from seqrl_jax.report.words import NONE, two
from seqrl_jax.results.statistics import Estimate
from seqrl_jax.tracks.lm import FAR, far_from_optimum


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
    origin = f"`seqrl run lm`: {len(first.seeds)} seeds, {where(section)}."
    notes = [f"Largest gold reward: {best}.", _far(section), _with_more(), origin, _not_recorded(section)]
    table = "\n".join([*lines, "", " ".join(filter(None, notes))])
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
    """What learned reward models know, and whether they or the optimisation fall short, where it is known."""
    known = [row for row in rows(section) if "rm_accuracy" in row.metrics]
    if not known:
        return ""
    metrics = ("rm_accuracy", "rm_correlation", "learned_reward", "climbing_gap", "shortfall")
    heads = ("ranks right", "with gold", "its optimum", "short of that", "short of J*")
    lines = [f"| method | task | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for row in known:
        shown = " | ".join(_value(row.metrics.get(name)) for name in metrics)
        lines.append(f"| `{row.method}` | `{row.task}` | {shown} |")
    return "\n".join(lines)


def _earned(row: Row) -> str:
    """Gold reward / KL / regret / short of J*."""
    others = (row.metrics.get(name) for name in ("kl", "regret", "shortfall"))
    return " / ".join(_value(entry) for entry in (row.score, *others))


def _value(estimate: Estimate | None) -> str:
    return two(estimate.value if estimate else None)


def overoptimisation_tables() -> str:
    """Of the recorded proxies, and of learned ones."""
    return "\n\n".join(map(overoptimisation_table, ("overoptimisation", "overoptimisation_models")))


def overoptimisation_table(name: str) -> str:
    """Where the gold reward peaks and ends when a proxy is optimised to the end."""
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


def estimators_table() -> str:
    """The exact relative bias of every estimator of the gradient on tasks of one answer, and its noise beside it."""
    measured = measurement("audit/audit.json")
    tasks = names()
    found = {(row["estimator"], row["task"]): row for row in measured["rows"] if row["task"] in tasks}
    lines = [f"| estimator | {' | '.join(f'`{task}`' for task in tasks)} |", "|---|" + "---:|" * len(tasks)]
    for estimator in dict.fromkeys(name for name, _ in found):
        cells = (_cell(found.get((estimator, task))) for task in tasks)
        lines.append(f"| {estimator} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{measured['command']}`, exact, jax {measured['versions']['jax']}."])


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["relative_bias"] is None:  # There is no gradient to be right about.
        return NONE
    return f"{bias_in_words(row['relative_bias'])} ({row['std']:.3g})"
