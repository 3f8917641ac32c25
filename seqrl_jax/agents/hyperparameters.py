"""What an agent and its parts are: frozen dataclasses whose floats are traced."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

import jax

Class = TypeVar("Class")

TRACED = object()
"""Beside the type of a field that holds such a dataclass itself, so that its floats are traced as well."""


@dataclass_transform(frozen_default=True)
def hyperparameters(cls: type[Class]) -> type[Class]:
    """A frozen dataclass that is a pytree: floats, and the floats of fields marked `TRACED`, are its leaves, so that a
    sweep over them is one program; all else is static."""
    made: type[Class] = dataclass(frozen=True)(cls)
    hints = get_type_hints(made, include_extras=True)
    names = [field.name for field in fields(made)]  # type: ignore[arg-type]
    traced = [name for name in names if _is_traced(hints[name])]
    jax.tree_util.register_dataclass(made, traced, [name for name in names if name not in traced])
    return made


def _is_traced(hint: Any) -> bool:
    if get_origin(hint) is not Annotated:
        return hint is float
    kind, *notes = get_args(hint)
    return kind is float or TRACED in notes
