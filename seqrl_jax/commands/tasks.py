"""What commands call a task: one of the suite, a file, or a game of dialogues, which is a task as well."""

from __future__ import annotations

from seqrl_jax.dialogue import registry as games
from seqrl_jax.tasks.registry import make
from seqrl_jax.tasks.tabular import TabularPOMDP


def named(spec: str) -> TabularPOMDP:
    """The task of this name. Raises: as `tasks.registry.make` does."""
    return games.make_game(spec).task if games.known(spec) else make(spec)
