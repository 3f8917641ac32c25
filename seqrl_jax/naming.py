"""Names that users type, `NAME` or `NAME:key=value,key=value`: read, checked against the domains that their functions
declare, and answered with the nearest name where there is none.

A parameter's domain stands in its annotation: a number with its ends (`settings`), a `Literal` of words, or `bool`;
with `| None` it may also be set to `none`. A text has a pattern, and a description that says it in words.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

Built = TypeVar("Built")

MOST_SHOWN = 80
"""Characters of a name or a value in a message."""
NONE = "none"
WORDS = {bool: "true or false"}
NUMBER = re.compile(r"[-+]?([0-9.]+(e[-+]?[0-9]+)?|nan|inf)", re.ASCII | re.IGNORECASE)


class SpecError(ValueError):
    """A name, key or value that nothing answers to, or two values that exclude one another."""


@dataclass(frozen=True)
class Setting:
    """A key that can be set, its domain in words, and what it is unless set."""

    key: str
    domain: str
    default: str


@dataclass(frozen=True)
class Fitted:
    """Beside the type of a number that follows from the run, so that no name sets it."""


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """Split `NAME:key=value,...` into the name and its settings, values as text.

    Raises: SpecError when the name is empty, a part is no `key=value` or a key stands twice.
    """
    name, colon, rest = spec.partition(":")
    if not name:
        raise SpecError(f"{shown(spec)}: a name is missing")
    return name, read_settings(spec, rest) if colon else {}


def without(spec: str, key: str) -> tuple[str, str | None]:
    """The name without one of its settings, and that setting's value as text, if it stands there."""
    found = re.search(rf"(?P<before>[:,]){re.escape(key)}=(?P<value>[^,]*)(?P<after>,?)", spec)
    if found is None:
        return spec, None
    joint = found["before"] if found["after"] else ""
    return spec[: found.start()] + joint + spec[found.end() :], found["value"]


def with_setting(spec: str, key: str, value: Any) -> str:
    """The name with one of its settings at this value, whether it stood there or not."""
    bare, _ = without(spec, key)
    # A colon may also stand in a path, or before the name of an environment of others.
    _, colon, last = bare.rpartition(":")
    return f"{bare}{',' if colon and '=' in last else ':'}{key}={value}"


def read_settings(spec: str, text: str) -> dict[str, str]:
    """The settings `key=value,...` of `text`, a part of `spec`. Raises: SpecError as `parse`."""
    settings: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise SpecError(f"{shown(spec)}: {shown(part)} is not of the form key=value")
        if key in settings:
            raise SpecError(f"{shown(spec)}: {shown(key)} stands twice")
        settings[key] = value
    return settings


def base(spec: str) -> str:
    """The name without its settings."""
    return spec.partition(":")[0]


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """`table[name]`. Raises SpecError with the nearest names when there is none."""
    if name not in table:
        raise SpecError(f"unknown {kind} {shown(name)}{_nearest(name, table)}")
    return table[name]


