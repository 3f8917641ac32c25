"""Policy iteration by talking: a round of dialogues, what they say of Q, and PPO of single turns whose reward it is.

    Q(h, u), V(h)  towards  what was earned from there on,   of dialogues that the actor has just spoken

Then the actor learns at their turns, by what it says there anew and in clipped epochs (see `utterance_critic`): to
improve single turns by Q of who talked is a step of policy iteration for whole dialogues.

Source: Jiang et al. (2025), "Aligning LLMs toward multi-turn conversational outcomes using iterative PPO". Nothing but
the clip holds the actor to who talked.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Spoken
from seqrl_jax.dialogue.decisions import mean_over, return_to_go
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training
from seqrl_jax.dialogue.online import descended, in_units, largest_return, steps_of
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.utterance_critic import Pair, UtteranceCritic, of_turns
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.settings import Count


@hyperparameters
class IterativePPO(UtteranceCritic):
    """Attributes: see `UtteranceCritic`. An update is a round."""

    updates: Count = 100
    groups: Count = 128
    critic_steps: Count = 32
    draws: Count = 8
    epochs: Count = 2

    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Spoken]:
        steps = in_units(steps_of(made, game, spelling), largest_return(made.reward))
        reader = self.critic(spelling)
        loss = lambda critic: self.critic_loss(predictions(reader, critic, steps.symbols), steps)
        (actor, critic), (actor_state, state) = training.weights, training.opt_state
        critic, state = descended(self.critic_optimiser, loss, critic, state, self.critic_steps)
        weights, states = Pair(actor, critic), Pair(actor_state, state)
        return training._replace(weights=weights, target=critic, opt_state=states), made

    def critic_loss(self, outputs: Outputs, steps: Steps) -> Array:
        """Args: outputs: the critic's. steps: rewards in units."""
        turns, (q, v) = steps.by_turn, of_turns(outputs, steps)
        earned = return_to_go(turns.reward, turns.onward, turns.talked)
        return mean_over(turns.talked.astype(jnp.float32), jnp.square(q - earned) + jnp.square(v - earned))
