"""A directory that never changes, named by the hash of what is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seqrl_jax.files import whole_directory, write_whole
from seqrl_jax.results.manifest import MANIFEST, Release, ReleaseError, checked, is_release, sha256

Files = Mapping[str, bytes]
"""Path within the directory, with `/` between its parts -> content."""


def require_free(directory: Path) -> None:
    """Raises: ReleaseError if there is something where the release is to stand, or it would stand in another."""
    refuse_within(directory)
    if os.path.lexists(directory):
        raise ReleaseError(f"{directory} exists, and a release never changes")


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
    with whole_directory(directory) as unfinished:
        for name, content in {**files, MANIFEST: as_json(manifest)}.items():
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(unfinished / name, content)
    return checked(directory)


def as_json(value: object) -> bytes:
    """Strict JSON, as files of a release hold it."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
