"""What stands for the advantage of a symbol in a policy gradient of dialogues.

    advantage.of(steps, value, members) -> [T, B] at own symbols, and what a value is fitted to

Dialogues stand in groups of `members` that open alike. An advantage that belongs to a turn is that of all its symbols.
Every one carries gamma^turn, without which none gives the gradient of a discounted return (as in `agents.weights`).
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.decisions import (
    Turns,
    at_turn_end,
    at_turn_start,
    by_turn,
    gae,
    mean_over,
    return_to_go,
    spread,
)
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Share, Weight


class Steps(NamedTuple):
    """Decisions [T, B] of dialogues that were just spoken, at places 1 ... T (see `data.Batch`).

    symbols: [T + 1, B], all that was said. parted: [B], the turn from which the members of a group follow chances of
    their own. discount: from turn to turn. turns: K, of a dialogue at most.
    """

    symbols: Array
    symbol: Array
    own: Array
    legal: Array
    reward: Array
    onward: Array
    log_prob: Array
    turn: Array
    parted: Array
    discount: float
    turns: int

    @property
    def by_turn(self) -> Turns:
        return by_turn(self.reward, self.onward, self.own, self.turn, self.turns)

    def at_turn_start(self, value: Array) -> Array:
        """[K, B] of [T, B]."""
        return at_turn_start(value, self.own, self.turn, self.turns)

    def at_turn_end(self, value: Array) -> Array:
        """[K, B] of [T, B]."""
        return at_turn_end(value, self.own, self.turn, self.turns)

    @property
    def discounts(self) -> Array:
        """[K, 1]: gamma^turn."""
        return jnp.asarray(self.discount ** np.arange(self.turns)[:, None], jnp.float32)

    def discounted_to_go(self, per_turn: Array) -> Array:
        """[K, B]: sums over this turn and later ones of gamma^turn times what turns [K, B] are worth, also behind a
        dialogue's end."""
        return jax.lax.cumsum(self.discounts * per_turn, reverse=True)


class Advantage:
    """What every one of them is."""

    @property
    def has_value(self) -> bool:
        """Whether a value is learned beside the policy."""
        return False

    @property
    def marked_wrong(self) -> bool:
        """Whether another gradient is followed than is claimed."""
        return False

    def of(self, steps: Steps, value: Array, members: int) -> tuple[Array, Array]:
        """[T, B] twice. Args: value: [T, B], before each symbol, 0 where none is learned."""
        per_turn = self.of_turns(steps, members)
        return spread(per_turn, steps.own, steps.turn), jnp.zeros_like(value)

    def of_turns(self, steps: Steps, members: int) -> Array:
        """[K, B]: of the turns of a dialogue, with gamma^turn."""
        raise NotImplementedError


@hyperparameters
class ReturnToGo(Advantage):
    """What is earned from a symbol on."""

    def of_turns(self, steps: Steps, members: int) -> Array:
        turns = steps.by_turn
        return steps.discounts * return_to_go(turns.reward, turns.onward, turns.talked)


@hyperparameters
class LeaveOneOut(Advantage):
    """The same where every turn's reward is compared with the other members' at that turn; those that have ended count
    0."""

    def of_turns(self, steps: Steps, members: int) -> Array:
        turns = steps.by_turn
        grouped = _grouped(turns.reward, members)
        others = (grouped.sum(-1, keepdims=True) - grouped) / (members - 1)
        return steps.discounted_to_go((grouped - others).reshape(turns.reward.shape))


@hyperparameters
class Talking(Advantage):
    """The same, compared with the mean of those that still talk: wrong where lengths vary.

    How far is computed by `exact.group_baselines`."""

    @property
    def marked_wrong(self) -> bool:
        return True

    def of_turns(self, steps: Steps, members: int) -> Array:
        turns = steps.by_turn
        grouped, talked = _grouped(turns.reward, members), _grouped(turns.talked.astype(jnp.float32), members)
        mean = grouped.sum(-1, keepdims=True) / jnp.maximum(talked.sum(-1, keepdims=True), 1)
        return steps.discounted_to_go(jnp.where(talked > 0, grouped - mean, 0.0).reshape(turns.reward.shape))


