"""Records put in order: one section for each track, and within it tasks and methods in the track's own order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from seqrl_jax import naming
from seqrl_jax.report.words import counted, listed
from seqrl_jax.results.record import LARGEST, Bound, Record
from seqrl_jax.results.scores import counted_between, scale_ends
from seqrl_jax.tracks.base import Track

ENTRIES = 5000
"""The most of a table that people read; more are for programs, and for what sorts and filters them."""


@dataclass(frozen=True)
class Section:
    """What was recorded of one track, in the order of its registries; what they do not know comes last."""

    track: Track
    records: tuple[Record, ...]

    @cached_property
    def tasks(self) -> dict[str, list[Record]]:
        """The records of each task."""
        tasks: dict[str, list[Record]] = {}
        for record in self.records:
            tasks.setdefault(record.task, []).append(record)
        return tasks

    @cached_property
    def methods(self) -> dict[str, list[Record]]:
        """The records of each method."""
        methods: dict[str, list[Record]] = {}
        for record in self.records:
            methods.setdefault(record.method, []).append(record)
        return {method: methods[method] for method in sorted(methods, key=_place_in(self.track.methods))}

    @cached_property
    def proved(self) -> list[str]:
        """The names of what is proved about any task, in the track's order."""
        names = {name for task in self.tasks for name in self.bounds(task)}
        return [name for name in self.track.bounds if name in names]

    @property
    def fits_a_table(self) -> bool:
        """Whether a table of its tasks across its methods is one that anybody reads."""
        return len(self.tasks) * len(self.methods) <= ENTRIES

    def bounds(self, task: str) -> Mapping[str, Bound]:
        """What is proved about a task, in the track's order, by the record made last."""
        return self._bounds[task]

    @cached_property
    def samples(self) -> dict[str, dict[str, list[float]]]:
        """Method -> task -> the scores of its seeds on the track's first scale, failed ones counted, where that is
        defined; nothing of methods without any."""
        samples: dict[str, dict[str, list[float]]] = {}
        metric, scale = self.track.columns[0].metric, self.first_scale
        for record in self.records if scale else ():
            on = scale.get(record.task)
            if on and (scores := counted_between(record, metric, *on)):
                samples.setdefault(record.method, {})[record.task] = scores
        return samples

    @cached_property
    def first_scale(self) -> dict[str, tuple[Bound, tuple[float, float]]]:
        """Task -> what is 0 on the track's first scale, and the ends of that scale (see `scale_ends`), of those tasks
        where it is defined."""
        found: dict[str, tuple[Bound, tuple[float, float]]] = {}
        for scale in self.track.scales[:1]:
            for task in self.tasks:
                bounds = self.bounds(task)
                if ends := scale_ends(bounds, scale.zero, scale.one):
                    found[task] = bounds[scale.zero], ends
        return found

    @cached_property
    def newest(self) -> dict[str, Record]:
        """The record of each task that was made last."""
        return {task: newest(records) for task, records in self.tasks.items()}

    @cached_property
    def _bounds(self) -> dict[str, dict[str, Bound]]:
        names, proved = list(self.track.bounds), {task: record.bounds for task, record in self.newest.items()}
        return {task: {name: bounds[name] for name in names if name in bounds} for task, bounds in proved.items()}


def sections(records: Iterable[Record], tracks: Mapping[str, Track]) -> tuple[list[Section], list[str]]:
    """The sections of records, in the order of the tracks.

    Returns: (sections, a sentence about each record that cannot be shown, and about those of each track that is not
    known).
    """
    by_track: dict[str, list[Record]] = {}
    for record in records:
        by_track.setdefault(record.track, []).append(record)
    present, skipped = [], []
    for name, track in tracks.items():
        shown, score = [], track.columns[0].metric
        for record in by_track.get(name, []):
            if why := _why_skipped(record, score):
                skipped.append(f"{record.method} on {record.task}: {why}")
            else:
                shown.append(record)
        if shown:
            present.append(Section(track, in_order(shown, track)))
    skipped += [
        f"{counted(len(group), 'record')} of the track {name!r}, which is unknown here (known: {listed(list(tracks))})"
        for name, group in by_track.items()
        if name not in tracks
    ]
    return present, skipped


def _why_skipped(record: Record, score: str) -> str | None:
    """Why nothing can be computed of a record, if that is so. score: the metric that is its track's."""
    if score not in record.metrics:
        return f"no {score}, which is the score of the track {record.track}"
    if record.largest > LARGEST:
        return f"a number of the magnitude {record.largest:.2g}, and of those beyond {LARGEST:g} nothing is computed"
    return None


def in_order(records: Iterable[Record], track: Track) -> tuple[Record, ...]:
    """Tasks, then methods, in the order of the track's registries; what is not in them comes last, by name."""
    task, method = functools.cache(_place_in(track.tasks)), functools.cache(_place_in(track.methods))
    return tuple(sorted(records, key=lambda record: (task(record.task), method(record.method))))


def newest(records: Sequence[Record]) -> Record:
    """The record made last."""
    return max(records, key=lambda record: record.time)


def warnings(section: Section) -> list[str]:
    """What the records warn of, and why seeds of theirs failed, a line each."""
    lines = []
    for record in section.records:
        where = f"{record.method} on {record.task}"
        lines += [f"{where}, {text}" for text in record.warnings]
        seeds: dict[str, list[str]] = {}
        for seed, why in record.failures.items():
            seeds.setdefault(why, []).append(seed)
        for why, failed in seeds.items():
            share = f"{len(failed)} of {counted(len(record.seeds), 'seed')} failed"
            lines.append(f"{where}, {share} ({', '.join(failed)}): {why}")
    return lines


def mixtures(section: Section) -> list[str]:
    """What was not made by one version of everything: code by method, packages by suite.

    A fingerprint is of a task's own code, too, so it says something between cells whose tasks are of the same modules.
    """
    lines = []
    task_code = functools.cache(lambda task: tuple(section.track.task_code(task)))
    for method, records in section.methods.items():
        versions: dict[tuple[str, ...], set[str | None]] = {}
        for record in records:
            versions.setdefault(task_code(record.task), set()).add(record.code_fingerprint)
        if any(len(of_modules) > 1 for of_modules in versions.values()):
            lines.append(f"mixes versions: the code of {method} changed between its cells")
    for suite, records in _by_suite(section.records).items():
        for package in sorted({name for record in records for name in record.versions}):
            of_suite = {record.versions.get(package, "unknown") for record in records}
            if len(of_suite) > 1:
                lines.append(f"mixes versions: suite {suite} was run with {package} {listed(sorted(of_suite))}")
    return lines


def changed_tasks(section: Section) -> list[str]:
    """A sentence for each task that is not what it was when some of its cells were made."""
    lines = []
    for task, records in section.tasks.items():
        fingerprint = section.newest[task].task_fingerprint
        if old := [record.method for record in records if record.task_fingerprint != fingerprint]:
            lines.append(f"{task} has changed since these ran on it: {listed(old)}; run them again")
    return lines


def _place_in(registry: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """What names are sorted by."""
    places = {name: place for place, name in enumerate(registry)}
    return lambda spec: (places.get(naming.base(spec), len(places)), spec)


def _by_suite(records: Sequence[Record]) -> dict[str, list[Record]]:
    suites: dict[str, list[Record]] = {}
    for record in records:
        suites.setdefault(record.suite, []).append(record)
    return suites
