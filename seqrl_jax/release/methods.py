"""What a reviewer asks for, in words and numbers, from the records alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from seqrl_jax.figures import printable
from seqrl_jax.naming import base
from seqrl_jax.release.tables import TABLES
from seqrl_jax.report.sections import Section
from seqrl_jax.report.words import counted, duration, listed
from seqrl_jax.results.bootstrap import DRAWN, RESAMPLES
from seqrl_jax.results.coverage import coverage
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import reach


class Tuned(NamedTuple):
    """What settings were chosen by. methods: (track, method) of those that were swept. seeds: of the sweeps' runs; no
    record has one of them."""

    methods: Collection[tuple[str, str]]
    seeds: Collection[int]


NOTHING_TUNED = Tuned((), ())


def about(sections: Sequence[Section], tuned: Tuned = NOTHING_TUNED) -> str:
    """The page of a release, Markdown."""
    records = [record for section in sections for record in section.records]
    tracks = listed([section.track.name for section in sections])
    lines = [f"# {counted(len(records), 'cell')} of {tracks}", "", "## Methods", ""]
    for section in sections:
        lines += [f"**{section.track.name}.** {printable(paragraph(section, tuned))}", ""]
    fewer = f"fewer where more than {DRAWN // RESAMPLES} runs stand behind one"
    lines += [f"{coverage()} They are of {RESAMPLES:,} resamples, {fewer}.", ""]
    commands = sorted({printable(record.command or "unknown") for record in records})
    lines += ["## Commands", "", *(f"    {command}" for command in commands), ""]
    lines += [
        "## Tables",
        "",
        "`tables/` holds each as CSV and as Parquet; `dictionary.csv` says what a column is.",
        "",
    ]
    lines += [f"- `{table.name}`: a line is {table.about}" for table in TABLES]
    return "\n".join([*lines, ""])


def paragraph(section: Section, tuned: Tuned = NOTHING_TUNED) -> str:
    """How the numbers of one track came about."""
    records = section.records
    runs, failed = sum(len(record.seeds) for record in records), sum(record.failed for record in records)
    seeds = {seed for record in records for seed in record.seeds}
    sentences = [
        f"{counted(len(section.methods), 'method')} on {counted(len(section.tasks), 'task')}, "
        f"{_span({len(record.seeds) for record in records}, 'seed')} in each of {counted(len(records), 'cell')} "
        f"(seeds {_numbers(seeds)}; {counted(runs, 'run')}, {failed} failed)",
        _training(records),
        _choosing(section, tuned),
        _judging(section),
        _proofs(section),
        _costs(records),
        f"Versions: {listed(_versions(records))}; code: "
        f"{listed(sorted({record.commit or 'of an unknown commit' for record in records}))}",
    ]
    return ". ".join(filter(None, sentences)) + "."


def _training(records: Sequence[Record]) -> str:
    """What was learned from how much; where all settings stand."""
    trained = [record for record in records if record.steps_made]
    if not trained:
        return "Nothing was trained"
    methods = {record.method for record in trained}
    wrong = {record.method for record in records if record.marked_wrong}
    they_fall = "it falls" if len(wrong) == 1 else "they fall"
    marked = f". Theory says of {counted(len(wrong), 'method')} that {they_fall} short here" * bool(wrong)
    return (
        f"A run of the {counted(len(methods), 'method')} that train{'s' * (len(methods) == 1)} makes "
        f"{_span({record.steps_made for record in trained}, 'step')}, with the settings in the column config of the "
        f"table cells{marked}"
    )


def _choosing(section: Section, tuned: Tuned) -> str:
    """Which methods' settings were chosen by their scores on runs that are not here."""
    methods = {record.method for record in section.records if record.steps_made}
    swept = sorted(method for method in methods if (section.track.name, base(method)) in tuned.methods)
    if not swept:
        return "No sweep chose settings" if methods else ""
    others = len(methods) - len(swept)
    rest = f"; those of the other {counted(others, 'method')} were not swept" * bool(others)
    return (
        f"Settings that {listed(swept)} ship with were chosen by sweeps on the seeds {_numbers(tuned.seeds)}, of which "
        f"no run here is{rest}"
    )


def _judging(section: Section) -> str:
    """How the policies act that are judged, and how exactly they are."""
    records, score = section.records, section.track.columns[0].metric
    acting = Counter(record.policy for record in records)
    sampled = [record for record in records if any(record.episodes)]
    policies = listed([f"{policy} in {counted(count, 'cell')}" for policy, count in sorted(acting.items())])
    text = f"Judged policies are {policies}; the {score} is exact in {counted(len(records) - len(sampled), 'cell')}"
    if not sampled:
        return text
    episodes = {episodes for record in sampled for episodes in record.episodes if episodes}
    errors = [error for record in sampled for error in record.standard_errors.get(score, []) if error]
    typical = f", with a median standard error of {statistics.median(errors):.2g}" if errors else ""
    return f"{text} and a mean over {_span(episodes, 'episode')} for each seed in {len(sampled)}{typical}"


def _proofs(section: Section) -> str:
    """How much of what is stated of the tasks is proved to be exact."""
    tasks = [section.bounds(task) for task in section.tasks]
    values = [bound for bounds in tasks for bound in bounds.values()]
    if not values:
        return "Nothing is proved of the tasks"
    open_ = [
        (bound.upper - bound.lower) / reach(bounds)
        for bounds in tasks
        for bound in bounds.values()
        if not bound.is_exact
    ]
    are = "is" if len(values) == 1 else "are"
    text = f"Of the tasks {counted(len(values), 'value')} {are} proved, {len(values) - len(open_)} of them exactly"
    widest = f", the widest {max(open_, default=0):.1%} of what is proved of its task" if open_ else ""
    return f"{text} and {len(open_)} as intervals{widest}"


def _costs(records: Sequence[Record]) -> str:
    """Wall time by device; cells of one program share its time."""
    parts = []
    for device in sorted({record.device for record in records}):
        mine = [record for record in records if record.device == device]
        spent = {
            "compilation": sum(record.spent.compilation / record.cells for record in mine),
            "training": sum(record.spent.training / record.cells for record in mine),
            "evaluation": sum(record.spent.evaluation / record.cells for record in mine),
        }
        each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in spent.items())
        parts.append(f"{sum(spent.values()) / 3600:.2f} hours on {device} ({each})")
    return f"Wall time: {listed(parts)}"


def _versions(records: Iterable[Record]) -> list[str]:
    return sorted({f"{name} {version}" for record in records for name, version in record.versions.items()})


def _numbers(numbers: Collection[int]) -> str:
    """`0 to 9` where none between is missing, else each."""
    ordered = sorted(numbers)
    whole = ordered[-1] - ordered[0] + 1 == len(ordered) > 2
    return f"{ordered[0]} to {ordered[-1]}" if whole else listed(list(map(str, ordered)))


def _span(numbers: Collection[int], what: str) -> str:
    """`1 seed`, `5 to 10 seeds`."""
    low, high = min(numbers), max(numbers)
    return counted(low, what) if low == high else f"{low:,} to {high:,} {what}s"
