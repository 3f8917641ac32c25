"""How fast programs run: several of them in one process, alternating, cold and warm apart."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.results import provenance
from seqrl_jax.tasks.environment import Environment, auto_reset, num_actions


@dataclass(frozen=True)
class Program:
    """A jitted function of a key, and how many environment steps one call makes with how many environments."""

    run: Callable[[Array], Any]
    batch: int
    steps: int


@dataclass(frozen=True)
class Measurement:
    """One program's times. steps_per_second is that of the median warm call; compile_seconds is the first call's
    excess over it. cold_seconds: the first call, compilation included; seconds: each of the `repeats` warm calls."""

    what: str
    batch: int
    steps_per_second: float
    compile_seconds: float
    device: str
    repeats: int
    cold_seconds: float
    seconds: list[float]


def measure(programs: Mapping[str, Program], repeats: int = 7) -> list[Measurement]:
    """Time the programs: each once cold, then all of them in turn, `repeats` times."""
    keys = jax.random.split(jax.random.key(0), repeats + 1)
    cold = {name: _seconds(program, keys[0]) for name, program in programs.items()}
    warm: dict[str, list[float]] = {name: [] for name in programs}
    for key in keys[1:]:
        for name, program in programs.items():
            warm[name].append(_seconds(program, key))
    return [
        Measurement(
            what=name,
            batch=program.batch,
            steps_per_second=program.steps / statistics.median(warm[name]),
            compile_seconds=max(0.0, cold[name] - statistics.median(warm[name])),
            device=provenance.device(),
            repeats=repeats,
            cold_seconds=cold[name],
            seconds=warm[name],
        )
        for name, program in programs.items()
    ]


def random_policy_rollout(env: Environment, params: Any, batch: int, steps: int) -> Program:
    """`steps` steps of `batch` environments under uniformly random actions, starting again when an episode ends."""
    restarting = auto_reset(env)

    def reset(keys: Array) -> tuple[Array, Any]:
        return jax.vmap(restarting.reset, in_axes=(0, None))(keys, params)

    def step(keys: Array, state: Any, action: Array) -> tuple[Array, Any, Array]:
        after = jax.vmap(restarting.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
        return after.obs, after.state, after.reward

    return rollout(reset, step, num_actions(env), batch, steps)


def rollout(
    reset: Callable[[Array], tuple[Array, Any]],
    step: Callable[[Array, Any, Array], tuple[Array, Any, Array]],
    num_actions: int,
    batch: int,
    steps: int,
) -> Program:
    """The loop that every environment is measured in.

    Args: reset: keys [B] -> (obs, state). step: (keys [B], state, actions [B]) -> (obs, state, reward [B]).
    Returns: a program whose result depends on every observation and reward, so that none of them is optimised away.
    """

    def one(carry: tuple[Any, Array], key: Array) -> tuple[tuple[Any, Array], None]:
        state, total = carry
        act_key, env_key = jax.random.split(key)
        action = (jax.random.uniform(act_key, (batch,)) * num_actions).astype(jnp.int32)
        obs, state, reward = step(jax.random.split(env_key, batch), state, action)
        return (state, total + reward.sum() + obs.sum().astype(jnp.float32)), None

    @jax.jit
    def run(key: Array) -> Array:
        reset_key, run_key = jax.random.split(key)
        obs, state = reset(jax.random.split(reset_key, batch))
        start = (state, obs.sum().astype(jnp.float32))
        return jax.lax.scan(one, start, jax.random.split(run_key, steps))[0][1]

    return Program(run, batch, batch * steps)


def _seconds(program: Program, key: Array) -> float:
    began = time.perf_counter()
    jax.block_until_ready(program.run(key))
    return time.perf_counter() - began
