"""A directory that never changes, named by the hash of what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated
from uuid import uuid4

import msgspec

from seqrl_jax.files import write_whole
from seqrl_jax.results.record import time_of
from seqrl_jax.results.store import PACKED

MANIFEST = "MANIFEST.json"
Files = Mapping[str, bytes]
"""Path within the directory, with `/` between its parts -> content."""


Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, msgspec.Meta(ge=0)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Names = Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(min_length=1)]


class ReleaseError(ValueError):
    """A directory that is no release, or no longer the one that was made."""


class Hashed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a file."""

    sha256: Sha256
    bytes: Size


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A release as its manifest tells of it, see `Release`. files: every other one. versions: those of before do not
    say it."""

    records: Number
    created: str
    authors: Names
    files: dict[str, Hashed]
    versions: Names = msgspec.field(default_factory=lambda: ["unknown"])

    def __post_init__(self) -> None:
        time_of(self.created)


@dataclass(frozen=True)
class Release:
    """A release as it was checked. name: SHA-256 of its manifest, in hexadecimal. records: how many. created: when the
    last of them was made, ISO 8601. authors: of the results. versions: of the software that made them."""

    name: str
    records: int
    created: str
    authors: tuple[str, ...]
    versions: tuple[str, ...]


def require_free(directory: Path) -> None:
    """Raises: ReleaseError if there is something where the release is to stand, or it would stand in another."""
    refuse_within(directory)
    if os.path.lexists(directory):
        raise ReleaseError(f"{directory} exists, and a release never changes")


def is_release(directory: Path) -> bool:
    """Whether a directory is one, or was."""
    return os.path.isfile(directory / MANIFEST) and os.path.isfile(directory / PACKED)


def refuse_changed(directory: Path) -> None:
    """Raises: ReleaseError for a release that is not what was released; anything else passes."""
    if is_release(directory):
        checked(directory)


def changes(directory: Path) -> list[str]:
    """What `refuse_changed` says, if it says something."""
    try:
        refuse_changed(directory)
    except ReleaseError as error:
        return [str(error)]
    return []


def refuse_within(place: Path) -> None:
    """Raises: ReleaseError if a place to write to is a release, or lies within one."""
    place = Path(os.path.realpath(place))
    for directory in (place, *place.parents):
        if is_release(directory):
            raise ReleaseError(f"{directory} is a release, which never changes: name another place to write to")


def seal(
    files: Files, directory: Path, records: int, created: str, authors: Sequence[str], versions: Iterable[str]
) -> Release:
    """Write files and their manifest; the directory, which must not exist, appears whole or not at all.

    Args: records, created, authors, versions: see `Release`.
    Raises: ReleaseError if it exists or stands in a release; OSError.
    """
    require_free(directory)
    hashes = {name: {"sha256": sha256(content), "bytes": len(content)} for name, content in sorted(files.items())}
    about = {"records": records, "created": created, "authors": list(authors), "versions": sorted(versions)}
    manifest = {**about, "files": hashes}
    unfinished = directory.with_name(f".{directory.name}.{uuid4().hex}.tmp")
    unfinished.mkdir(parents=True)
    try:
        for name, content in {**files, MANIFEST: as_json(manifest)}.items():
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
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
        manifest = msgspec.json.decode(content, type=Manifest)
    except OSError as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} is damaged ({error})") from error
    if wrong := next(_wrong(directory, manifest), None):
        raise ReleaseError(f"{directory}: {wrong}")
    return Release(
        name=sha256(content),
        records=manifest.records,
        created=manifest.created,
        authors=tuple(manifest.authors),
        versions=tuple(manifest.versions),
    )


def _wrong(directory: Path, manifest: Manifest) -> Iterator[str]:
    """What in a directory is not as its manifest says: links and empty directories are nothing that it could say."""
    expected = {MANIFEST, *manifest.files}
    folders = {parent.as_posix() for name in expected for parent in PurePosixPath(name).parents}
    present = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    for name, path in sorted(present.items()):
        if path.is_symlink():
            yield f"{name} is a link, and not of this release"
        elif name not in (folders if path.is_dir() else expected):
            yield f"{name} is not of this release"
    for name, said in manifest.files.items():
        if name not in present:
            yield f"{name} is missing"
            continue
        content = present[name].read_bytes() if present[name].is_file() else b""
        if said != Hashed(sha256(content), len(content)):
            yield f"{name} is not what was released"
        if name == PACKED and (count := content.count(b"\n")) != manifest.records:
            yield f"{name} holds {count:,} records, and {MANIFEST} says {manifest.records:,}"


def as_json(value: object) -> bytes:
    """Strict JSON, as files of a release hold it."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
