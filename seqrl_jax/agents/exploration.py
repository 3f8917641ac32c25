"""How an agent of action values explores: random actions, ever fewer of them, which may hold on."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.agents.learning import falling
from seqrl_jax.networks.distributions import uniform
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Fraction, Probability


class Exploration(Protocol):
    """Replaces actions of a policy by random ones, by a schedule over the run."""

    def initial_carry(self, batch: int) -> Any:
        """Of B environments that are about to begin."""
        ...

    def explore(
        self, key: Array, carry: Any, first: Array, action: Array, action_mask: Array, progress: Array
    ) -> tuple[Any, Array]:
        """Args: first: [B] bool, whether an episode begins. action: [B], the policy's own. progress: the share of the
        run that is over. Returns: the carry, and the actions [B]."""
        ...


@hyperparameters
class EpsilonGreedy:
    """With probability epsilon a random action.

    Attributes: epsilon_end: its value once `exploration_share` of the run is over; until then it falls from 1.
    """

    epsilon_end: Probability = 0.02
    exploration_share: Fraction = 0.7

    def initial_carry(self, batch: int) -> tuple[()]:
        return ()

    def explore(
        self, key: Array, carry: tuple[()], first: Array, action: Array, action_mask: Array, progress: Array
    ) -> tuple[tuple[()], Array]:
        random_key, begin_key = jax.random.split(key)
        random = uniform(action_mask, *action.shape).sample(seed=random_key)
        explores = jax.random.uniform(begin_key, action.shape) < epsilon(self, progress)
        return (), jnp.where(explores, random, action)


class ActionRepeat(NamedTuple):
    """The random action [B] that is being repeated, and for how many more steps [B]; 0 where there is none."""

    action: Array
    left: Array


@hyperparameters
class EpsilonZ:
    """With probability epsilon begin to repeat a random action, n times with P(n >= k) = 1 / k.

    One random step leads nowhere in a corridor; a few in the same direction do. Epsilon-greedy is n = 1.

    Attributes: as of `EpsilonGreedy`. Source: Dabney, Ostrovski & Barreto (2021), algorithm 1, with mu = 2.
    """

    epsilon_end: Probability = 0.02
    exploration_share: Fraction = 0.7

    def initial_carry(self, batch: int) -> ActionRepeat:
        return ActionRepeat(jnp.zeros(batch, jnp.int32), jnp.zeros(batch, jnp.int32))

    def explore(
        self, key: Array, carry: ActionRepeat, first: Array, action: Array, action_mask: Array, progress: Array
    ) -> tuple[ActionRepeat, Array]:
        random_key, begin_key, length_key = jax.random.split(key, 3)
        left = jnp.where(first, 0, carry.left)
        begins = (left == 0) & (jax.random.uniform(begin_key, action.shape) < epsilon(self, progress))
        length = jnp.floor(1 / jax.random.uniform(length_key, action.shape, minval=1e-4)).astype(jnp.int32)
        repeated = jnp.where(begins, uniform(action_mask, *action.shape).sample(seed=random_key), carry.action)
        left = jnp.where(begins, length, left)
        return ActionRepeat(repeated, jnp.maximum(left - 1, 0)), jnp.where(left > 0, repeated, action)


def epsilon(exploration: EpsilonGreedy | EpsilonZ, progress: Array) -> Array:
    """Of this share of the run."""
    return falling(progress, exploration.exploration_share, exploration.epsilon_end)


EXPLORATIONS = {"epsilon": EpsilonGreedy, "ez": EpsilonZ}
ExplorationField = Annotated[EpsilonGreedy | EpsilonZ, Choice(EXPLORATIONS), TRACED]
