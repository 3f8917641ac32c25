"""The wrappers as settings, `NAME:flicker=0.3`: of tables, and of any other environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seqrl_jax import naming
from seqrl_jax.settings import Delay, Depth, Probability, Weight
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.delay import delay, delay_env
from seqrl_jax.tasks.wrappers.flicker import flicker, flicker_env
from seqrl_jax.tasks.wrappers.frame_stack import frame_stack, frame_stack_env
from seqrl_jax.tasks.wrappers.mask import ALL, Components, mask_env, numbers
from seqrl_jax.tasks.wrappers.noise import noise_env
from seqrl_jax.tasks.wrappers.normalise import RandomSteps, normalise_env
from seqrl_jax.tasks.wrappers.shown import (
    previous_action,
    previous_action_env,
    previous_reward,
    previous_reward_env,
    with_time,
)
from seqrl_jax.tasks.wrappers.sticky import sticky, sticky_env


@dataclass(frozen=True)
class Key:
    """A wrapper as a setting.

    domain: of its value. neutral: the value that changes nothing. of_table, of_environment: what wraps one, given the
    value; None where the wrapper has no such form.
    """

    domain: Any
    neutral: bool | int | float | str
    of_table: Callable[[TabularPOMDP, Any], TabularPOMDP] | None = None
    of_environment: Callable[[Ready, Any], Ready] | None = None


WRAPPERS: Mapping[str, Key] = {
    "mask": Key(Components, ALL, None, lambda ready, shown: mask_env(ready, numbers(shown))),
    "noise": Key(Weight, 0.0, None, noise_env),
    "sticky": Key(Probability, 0.0, sticky, sticky_env),
    # Behind all that random play is like, so that this is what is measured and noise keeps its units; before whatever
    # may show a blank, which is zeros.
    "normalise": Key(RandomSteps, 0, None, normalise_env),
    "delay": Key(Delay, 0, delay, delay_env),
    "flicker": Key(Probability, 0.0, flicker, flicker_env),
    "frame_stack": Key(Depth, 1, frame_stack, frame_stack_env),
    "time": Key(bool, False, lambda task, _: with_time(task)),
    "previous_reward": Key(
        bool, False, lambda task, _: previous_reward(task), lambda ready, _: previous_reward_env(ready)
    ),
    "previous_action": Key(
        bool, False, lambda task, _: previous_action(task), lambda ready, _: previous_action_env(ready)
    ),
}
"""In the order in which they are applied. A new one is one module and one line here."""
TABLE_WRAPPERS = {name: key.domain for name, key in WRAPPERS.items() if key.of_table}
ENVIRONMENT_WRAPPERS = {name: key.domain for name, key in WRAPPERS.items() if key.of_environment}
"""The domains of those that have this form."""


def wrapped_table(task: TabularPOMDP, values: Mapping[str, Any]) -> TabularPOMDP:
    """The task in the wrappers among `values`. Raises: TaskError where it becomes too large."""
    for name, key in WRAPPERS.items():
        if key.of_table and values.get(name, key.neutral) != key.neutral:
            task = key.of_table(task, values[name])
    return task


def wrapped_environment(ready: Ready, values: Mapping[str, Any]) -> Ready:
    """The environment in the wrappers among `values`; nothing is proved of a wrapped one.

    Raises: SpecError for a wrapper that its observations do not allow.
    """
    for name, key in WRAPPERS.items():
        if key.of_environment and values.get(name, key.neutral) != key.neutral:
            ready = key.of_environment(ready, values[name])
    return ready


def wrapper_settings(names: Mapping[str, Any]) -> list[naming.Setting]:
    """These wrappers as settings are listed."""
    default = {name: str(WRAPPERS[name].neutral).lower() for name in names}
    return [naming.Setting(name, naming.in_words(domain), default[name]) for name, domain in names.items()]
