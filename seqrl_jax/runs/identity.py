"""What makes a cell the one that is asked for: a record or a checkpoint of any other counts as missing."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from seqrl_jax.results.record import Record


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the numbers of a cell follow from, by the names that a record has for it.

    config: as JSON gives it back. code_fingerprint: None where it is unknown, which is the same as no other.
    """

    track: str
    method: str
    task: str
    config: dict[str, Any]
    seeds: list[int]
    task_fingerprint: str
    code_fingerprint: str | None

    @property
    def digest(self) -> str:
        """A name for it."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def whatever_the_code(self) -> Identity:
        """What it has in common with the same cell made by another version."""
        return msgspec.structs.replace(self, code_fingerprint=None)


def identity_of(record: Record) -> Identity:
    """What a record's numbers follow from."""
    return Identity(**{name: getattr(record, name) for name in Identity.__struct_fields__})


def as_json(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it comes back from a file."""
    return msgspec.json.decode(msgspec.json.encode(config))
