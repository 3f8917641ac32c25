"""A release: records packed into a directory that never changes, named by the hash of what is in it.

    records.jsonl   every record as it is, one a line, by track, method and task
    scores.csv      every number of every seed, one a line; its columns are described in README.md
    README.md       what it is, in numbers: methods, seeds, budgets, hardware, costs, commands
    CITATION.cff    how the software is cited
    MANIFEST.json   the SHA-256 of every other file; its own is the release's name

The same records give the same files, whenever and wherever they are packed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec

from seqrl_jax import __version__
from seqrl_jax.files import write_whole
from seqrl_jax.results.record import Record
from seqrl_jax.results.store import PACKED

MANIFEST = "MANIFEST.json"
COLUMNS = {
    "track": "the kind of table",
    "suite": "the table that the cell was run for",
    "task": "the task, with its settings",
    "method": "the method, with its settings",
    "marked_wrong": "1 where theory says that the method falls short here, else 0",
    "seed": "of the run",
    "metric": "what the value is of; the first of a track is its score",
    "value": "empty where the run failed",
    "standard_error": "of a value that was sampled; empty where it is exact or not known",
    "episodes": "sampled for the value; empty where it is exact",
}
"""Of scores.csv."""


class ReleaseError(ValueError):
    """A directory that is no release, or no longer the one that was made."""


@dataclass(frozen=True)
class Release:
    """A release as it was checked. name: SHA-256 of its manifest, in hexadecimal. records: how many."""

    name: str
    records: int
    created: str


def release(records: Sequence[Record], directory: Path) -> Release:
    """Write a release; the directory, which must not exist, appears whole or not at all.

    Raises: ReleaseError if there is nothing to release, or the directory exists; OSError.
    """
    if not records:
        raise ReleaseError("there are no records to release")
    if directory.exists():
        raise ReleaseError(f"{directory} exists, and a release never changes")
    ordered = sorted(records, key=lambda record: (record.track, record.method, record.task))
    files = {
        PACKED: _lines(msgspec.json.encode(record, order="deterministic") for record in ordered),
        "scores.csv": _csv(_scores(ordered)),
        "README.md": _about(ordered).encode(),
        "CITATION.cff": citation().encode(),
    }
    hashes = {name: {"sha256": _hash(content), "bytes": len(content)} for name, content in sorted(files.items())}
    manifest = {"records": len(ordered), "created": max(record.created for record in ordered), "files": hashes}
    files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    unfinished = directory.with_name(f".{directory.name}.{uuid4().hex}.tmp")
    unfinished.mkdir(parents=True)
    try:
        for name, content in files.items():
            write_whole(unfinished / name, content)
        os.rename(unfinished, directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return checked(directory)


def checked(directory: Path) -> Release:
    """The release in a directory, every file of which is what it was. Raises: ReleaseError naming the file that is
    not."""
    try:
        content = (directory / MANIFEST).read_bytes()
        manifest = json.loads(content)
        files: Mapping[str, Mapping[str, object]] = manifest["files"]
        release = Release(_hash(content), int(manifest["records"]), str(manifest["created"]))
    except OSError as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} is damaged") from error
    present = {path.name for path in directory.iterdir()} - {MANIFEST}
    if added := sorted(present - files.keys()):
        raise ReleaseError(f"{directory}: {added[0]} is not of this release")
    for name, said in files.items():
        if name not in present:
            raise ReleaseError(f"{directory}: {name} is missing")
        if _hash((directory / name).read_bytes()) != said["sha256"]:
            raise ReleaseError(f"{directory}: {name} is not what was released")
    return release


TITLE = "seqrl_jax: reinforcement learning with sequence models on tasks whose answer is known"
AUTHORS = "The seqrl_jax developers"


def citation() -> str:
    """CITATION.cff of this version of the software."""
    return "\n".join(
        [
            "cff-version: 1.2.0",
            'message: "If you use seqrl_jax, please cite it as below."',
            f'title: "{TITLE}"',
            "type: software",
            f"version: {__version__}",
            "license: Apache-2.0",
            "authors:",
            f'  - name: "{AUTHORS}"',
            "",
        ]
    )


def bibtex(release: Release) -> str:
    """The entry by which results are cited: of the software, with the release's name."""
    return (
        f"@misc{{seqrl_jax_{release.name[:8]},\n"
        f"  title = {{{{{TITLE}}}}},\n"
        f"  author = {{{{{AUTHORS}}}}},\n"
        f"  year = {{{release.created[:4]}}},\n"
        f"  version = {{{__version__}}},\n"
        f"  note = {{Results of {release.records:,} cells, release sha256:{release.name}}},\n"
        "}\n"
    )


def _scores(records: Iterable[Record]) -> Iterator[dict[str, object]]:
    for record in records:
        for metric, values in record.metrics.items():
            errors = record.standard_errors.get(metric, [None] * len(values))
            for seed, value, error, episodes in zip(record.seeds, values, errors, record.episodes, strict=True):
                yield {
                    "track": record.track,
                    "suite": record.suite,
                    "task": record.task,
                    "method": record.method,
                    "marked_wrong": int(record.marked_wrong),
                    "seed": seed,
                    "metric": metric,
                    "value": value,
                    "standard_error": error or None,
                    "episodes": episodes,
                }


def _about(records: Sequence[Record]) -> str:
    """What a reviewer asks for, from the records alone."""
    tracks = sorted({record.track for record in records})
    lines = [f"# {len(records):,} cells of {', '.join(tracks)}", "", "## Methods", ""]
    for track in tracks:
        lines.append(f"- {_paragraph([record for record in records if record.track == track])}")
    lines += ["", "## Commands", "", *sorted({f"    {record.command or 'unknown'}" for record in records})]
    lines += ["", "## Columns of scores.csv", "", *(f"- `{name}`: {about}" for name, about in COLUMNS.items()), ""]
    return "\n".join(lines)


def _paragraph(records: Sequence[Record]) -> str:
    """Of one track."""
    tasks, methods = ({getattr(record, name) for record in records} for name in ("task", "method"))
    seeds, steps = ({f(record) for record in records} for f in (lambda r: len(r.seeds), lambda r: r.steps_made))
    runs, failed = sum(len(record.seeds) for record in records), sum(record.failed for record in records)
    # Cells of one program share its time.
    hours = sum(sum(msgspec.structs.astuple(record.spent)) / record.cells for record in records) / 3600
    sampled = sum(any(record.episodes) for record in records)
    versions = {f"{name} {version}" for record in records for name, version in record.versions.items()}
    return (
        f"**{records[0].track}**: {len(methods)} methods on {len(tasks)} tasks, {_span(seeds)} seeds each "
        f"({runs:,} runs, {failed} failed), {_span(steps)} training steps a run; {sampled} of {len(records)} cells "
        f"judged by sampled episodes, the others exactly; {hours:.1f} hours of {'; '.join(_distinct(records))}; "
        f"{', '.join(sorted(versions))}; code {', '.join(sorted({record.commit or 'unknown' for record in records}))}."
    )


def _distinct(records: Sequence[Record]) -> list[str]:
    return sorted({record.device for record in records})


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _csv(rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _lines(parts: Iterable[bytes]) -> bytes:
    return b"".join(part + b"\n" for part in parts)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
