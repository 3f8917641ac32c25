"""Wrappers: another task each. What an agent is shown, and whether it is obeyed, changes what it can do.

Of a table a wrapper makes a table, with certified values of its own (`flicker`); of any other environment it makes an
environment, of which nothing is proved (`flicker_env`). Each form refuses what the other one wraps. What a wrapper
remembers never crosses an episode's beginning.
"""

from seqrl_jax.tasks.wrappers.delay import delay, delay_env
from seqrl_jax.tasks.wrappers.flicker import flicker, flicker_env
from seqrl_jax.tasks.wrappers.frame_stack import frame_stack, frame_stack_env
from seqrl_jax.tasks.wrappers.mask import mask_env
from seqrl_jax.tasks.wrappers.noise import noise_env
from seqrl_jax.tasks.wrappers.normalise import normalise_env
from seqrl_jax.tasks.wrappers.registry import WRAPPERS
from seqrl_jax.tasks.wrappers.shown import (
    previous_action,
    previous_action_env,
    previous_reward,
    previous_reward_env,
    with_time,
)
from seqrl_jax.tasks.wrappers.sticky import sticky, sticky_env

__all__ = [
    "WRAPPERS",
    "delay",
    "delay_env",
    "flicker",
    "flicker_env",
    "frame_stack",
    "frame_stack_env",
    "mask_env",
    "noise_env",
    "normalise_env",
    "previous_action",
    "previous_action_env",
    "previous_reward",
    "previous_reward_env",
    "sticky",
    "sticky_env",
    "with_time",
]
