"""How many programs this process compiles while something goes on: a row compiles all of its own in its first chunk."""

from __future__ import annotations

from types import TracebackType

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"
"""What jax reports for every program that XLA compiles, or that the persistent cache gives back in its place."""


class Compilations:
    """A context that counts programs. Other threads' count, too: nothing tells them apart."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Compilations:
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        self.count += event == COMPILED
