"""How JAX is set up in a process."""

from __future__ import annotations

import contextlib
import os

import jax

from seqrl_jax.exact.solve import cache_directory


def use_cores(count: int) -> None:
    """Let JAX see each of so many cores of a CPU as a device of its own, over which runs are spread.

    A single device runs the many small operations of a recurrent network one after another. Where the variable that
    JAX has for this, JAX_NUM_CPU_DEVICES, is set, it says how many.
    """
    if "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    # Refused where JAX was used before: then it goes on with the devices that it has.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


def keep_compiled_programs() -> None:
    """Let later processes find what this one compiles, the small programs too: a row has many."""
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
