"""What a command asks of the devices."""

from __future__ import annotations

import argparse
import os
import sys

import jax

from seqrl_jax import hosts
from seqrl_jax.devices import usable_cores
from seqrl_jax.runs.programs import use_cores
from seqrl_jax.settings import AttentionKernel

AUTO = "auto"
"""A coordinator that jax finds."""


def use_every_core() -> None:
    """Let JAX see each core of a CPU that this process may use as a device of its own."""
    use_cores(usable_cores())


def require_attention(kernel: AttentionKernel) -> None:
    """Refuse a kernel that this device lacks. Raises: ValueError."""
    if kernel == "cudnn" and (here := jax.default_backend()) != "gpu":
        raise ValueError(f"--attention cudnn needs an NVIDIA device, and jax found none: it computes on {here}")


def join_processes(options: argparse.Namespace) -> None:
    """Be one of the processes that `--coordinator`, `--processes` and `--process` speak of, if they do.

    Raises: ValueError where they say too little; what `hosts.join` raises.
    """
    numbers = options.processes, options.process
    if options.coordinator in (None, AUTO):
        if numbers != (None, None):
            raise ValueError("--processes and --process need --coordinator HOST:PORT")
    elif None in numbers:
        raise ValueError("--coordinator HOST:PORT needs --processes, how many there are, and --process, which this is")
    if options.coordinator is None:
        return
    place = None if options.coordinator == AUTO else hosts.Member(options.coordinator, *numbers)
    hosts.join(place)
    _print_past_libraries()


def _print_past_libraries() -> None:
    """Leave standard output to what this program prints: gloo, which connects CPUs, writes there that it has."""
    printed = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(printed, "w", 1, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
