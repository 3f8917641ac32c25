"""Policy iteration by talking: Q of who talked, and then PPO of single turns whose reward it is.

    Q(h, a)  towards  what was earned from there on,   of dialogues that pi_old has just spoken
    maximise sum over own places of E_{a ~ pi_old}[min(rho A, clip(rho, 1 - eps, 1 + eps) A)],   rho = pi / pi_old,
    A = Q(h, a) - E_{a' ~ pi_old} Q(h, a')

To improve the reward Q(h, u) of single turns is to improve whole dialogues, as far as Q is that of who talked.

The paper's reward is that of a whole utterance, said anew at a history that was visited. Here nothing is drawn: a is
the next symbol, and all that may be said are weighed (Allen et al., 2017). In the view of words Q of a word is the mean
of Q(h, u) over how pi_old would go on, so that over an utterance's words A adds up to Q(h, u) - V(h): in the mean this
is the same policy gradient, with less noise.

Source: Jiang et al. (2025), "Aligning LLMs toward multi-turn conversational outcomes using iterative PPO".
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.ppo import clipped_surrogate
from seqrl_jax.dialogue.actor_critic import ActorCritic, Pair, deviation
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Spoken
from seqrl_jax.dialogue.decisions import mean_over, return_to_go
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training
from seqrl_jax.dialogue.online import descended, in_units, largest_return, steps_of
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.views import Spelling


@hyperparameters
class IterativePPO(ActorCritic):
    """Attributes: see `ActorCritic`."""

    def critic_heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("q", symbols),)

    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Steps]:
        steps = in_units(steps_of(made, game, spelling), largest_return(made.reward))
        reader = self.critic(spelling)
        loss = lambda critic: self.critic_loss(predictions(reader, critic, steps.symbols), steps)
        (actor, critic), states = training.weights, training.opt_state
        critic, state = descended(self.critic_optimiser, loss, critic, states.critic, self.critic_steps)
        return training._replace(weights=Pair(actor, critic), opt_state=Pair(states.actor, state)), steps

    def critic_loss(self, outputs: Outputs, steps: Steps) -> Array:
        """Args: outputs: of the critic."""
        earned = return_to_go(steps.reward, steps.onward, steps.own)
        return mean_over(steps.own.astype(jnp.float32), jnp.square(of_action(outputs["q"], steps.symbol) - earned))

    def goals(self, before: Outputs, steps: Steps) -> tuple[Array, ...]:
        """[T, B, V] twice: log pi_old, and A in deviations of the update's returns."""
        old = self.law(before, steps.legal).logits
        advantage = before["q"] - jnp.sum(jnp.exp(old) * before["q"], -1, keepdims=True)
        return old, advantage / deviation(steps)

    def loss(self, outputs: Outputs, goals: tuple[Array, ...], steps: Steps) -> Array:
        old, advantage = goals
        law = self.law(outputs, steps.legal)
        surrogate = jnp.sum(jnp.exp(old) * clipped_surrogate(law.logits - old, advantage, self.clip), -1)
        return -mean_over(steps.own.astype(jnp.float32), surrogate + self.entropy_cost * law.entropy())
