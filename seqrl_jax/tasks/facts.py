"""What a table consists of, in words: its size, what is done in it, and what of it is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqrl_jax.tasks.tabular import TabularPOMDP, observed

NAMED = 16
"""Names that are listed; of more, these and how many others there are."""


def facts(task: TabularPOMDP) -> dict[str, str]:
    """What -> words: states, actions, observations with the states that show each, horizon, discount, and the name of
    the fully observed twin where that differs.
    """
    shown = sum(task.lists.observation, task.lists.initial_observation)
    numbers = np.bincount(shown.indices, minlength=task.num_observations)
    states = [f"{name} ({number} states)" for name, number in zip(task.observations, numbers)]
    twin = {} if task.observations == task.states else {"fully observed twin": observed(task).name}
    return {
        "states": _listed(task.states),
        "actions": _listed(task.actions),
        "what the agent sees": _listed([each.replace("(1 states)", "(1 state)") for each in states]),
        "horizon": f"{task.horizon:,} steps",
        "discount": f"{float(task.discount):g}",
        **twin,
    }


def _listed(names: Sequence[str]) -> str:
    """`3: a, b, c`."""
    more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,}: {', '.join(names[:NAMED])}{more}"
