"""What Q-learning learns towards: the value that it gives to what followed, and the policy that goes with it."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import distrax
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents.action_values import greedy, of_action
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.networks.distributions import Categorical, Greedy, masked
from seqrl_jax.parts import Choice
from seqrl_jax.settings import PositiveFloat


class Target(Protocol):
    """Action values are [..., A], in units of the largest return; the mask is of the actions that the task has."""

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        """How its policy is read when it is judged."""
        ...

    @property
    def is_return(self) -> bool:
        """Whether a value that it learns is a return, and no more than that."""
        ...

    def policy(self, q: Array, mask: Array) -> distrax.Categorical:
        """What acts by these values."""
        ...

    def value(self, q: Array, target_q: Array, mask: Array) -> Array:
        """[...]: what an observation is worth, from the current values and those of the target network."""
        ...

    def bonus(self, target_q: Array, action: Array, mask: Array) -> Array:
        """[...]: what has to be added to the return that goes on behind an action, beside the rewards."""
        ...

    def continues(self, last: Array, action: Array, q: Array, target_q: Array, mask: Array, exploring: Array) -> Array:
        """[T, B]: how much of a return goes on behind each step (see `estimators.on_policy`). exploring: a scalar that
        falls from 1 to 0 over the run."""
        ...


class _Greedy:
    """What the two hard targets share: the best action, and returns that fade behind exploratory ones."""

    @property
    def acts(self) -> Literal["greedy"]:
        return "greedy"

    @property
    def is_return(self) -> bool:
        return True

    def policy(self, q: Array, mask: Array) -> distrax.Categorical:
        return Greedy(q, mask)

    def bonus(self, target_q: Array, action: Array, mask: Array) -> Array:
        return jnp.zeros(action.shape)

    def continues(self, last: Array, action: Array, q: Array, target_q: Array, mask: Array, exploring: Array) -> Array:
        return estimators.on_policy(last, action == greedy(q, mask), exploring)


@hyperparameters
class Max(_Greedy):
    """The target network's largest value. Source: Mnih et al. (2015)."""

    def value(self, q: Array, target_q: Array, mask: Array) -> Array:
        return jnp.max(masked(target_q, mask), -1)


@hyperparameters
class Double(_Greedy):
    """The target network's value of the action that the current one prefers. Source: van Hasselt et al. (2016)."""

    def value(self, q: Array, target_q: Array, mask: Array) -> Array:
        return of_action(target_q, greedy(q, mask))


@hyperparameters
class Soft:
    """V = temperature logsumexp(Q / temperature), the value of acting by softmax(Q / temperature) where entropy pays.

    For the optimal soft values V(h) = Q(h, a) - temperature log pi(a given h) holds whatever a is, so that with the
    second term as a bonus no exploratory action biases a return that goes on behind it. It goes on by pi(a given h) of
    the target network, V standing in for the rest: that is a tree backup, whose error shrinks whatever the behaviour.
    Going on in full has the same fixed point and diverges: a Q that is wrong at an action counts at every step.

    Attributes: temperature: in units of the largest return, or of return where values are rescaled; that of the sweep
        of `soft_q`.
    Source: Haarnoja et al. (2017), eq. 5-6; Nachum et al. (2017), eq. 14; Precup et al. (2000) for tree backup.
    """

    temperature: PositiveFloat = 0.0003

    @property
    def acts(self) -> Literal["sampled"]:
        return "sampled"

    @property
    def is_return(self) -> bool:
        """Entropy counts as well."""
        return False

    def policy(self, q: Array, mask: Array) -> distrax.Categorical:
        return Categorical(q / self.temperature, mask)

    def value(self, q: Array, target_q: Array, mask: Array) -> Array:
        return self.temperature * jax.nn.logsumexp(masked(target_q / self.temperature, mask), axis=-1)

    def bonus(self, target_q: Array, action: Array, mask: Array) -> Array:
        return self.value(target_q, target_q, mask) - of_action(target_q, action)

    def continues(self, last: Array, action: Array, q: Array, target_q: Array, mask: Array, exploring: Array) -> Array:
        return estimators.weighted_by_next(last, self.policy(target_q, mask).prob(action))


TARGETS = {"double": Double, "max": Max, "soft": Soft}
TargetField = Annotated[Double | Max | Soft, Choice(TARGETS), TRACED]
