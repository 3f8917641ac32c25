"""What a release says of itself, and whether it is still what was released: a directory of packed records with a
manifest of every other file's hash. How one is made is in `seqrl_jax.release`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from seqrl_jax.results.record import time_of
from seqrl_jax.strict_json import parsed

MANIFEST = "MANIFEST.json"
PACKED = "records.jsonl"
"""A file of many records, one a line, which stands for all others where it is there."""

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


def checked(directory: Path) -> Release:
    """The release in a directory, every file of which is what it was. Raises: ReleaseError naming the file that is
    not."""
    try:
        content = (directory / MANIFEST).read_bytes()
        manifest = msgspec.convert(parsed(content), Manifest)
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


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
