"""A critic of utterances, learned off policy, and an actor of symbols that follows it.

    Q(h, u)  towards  r + gamma V'(h')               of turns (h, u, r, h') of earlier dialogues
    V(h)     towards  Q'(h, u), u ~ pi(.|h)          of the actor as it is now
    maximise sum over own symbols of min(rho A, clip(rho, 1 - eps, 1 + eps) A),   A = Q(h, u) - V(h)

Every symbol of an utterance has its utterance's advantage.

V is that of the actor, and others spoke when the dialogues were made. The paper draws a new utterance at every turn;
here the one that was said counts w = pi(u|h) / pi_then(u|h), which has the same minimum, E[w Q'] / E[w] = E_pi[Q'].
The paper's actor learns at the turns of earlier dialogues, too, from utterances that it draws there, in one step up
A log pi; here it learns from dialogues that it has just spoken, in a few clipped ones. The paper has two critics, of
which the less counts.

Source: Zhou et al. (2024), ArCHer, sec. 3, whose high level is the turn and whose low level is the symbol.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents import replay as ring
from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.actor_critic import ActorCritic, Pair, deviation
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Spoken, unspoken
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.decisions import mean_over, spread
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training
from seqrl_jax.dialogue.online import in_units, largest_return, policy_loss, steps_of
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.settings import Count, Fraction


@hyperparameters
class Archer(ActorCritic):
    """Attributes:
    remembered: updates whose dialogues the critic learns from. batch: dialogues of a step of its.
    polyak: how far the target network moves towards the current one in such a step.
    """

    remembered: Count = 16
    batch: Count = 128
    polyak: Fraction = 0.1

    def critic_heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("q", symbols), ("v", 1))

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        dialogues = unspoken(self.groups * self.members, spelling.longest)
        return super().begin(spelling, data, key)._replace(replay=ring.empty(self.remembered, dialogues))

    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Steps]:
        replay = ring.add(training.replay, made)
        unit = largest_return(replay.data.reward)
        reader, critic_reader = self.reader(spelling), self.critic(spelling)
        (actor, critic), states = training.weights, training.opt_state

        def one(carry: tuple[Any, Any, Any], key: Array) -> tuple[tuple[Any, Any, Any], None]:
            critic, target, state = carry
            drawn = ring.sample(key, replay, self.batch, 0.0, after_another=False)
            steps = in_units(steps_of(ring.read(replay, drawn.slot, drawn.env), game, spelling), unit)
            log_prob = self.law(predictions(reader, actor, steps.symbols), steps.legal).log_prob(steps.symbol)
            goals = predictions(critic_reader, target, steps.symbols)
            loss = lambda critic: self.critic_loss(
                predictions(critic_reader, critic, steps.symbols), goals, log_prob, steps
            )
            change, state = self.critic_optimiser.update(jax.grad(loss)(critic), state, critic)
            critic = optax.apply_updates(critic, change)
            return (critic, optax.incremental_update(critic, target, self.polyak), state), None

        start = (critic, training.target, states.critic)
        (critic, target, state), _ = jax.lax.scan(one, start, jax.random.split(key, self.critic_steps))
        weights, states = Pair(actor, critic), Pair(states.actor, state)
        training = training._replace(weights=weights, target=target, opt_state=states, replay=replay)
        return training, in_units(steps_of(made, game, spelling), unit)

    def critic_loss(self, outputs: Outputs, target: Outputs, log_prob: Array, steps: Steps) -> Array:
        """Args: outputs, target: of the critic and its target network. log_prob: [T, B], of what was said, by the actor
        as it is now."""
        turns, (q, v), (target_q, target_v) = steps.by_turn, of_turns(outputs, steps), of_turns(target, steps)
        following = jnp.concatenate([target_v[1:], jnp.zeros_like(target_v[:1])])
        talked = turns.talked.astype(jnp.float32)
        likelier = jnp.exp(steps.over_turn(log_prob - steps.log_prob))
        error = turns.reward + turns.onward * following - q
        return mean_over(talked, jnp.square(error)) + mean_over(talked * likelier, jnp.square(target_q - v))

    def goals(self, before: Outputs, steps: Steps) -> tuple[Array, ...]:
        """Advantages [T, B], in deviations of the update's returns."""
        q, v = of_turns(before, steps)
        return (spread(q - v, steps.own, steps.turn) / deviation(steps),)

    def loss(self, outputs: Outputs, goals: tuple[Array, ...], steps: Steps) -> Array:
        (advantage,) = goals
        return policy_loss(self.law(outputs, steps.legal), advantage, steps, self.clip, self.entropy_cost)


def of_turns(outputs: Outputs, steps: Steps) -> tuple[Array, Array]:
    """[K, B] twice: Q, read at an utterance's last own symbol, and V, read before its first."""
    q = of_action(outputs["q"], steps.symbol)
    return steps.at_turn_end(q), steps.at_turn_start(outputs["v"][..., 0])
