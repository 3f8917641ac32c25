"""A directory that never changes, named by the hash of what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from seqrl_jax.files import write_whole
from seqrl_jax.results.store import PACKED

MANIFEST = "MANIFEST.json"
Files = Mapping[str, bytes]
"""Path within the directory, with `/` between its parts -> content."""


class ReleaseError(ValueError):
    """A directory that is no release, or no longer the one that was made."""


@dataclass(frozen=True)
class Release:
    """A release as it was checked. name: SHA-256 of its manifest, in hexadecimal. records: how many. created: when the
    last of them was made, ISO 8601. authors: of the results. versions: of the software that made them."""

    name: str
    records: int
    created: str
    authors: tuple[str, ...]
    versions: tuple[str, ...]


def refuse_existing(directory: Path) -> None:
    """Raises: ReleaseError if there is something where the release is to stand."""
    if directory.exists():
        raise ReleaseError(f"{directory} exists, and a release never changes")


def refuse_within(place: Path) -> None:
    """Raises: ReleaseError if a place to write to is a release, or lies within one."""
    place = place.resolve()
    for directory in (place, *place.parents):
        if (directory / MANIFEST).is_file() and (directory / PACKED).is_file():
            raise ReleaseError(f"{directory} is a release, which never changes: name another place by --out")


def seal(
    files: Files, directory: Path, records: int, created: str, authors: Sequence[str], versions: Iterable[str]
) -> Release:
    """Write files and their manifest; the directory, which must not exist, appears whole or not at all.

    Args: records, created, authors, versions: see `Release`.
    Raises: ReleaseError if it exists; OSError.
    """
    refuse_existing(directory)
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
        manifest = json.loads(content)
        hashes = {name: str(said["sha256"]) for name, said in manifest["files"].items()}
        release = Release(
            name=sha256(content),
            records=int(manifest["records"]),
            created=str(manifest["created"]),
            authors=tuple(map(str, manifest["authors"])),
            # Manifests of before do not say it.
            versions=tuple(map(str, manifest.get("versions", ["unknown"]))),
        )
    except OSError as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{directory} is no release: its {MANIFEST} is damaged") from error
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
    if added := sorted(present - {MANIFEST} - hashes.keys()):
        raise ReleaseError(f"{directory}: {added[0]} is not of this release")
    for name, said in hashes.items():
        if name not in present:
            raise ReleaseError(f"{directory}: {name} is missing")
        if sha256((directory / name).read_bytes()) != said:
            raise ReleaseError(f"{directory}: {name} is not what was released")
    return release


def as_json(value: object) -> bytes:
    """Strict JSON, as files of a release hold it."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
