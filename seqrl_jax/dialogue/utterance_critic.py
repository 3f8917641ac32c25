"""An actor of symbols that follows a critic of utterances, a network of its own.

    maximise sum over own symbols of min(rho A, clip(rho, 1 - eps, 1 + eps) A),   A = Q(h, u) - V(h)

rho is pi / pi_old. The critic reads Q behind an utterance's last symbol and V before its first; A is that of all its
symbols. h are turns of dialogues that were had, u is what pi_old, the actor before these epochs, says there. So the
actor improves single turns whose reward is Q, and whole dialogues as far as Q is its own. In the first epoch rho is 1:
a step up A log pi.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.advantages import Steps, normalised
from seqrl_jax.dialogue.answers import answers
from seqrl_jax.dialogue.conversation import Spoken, Talker
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.decisions import spread
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training, falling_adam
from seqrl_jax.dialogue.online import Talks, descended, policy_loss, steps_of
from seqrl_jax.dialogue.reader import Outputs, Reader, first_weights, predictions
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat, Weight


class Pair(NamedTuple):
    """What an actor and its critic have each."""

    actor: Any
    critic: Any


@hyperparameters
class UtteranceCritic(Talks):
    """What methods share that talk, and whose actor follows a critic of utterances.

    Weights and optimisers' states are `Pair`s; a target network is the critic's.

    Attributes:
        critic_steps: gradient steps of the critic in an update.
        draws: how often in an update the actor says anew what it learns from, as many utterances as there are dialogues
            in an update. epochs: its steps on each draw.
        clip: eps. entropy_cost: its weight in the actor's loss.
    """

    epochs: Count = 1
    critic_steps: Count = 8
    draws: Count = 4
    clip: PositiveFloat = 0.2
    entropy_cost: Weight = 0.1

    @abstractmethod
    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Spoken]:
        """The training after the critic has learned from dialogues [B, T] that were just spoken, and the dialogues at
        whose turns the actor learns."""

    @property
    def gradient_steps(self) -> int:
        return self.updates * self.draws * self.epochs

    @property
    def critic_optimiser(self) -> optax.GradientTransformation:
        return falling_adam(self.learning_rate, self.updates * self.critic_steps)

    def critic(self, spelling: Spelling) -> Reader:
        """The network that the critic is."""
        return self.reader(spelling).clone(heads=(("q", spelling.num_symbols), ("v", 1)))

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        actor = super().begin(spelling, data, key)
        key, critic_key = jax.random.split(actor.key)
        critic = first_weights(self.critic(spelling), critic_key)
        states = Pair(actor.opt_state, self.critic_optimiser.init(critic))
        return Training(Pair(actor.weights, critic), critic, states, key)

    def talker(self, spelling: Spelling, weights: Weights) -> Talker:
        return super().talker(spelling, weights.actor)

    def update(
        self, game: Game, spelling: Spelling, data: Data, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        key, talk_key, critic_key, actor_key = jax.random.split(training.key, 4)
        made, _ = self.talked(game, spelling, training.weights, talk_key)
        training, past = self.evaluated(game, spelling, made, training._replace(key=key), critic_key)
        training = self.improved(game, spelling, past, training, actor_key)
        return training, {"return": made.reward.sum(1).mean()}

    def improved(self, game: Game, spelling: Spelling, past: Spoken, training: Training, key: Array) -> Training:
        """The training after the actor has learned at turns of dialogues [B, T]."""
        reader, critic_reader = self.reader(spelling), self.critic(spelling)

        def one(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            weights, state = carry
            made = answers(past, self.groups * self.members, spelling, self.talker(spelling, weights), key)
            steps = steps_of(made, game, spelling)
            advantage = self.advantage(predictions(critic_reader, weights.critic, steps.symbols), steps)
            loss = lambda actor: self.actor_loss(predictions(reader, actor, steps.symbols), advantage, steps)
            actor, state = descended(self.optimiser, loss, weights.actor, state, self.epochs)
            return (weights._replace(actor=actor), state), None

        start = (training.weights, training.opt_state.actor)
        (weights, state), _ = jax.lax.scan(one, start, jax.random.split(key, self.draws))
        return training._replace(weights=weights, opt_state=training.opt_state._replace(actor=state))

    def advantage(self, outputs: Outputs, steps: Steps) -> Array:
        """[T, B]: Q - V of its utterance at every own symbol, with mean 0 and deviation 1. Args: outputs: the
        critic's."""
        q, v = of_turns(outputs, steps)
        return normalised(spread(q - v, steps.own, steps.turn), steps.own)

    def actor_loss(self, outputs: Outputs, advantage: Array, steps: Steps) -> Array:
        """Args: outputs: the actor's. advantage: [T, B]."""
        return policy_loss(self.law(outputs, steps.legal), advantage, steps, self.clip, self.entropy_cost)


def of_turns(outputs: Outputs, steps: Steps) -> tuple[Array, Array]:
    """[K, B] twice: Q, read behind an utterance's last own symbol, and V, read before its first."""
    q = of_action(outputs["q"], steps.symbol)
    return steps.at_turn_end(q), steps.at_turn_start(outputs["v"][..., 0])
