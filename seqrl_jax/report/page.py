"""A page about records, with pictures, that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup, escape

from seqrl_jax import __version__
from seqrl_jax.figures import printable
from seqrl_jax.files import write_whole
from seqrl_jax.report import words
from seqrl_jax.report.overall import STATISTICS, Overall, overall, profile
from seqrl_jax.report.pictures import (
    Panel,
    Style,
    all_pictures,
    panel_picture,
    panels,
    profile_picture,
    styles,
)
from seqrl_jax.report.sections import Section, mixtures, warnings
from seqrl_jax.report.table import SCALED_WHERE, Row, errors, rows, without_scale
from seqrl_jax.results.coverage import coverage
from seqrl_jax.results.record import Record
from seqrl_jax.tracks.base import Scale

BAR_LIMITS = (-0.5, 1.5)
PROFILE_THRESHOLDS = [share / 50 for share in range(51)]
PAGE, PICTURE = "report.html", "curves.png"


def write_page(
    sections: Sequence[Section],
    directory: str | os.PathLike[str],
    skipped: Sequence[str] = (),
    command: str | None = None,
    keep_current: bool = False,
) -> Path:
    """Write `report.html`, which loads nothing else, and where there are learning curves `curves.png` beside it.

    Args:
        skipped: a line for each file or track that is not shown. command: the command line, as the page's origin.
        keep_current: leave a page alone that this version has made of the same records, for drawing takes seconds.
    Returns: the path of the page. The directory is made if it is missing.
    """
    from jinja2 import Environment, PackageLoader

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    mark = _mark(sections, skipped)
    if keep_current and _holds(directory / PAGE, mark):
        return directory / PAGE
    environment = Environment(
        loader=PackageLoader("seqrl_jax", "report/templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(two=words.two, duration=words.duration, shown=printable, breakable=_breakable)
    records = [record for section in sections for record in section.records]
    method_styles = styles(records)
    html = environment.get_template(PAGE).render(
        sections=[_section(section, method_styles) for section in sections],
        suites=sorted({record.suite for record in records}),
        created=sorted(record.created for record in records),
        mark=mark,
        skipped=skipped,
        command=command,
        dash=words.NONE,
        two=words.two,
        figures=words.figures,
        wrong=words.WRONG,
        coverage=coverage(),
        statistics=STATISTICS,
        marks={"zero": _position(0.0), "one": _position(1.0)},
    )
    curves = [panel for section in sections for task in section.tasks for panel in _panels(section, task)]
    if curves:
        wrong = {record.method for record in records if record.marked_wrong}
        write_whole(directory / PICTURE, all_pictures(curves, method_styles, wrong))
    write_whole(directory / PAGE, html.encode())
    return directory / PAGE


def _breakable(text: str) -> Markup:
    """Text that a line may break after an underscore, escaped."""
    return Markup(str(escape(printable(text))).replace("_", "_<wbr>"))


def _mark(sections: Sequence[Section], skipped: Sequence[str]) -> str:
    """What a page is made of, as a digest."""
    shown = [__version__, skipped, [record for section in sections for record in section.records]]
    return hashlib.sha256(msgspec.json.encode(shown)).hexdigest()


def _holds(page: Path, mark: str) -> bool:
    """Whether a page is there and says that it was made of this."""
    try:
        with open(page, encoding="utf-8") as file:
            return f'content="{mark}"' in file.read(1000)
    except (OSError, ValueError):
        return False


def _section(section: Section, method_styles: Mapping[str, Style]) -> dict[str, Any]:
    """What the template shows of one track. Text is escaped there, numbers are formatted by its filters."""
    track, table, total = section.track, rows(section), overall(section)
    return {
        "name": track.name,
        "about": track.about,
        "tasks": [_task(section, task, table, method_styles) for task in section.tasks],
        "size": [words.counted(len(section.tasks), "task"), words.counted(len(section.methods), "method")],
        "seeds": words.number_range([len(record.seeds) for record in section.records]),
        "errors": errors(section),
        "warnings": [*mixtures(section), *warnings(section)],
        "notes": track.notes(section.records),
        "scales": track.scales,
        "scaled_where": [SCALED_WHERE, *without_scale(section)],
        "columns": track.columns,
        "overall": [_overall_row(row) for row in total],
        "most_tasks": max((row.tasks for row in total), default=0),
        "profile": _profile(section, total, method_styles),
        "matrix": _matrix(section, table, total, track.scales[0]) if total else None,
        "pictures": [
            {"title": picture.title, "about": picture.about, "png": _inline(picture.png)}
            for picture in track.pictures(section.records)
        ],
        "provenance": _provenance(section),
    }


def _overall_row(row: Overall) -> dict[str, Any]:
    middle = row.statistics["IQM"]
    low, high = (middle.value if end is None else end for end in (middle.low, middle.high))
    return {
        "kind": row.kind,
        "label": row.label,
        "statistics": [row.statistics[statistic] for statistic in STATISTICS],
        "bar": {
            "low": _position(low),
            "length": _position(high) - _position(low),
            "middle": _position(middle.value),
        },
        "worst_task": row.worst_task,
        "worst_score": row.worst_score,
        "policy": words.listed(row.policies) or words.NONE,
        "tasks": row.tasks,
        "seeds": row.seeds,
        "failed": row.failed,
    }


def _profile(section: Section, total: Sequence[Overall], method_styles: Mapping[str, Style]) -> dict[str, str] | None:
    """The picture of performance profiles, where any method has a score on the track's first scale."""
    methods = [row for row in total if row.kind == "agent"]
    if not methods:
        return None
    profiles = {row.method: profile(section, row, PROFILE_THRESHOLDS) for row in methods}
    wrong = {row.method for row in methods if row.marked_wrong}
    scale = section.track.scales[0].name
    picture = profile_picture(profiles, PROFILE_THRESHOLDS, f"{scale} score", method_styles, wrong)
    return {"scale": scale, "png": _inline(picture)}


