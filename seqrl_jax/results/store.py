"""Records on disk: one JSON file for each cell of a table, in one directory.

Files are written whole or not at all. A file that cannot be trusted is named and skipped, so that its cell runs again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from seqrl_jax.figures import printable
from seqrl_jax.files import why_no_directory, write_whole
from seqrl_jax.garbage import uncollected
from seqrl_jax.results.encoding import from_json, from_line, to_json, to_line
from seqrl_jax.results.manifest import PACKED, refuse_changed
from seqrl_jax.results.record import Record, RecordError

CELL = re.compile(r".*--.*--[0-9a-f]{16}\.json")
"""The name of a cell's file."""
SLUG_LENGTH = 60
REASON_LENGTH = 300
Directory = str | os.PathLike[str]


def file_name(track: str, method: str, task: str) -> str:
    """The name of a cell's file: readable, and distinct for distinct cells on every file system.

    The digest keeps apart what the readable part cannot: tracks, upper and lower case, escaped and cut names.
    """
    digest = hashlib.sha256(json.dumps([track, method, task]).encode()).hexdigest()[:16]
    return f"{_slug(method)}--{_slug(task)}--{digest}.json"


def path_of(directory: Directory, record: Record) -> Path:
    """Where a record is kept in `directory`."""
    return Path(directory) / file_name(record.track, record.method, record.task)


def write(directory: Directory, record: Record) -> Path:
    """Write a record so that a crash at any moment leaves the old file or the new one, and return its path.

    The directory is made if it is missing. Raises: RecordError, naming the field, if the record could not be read
    again; OSError.
    """
    content = to_json(record)
    path = path_of(directory, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return path


def read(directory: Directory) -> tuple[list[Record], list[str]]:
    """Every record in the `*.json` files of a directory, in the order of their names; those of a release.

    Directories in it and files whose names begin with a dot are passed over.

    Returns: (records, damage), where damage holds one line, `file name: reason`, for each file or line skipped:
    damaged, foreign, under a name that is another cell's, impossible, of a newer version.
    Raises: RecordError if there is no such directory; ReleaseError for a release that is not what was released.
    """
    refuse_changed(Path(directory))
    return read_as_it_is(directory)


def read_as_it_is(directory: Directory) -> tuple[list[Record], list[str]]:
    """The same, also of a release that was changed. Raises: RecordError."""
    directory = Path(directory)
    with uncollected():
        packed = (directory / PACKED).is_file()
        return _read_packed(directory / PACKED) if packed else _read_files(_files(directory))


def read_file(path: Directory) -> Record:
    """The record in one file. Raises: RecordError in one line, which does not name the file."""
    path = Path(path)
    try:
        if not path.is_file():
            raise RecordError("not a file" if path.exists() else "there is no such file")
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})") from error
    record = from_json(content)
    name = file_name(record.track, record.method, record.task)
    if path.name != name:
        raise RecordError(f"a copy: {record.method} on {record.task} belongs in {name}")
    return record


def content_of(directory: Directory, record: Record) -> bytes:
    """What `read` found a record in: its file, or its line of a release without the end. Raises: OSError."""
    packed = (Path(directory) / PACKED).is_file()
    return to_line(record) if packed else path_of(directory, record).read_bytes()


def _read_files(paths: Sequence[Path]) -> tuple[list[Record], list[str]]:
    records, damage = [], []
    for path in paths:
        try:
            records.append(read_file(path))
        except RecordError as error:
            damage.append(_line(f"{path.name}: {error}"))
    return records, damage


def _read_packed(path: Path) -> tuple[list[Record], list[str]]:
    records, damage, places = list[Record](), list[str](), dict[tuple[str, str, str], int]()
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordError(_line(f"no results: {path} cannot be read ({error.strerror})")) from error
    for number, content in enumerate(lines, 1):
        try:
            record = from_line(content)
            cell = (record.track, record.method, record.task)
            if cell in places:
                raise RecordError(f"{record.method} on {record.task} stands in line {places[cell]} already")
            places[cell] = number
            records.append(record)
        except RecordError as error:
            damage.append(_line(f"{path.name}, line {number}: {error}"))
    beside = [file.name for file in _files(path.parent) if CELL.fullmatch(file.name)]
    return records, damage + [_line(f"{name}: not read beside {path.name}") for name in beside]


def _files(directory: Path) -> list[Path]:
    try:
        if wrong := why_no_directory(directory):
            raise RecordError(_line(f"no results: {directory} {wrong}"))
        names = [name for name in sorted(os.listdir(directory)) if name.endswith(".json") and not name.startswith(".")]
        return [directory / name for name in names if not (directory / name).is_dir()]
    except OSError as error:
        raise RecordError(_line(f"no results: {directory} cannot be read ({error.strerror})")) from error


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=]+", "_", spec)[:SLUG_LENGTH].lstrip(".") or "_"


def _line(text: str) -> str:
    """Text of any origin as one line of bounded length."""
    line = printable(text)
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 3] + "..."
