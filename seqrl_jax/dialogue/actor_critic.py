"""An actor that talks, and a critic that is a network of its own: first the critic learns what the actor's talk is
worth, then the actor follows it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Spoken, Talker
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training, falling_adam
from seqrl_jax.dialogue.online import Talks, descended
from seqrl_jax.dialogue.reader import Reader, first_weights, predictions
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat, Weight

LEAST_DEVIATION = 0.01
"""In units of the largest return: where all dialogues earn the same, what is left are the critic's errors."""


class Pair(NamedTuple):
    """What an actor and its critic have each."""

    actor: Any
    critic: Any


@hyperparameters
class ActorCritic(Talks):
    """Weights and optimisers' states are `Pair`s; a target network is the critic's.

    Attributes:
        critic_steps: gradient steps of the critic in an update; those of the actor are its `epochs`.
        clip: eps of the actor's surrogate. entropy_cost: its weight in the actor's loss.
    """

    epochs: Count = 4
    critic_steps: Count = 8
    clip: PositiveFloat = 0.2
    entropy_cost: Weight = 0.05

    @abstractmethod
    def critic_heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        """Names and sizes of what the critic says of the next symbol."""

    @abstractmethod
    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Steps]:
        """What is left to do before the actor learns: the critic, after it has learned from dialogues [B, T] that were
        just spoken, and these as the actor learns from them."""

    def critic(self, spelling: Spelling) -> Reader:
        """The network that the critic is."""
        return self.reader(spelling).clone(heads=self.critic_heads(spelling.num_symbols))

    @property
    def critic_optimiser(self) -> optax.GradientTransformation:
        return falling_adam(self.learning_rate, self.updates * self.critic_steps)

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
        key, talk_key, critic_key = jax.random.split(training.key, 3)
        made, _ = self.talked(game, spelling, training.weights, talk_key)
        training, steps = self.evaluated(game, spelling, made, training, critic_key)
        reader, weights, states = self.reader(spelling), training.weights, training.opt_state
        outputs = lambda actor: predictions(reader, actor, steps.symbols)
        judged = predictions(self.critic(spelling), weights.critic, steps.symbols)
        goals = self.goals(outputs(weights.actor) | judged, steps)
        loss = lambda actor: self.loss(outputs(actor), goals, steps)
        actor, state = descended(self.optimiser, loss, weights.actor, states.actor, self.epochs)
        training = training._replace(
            weights=weights._replace(actor=actor), opt_state=states._replace(actor=state), key=key
        )
        return training, {"return": made.reward.sum(1).mean()}


def deviation(steps: Steps) -> Array:
    """A scalar: of the returns of these dialogues."""
    return jnp.maximum(jnp.std(steps.reward.sum(0)), LEAST_DEVIATION)