def _matrix(section: Section, table: Sequence[Row], total: Sequence[Overall], scale: Scale) -> dict[str, Any]:
    by_name = {
        (row.task, row.kind, row.method): row
        for row in table
        if scale.name in row.scales or (row.certified and row.failed_wholly)
    }
    tasks = [task for task in section.tasks if any(key[0] == task for key in by_name)]
    return {
        "title": f"{scale.name.capitalize()} score by task",
        "about": scale.about,
        "tasks": tasks,
        "rows": [
            {
                "label": row.label,
                "kind": row.kind,
                "entries": [_matrix_entry(by_name.get((task, row.kind, row.method)), scale) for task in tasks],
            }
            for row in total
        ],
    }


def _matrix_entry(row: Row | None, scale: Scale) -> dict[str, Any]:
    if row is None or row.failed_wholly:
        return {"text": "failed" if row else "", "good": 0.0, "bad": 0.0}
    score = row.scales[scale.name].value
    shade = max(-1.0, min(score.value, 1.0))
    text = words.with_failures(words.two(score.value) + ("" if row.exact else "~"), row.failed, row.seeds)
    return {"text": text, "good": max(shade, 0.0), "bad": max(-shade, 0.0)}


def _task(section: Section, task: str, table: Sequence[Row], method_styles: Mapping[str, Style]) -> dict[str, Any]:
    track, bounds, records = section.track, section.bounds(task), section.tasks[task]
    mine, drawn = [row for row in table if row.task == task], _panels(section, task)
    with_curves = {method: method_styles[method] for panel in drawn for method in panel.curves}
    return {
        "name": task,
        "certified": any(row.certified for row in mine),
        "pictures": [
            {"y": panel.y, "x": panel.x, "png": _inline(panel_picture(panel, method_styles))} for panel in drawn
        ],
        "rows": [_task_row(section, row, with_curves) for row in mine],
        "bounds": [
            {"name": words.bound(name), "about": track.bounds.get(name, ""), "bound": bound}
            for name, bound in bounds.items()
        ],
        "episodes": _episodes(records),
        "fingerprint": records[-1].task_fingerprint,
    }


def _task_row(section: Section, row: Row, method_styles: Mapping[str, Style]) -> dict[str, Any]:
    """One line of a task's table: its score, its scores between bounds, and its other columns."""
    _, *others = section.track.columns
    scales = [row.scales.get(scale.name) for scale in section.track.scales]
    return {
        "kind": row.kind,
        "exact": row.exact,
        "label": row.label,
        "style": method_styles.get(row.method) if row.kind == "agent" else None,
        "score": row.score,
        "scales": scales,
        "metrics": [row.metrics.get(column.metric) for column in others],
        "seeds": row.seeds,
        "failed": row.failed,
    }


def _panels(section: Section, task: str) -> list[Panel]:
    score = section.track.columns[0]
    return panels(section.tasks[task], score.metric, words.with_unit(score.label, score.unit), section.bounds(task))


def _episodes(records: Sequence[Record]) -> list[str]:
    """How the scores of a task were found, in words."""
    numbers = sorted({count for record in records for count in record.episodes if count is not None})
    exact = any(count is None for record in records for count in record.episodes)
    return [*(["exact"] if exact else []), *(words.counted(number, "episode") for number in numbers)]


def _provenance(section: Section) -> dict[str, Any]:
    """Where the numbers come from. A compiled program is shared by `cells` cells, each of which carries its times."""
    records = section.records
    return {
        "methods": [
            {
                "label": words.name(method, any(record.marked_wrong for record in group)),
                "policy": words.listed(sorted({record.policy for record in group})),
                "cells": len(group),
                "compilation": sum(record.spent.compilation / record.cells for record in group),
                "training": sum(record.spent.training / record.cells for record in group),
                "evaluation": sum(record.spent.evaluation / record.cells for record in group),
                "steps": words.listed(sorted({f"{record.steps_made:,} of {record.steps_asked:,}" for record in group})),
                "configs": sorted({json.dumps(record.config, indent=2, sort_keys=True) for record in group}),
            }
            for method, group in section.methods.items()
        ],
        "commands": sorted({record.command for record in records if record.command}) or ["unknown"],
        "devices": sorted({record.device for record in records}),
        "commits": sorted({record.commit or "unknown" for record in records}),
        "versions": sorted({f"{name} {version}" for record in records for name, version in record.versions.items()}),
    }


def _position(value: float) -> float:
    """Where a score lies on the bar, in percent; what is outside sticks to the edge."""
    low, high = BAR_LIMITS
    return 100 * (max(low, min(value, high)) - low) / (high - low)


def _inline(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
