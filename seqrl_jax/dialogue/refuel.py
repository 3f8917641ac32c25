"""Regression to what two continuations of one dialogue earn apart.

    loss = E[(beta (log pi/pi_t(y|x) - log pi/pi_t(y'|x)) - (R - R'))^2]

x is a dialogue up to a turn that is drawn uniformly, y and y' two utterances there, R and R' what is earned from there
on if pi_t, who talked, goes on talking. Two continuations of one past differ by luck that has mean 0, so that luck
makes this noisy and not wrong: at the minimum beta log pi/pi_t is Q of pi_t less its mean.

Source: Gao et al. (2024), eq. 4, whose eta is 1 / beta.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Fork
from seqrl_jax.dialogue.decisions import mean_over
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.online import OnPolicy
from seqrl_jax.dialogue.reader import Outputs
from seqrl_jax.naming import require
from seqrl_jax.settings import Count, PositiveFloat, Several


@hyperparameters
class Refuel(OnPolicy):
    """Attributes: beta: in units of the update's largest return. members: two, that part at the drawn turn."""

    learning_rate: PositiveFloat = 0.003
    groups: Count = 64
    members: Several = 2
    epochs: Count = 4
    beta: PositiveFloat = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.members == 2, "continuations are compared in pairs", members=self.members)

    def chances(self, game: Game, runs: Array, key: Array) -> tuple[Array, Fork]:
        """Both of a pair follow the same chances up to a turn, and their own from there on."""
        turn = jax.random.randint(key, (self.groups,), 0, game.task.horizon)
        return jnp.repeat(runs[::2], 2), Fork(jnp.repeat(turn, 2), runs)

    def goals(self, before: Outputs, steps: Steps) -> tuple[Array, ...]:
        """[B]: what is earned from the turn on where a pair parts."""
        onward = steps.own & (steps.turn >= steps.parted)
        discount = steps.discount ** (steps.turn - steps.parted).astype(jnp.float32)
        return (jnp.sum(jnp.where(onward, discount * steps.reward, 0.0), 0),)

    def loss(self, outputs: Outputs, goals: tuple[Array, ...], steps: Steps) -> Array:
        (earned,) = goals
        here = steps.own & (steps.turn == steps.parted)
        change = self.law(outputs, steps.legal).log_prob(steps.symbol) - steps.log_prob
        said = jnp.sum(jnp.where(here, change, 0.0), 0)
        error = self.beta * (said[::2] - said[1::2]) - (earned[::2] - earned[1::2])
        # A dialogue may end before the turn that was drawn.
        return mean_over(here.any(0)[::2].astype(jnp.float32), jnp.square(error))
