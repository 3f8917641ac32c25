"""How JAX is set up in a process."""

from __future__ import annotations

import contextlib
import ctypes
import os

import jax

from seqrl_jax.exact.solve import cache_directory

HOST_DEVICES = "xla_force_host_platform_device_count"
"""The flag of XLA for this, which JAX overrules by its own setting."""

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Parameters of `mallopt` (3)."""


def use_cores(count: int) -> None:
    """Let JAX see each of so many cores of a CPU as a device of its own, over which runs are spread.

    A single device runs the many small operations of a recurrent network one after another. Where the user has said how
    many, by JAX_NUM_CPU_DEVICES or by XLA_FLAGS, that counts.
    """
    if "JAX_NUM_CPU_DEVICES" in os.environ or HOST_DEVICES in os.environ.get("XLA_FLAGS", ""):
        return
    # Refused where JAX was used before: then it goes on with the devices that it has.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


def keep_compiled_programs() -> None:
    """Let later processes find what this one compiles, the small programs too: a row has many.

    Raises: OSError, where the cache cannot be written to.
    """
    directory = cache_directory()
    if directory is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(directory / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def keep_freed_memory() -> None:
    """Let this process keep the memory that a program on a CPU frees, for the program's next call.

    glibc gives large pieces back to the system at once, which clears every page of them anew when it lends them again:
    of a step that needs hundreds of MiB this is a quarter. Nothing happens where the C library knows no `mallopt`.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Only the first of its arenas, from which all threads then take, can grow as far as is needed.
        mallopt(ARENA_MAX, 1)
        for threshold in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(threshold, 2**31 - 1)
