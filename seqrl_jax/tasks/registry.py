"""The tasks by name. A new tabular task is one function and one line here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seqrl_jax import naming
from seqrl_jax.descriptions import Description, described
from seqrl_jax.settings import Discount, Horizon
from seqrl_jax.tasks import doors, lines, market, mazes, memory, rocks, tabular, tiger, traffic, wrappers
from seqrl_jax.tasks.pomdp_file import read_pomdp
from seqrl_jax.tasks.tabular import TabularPOMDP

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
COMMON_KEYS: dict[str, Any] = {"horizon": Horizon, "discount": Discount, "seen_at_start": bool, "observed": bool}
SHOWN: dict[str, Callable[[TabularPOMDP], TabularPOMDP]] = {
    "time": wrappers.with_time,
    "previous_reward": wrappers.previous_reward,
    "previous_action": wrappers.previous_action,
}
COMMON_KEYS |= dict.fromkeys(SHOWN, bool)


def make(spec: str) -> TabularPOMDP:
    """The task that `spec` names: `NAME`, `NAME:key=value,...` or the path of a `.POMDP` file (settings may follow).

    Every task takes beside its own keys, applied in this order: `horizon`, `discount`, `seen_at_start=true` (o_0 drawn
    like every other observation), `observed=true` (its fully observed twin), `time=true`, `previous_reward=true`,
    `previous_action=true` (shown with the observation).

    Raises:
        SpecError: unknown name, key or value. PomdpFileError: a malformed file. TaskError: no task can be built.
    """
    file = FILE.fullmatch(spec)
    if file:
        settings = {} if file["settings"] is None else naming.read_settings(spec, file["settings"])
        values = naming.arguments(spec, settings, COMMON_KEYS)
        return _adjusted(read_pomdp(file["path"], values.pop("horizon", None)), values)
    name, settings = naming.parse(spec)
    function = naming.lookup("task", name, TASKS)
    own = naming.settable(function)
    values = naming.arguments(spec, settings, {**COMMON_KEYS, **own})
    task = naming.made(spec, lambda: function(**{key: value for key, value in values.items() if key in own}))
    return replace(_adjusted(task, {key: value for key, value in values.items() if key not in own}), name=spec)


def task_settings(name: str) -> list[naming.Setting]:
    """What can be set of a task: its own keys and those of every task. Raises SpecError for an unknown name."""
    own = naming.describe_settings(naming.lookup("task", name, TASKS))
    known = {setting.key for setting in own}
    common = {key: domain for key, domain in COMMON_KEYS.items() if key not in known}
    default = lambda domain: "false" if domain is bool else "the task's own"
    return [*own, *(naming.Setting(key, naming.in_words(domain), default(domain)) for key, domain in common.items())]


def describe(name: str) -> Description:
    """What the task says of itself. Raises SpecError for an unknown name."""
    return described(naming.lookup("task", name, TASKS))


def _adjusted(task: TabularPOMDP, values: dict[str, Any]) -> TabularPOMDP:
    if "horizon" in values:
        task = tabular.with_horizon(task, values["horizon"])
    if "discount" in values:
        task = tabular.with_discount(task, values["discount"])
    if values.get("seen_at_start"):
        task = tabular.seen_at_start(task)
    if values.get("observed"):
        task = tabular.observed(task)
    for key, shown in SHOWN.items():
        task = shown(task) if values.get(key) else task
    return task
