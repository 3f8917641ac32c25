"""JSON that somebody else wrote, read to the letter: what a parser lets pass is an error, such as a key that stands
twice in an object, of which one value would be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn


class JSONError(ValueError):
    """Text that is no JSON, or says two things at once; the message is one line."""


def parsed(content: bytes | str, constants: bool = False) -> Any:
    """The value of JSON text, of characters alone: half of a surrogate pair is none, and no file takes it.

    Args: constants: take NaN, Infinity and -Infinity, which are no JSON, but which Python and others write.
    Raises: JSONError, naming the key where that is it.
    """
    constant = None if constants else _refuse_constant
    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
        value = json.loads(text, parse_constant=constant, object_pairs_hook=_without_repetition)
        text.encode()
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except JSONError:
        raise
    except RecursionError as error:
        raise JSONError("nested too deeply") from error
    except ValueError as error:
        raise JSONError(f"not JSON ({error})") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file, NaN and infinities among its numbers. Raises: JSONError, naming the file; OSError."""
    try:
        value = parsed(path.read_bytes(), constants=True)
    except JSONError as error:
        raise JSONError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise JSONError(f"{path}: not an object")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise JSONError(f"{next(name for name in names if names.count(name) > 1)}: stands there twice")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise JSONError(f"not JSON ({text} is no number of JSON)")
