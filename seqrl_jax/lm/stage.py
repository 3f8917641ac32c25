"""Training in stages: a state that so many updates change, which may stop after any of them and go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.module import Weights


class Aligning(NamedTuple):
    """What stages hand on: the weights of pi_0 and of the policy, and from stages that made them, what was ranked so
    far and the reward model (`labels.Rankings`, `reward_model.Fitted`; None before)."""

    reference: Weights
    weights: Weights
    rankings: Any = None
    fitted: Any = None


@dataclass(frozen=True)
class Stage:
    """A part of a method's training; its functions are pure, for `jit` and `vmap`.

    updates: how many. begin: (key, aligning) -> (aligning, state, the key of the updates).
    update: (aligning, state, key) -> (state, metrics). end: (aligning, state) -> aligning.
    """

    updates: int
    begin: Callable[[Array, Aligning], tuple[Aligning, Any, Array]]
    update: Callable[[Aligning, Any, Array], tuple[Any, Any]]
    end: Callable[[Aligning, Any], Aligning]


class Running(NamedTuple):
    """A stage under way: what it was handed, its state, the key of its updates, and how many are done."""

    aligning: Aligning
    state: Any
    key: Array
    done: Array


def begin(stage: Stage, key: Array, aligning: Aligning) -> Running:
    """The stage before its first update."""
    return Running(*stage.begin(key, aligning), jnp.int32(0))


def advance(stage: Stage, running: Running, updates: Array | int) -> Running:
    """So many updates later. How many is an argument, so that chunks of different lengths are one program."""
    return jax.lax.fori_loop(0, updates, lambda _, running: _update(stage, running)[0], running)


def end(stage: Stage, running: Running) -> Aligning:
    """What the stage hands on."""
    return stage.end(running.aligning, running.state)


def run(stage: Stage, key: Array, aligning: Aligning) -> tuple[Aligning, Any]:
    """The whole stage: what it hands on, and its metrics [updates]."""
    running, metrics = jax.lax.scan(
        lambda running, _: _update(stage, running), begin(stage, key, aligning), length=stage.updates
    )
    return end(stage, running), metrics


def run_all(stages: Sequence[Stage], key: Array, aligning: Aligning) -> Aligning:
    """One stage after another, each with a key of its own."""
    for number, stage in enumerate(stages):
        aligning, _ = run(stage, key_of_stage(key, number), aligning)
    return aligning


def key_of_stage(key: Array, number: int) -> Array:
    """The key of a run's stage of this number."""
    return jax.random.fold_in(key, number)


def _update(stage: Stage, running: Running) -> tuple[Running, Any]:
    key = jax.random.fold_in(running.key, running.done)
    state, metrics = stage.update(running.aligning, running.state, key)
    return running._replace(state=state, done=running.done + 1), metrics
