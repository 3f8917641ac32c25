"""Learning to speak by talking: policy gradients over dialogues with the user.

    maximise sum over own symbols of min(rho A, clip(rho, 1 - eps, 1 + eps) A),    rho = pi / pi_old

What the user says is read, and is no decision: it neither ends a return nor counts as a step. A symbol's advantage is
its turn's where an advantage belongs to turns.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.agents.ppo import clipped_surrogate
from seqrl_jax.dialogue.conversation import Spoken, converse
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method, Training
from seqrl_jax.dialogue.offline import at_next_decision, mean_over, return_to_go
from seqrl_jax.dialogue.reader import Outputs, read
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.distributions import Categorical
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Count, PositiveFloat, Several, Share, Weight


class Steps(NamedTuple):
    """Decisions [T, B] of dialogues that were just spoken, at places 1 ... T - 1 (see `data.Batch`)."""

    symbol: Array
    own: Array
    legal: Array
    reward: Array
    onward: Array
    log_prob: Array
    turn: Array


@hyperparameters
class ReturnToGo:
    """What is earned from a symbol on."""


@hyperparameters
class LeaveOneOut:
    """The same where every turn's reward is compared with the other members' at that turn; those that have ended count
    0."""


@hyperparameters
class Talking:
    """The same, compared with the mean of those that still talk: wrong where lengths vary (see `group_baselines`)."""


@hyperparameters
class LearnedValue:
    """GAE with a learned value. Attributes: lambda_: where one step is a symbol. value_cost: weight in the loss."""

    lambda_: Share = 0.95
    value_cost: Weight = 0.5


ADVANTAGES = {"return": ReturnToGo, "leave_one_out": LeaveOneOut, "talking": Talking, "value": LearnedValue}
AdvantageField = Annotated[ReturnToGo | LeaveOneOut | Talking | LearnedValue, Choice(ADVANTAGES), TRACED]


@hyperparameters
class Online(Method):
    """Policy gradients of dialogues.

    Attributes:
        groups, members: dialogues of an update: so many openings, each talked through by so many.
        advantage: what stands for A, normalised over the update.
        epochs: passes over an update's dialogues. clip: eps. entropy_cost: its weight in the loss.
    """

    updates: Count = 400
    groups: Count = 16
    members: Several = 4
    advantage: AdvantageField = LeaveOneOut()
    epochs: Count = 2
    clip: PositiveFloat = 0.2
    entropy_cost: Weight = 0.01

    @property
    def reads_logs(self) -> bool:
        return False

    @property
    def marked_wrong(self) -> bool:
        return isinstance(self.advantage, Talking)

    def dialogues(self, logged: int) -> int:
        return self.updates * self.groups * self.members

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        value = (("value", 1),) if isinstance(self.advantage, LearnedValue) else ()
        return (("policy", symbols), *value)

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return Categorical(outputs["policy"], legal)

    def update(
        self, game: Game, spelling: Spelling, data: Any, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        key, talk_key = jax.random.split(training.key)
        symbols, steps, metrics = self.spoken(game, spelling, training, talk_key)
        reader = self.reader(spelling)
        before = _behind(read(reader, training.weights, symbols))
        scale = jnp.maximum(jnp.max(jnp.abs(steps.reward.sum(0))), 1e-6)
        advantage, goal = self.advantages(steps._replace(reward=steps.reward / scale), before)

        def loss(weights: Any) -> Array:
            outputs = _behind(read(reader, weights, symbols))
            law = self.law(outputs, steps.legal)
            own = steps.own.astype(jnp.float32)
            surrogate = clipped_surrogate(law.log_prob(steps.symbol) - steps.log_prob, advantage, self.clip)
            total = -mean_over(own, surrogate) - self.entropy_cost * mean_over(own, law.entropy())
            if isinstance(self.advantage, LearnedValue):
                total += self.advantage.value_cost * mean_over(own, jnp.square(outputs["value"][..., 0] - goal))
            return total

        def one(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            weights, opt_state = carry
            change, opt_state = self.optimiser.update(jax.grad(loss)(weights), opt_state, weights)
            return (optax.apply_updates(weights, change), opt_state), None

        (weights, opt_state), _ = jax.lax.scan(one, (training.weights, training.opt_state), length=self.epochs)
        return Training(weights, weights, opt_state, key), metrics

    def spoken(
        self, game: Game, spelling: Spelling, training: Training, key: Array
    ) -> tuple[Array, Steps, dict[str, Array]]:
        """Dialogues of an update: all symbols [T, B], decisions at places 1 ... T - 1; the members of a group stand
        together, and begin with the same user."""
        begin_key, run_key = jax.random.split(key)
        talker = self.talker(spelling, training.weights)
        begins = jnp.repeat(jax.random.split(begin_key, self.groups), self.members)
        runs = jax.random.split(run_key, self.groups * self.members)
        made: Spoken = jax.vmap(lambda begin, run: converse(begin, run, game, spelling, talker))(begins, runs)
        symbol, own = made.symbol.T, made.own.T
        ends_turn = own & ~jnp.concatenate([own[1:], jnp.zeros_like(own[:1])])
        last = jnp.where(own, made.turn.T, -1).max(0)
        onward = jnp.where(ends_turn, jnp.where(last > made.turn.T, game.task.discount, 0.0), 1.0)
        legal = jnp.asarray(spelling.legal)[made.node.T]
        steps = Steps(symbol, own, legal, made.reward.T, jnp.where(own, onward, 0.0), made.log_prob.T, made.turn.T)
        return symbol, jax.tree.map(lambda leaf: leaf[1:], steps), {"return": made.reward.sum(1).mean()}

    def advantages(self, steps: Steps, before: Outputs) -> tuple[Array, Array]:
        """[T, B] of own symbols, and what a value is fitted to."""
        if isinstance(self.advantage, LearnedValue):
            value = jax.lax.stop_gradient(before["value"][..., 0])
            after = at_next_decision(value, steps.own)
            advantage = _gae(steps, value, after, self.advantage.lambda_)
            return _normalised(advantage, steps.own), advantage + value
        if isinstance(self.advantage, ReturnToGo):
            to_go = return_to_go(steps.reward, steps.onward, steps.own)
        else:
            to_go = self.compared(steps)
        return _normalised(to_go, steps.own), jnp.zeros_like(to_go)

    def compared(self, steps: Steps) -> Array:
        """[T, B]: sum over this turn and later ones of reward less the group's, at every own symbol of a turn."""
        turns = steps.symbol.shape[0]
        at = jnp.arange(turns)[:, None, None] == jnp.where(steps.own, steps.turn, -1)[None]
        reward = jnp.sum(jnp.where(at, steps.reward[None], 0.0), 1)
        talks = at.any(1)
        by_group = lambda array: array.reshape(turns, self.groups, self.members)
        grouped, talking = by_group(reward), by_group(talks.astype(jnp.float32))
        total = grouped.sum(-1, keepdims=True)
        if isinstance(self.advantage, LeaveOneOut):
            less = grouped - (total - grouped) / (self.members - 1)
        else:
            less = jnp.where(talking > 0, grouped - total / jnp.maximum(talking.sum(-1, keepdims=True), 1), 0.0)
        to_go = jnp.cumsum(less.reshape(reward.shape)[::-1], 0)[::-1]
        return jnp.take_along_axis(to_go, steps.turn, 0)


def _gae(steps: Steps, value: Array, after: Array, lambda_: Array | float) -> Array:
    """[T, B]: GAE over own symbols alone."""
    error = steps.reward + steps.onward * after - value

    def back(later: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        error, onward, own = at
        here = jnp.where(own, error + lambda_ * onward * later, later)
        return here, here

    return jax.lax.scan(back, jnp.zeros(error.shape[1:]), (error, steps.onward, steps.own), reverse=True)[1]


def _normalised(advantage: Array, own: Array) -> Array:
    """With mean 0 and deviation 1 over own symbols."""
    weight = own.astype(jnp.float32)
    centred = advantage - mean_over(weight, advantage)
    return jnp.where(own, centred / jnp.sqrt(mean_over(weight, jnp.square(centred)) + 1e-8), 0.0)


def _behind(outputs: Outputs) -> Outputs:
    return {name: leaf[:-1] for name, leaf in outputs.items()}
