"""Checkpoints of rows that have not ended, so that a killed run goes on where it was.

A row has a folder of its own with a manifest, which says what is run, and the state of each of its loops:

    RESULTS/.run/lock
    RESULTS/.run/DIGEST/manifest.json
    RESULTS/.run/DIGEST/loop-0.safetensors    (its state, and the chunk that it is at, in one file)

The manifest is written before anything runs and goes first when all records are there, so that a process killed at any
moment leaves a folder that is either whole or without a manifest, which is removed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from seqrl_jax import hosts
from seqrl_jax.files import remove_temporaries, write_whole
from seqrl_jax.runs.identity import Identity

FOLDER = ".run"
MANIFEST = "manifest.json"

State = TypeVar("State")


class Origin(msgspec.Struct, frozen=True):
    """Where a row was run, or a part of it."""

    device: str
    versions: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=1):
    """What a row is: its cells, all of one method. origins: where its parts were run, the last one last."""

    cells: Annotated[list[Identity], Meta(min_length=1)]
    origins: Annotated[list[Origin], Meta(min_length=1)]


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a loop is: after `chunk` of `chunks` chunks."""

    chunk: Annotated[int, Meta(ge=0)]
    chunks: int


@dataclass(frozen=True)
class Snapshot(Generic[State]):
    """The state of a loop after `chunk` chunks."""

    state: State
    chunk: int


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a row."""

    folder: Path
    manifest: Manifest

    @property
    def method(self) -> str:
        """The method of the row."""
        return self.cells[0].method

    @property
    def cells(self) -> list[Identity]:
        """What makes the cells of the row, in their order."""
        return self.manifest.cells

    def save(self, loop: int, snapshot: Snapshot[Any], chunks: int) -> None:
        """Write the state of a loop of `chunks`, in place of an earlier one, which stands if this raises OSError."""
        from seqrl_jax.checkpoint import save_tree

        save_tree(self._path(loop), snapshot.state, msgspec.to_builtins(Progress(snapshot.chunk, chunks)))

    def restore(self, loop: int, like: State, chunks: int) -> Snapshot[State] | None:
        """What was saved of a loop, in the place of `like`; None where nothing was.

        Raises: ValueError, if it is damaged, of another number of chunks, or does not fit.
        """
        from seqrl_jax.checkpoint import load_tree, read_metadata

        path = self._path(loop)
        if not path.exists():
            return None
        try:
            progress = msgspec.convert(read_metadata(path), Progress)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path}: not a checkpoint ({error})") from error
        if progress.chunks != chunks or progress.chunk > chunks:
            raise ValueError(f"{path}: after {progress.chunk} of {progress.chunks} chunks, expected {chunks} chunks")
        return Snapshot(load_tree(path, like), progress.chunk)

    def remove(self) -> None:
        """Remove everything, the manifest first."""
        if hosts.is_first():
            (self.folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, loop: int) -> Path:
        return self.folder / f"loop-{loop}.safetensors"


def begin(directory: Path, cells: Sequence[Identity], origin: Origin) -> Checkpoint:
    """The folder of a row that is about to run. Raises: OSError."""
    digest = hashlib.sha256(" ".join(cell.digest for cell in cells).encode()).hexdigest()[:16]
    checkpoint = Checkpoint(directory / FOLDER / digest, Manifest(list(cells), [origin]))
    checkpoint.remove()
    return _written(checkpoint)


def resume(checkpoint: Checkpoint, origin: Origin) -> Checkpoint:
    """The folder of a row that goes on at `origin`. Raises: OSError."""
    origins = checkpoint.manifest.origins
    if origin == origins[-1]:
        return checkpoint
    return _written(Checkpoint(checkpoint.folder, Manifest(checkpoint.cells, [*origins, origin])))


def checkpoints_in(directory: Path) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints of a directory, those of most cells first, and a sentence on each that was damaged.

    What is damaged or half removed goes. Raises: OSError.
    """
    checkpoints, notes = [], []
    for folder in sorted((directory / FOLDER).glob("*/")):
        remove_temporaries(folder)
        path = folder / MANIFEST
        try:
            checkpoints.append(Checkpoint(folder, msgspec.json.decode(path.read_bytes(), type=Manifest)))
            continue
        except FileNotFoundError:
            pass
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            notes.append(f"{path}: not a checkpoint ({error}); what was saved there begins anew")
        shutil.rmtree(folder)
    return sorted(checkpoints, key=lambda checkpoint: -len(checkpoint.cells)), notes


def _written(checkpoint: Checkpoint) -> Checkpoint:
    hosts.on_first(lambda: _write(checkpoint))
    return checkpoint


def _write(checkpoint: Checkpoint) -> None:
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    write_whole(checkpoint.folder / MANIFEST, msgspec.json.encode(checkpoint.manifest))
