"""What is solved: tasks as data, and the environments that step through them."""

from seqrl_jax.tasks.build import build, chance, ends, goes, uniform
from seqrl_jax.tasks.environment import AutoReset, Box, Discrete, Environment, Transition, auto_reset
from seqrl_jax.tasks.pomdp_file import PomdpFileError, read_pomdp, write_pomdp
from seqrl_jax.tasks.registry import TASKS, describe, make
from seqrl_jax.tasks.simulator import TabularEnv, TabularParams, stack, tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, fingerprint, observed, validated

__all__ = [
    "TASKS",
    "AutoReset",
    "Box",
    "Discrete",
    "Environment",
    "PomdpFileError",
    "TabularEnv",
    "TabularPOMDP",
    "TabularParams",
    "TaskError",
    "Transition",
    "auto_reset",
    "build",
    "chance",
    "describe",
    "ends",
    "fingerprint",
    "goes",
    "make",
    "observed",
    "read_pomdp",
    "stack",
    "tabular_env",
    "tabular_params",
    "uniform",
    "validated",
    "write_pomdp",
]
