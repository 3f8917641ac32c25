"""Whether an environment of anybody's own is one: what `reset` and `step` return, without computing anything.

The code of others may raise whatever it likes; it is reported in one line, with its place.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.naming import SpecError
from seqrl_jax.settings import is_count
from seqrl_jax.tasks.environment import Box, Discrete, Environment, Space, Transition
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready
from seqrl_jax.tasks.tabular import TabularPOMDP

MEMBERS = tuple(name for name in vars(Environment) if not name.startswith("_"))
"""What an environment has."""
ROUNDING = 1e-9
"""Relative, by which the ends of a value may cross that were computed apart."""


@contextmanager
def code_of_others(what: str) -> Iterator[None]:
    """Raises: SpecError, `WHAT fails: ERROR (FILE, line N)`, for whatever is raised within but a SpecError."""
    try:
        yield
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(f"{what} fails: {_line(error)}{_place(error)}") from error


def lacking(env: Any) -> str | None:
    """Why this is no object with the members of an environment, in words; None where it is one."""
    if isinstance(env, type):
        return f"{env.__name__} is a class, expected one of its objects"
    if missing := [name for name in MEMBERS if not hasattr(env, name)]:
        return f"{type(env).__name__} has no {', '.join(missing)} (`Whole` has those beside spaces, reset and step)"
    return None


def broken(ready: Ready) -> str | None:
    """What of its contract an environment, its params or its certificates break, in words; None where all is well."""
    env = ready.env
    if why := lacking(env):
        return why
    for name, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not (isinstance(space, Box) or (isinstance(space, Discrete) and is_count(space.size))):
            return f"the {name} space is {space!r}, expected a Box or a Discrete of one element or more"
        if isinstance(space, Box) and 0 in space.shape:
            return f"the {name} space is {space!r}, which has no numbers"
    if not is_count(env.longest):
        return f"longest is {env.longest!r}, expected a whole number of 1 or more"
    for name, proved in ready.certified.items():
        if name not in (MEMORYLESS, HISTORY):
            return f"{name!r} is certified, expected {MEMORYLESS} or {HISTORY}"
        rounding = ROUNDING * max(1.0, abs(proved.upper))
        if not (np.isfinite([proved.lower, proved.upper]).all() and proved.lower <= proved.upper + rounding):
            return f"{name} is certified to lie between {proved.lower} and {proved.upper}"
    return _returned(env, ready.params)


def table_of(ready: Ready) -> TabularPOMDP:
    """The table that an environment brings. Raises: SpecError for one that cannot be its own."""
    assert ready.table is not None
    with code_of_others("its table"):
        table = ready.table()
    if not isinstance(table, TabularPOMDP):
        raise SpecError(f"its table is {type(table).__name__}, expected a TabularPOMDP")
    if table.discount != 1:
        raise SpecError(f"its table has a discount of {table.discount:g}, and values are of returns without one")
    space = ready.env.action_space
    if space != Discrete(table.num_actions):
        raise SpecError(f"its table has {table.num_actions} actions, and its action space is {space!r}")
    return table


def _returned(env: Environment, params: Any) -> str | None:
    key = jax.random.key(0)
    for name, of in (("discount", env.discount), ("horizon", env.horizon)):
        try:
            found = jax.eval_shape(lambda params, of=of: jnp.asarray(of(params)), params)
        except Exception as error:
            return f"{name} fails: {_line(error)}"
        if found.shape:
            return f"{name} is {_aval(found)}, expected one number"
    discount, horizon = float(env.discount(params)), float(env.horizon(params))
    if not 0 <= discount <= 1:
        return f"the discount is {discount:g}, expected one from 0 to 1"
    if not 1 <= horizon <= env.longest:
        return f"the horizon is {horizon:g}, expected one from 1 to longest, {env.longest}"
    try:
        begun = jax.eval_shape(env.reset, key, params)
    # Whatever the code of others raises.
    except Exception as error:
        return f"reset fails: {_line(error)}"
    if not isinstance(begun, tuple) or len(begun) != 2:
        return f"reset returns {type(begun).__name__}, expected an observation and a state"
    obs, state = begun
    if wrong := _unlike("reset's observation", obs, env.observation_space):
        return wrong
    try:
        after = jax.eval_shape(env.step, key, state, _example(env.action_space), params)
    except Exception as error:
        return f"step fails: {_line(error)}"
    if not isinstance(after, Transition):
        return f"step returns {type(after).__name__}, expected a Transition"
    if wrong := _unlike("step's observation", after.obs, env.observation_space):
        return wrong
    if _aval(obs) != _aval(after.obs):
        return f"reset's observation is {_aval(obs)}, step's is {_aval(after.obs)}"
    ends = ("terminated", after.terminated, "bool[]"), ("truncated", after.truncated, "bool[]")
    for name, leaf, expected in (("reward", after.reward, "float32[]"), *ends):
        if (found := _aval(leaf)) != expected:
            return f"step's {name} is {found}, expected {expected}"
    avals = lambda tree: [_aval(leaf) for leaf in jax.tree.leaves(tree)]
    before, behind = jax.tree.structure(state), jax.tree.structure(after.state)
    if (before, avals(state)) != (behind, avals(after.state)):
        return f"reset's state is ({', '.join(avals(state))}), step's is ({', '.join(avals(after.state))})"
    return None


def _unlike(what: str, obs: Any, space: Space) -> str | None:
    expected = _example(space)
    kind = jnp.integer if isinstance(space, Discrete) else jnp.floating
    if jnp.shape(obs) == expected.shape and jnp.issubdtype(jnp.result_type(obs), kind):
        return None
    return f"{what} is {_aval(obs)}, expected {_aval(expected)}"


def _example(space: Space) -> jax.ShapeDtypeStruct:
    """What an element of a space is like."""
    if isinstance(space, Discrete):
        return jax.ShapeDtypeStruct((), jnp.int32)
    return jax.ShapeDtypeStruct(space.shape, jnp.float32)


def _aval(leaf: Any) -> str:
    """Type and shape, `float32[2,3]`."""
    return f"{jnp.result_type(leaf)}[{','.join(map(str, jnp.shape(leaf)))}]"


def _place(error: BaseException) -> str:
    """Where it was raised, unless that is no file or the error says so itself."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return "" if last.filename.startswith("<") else f" ({Path(last.filename).name}, line {last.lineno})"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
