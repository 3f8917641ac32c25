"""Names that users type: `NAME` or `NAME:key=value,key=value`, and errors that offer the nearest name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints


class SpecError(ValueError):
    """A name, key or value that nothing answers to."""


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """Split `NAME:key=value,...` into the name and its settings, values as text.

    Raises: SpecError when a part is no `key=value` or a key stands twice.
    """
    name, _, rest = spec.partition(":")
    settings: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise SpecError(f"{spec!r}: {part!r} is not of the form key=value")
        if key in settings:
            raise SpecError(f"{spec!r}: {key!r} stands twice")
        settings[key] = value
    return name, settings


def base(spec: str) -> str:
    """The name without its settings."""
    return spec.partition(":")[0]


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """`table[name]`. Raises SpecError with the nearest names when there is none."""
    if name not in table:
        raise SpecError(f"unknown {kind} {name!r}{_nearest(name, table)}")
    return table[name]


def one_of(settings: object, **known: Iterable[str]) -> None:
    """Check settings that are names: `one_of(self, kind=KINDS)`. Raises: SpecError for a name that is none of them."""
    for field, names in known.items():
        value = getattr(settings, field)
        if value not in names:
            raise SpecError(f"{field} is {value!r}, expected one of {', '.join(names)}")


def settable(function: Callable[..., Any]) -> dict[str, type]:
    """The parameters of a function or dataclass that a name can set: those of type int, float, bool or str."""
    kinds = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    return {key: kinds[key] for key in inspect.signature(function).parameters if kinds[key] in (int, float, bool, str)}


def arguments(spec: str, settings: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    """The settings of a name, converted to the kinds of their keys.

    Raises: SpecError for an unknown key (with the nearest) or a value of the wrong type.
    """
    for key in settings:
        if key not in kinds:
            raise SpecError(f"{spec!r}: unknown key {key!r}{_nearest(key, kinds)}")
    return {key: convert(f"{spec!r}: {key}", kinds[key], value) for key, value in settings.items()}


def convert(place: str, kind: type, text: str) -> Any:
    """`text` as a value of `kind`. Raises SpecError that names the place."""
    if kind is bool:
        if text not in ("true", "false"):
            raise SpecError(f"{place} is {text!r}, expected true or false")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise SpecError(f"{place} is {text!r}, expected {'a number' if kind is float else 'a whole number'}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; known: {', '.join(sorted(known)) or 'none'}"
