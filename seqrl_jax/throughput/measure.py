"""How fast programs run: several of them in one process, alternating, cold and warm apart."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import Array, lax

from seqrl_jax.devices import first_devices
from seqrl_jax.results import provenance
from seqrl_jax.throughput.ceilings import ceilings
from seqrl_jax.throughput.work import Work, least_seconds, work_of

CACHE = 2**25
"""Bytes that the last cache of most devices holds."""


@dataclass(frozen=True)
class Program:
    """A jitted function `run(*arguments, key)`, and how many environment steps one call makes.

    batch: what stands side by side in it, on so many devices together.
    """

    run: jax.stages.Wrapped
    batch: int
    steps: int
    devices: int = 1
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """One program's times and memory. steps_per_second is that of the median warm call.

    compile_seconds: of tracing and compilation. cold_seconds: these and the first call. seconds: of each of the
    `repeats` warm calls. memory: bytes on each device of what the program reads, writes and keeps meanwhile, as the
    compiler planned; None where it does not say. work: of a call; nothing is moved where a cache holds
    all of that memory. ceilings: what its devices do in a second.
    """

    what: str
    batch: int
    devices: int
    steps_per_second: float
    compile_seconds: float
    memory: int | None
    device: str
    repeats: int
    cold_seconds: float
    seconds: list[float]
    work: Work
    ceilings: Work

    @property
    def bound(self) -> str:
        """The kind of work that takes the devices longest."""
        return least_seconds(self.work, self.ceilings)[1]

    @property
    def share(self) -> float:
        """How much of the median call the devices need for that work alone."""
        return least_seconds(self.work, self.ceilings)[0] / statistics.median(self.seconds)


def measure(programs: Mapping[str, Program], repeats: int = 7) -> list[Measurement]:
    """Compile and call each program once, then call all of them in turn, `repeats` times."""
    keys = jax.random.split(jax.random.key(0), repeats + 1)
    compiled, compilation, first, work = {}, {}, {}, {}
    for name, program in programs.items():
        began = time.perf_counter()
        traced = program.run.trace(*program.arguments, keys[0])
        compiled[name] = traced.lower().compile()
        compilation[name] = time.perf_counter() - began
        first[name] = _seconds(compiled[name], program, keys[0])
        work[name] = _beyond_caches(work_of(traced.jaxpr), planned_memory(compiled[name]), program.devices)
    warm: dict[str, list[float]] = {name: [] for name in programs}
    for key in keys[1:]:
        for name, program in programs.items():
            warm[name].append(_seconds(compiled[name], program, key))
    return [
        Measurement(
            what=name,
            batch=program.batch,
            devices=program.devices,
            steps_per_second=program.steps / statistics.median(warm[name]),
            compile_seconds=compilation[name],
            memory=planned_memory(compiled[name]),
            device=provenance.device(),
            repeats=repeats,
            cold_seconds=compilation[name] + first[name],
            seconds=warm[name],
            work=work[name],
            ceilings=ceilings(program.devices),
        )
        for name, program in programs.items()
    ]


def on_each(one: Callable[[Array], Any], devices: int) -> jax.stages.Wrapped:
    """A function of a key, jitted: as it is on one device, and on more of them with a key for each.

    Raises: ValueError, if there are fewer devices.
    """
    if devices == 1:
        return jax.jit(one)
    axis = first_devices(devices)
    return jax.jit(lambda key: jax.vmap(one)(lax.with_sharding_constraint(jax.random.split(key, devices), axis)))


def share_of(batch: int, devices: int) -> int:
    """What stands on each device. Raises: ValueError, if they would not all hold as many."""
    if batch % devices:
        raise ValueError(f"a batch of {batch} does not divide over {devices} devices")
    return batch // devices


def planned_memory(compiled: jax.stages.Compiled) -> int | None:
    """Bytes on each device of what a program reads, writes and keeps meanwhile; None where the compiler has no plan."""
    planned = compiled.memory_analysis()
    if planned is None:
        return None
    used = planned.temp_size_in_bytes + planned.argument_size_in_bytes + planned.output_size_in_bytes
    return int(used - planned.alias_size_in_bytes)


def _seconds(compiled: jax.stages.Compiled, program: Program, key: Array) -> float:
    began = time.perf_counter()
    jax.block_until_ready(compiled(*program.arguments, key))
    return time.perf_counter() - began


def _beyond_caches(work: Work, memory: int | None, devices: int) -> Work:
    # Cores share their last cache.
    sharing = devices if jax.default_backend() == "cpu" else 1
    return replace(work, moved=0.0) if memory is not None and memory * sharing < CACHE else work
