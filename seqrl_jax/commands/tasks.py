"""What commands call a task: one of the suite, a file, or a game of dialogues, which is a task as well."""

from __future__ import annotations

from seqrl_jax import naming
from seqrl_jax.dialogue import registry as games
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.games.of_task import of_task
from seqrl_jax.tasks import tabular
from seqrl_jax.tasks.environments import table
from seqrl_jax.tasks.tabular import TabularPOMDP


def named(spec: str, horizon: int | None = None, discount: float | None = None) -> TabularPOMDP:
    """The task of this name. horizon, discount: in place of those in the name, so that wrappers come after them.

    Raises: as `tasks.registry.make` does.
    """
    settings = {"horizon": horizon, "discount": discount}
    if not games.known(spec):
        for key, value in settings.items():
            spec = spec if value is None else naming.with_setting(spec, key, value)
        return table(spec)
    task = games.make_game(spec).task
    task = task if horizon is None else tabular.with_horizon(task, horizon)
    return task if discount is None else tabular.with_discount(task, discount)


def as_game(spec: str) -> Game:
    """A game, or the task of this name as it is learned from logs. Raises: as `named`."""
    return games.make_game(spec) if games.known(spec) else of_task(named(spec), games.SHARE)
