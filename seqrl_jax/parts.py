"""Dataclasses put together from parts that names choose: a field with a `Choice` holds one of several kinds of part,
and the settings of the part can be set beside those of the whole, `drqn:memory=lstm,width=64`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from seqrl_jax import naming

Whole = TypeVar("Whole")


@dataclass(frozen=True, eq=False)
class Choice:
    """Beside the type of a field: the kinds of part that may stand in it, by name."""

    kinds: Mapping[str, type]

    def name(self, part: object) -> str:
        """The name of a part's kind, or its class's where it has none."""
        return next((name for name, kind in self.kinds.items() if type(part) is kind), type(part).__name__)


@dataclass(frozen=True)
class Imported(Mapping[str, type]):
    """A table of kinds in a module that is imported when somebody looks something up.

    What holds a part then does not depend on the code of every kind that might stand there, nor do results made with
    it (see `results.code`); the code of the part that does stand there counts by itself.
    """

    module: str
    table: str

    def __getitem__(self, name: str) -> type:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def _kinds(self) -> Mapping[str, type]:
        return cast(Mapping[str, type], getattr(import_module(self.module), self.table))


def choices(kind: type) -> Mapping[str, Choice]:
    """The fields of a dataclass that hold a part, with what may stand there."""
    every = {key: _choice(hint) for key, hint in get_type_hints(kind, include_extras=True).items()}
    return {key: choice for key, choice in every.items() if choice is not None}


def configured(spec: str, whole: Whole, settings: Mapping[str, str]) -> Whole:
    """A dataclass with these settings of its own and of its parts; `FIELD=NAME` puts another kind of part in.

    Where both kinds of part have a setting that was not at its default, the new part takes its value over.

    Raises: SpecError for an unknown key, name or value, with the nearest, and for settings that exclude one another.
    """
    left, parts = dict(settings), _parts(whole)
    for field in parts.keys() & settings.keys():
        kinds, chosen = choices(type(whole))[field].kinds, left.pop(field)
        kind = naming.made(spec, partial(naming.lookup, field, chosen, kinds))
        parts[field] = kind(**_changed(parts[field], naming.settable(kind)))
    owners: dict[str, Any] = {field: naming.settable(type(part)) for field, part in parts.items()}
    own = naming.settable(type(whole))
    domains = {key: domain for of_part in owners.values() for key, domain in of_part.items()} | dict(own)
    values = naming.arguments(spec, left, domains)

    def of(keys: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key in keys}

    def build() -> Whole:
        changed = {field: dataclasses.replace(part, **of(owners[field])) for field, part in parts.items()}
        return dataclasses.replace(whole, **changed, **of(own))  # type: ignore[type-var]

    return naming.made(spec, build)


def describe(whole: object) -> list[naming.Setting]:
    """What can be set of a dataclass and of its parts, as they are."""
    listed = naming.describe_settings(type(whole), vars(whole))
    for field, part in _parts(whole).items():
        choice = choices(type(whole))[field]
        listed.append(naming.Setting(field, f"one of {', '.join(choice.kinds)}", choice.name(part)))
        listed += naming.describe_settings(type(part), vars(part))
    return listed


def values_of(whole: object) -> dict[str, Any]:
    """The same as values by key: of numbers, words and flags, and the names of parts."""
    values = {key: getattr(whole, key) for key in naming.settable(type(whole))}
    for field, part in _parts(whole).items():
        values |= {field: choices(type(whole))[field].name(part), **values_of(part)}
    return values


def _parts(whole: object) -> dict[str, Any]:
    return {field: getattr(whole, field) for field in choices(type(whole))}


def _changed(part: object, keys: Iterable[str]) -> dict[str, Any]:
    """The settings of a part, of those keys, that are not at their defaults."""
    parameters = inspect.signature(type(part)).parameters
    values = {key: getattr(part, key) for key in keys if key in naming.settable(type(part))}
    return {key: value for key, value in values.items() if value != parameters[key].default}


def _choice(hint: Any) -> Choice | None:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note for note in notes if isinstance(note, Choice)), None)
