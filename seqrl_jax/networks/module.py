"""What all networks are: flax modules whose settings have domains."""

from __future__ import annotations

from typing import Any, TypeAlias

import flax.linen as nn

from seqrl_jax.naming import check

Weights: TypeAlias = Any
"""The variables of a flax module, a pytree of arrays, as `init` returns and `apply` takes them."""
Carry: TypeAlias = Any
"""What a network hands from one step to the next, a pytree of arrays [B, ...]."""


class Module(nn.Module):
    """A flax module whose fields are checked where it is made, and none of whose variables is mutable."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self)

    @nn.nowrap
    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """flax's. As no variable is mutable it returns the output alone, which its own type leaves open."""
        return super().apply(*args, **kwargs)
