"""What gymnax leaves to who sets its params: numbers that follow from others, and lengths that must fit an episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from seqrl_jax.naming import require


class Derived(NamedTuple):
    """A param that is a function of others; gymnax holds its value at their defaults."""

    rule: str
    of: Callable[[Any], float]


DERIVED: Mapping[str, Mapping[str, Derived]] = {
    "CartPole-v1": {
        "total_mass": Derived("masscart + masspole", lambda params: params.masscart + params.masspole),
        "polemass_length": Derived("masspole * length", lambda params: params.masspole * params.length),
    },
}
LENGTHS: Mapping[str, tuple[str, int]] = {
    "MemoryChain-bsuite": ("memory_length", 1),
    "UmbrellaChain-bsuite": ("chain_length", 0),
}
"""The param that says when all is paid, and how many steps later that is."""


def with_params(name: str, params: Any, values: Mapping[str, Any]) -> Any:
    """The params with these values, and what follows from them.

    Raises: SpecError for a value of what follows, and for a length that no episode reaches the end of.
    """
    derived = DERIVED.get(name, {})
    for key in values.keys() & derived.keys():
        require(False, f"it follows, {derived[key].rule}: set these", **{key: values[key]})
    params = params.replace(**values)
    if name in LENGTHS:
        key, later = LENGTHS[name]
        length, most = getattr(params, key), params.max_steps_in_episode
        why = "an episode ends before anything is paid"
        require(length + later <= most, why, **{key: length, "max_steps_in_episode": most})
    return params.replace(**{key: follows.of(params) for key, follows in derived.items()})
