"""What is wrong with a directory of results, and what a reader of it should know: every check that needs no new run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seqrl_jax.naming import base
from seqrl_jax.report import table, words
from seqrl_jax.report.sections import Section, mixtures, warnings
from seqrl_jax.results.code import fingerprint
from seqrl_jax.results.record import Record
from seqrl_jax.tracks.base import Suite

MOST_TASKS = 32
"""Of a track, that are made anew to be compared: the first in its order. The largest suite has half as many."""


@dataclass(frozen=True)
class Finding:
    """An `error` makes results wrong; a `warning` is something that whoever reads them should know.

    check: which one: files, bounds, seeds, cells, tasks, code, versions, runs. text: a sentence.
    """

    kind: Literal["error", "warning"]
    check: str
    text: str


def findings(
    sections: Sequence[Section], skipped: Sequence[str], suites: Mapping[str, Suite], tuning_seeds: Collection[int]
) -> list[Finding]:
    """Of all records, errors first. That there are none is an error, too: what is to be trusted is not there.

    Args: skipped: a line for each file or record that could not be used. suites: which cells a table should have.
        tuning_seeds: of the runs by which settings were chosen.
    """
    nothing = [] if sections or skipped else ["there are no records"]
    found = [Finding("error", "files", line) for line in [*skipped, *nothing]]
    for section in sections:
        bounds = [*table.errors(section), *_apart(section), *_out_of_order(section)]
        seeds = [*_tuned_on(section.records, tuning_seeds), *_unexplained(section)]
        found += [Finding("error", "bounds", line) for line in bounds]
        found += [Finding("error", "seeds", line) for line in seeds]
        found += [Finding("warning", "cells", line) for line in _missing(section, suites)]
        found += [Finding("warning", "tasks", line) for line in _other_tasks(section, suites)]
        found += [Finding("warning", "code", line) for line in _other_code(section)]
        found += [Finding("warning", "versions", line) for line in mixtures(section)]
        found += [Finding("warning", "runs", line) for line in [*_unlike(section), *warnings(section)]]
    return sorted(found, key=lambda finding: finding.kind != "error")


def _apart(section: Section) -> Iterator[str]:
    """Of two certified intervals of one value that do not meet, one is wrong; the two that lie furthest apart."""
    for task, records in section.tasks.items():
        values: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            for name in record.bounds:
                values.setdefault((record.task_fingerprint, name), []).append(record)
        for (_, name), alike in values.items():
            below = min(alike, key=lambda record: record.bounds[name].upper)
            above = max(alike, key=lambda record: record.bounds[name].lower)
            if not below.bounds[name].meets(above.bounds[name]):
                first, second = sorted((below, above), key=alike.index)
                one, other = first.bounds[name], second.bounds[name]
                yield (
                    f"{task}: {words.bound(name)} is in [{one.lower:.8g}, {one.upper:.8g}] by the record of "
                    f"{first.method}, in [{other.lower:.8g}, {other.upper:.8g}] by that of {second.method}"
                )
                break


def _out_of_order(section: Section) -> Iterator[str]:
    """Certified values that cannot be: of another name than the track proves, or the top of a scale below its foot."""
    known = section.track.bounds
    for task, records in section.tasks.items():
        if foreign := sorted({name for record in records for name in record.bounds} - set(known)):
            yield f"{task}: the track {section.track.name} proves nothing that is called {words.listed(foreign)}"
        bounds = section.bounds(task)
        for scale in section.track.scales:
            if scale.zero not in bounds or scale.one not in bounds:
                continue
            zero, one = bounds[scale.zero], bounds[scale.one]
            if one.upper < zero.lower and not one.meets(zero):
                yield (
                    f"{task}: {words.bound(scale.one)} is at most {one.upper:.8g}, and "
                    f"{words.bound(scale.zero)}, which it cannot fall below, at least {zero.lower:.8g}"
                )


def _unexplained(section: Section) -> Iterator[str]:
    """Seeds without a score that nothing says have failed: they would be left out of every mean."""
    metric = section.track.columns[0].metric
    for record in section.records:
        pairs = zip(record.seeds, record.metrics.get(metric, []))
        lost = [str(seed) for seed, value in pairs if value is None and str(seed) not in record.failures]
        if lost:
            yield f"{record.method} on {record.task}: no {metric} and no failure of seed {words.listed(lost)}"


def _tuned_on(records: Sequence[Record], tuning_seeds: Collection[int]) -> Iterator[str]:
    """Scores of the runs that settings were chosen by are not of fresh runs."""
    chosen_on = frozenset(tuning_seeds)
    for record in records:
        if reused := sorted(chosen_on.intersection(record.seeds)):
            seeds = words.listed(list(map(str, reused)))
            yield f"{record.method} on {record.task} reports seeds that settings were chosen on: {seeds}"


def _missing(section: Section, suites: Mapping[str, Suite]) -> Iterator[str]:
    made = {(record.method, record.task) for record in section.records}
    for name in sorted({record.suite for record in section.records} & suites.keys()):
        suite = suites[name]
        if suite.track != section.track.name:
            continue
        lacking = [(method, task) for method in suite.methods for task in suite.tasks if (method, task) not in made]
        if lacking:
            method, task = lacking[0]
            whole = len(suite.methods) * len(suite.tasks)
            yield f"suite {name}: {len(lacking)} of {words.counted(whole, 'cell')} missing, first {method} on {task}"


def _other_tasks(section: Section, suites: Mapping[str, Suite]) -> Iterator[str]:
    """Cells on tasks that are not what is installed by their names.

    Only the package's own tasks are made for it: that a record names a file or a function is no reason to read or to
    call it.
    """
    own = {task for suite in suites.values() for task in suite.tasks} | section.track.tasks.keys()
    named = [task for task in section.tasks if task in own or base(task) in own]
    for task in named[:MOST_TASKS]:
        try:
            installed = section.track.fingerprint(task)
        except ValueError as error:
            yield f"{task} is not known here: {error}"
            continue
        records = section.tasks[task]
        if other := sum(record.task_fingerprint != installed for record in records):
            cells = f"{other} of {words.counted(len(records), 'cell')}"
            yield f"{task} is another task than is installed by this name in {cells}"


def _other_code(section: Section) -> Iterator[str]:
    """Cells that this version of the code would not make as they are, for all that is known."""
    cells, methods = 0, []
    for method, records in section.methods.items():
        try:
            code = section.track.code(method)
        except ValueError as error:
            yield f"{method} is not known here: {error}"
            continue
        if other := sum(not _is_of(record, [*code, *section.track.task_code(record.task)]) for record in records):
            cells += other
            methods.append(method)
    if methods:
        made = f"{cells} of {words.counted(len(section.records), 'cell')} made by other code than is installed"
        yield f"{section.track.name}: {made}, of {words.listed(methods)}"


def _is_of(record: Record, modules: Sequence[str]) -> bool:
    """Whether these modules, as they are here, made a record; not where one of them is not here."""
    try:
        return record.code_fingerprint == fingerprint(modules)
    except ValueError:
        return False


def _unlike(section: Section) -> Iterator[str]:
    """What makes the rows of one suite hard to compare: other seeds, or other budgets."""
    suites: dict[str, list[Record]] = {}
    for record in section.records:
        suites.setdefault(record.suite, []).append(record)
    for name, records in suites.items():
        counts = {len(record.seeds) for record in records}
        if len(counts) > 1:
            yield f"suite {name}: cells of {words.number_range(list(counts))} seeds"
        elif len({frozenset(record.seeds) for record in records}) > 1:
            yield f"suite {name}: cells of as many seeds, which are not the same"
        trained = {record.steps_asked for record in records if record.steps_made}
        if len(trained) > 1:
            yield f"suite {name}: runs of {words.number_range(list(trained))} steps"