@hyperparameters
class Anchored(Advantage):
    """A whole dialogue's return less the other members', and beside it the return to go less that of members who came
    to a turn by the same words.

    Attributes: step_weight: of the second, which is 0 where nobody else came the same way.
    Source: Feng et al. (2025), GiGPO, eq. 5-9, without their division by deviations; their anchors are equal states of
    an environment, here equal histories, as a state is not seen.
    """

    step_weight: Weight = 1.0

    def of_turns(self, steps: Steps, members: int) -> Array:
        turns = steps.by_turn
        whole = _grouped(steps.discounted_to_go(turns.reward)[0], members)
        episode = whole - (whole.sum(-1, keepdims=True) - whole) / (members - 1)
        to_go = _grouped(return_to_go(turns.reward, turns.onward, turns.talked), members)
        came = _grouped(_fingerprints(steps), members)
        talked = _grouped(turns.talked, members)
        # [K, G, M, M]: who else came to this turn as I did.
        alike = (came[..., None] == came[..., None, :]) & talked[..., None] & talked[..., None, :]
        alike &= ~jnp.eye(members, dtype=bool)
        count = alike.sum(-1)
        mean = jnp.sum(jnp.where(alike, to_go[..., None, :], 0.0), -1) / jnp.maximum(count, 1).astype(jnp.float32)
        step = steps.discounts[..., None] * jnp.where(count > 0, to_go - mean, 0.0)
        return (episode[None] + self.step_weight * step).reshape(turns.reward.shape)


@hyperparameters
class LearnedValue(Advantage):
    """GAE with a learned value. Attributes: lambda_: of the trace. unit: what one step is: a symbol, or a turn, whose
    value is that of its beginning. value_cost: weight in the loss."""

    lambda_: Share = 0.95
    unit: Literal["symbol", "turn"] = "symbol"
    value_cost: Weight = 0.5

    @property
    def has_value(self) -> bool:
        return True

    def of(self, steps: Steps, value: Array, members: int) -> tuple[Array, Array]:
        turns = steps.by_turn
        spread_over = lambda of_turn: spread(jnp.broadcast_to(of_turn, turns.reward.shape), steps.own, steps.turn)
        if self.unit == "symbol":
            advantage = gae(steps.reward, steps.onward, steps.own, value, self.lambda_)
            return spread_over(steps.discounts) * advantage, advantage + value
        begins = steps.at_turn_start(value)
        of_turn = gae(turns.reward, turns.onward, turns.talked, begins, self.lambda_)
        return spread_over(steps.discounts * of_turn), spread_over(of_turn + begins)


ADVANTAGES = {
    "return": ReturnToGo,
    "leave_one_out": LeaveOneOut,
    "talking": Talking,
    "anchored": Anchored,
    "value": LearnedValue,
}
AdvantageField = Annotated[ReturnToGo | LeaveOneOut | Talking | Anchored | LearnedValue, Choice(ADVANTAGES), TRACED]


def normalised(advantage: Array, own: Array) -> Array:
    """With mean 0 and deviation 1 over own symbols."""
    weight = own.astype(jnp.float32)
    centred = advantage - mean_over(weight, advantage)
    return jnp.where(own, centred / jnp.sqrt(mean_over(weight, jnp.square(centred)) + 1e-8), 0.0)


def _grouped(array: Array, members: int) -> Array:
    return array.reshape(*array.shape[:-1], -1, members)


def _fingerprints(steps: Steps) -> Array:
    """[K, B] uint32: of all symbols before each turn's first own one; equal histories have equal ones."""

    def one(so_far: Array, symbol: Array) -> tuple[Array, Array]:
        after = so_far * jnp.uint32(1_000_003) ^ (symbol.astype(jnp.uint32) + jnp.uint32(1))
        return after, after

    behind = jax.lax.scan(one, jnp.full(steps.symbols.shape[1:], 2_166_136_261, jnp.uint32), steps.symbols)[1]
    return steps.at_turn_start(behind[:-1])
