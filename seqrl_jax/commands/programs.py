"""What a command asks of the devices."""

from __future__ import annotations

import jax

from seqrl_jax.devices import usable_cores
from seqrl_jax.runs.programs import use_cores
from seqrl_jax.settings import AttentionKernel


def use_every_core() -> None:
    """Let JAX see each core of a CPU that this process may use as a device of its own."""
    use_cores(usable_cores())


def require_attention(kernel: AttentionKernel) -> None:
    """Refuse a kernel that this device lacks. Raises: ValueError."""
    if kernel == "cudnn" and (here := jax.default_backend()) != "gpu":
        raise ValueError(f"--attention cudnn needs an NVIDIA device, and jax found none: it computes on {here}")
