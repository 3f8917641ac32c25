"""Wrappers that are called in Python are held to the domains that they declare, as names (`tmaze:flicker=.5`) are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, get_type_hints

import jax

from seqrl_jax import naming
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tabular import TabularPOMDP

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made", TabularPOMDP, Ready)
FORMS = {
    TabularPOMDP: "it wraps tables, and its form for environments ends in _env",
    Ready: "it wraps environments as `tasks.environments.environment` makes them",
}
"""What a form of a wrapper takes first, and makes."""


def checked(wrapper: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """The wrapper, which refuses in one line what it does not wrap and numbers outside of their domains.

    A traced number has no value yet, and is left alone. Raises: TypeError, SpecError.
    """
    signature, domains = inspect.signature(wrapper), naming.settable(wrapper)
    form = get_type_hints(wrapper)["return"]

    @wraps(wrapper)
    def held(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Made:
        bound = signature.bind(*arguments, **settings)
        bound.apply_defaults()
        given = bound.arguments
        task = next(iter(given.values()))
        if not isinstance(task, form):
            raise TypeError(f"{wrapper.__name__} of {type(task).__name__}: {FORMS[form]}")
        for key, domain in domains.items():
            if not isinstance(given[key], jax.core.Tracer):
                given[key] = naming.convert(key, domain, str(given[key]))
        return wrapper(*bound.args, **bound.kwargs)

    return held