def settable(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The parameters of a function or dataclass that a name can set, with their domains: numbers, words and flags."""
    return _settable(cast(Hashable, function))


@cache
def _settable(function: Callable[..., Any]) -> Mapping[str, Any]:
    # Of a dataclass, every annotation is read in the module of the class that it stands in.
    hints = get_type_hints(function, include_extras=True)
    every = {key: hints[key] for key in inspect.signature(function).parameters if key in hints}
    return MappingProxyType({key: domain for key, domain in every.items() if _is_plain(domain)})


def describe_settings(function: Callable[..., Any], values: Mapping[str, Any] | None = None) -> list[Setting]:
    """What can be set of a function or dataclass. values: what its parameters are, where not their defaults."""
    parameters = inspect.signature(function).parameters
    values = {key: parameter.default for key, parameter in parameters.items()} | dict(values or {})
    return [Setting(key, in_words(domain), _default(values[key])) for key, domain in settable(function).items()]


def arguments(spec: str, settings: Mapping[str, str], domains: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a name, converted and checked.

    Raises: SpecError for an unknown key (with the nearest) or a value outside the domain of its key.
    """
    for key in settings:
        if key not in domains:
            raise SpecError(f"{shown(spec)}: unknown key {shown(key)}{_nearest(key, domains)}")
    return {key: convert(f"{shown(spec)}: {key}", domains[key], value) for key, value in settings.items()}


def convert(place: str, domain: Any, text: str) -> Any:
    """`text` as a value of the domain. Raises SpecError that names the place, the text and the domain."""
    inner, optional = _without_none(domain)
    if optional and text == NONE:
        return None
    refused = SpecError(f"{place} is {shown_value(text)}, expected {in_words(domain)}")
    if inner is bool:
        if text not in ("true", "false"):
            raise refused
        return text == "true"
    kind = get_args(inner)[0] if get_origin(inner) is Annotated else inner
    try:
        return msgspec.convert(_number(kind, text) if kind in (int, float) else text, inner)
    except (msgspec.ValidationError, ValueError):
        raise refused from None


def check(settings: object) -> None:
    """Check the fields of a dataclass that are whole numbers and words; a float may be traced, and is left alone.

    For `__post_init__`, beside `require`. Raises: SpecError, `FIELD is VALUE, expected ...`.
    """
    for key, domain in settable(type(settings)).items():
        value, (inner, _) = getattr(settings, key), _without_none(domain)
        if type(value) in (int, str) and inner is not bool:
            try:
                msgspec.convert(value, inner)
            except msgspec.ValidationError:
                raise SpecError(f"{key} is {value!r}, expected {in_words(domain)}") from None


def require(holds: bool, why: str, **settings: object) -> None:
    """Refuse settings that exclude one another. Raises: SpecError, `a is 1 and b is 2: WHY`."""
    if not holds:
        named = " and ".join(f"{key} is {_default(value)}" for key, value in settings.items())
        raise SpecError(f"{named}: {why}")


def made(spec: str, build: Callable[[], Built]) -> Built:
    """What `build` makes; a refusal of its settings names the spec that they stand in."""
    try:
        return build()
    except SpecError as error:
        raise SpecError(f"{shown(spec)}: {error}") from error.__cause__


def in_words(domain: Any) -> str:
    """A domain as a message tells it: `a whole number >= 1 and <= 100`."""
    inner, optional = _without_none(domain)
    if get_origin(inner) is Literal:
        words = f"one of {', '.join(get_args(inner))}"
    elif inner in WORDS:
        words = WORDS[inner]
    elif get_origin(inner) is Annotated and get_args(inner)[0] is str:
        words = get_args(inner)[1].description
    else:
        kind, *notes = get_args(inner) if get_origin(inner) is Annotated else (inner,)
        signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
        ends = [
            f"{sign} {end if kind is int else format(end, '.12g')}"
            for note in notes
            for name, sign in signs.items()
            if (end := getattr(note, name)) is not None
        ]
        words = " ".join(["a whole number" if kind is int else "a number", " and ".join(ends)]).strip()
    return f"{words}, or {NONE}" if optional else words


def shown(text: str) -> str:
    """Text in quotes, in one line, cut to a length that a message can hold; nothing in it can steer a terminal."""
    return repr(text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...")


def shown_value(text: str) -> str:
    """A value in a message: a number as it was typed, anything else in quotes."""
    return text if len(text) <= MOST_SHOWN and NUMBER.fullmatch(text) else shown(text)


def _number(kind: type, text: str) -> int | float:
    """The finite number that ASCII digits write; a whole one may be written `1e6`. Raises ValueError."""
    if not NUMBER.fullmatch(text):
        raise ValueError(text)
    if kind is int and text.lstrip("+-").isdigit():
        return int(text)
    value = float(text)
    if not math.isfinite(value) or (kind is int and not value.is_integer()):
        raise ValueError(text)
    return int(value) if kind is int else value


def _is_plain(domain: Any) -> bool:
    inner, _ = _without_none(domain)
    if get_origin(inner) is Annotated:
        inner, *notes = get_args(inner)
        if Fitted() in notes:
            return False
    return inner in (int, float, bool) or get_origin(inner) is Literal


def _without_none(domain: Any) -> tuple[Any, bool]:
    """A domain without `| None`, and whether it had that."""
    if get_origin(domain) not in (Union, UnionType):
        return domain, False
    parts = [part for part in get_args(domain) if part is not NoneType]
    return (parts[0], True) if len(parts) == 1 else (domain, False)


def _default(value: Any) -> str:
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nearest(name: str, names: Iterable[str]) -> str:
    names = list(names)
    close = difflib.get_close_matches(name[:MOST_SHOWN], names, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; known: {', '.join(sorted(names)) or 'none'}"
