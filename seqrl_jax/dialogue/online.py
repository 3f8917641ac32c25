"""Learning to speak by talking: policy gradients over dialogues with the user.

    maximise sum over own symbols of min(rho A, clip(rho, 1 - eps, 1 + eps) A),    rho = pi / pi_old

What the user says is read, and is no decision (see `decisions`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.ppo import clipped_surrogate
from seqrl_jax.dialogue.advantages import AdvantageField, LearnedValue, LeaveOneOut, Steps, normalised
from seqrl_jax.dialogue.conversation import Fork, Spoken, converse
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.decisions import mean_over
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method, Training, Updates
from seqrl_jax.dialogue.pretraining import imitated
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.distributions import Categorical
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat, Several, Weight

IMITATED_AT_ONCE = 64
"""Dialogues in an update of pretraining."""


@hyperparameters
class Talks(Method):
    """What methods share that talk with the user themselves.

    Attributes:
        groups, members: dialogues of an update: so many openings, each talked through by so many.
        epochs: passes over an update's dialogues.
        pretraining: updates of imitation of a log, before the first dialogue.
    """

    learning_rate: PositiveFloat = 0.01
    updates: Count = 400
    groups: Count = 32
    members: Several = 4
    epochs: Count = 2
    pretraining: Updates = 0

    @property
    def reads_logs(self) -> bool:
        return self.pretraining > 0

    @property
    def gradient_steps(self) -> int:
        return self.updates * self.epochs

    def dialogues(self, logged: int) -> int:
        return self.updates * self.groups * self.members + logged * self.reads_logs

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        training = super().begin(spelling, data, key)
        return imitated(self, spelling, data, training, self.pretraining, IMITATED_AT_ONCE)

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("policy", symbols),)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)

    def talked(self, game: Game, spelling: Spelling, weights: Weights, key: Array) -> tuple[Spoken, Array]:
        """The dialogues [B, T] of an update, and the turns [B] from which they follow chances of their own. The members
        of a group stand together, and begin with the same user."""
        begin_key, run_key, fork_key = jax.random.split(key, 3)
        talker = self.talker(spelling, weights)
        begins = jnp.repeat(jax.random.split(begin_key, self.groups), self.members)
        runs = jax.random.split(run_key, self.groups * self.members)
        runs, fork = self.chances(game, runs, fork_key)
        one = lambda begin, run, fork: converse(begin, run, game, spelling, talker, fork)
        parted = jnp.zeros(len(runs), jnp.int32) if fork is None else fork.turn
        return jax.vmap(one)(begins, runs, fork), parted

    def chances(self, game: Game, runs: Array, key: Array) -> tuple[Array, Fork | None]:
        """What the dialogues [groups * members] follow from, each from its own key."""
        return runs, None


def steps_of(made: Spoken, game: Game, spelling: Spelling) -> Steps:
    """Dialogues [B, T] as they are learned from, each of chances of its own."""
    symbol, own = made.symbol.T, made.own.T
    ends_turn = own & ~jnp.concatenate([own[1:], jnp.zeros_like(own[:1])])
    last = jnp.where(own, made.turn.T, -1).max(0)
    onward = jnp.where(ends_turn, jnp.where(last > made.turn.T, game.task.discount, 0.0), 1.0)
    later = lambda array: array.T[1:]
    return Steps(
        symbols=symbol,
        symbol=symbol[1:],
        own=own[1:],
        legal=jnp.asarray(spelling.legal)[later(made.node)],
        reward=later(made.reward),
        onward=jnp.where(own, onward, 0.0)[1:],
        log_prob=later(made.log_prob),
        turn=later(made.turn),
        parted=jnp.zeros(len(made.symbol), jnp.int32),
        discount=game.task.discount,
        turns=game.task.horizon,
    )


def largest_return(reward: Array) -> Array:
    """A scalar: the largest |return| of dialogues [..., T], the unit of what is learned from them."""
    return jnp.maximum(jnp.max(jnp.abs(reward.sum(-1))), 1e-6)


def in_units(steps: Steps, unit: Array) -> Steps:
    """The same with rewards in such units."""
    return steps._replace(reward=steps.reward / unit)


def policy_loss(
    law: Categorical, advantage: Array, steps: Steps, clip: Array | float, entropy_cost: Array | float
) -> Array:
    """Minus the clipped surrogate of what was said and of its entropy. Args: law: [T, B]. advantage: [T, B]."""
    own = steps.own.astype(jnp.float32)
    surrogate = clipped_surrogate(law.log_prob(steps.symbol) - steps.log_prob, advantage, clip)
    return -mean_over(own, surrogate) - entropy_cost * mean_over(own, law.entropy())


def descended(
    optimiser: optax.GradientTransformation,
    loss: Callable[[Weights], Array],
    weights: Weights,
    opt_state: optax.OptState,
    steps: int,
) -> tuple[Weights, optax.OptState]:
    """So many steps down one loss."""

    def one(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        weights, opt_state = carry
        change, opt_state = optimiser.update(jax.grad(loss)(weights), opt_state, weights)
        return (optax.apply_updates(weights, change), opt_state), None

    return jax.lax.scan(one, (weights, opt_state), length=steps)[0]


@hyperparameters
class OnPolicy(Talks):
    """What methods share that learn from an update's dialogues alone, all epochs towards the same goals."""

    def goals(self, before: Outputs, steps: Steps) -> tuple[Array, ...]:
        """What all epochs of an update are fitted to.

        Args: before: outputs of the weights that talked. steps: rewards in units of the update's largest return.
        """
        raise NotImplementedError

    def loss(self, outputs: Outputs, goals: tuple[Array, ...], steps: Steps) -> Array:
        """Args: outputs: of the current weights."""
        raise NotImplementedError

    def update(
        self, game: Game, spelling: Spelling, data: Data, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        key, talk_key = jax.random.split(training.key)
        steps, metrics = self.spoken(game, spelling, training, talk_key)
        reader = self.reader(spelling)
        before = predictions(reader, training.weights, steps.symbols)
        steps = in_units(steps, largest_return(steps.reward.T))
        goals = self.goals(before, steps)
        loss = lambda weights: self.loss(predictions(reader, weights, steps.symbols), goals, steps)
        weights, opt_state = descended(self.optimiser, loss, training.weights, training.opt_state, self.epochs)
        return Training(weights, weights, opt_state, key), metrics

    def spoken(self, game: Game, spelling: Spelling, training: Training, key: Array) -> tuple[Steps, dict[str, Array]]:
        """The dialogues of an update, as they are learned from."""
        made, parted = self.talked(game, spelling, training.weights, key)
        return steps_of(made, game, spelling)._replace(parted=parted), {"return": made.reward.sum(1).mean()}


@hyperparameters
class PolicyGradient(OnPolicy):
    """Policy gradients of dialogues.

    Attributes:
        advantage: what stands for A, normalised over the update. clip: eps. entropy_cost: its weight in the loss.
    """

    advantage: AdvantageField = LeaveOneOut()
    clip: PositiveFloat = 0.2
    entropy_cost: Weight = 0.1

    @property
    def marked_wrong(self) -> bool:
        return self.advantage.marked_wrong

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        value = (("value", 1),) if self.advantage.has_value else ()
        return (*super().heads(symbols), *value)

    def goals(self, before: Outputs, steps: Steps) -> tuple[Array, ...]:
        """Normalised advantages [T, B], and what a value is fitted to."""
        value = before["value"][..., 0] if self.advantage.has_value else jnp.zeros(steps.own.shape)
        advantage, goal = self.advantage.of(steps, value, self.members)
        return normalised(advantage, steps.own), goal

    def loss(self, outputs: Outputs, goals: tuple[Array, ...], steps: Steps) -> Array:
        own, (advantage, goal) = steps.own.astype(jnp.float32), goals
        total = policy_loss(self.law(outputs, steps.legal), advantage, steps, self.clip, self.entropy_cost)
        if isinstance(self.advantage, LearnedValue):
            total += self.advantage.value_cost * mean_over(own, jnp.square(outputs["value"][..., 0] - goal))
        return total
