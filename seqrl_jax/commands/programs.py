"""How JAX is set up for a command."""

from __future__ import annotations

import contextlib

import jax

from seqrl_jax.devices import usable_cores
from seqrl_jax.exact.solve import cache_directory
from seqrl_jax.settings import AttentionKernel


def use_every_core() -> None:
    """Let JAX see each core of a CPU as a device of its own, over which runs are spread.

    A single device runs the many small operations of a recurrent network one after another.
    """
    see_devices(usable_cores())


def see_devices(count: int) -> None:
    """Let JAX see the CPU as so many devices. Where JAX was used before, it goes on with the devices that it has."""
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


def require_attention(kernel: AttentionKernel) -> None:
    """Refuse a kernel that this device lacks. Raises: ValueError."""
    if kernel == "cudnn" and (here := jax.default_backend()) != "gpu":
        raise ValueError(f"--attention cudnn needs an NVIDIA device, and jax found none: it computes on {here}")


def keep_compiled_programs() -> None:
    """Let later commands find what this one compiles, the small programs too: a row has many."""
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
