"""What the page of a table shows: aggregates over its tasks, and where its numbers come from."""

from __future__ import annotations

import json
from typing import Any

from seqrl_jax.report import words
from seqrl_jax.report.overall import STATISTICS, Overall, improvement
from seqrl_jax.report.sections import mixtures, warnings
from seqrl_jax.report.site.drawings import costs, profiles, sample_efficiency, sizes
from seqrl_jax.report.site.links import Links
from seqrl_jax.report.site.matrices import matrices
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.report.table import SCALED_WHERE, without_scale
from seqrl_jax.results.statistics import Estimate

BAR_LIMITS = (-0.5, 1.5)
COMPARED = 8
"""Methods that are compared in pairs, those with the best interquartile means."""


def table_context(sheet: Sheet, where: Links) -> dict[str, Any]:
    """What the template shows of a sheet. Text is escaped there."""
    section = sheet.section
    track, total = section.track, sheet.overall
    return {
        "sheet": sheet,
        "track": track,
        "size": [words.counted(len(section.tasks), "task"), words.counted(len(section.methods), "agent")],
        "seeds": words.number_range([len(record.seeds) for record in section.records]),
        "suites": sorted({record.suite for record in section.records}),
        "errors": sheet.errors,
        "warnings": [*mixtures(section), *warnings(section)],
        "notes": track.notes(section.records),
        "scaled_where": [SCALED_WHERE, *without_scale(section)] if track.scales else [],
        "overall": [_overall_row(row, where) for row in total],
        "most_tasks": max((row.tasks for row in total), default=0),
        "profile": profiles(sheet),
        "sample_efficiency": sample_efficiency(sheet),
        "costs": costs(sheet),
        "sizes": sizes(sheet),
        "improvement": _improvement(sheet, where),
        "matrices": matrices(sheet, where),
        "tasks": [(task, where.tasks[track.name, task]) for task in section.tasks],
        "pictures": track.pictures(section.records),
        "provenance": _provenance(sheet, where),
    }


def position(value: float) -> float:
    """Where a score lies on the bar, in percent; what is outside sticks to the edge."""
    low, high = BAR_LIMITS
    return round(100 * (max(low, min(value, high)) - low) / (high - low), 1)


def _overall_row(row: Overall, where: Links) -> dict[str, Any]:
    middle = row.statistics["IQM"]
    low, high = middle.ends
    return {
        "row": row,
        "href": where.agents.get((row.track, row.method)) if row.kind == "agent" else None,
        "worst_href": where.tasks[row.track, row.worst_task],
        "statistics": [row.statistics[statistic] for statistic in STATISTICS],
        "bar": {"low": position(low), "length": position(high) - position(low), "middle": position(middle.value)},
        "policy": words.listed(row.policies) or words.NONE,
    }


def _improvement(sheet: Sheet, where: Links) -> dict[str, Any] | None:
    """How likely a run of the method of each row scores higher than one of that of each column."""
    best = [row for row in sheet.overall if row.kind == "agent"][:COMPARED]
    if len(best) < 2:
        return None
    track, chance = sheet.section.track.name, {}
    for index, one in enumerate(best):
        for other in best[index + 1 :]:
            if found := improvement(sheet.section, one.method, other.method):
                chance[one.method, other.method] = found.probability
                chance[other.method, one.method] = _complement(found.probability)
    return {
        "columns": [row.label for row in best],
        "rows": [
            {
                "label": row.label,
                "href": where.agents[track, row.method],
                "entries": [chance.get((row.method, column.method)) for column in best],
            }
            for row in best
        ],
        "all": len(best) == sum(row.kind == "agent" for row in sheet.overall),
    }


def _complement(chance: Estimate) -> Estimate:
    """Of a probability: that of the opposite."""
    low, high = (None if end is None else 1 - end for end in (chance.high, chance.low))
    return Estimate(1 - chance.value, low, high)


def _provenance(sheet: Sheet, where: Links) -> dict[str, Any]:
    """Where the numbers come from. A compiled program is shared by `cells` cells, each of which carries its times."""
    section = sheet.section
    return {
        "methods": [
            {
                "label": words.name(method, any(record.marked_wrong for record in group)),
                "href": where.agents[section.track.name, method],
                "policy": words.listed(sorted({record.policy for record in group})),
                "cells": len(group),
                "compilation": sum(record.spent.compilation / record.cells for record in group),
                "training": sum(record.spent.training / record.cells for record in group),
                "evaluation": sum(record.spent.evaluation / record.cells for record in group),
                "steps": words.listed(sorted({f"{record.steps_made:,} of {record.steps_asked:,}" for record in group})),
            }
            for method, group in section.methods.items()
        ],
        "commands": sorted({record.command for record in section.records if record.command}) or ["unknown"],
        "devices": sorted({record.device for record in section.records}),
        "commits": sorted({record.commit or "unknown" for record in section.records}),
        "versions": sorted({f"{name} {number}" for r in section.records for name, number in r.versions.items()}),
    }


def configurations(sheet: Sheet, method: str) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """(tasks, [(setting, value)]) for each configuration that a method had."""
    found: dict[str, list[str]] = {}
    for record in sheet.section.methods[method]:
        found.setdefault(json.dumps(record.config, sort_keys=True), []).append(record.task)
    flat = lambda config: [
        (key, value if isinstance(value, str) else json.dumps(value)) for key, value in json.loads(config).items()
    ]
    return [(tasks, flat(config)) for config, tasks in found.items()]
