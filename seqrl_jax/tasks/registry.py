"""The tasks by name. A new tabular task is one function and one line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from seqrl_jax import naming
from seqrl_jax.descriptions import Description, described
from seqrl_jax.settings import Discount, Horizon
from seqrl_jax.tasks import doors, lines, market, mazes, memory, rocks, tabular, tiger, traffic
from seqrl_jax.tasks.endless import endless
from seqrl_jax.tasks.pomdp_file import read_pomdp
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.registry import ENVIRONMENT_WRAPPERS, TABLE_WRAPPERS, wrapped_table, wrapper_settings

TASKS: dict[str, Callable[..., TabularPOMDP]] = {
    "locked_doors": doors.locked_doors,
    "two_doors": doors.two_doors,
    "peek_maze": doors.peek_maze,
    "aliased_line": lines.aliased_line,
    "grey_line": lines.grey_line,
    "switched_corridor": lines.switched_corridor,
    "tiger": tiger.tiger,
    "tiger_repeated": tiger.tiger_repeated,
    "tmaze": mazes.tmaze,
    "heaven_hell": mazes.heaven_hell,
    "rock_sample": rocks.rock_sample,
    "repeat_previous": memory.repeat_previous,
    "flicker_grid": mazes.flicker_grid,
    "mini_hallway": mazes.mini_hallway,
    "blind_spot": traffic.blind_spot,
    "hidden_market": market.hidden_market,
}
FILE = re.compile(r"(?P<path>.*\.pomdp)(:(?P<settings>.*))?", re.IGNORECASE | re.DOTALL)
OTHER_FILE = re.compile(r".*([/\\].*|\.\w+)", re.DOTALL)
"""What is meant as a path: it has a separator or an ending, which no name of a task has."""
FORMS = "a task is NAME:key=value,... or a .POMDP file, other environments are gymnax:NAME and MODULE:FUNCTION"
"""How tasks and other environments are named."""
OF_THE_TASK: dict[str, Any] = {
    "horizon": Horizon,
    "discount": Discount,
    "seen_at_start": bool,
    "observed": bool,
    "endless": bool,
}
COMMON_KEYS = {**OF_THE_TASK, **TABLE_WRAPPERS}


def make(spec: str) -> TabularPOMDP:
    """The task that `spec` names: `NAME`, `NAME:key=value,...` or the path of a `.POMDP` file (settings may follow).

    Every task takes beside its own keys, applied in this order: `horizon`, `discount`, `seen_at_start=true` (o_0 drawn
    like every other observation), `observed=true` (its fully observed twin), `endless=true` (it begins anew where it
    would end, and has no horizon), and the wrappers: `sticky=P` (the last action again), `delay=STEPS`, `flicker=P`
    (blank observations), `frame_stack=K`, `time=true`, `previous_reward=true`, `previous_action=true` (shown with the
    observation). A key of its own goes before one of these with the same name.

    Raises:
        SpecError: unknown name, key or value. PomdpFileError: a malformed file. TaskError: no task can be built.
    """
    file = FILE.fullmatch(spec)
    if file:
        settings = {} if file["settings"] is None else naming.read_settings(spec, file["settings"])
        values = _values(spec, settings, {})
        return _adjusted(read_pomdp(file["path"], values.pop("horizon", None)), values)
    refuse_other_form(spec)
    name, settings = naming.parse(spec)
    function = naming.lookup("task", name, TASKS)
    own = naming.settable(function)
    values = _values(spec, settings, own)
    task = naming.made(spec, lambda: function(**{key: value for key, value in values.items() if key in own}))
    return replace(_adjusted(task, {key: value for key, value in values.items() if key not in own}), name=spec)


def refuse_other_form(spec: str) -> None:
    """Raises SpecError for what is no name with settings: the path of a file that is read as no task, and names of
    others."""
    name, _, rest = spec.partition(":")
    if name and name not in TASKS and rest and "=" not in rest:
        raise naming.SpecError(f"{naming.shown(spec)} names no task: {FORMS}")
    if OTHER_FILE.fullmatch(name):
        raise naming.SpecError(
            f"{naming.shown(name)} cannot be read as a task: files of tasks end in .POMDP and are in Cassandra's "
            "format; what is in another one, such as POMDPX, has to be converted"
        )


def task_settings(name: str) -> list[naming.Setting]:
    """What can be set of a task: its own keys and those of every task. Raises SpecError for an unknown name."""
    own = naming.describe_settings(naming.lookup("task", name, TASKS))
    known = {setting.key for setting in own}
    default = lambda domain: "false" if domain is bool else "the task's own"
    common = [naming.Setting(key, naming.in_words(domain), default(domain)) for key, domain in OF_THE_TASK.items()]
    return [*own, *(setting for setting in (*common, *wrapper_settings(TABLE_WRAPPERS)) if setting.key not in known)]


def describe(name: str) -> Description:
    """What the task says of itself. Raises SpecError for an unknown name."""
    return described(naming.lookup("task", name, TASKS))


def _values(spec: str, settings: Mapping[str, str], own: Mapping[str, Any]) -> dict[str, Any]:
    domains = {**COMMON_KEYS, **own}
    for key in ENVIRONMENT_WRAPPERS:
        if key in settings and key not in domains:
            raise naming.SpecError(f"{naming.shown(spec)}: {key} needs arrays, a table's observations are symbols")
    values = naming.arguments(spec, settings, domains)
    if values.get("endless") and values.get("horizon") is not None:
        raise naming.SpecError(
            f"{naming.shown(spec)}: what is endless has no horizon, its discount says how far it counts"
        )
    return values


def _adjusted(task: TabularPOMDP, values: dict[str, Any]) -> TabularPOMDP:
    if "horizon" in values:
        task = tabular.with_horizon(task, values["horizon"])
    if "discount" in values:
        task = tabular.with_discount(task, values["discount"])
    if values.get("seen_at_start"):
        task = tabular.seen_at_start(task)
    if values.get("observed"):
        task = tabular.observed(task)
    if values.get("endless"):
        task = endless(task)
    return wrapped_table(task, values)
