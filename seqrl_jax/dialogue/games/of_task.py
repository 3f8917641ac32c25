"""A tabular task as a game: its actions are what is said, its observations what is replied.

So what is learned from logs is learned from those of any POMDP, by the same methods, beside the same exact values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqrl_jax.dialogue.game import Game, Speaker, checked
from seqrl_jax.exact.state import state_values
from seqrl_jax.tasks.tabular import TabularPOMDP


def of_task(task: TabularPOMDP, expert: float) -> Game:
    """The logs act at random, and with probability `expert` as one who takes all doubt to end with the next step.

    The expert is Q-MDP with the whole horizon to go: it never pays for information, which only random steps bring, so
    that the best behaviour has to be put together. Every name becomes one word.

    Source of Q-MDP: Littman, Cassandra & Kaelbling (1995).
    """
    values, _ = state_values(task)
    onward = np.stack([law @ values[1] for law in task.transition])
    merit = (task.kernel.reward + task.discount * onward).T
    nothing = 0.0 * merit
    return checked(
        Game(
            replace(
                task,
                actions=tuple(f"do-{_word(name)}" for name in task.actions),
                observations=tuple(f"see-{_word(name)}" for name in task.observations),
                blank=None,
            ),
            (Speaker(expert, merit), Speaker(1 - expert, nothing)),
        )
    )


def _word(name: str) -> str:
    return "-".join(name.replace("_", " ").split())
