"""A record as JSON: readable by people, read back to the letter, damage said in one line that names the field."""

from __future__ import annotations

import json
import re
from typing import Any, get_type_hints

import msgspec

from seqrl_jax.results.record import VERSION, Record, RecordError
from seqrl_jax.strict_json import JSONError, parsed


def from_json(content: bytes | str) -> Record:
    """The record that a file's content says, checked to the letter.

    Raises: RecordError, naming the field: not JSON (NaN, a key that stands twice and what is not Unicode among it), not
    a record, of a newer version, of another type, out of range, contradictory.
    """
    try:
        data = parsed(content)
    except JSONError as error:
        raise RecordError(str(error)) from error
    if not isinstance(data, dict) or "schema" not in data:
        raise RecordError("not a record of seqrl_jax")
    version = data["schema"]
    if isinstance(version, int) and version > VERSION:
        raise RecordError(f"schema {version}: newer than {VERSION}, which this version of seqrl_jax reads; update it")
    try:
        return msgspec.convert(data, Record)
    except msgspec.ValidationError as error:
        raise RecordError(_named(str(error), data)) from error
    except RecursionError as error:
        raise RecordError("config: nested too deeply") from error


def to_line(record: Record) -> bytes:
    """A record in one line without its end: fields in their order, the keys of every other object sorted."""
    return msgspec.json.encode(record, order="deterministic")


def from_line(line: bytes) -> Record:
    """What `from_json` reads of a line, in a third of the time where `to_line` made it: such a line comes back to the
    letter, so that no key stands twice in it and every number is one. Raises: RecordError as `from_json`."""
    try:
        record = msgspec.json.decode(line, type=Record)
        if to_line(record) == line:
            return record
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return from_json(line)


def to_json(record: Record) -> bytes:
    """The content of a record's file: a field a line, a curve's row a line, the keys of every object sorted.

    Raises: RecordError, naming the field, if it would not come back equal: values of another type than declared.
    """
    for name in record.__struct_fields__:
        try:
            msgspec.json.encode(getattr(record, name))
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(f"{name}: {error}") from error
    content = (_laid_out(json.loads(msgspec.json.encode(record, order="deterministic"))) + "\n").encode()
    if from_json(content) != record:
        raise RecordError("a record must hold plain JSON values: this one would not come back equal")
    return content


def _laid_out(value: Any, depth: int = 0) -> str:
    """JSON with an entry of an object a line, and a list of lists a list a line; other lists stay in one."""
    nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(entry, list) for entry in value))
    if not (nested and value):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, dict):
        brackets, entries = (
            "{}",
            [f"{json.dumps(k, ensure_ascii=False)}: {_laid_out(v, depth + 1)}" for k, v in value.items()],
        )
    else:
        brackets, entries = "[]", [_laid_out(entry, depth + 1) for entry in value]
    inner = "\n" + " " * (depth + 1)
    return brackets[0] + inner + f",{inner}".join(entries) + "\n" + " " * depth + brackets[1]


def _named(message: str, data: dict[str, Any]) -> str:
    """msgspec's message with the field in front and every key by its name; it calls a key `[...]`."""
    problem, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if "[...]" in path:
        name, _, rest = path.partition("[...]")
        path = f"{name}.{_culprit(name, data[name])}{rest}"
    if missing := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", problem, re.DOTALL):
        place = ".".join(part for part in (path, missing[2]) if part)
        return f"{place}: " + ("is missing" if missing[1] == "missing required" else "is no field of a record")
    inner = re.fullmatch(r"([\w.]+): (.*)", problem, re.DOTALL)
    if inner and path:
        return f"{path}.{inner[1]}: {inner[2]}"
    return f"{path}: {problem}" if path else problem


def _culprit(name: str, entries: dict[str, Any]) -> str:
    """The key of a field's first entry that is not of its type."""
    kind = get_type_hints(Record, include_extras=True)[name]
    for key, value in entries.items():
        try:
            msgspec.convert({key: value}, kind)
        except msgspec.ValidationError:
            return key
    return "..."
