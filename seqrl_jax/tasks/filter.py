"""Bayes' rule on the simulator's tables: the belief over states that a history leaves."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.simulator import Outcomes, TabularParams


def first_predictive(params: TabularParams, num_observations: int) -> Array:
    """[O]: P(o_0)."""
    token = Outcomes(params.start_token.value[params.start.value], params.start_token.cumulative[params.start.value])
    joint = _probabilities(params.start)[:, None] * _probabilities(token)
    return jnp.zeros(num_observations).at[token.value].add(joint)


def first_belief(params: TabularParams, obs: Array) -> Array:
    """[S]: P(s_0 given o_0)."""
    num_states = params.terminal.shape[0]
    start = jnp.zeros(num_states).at[params.start.value].add(_probabilities(params.start))
    return _normalised(start * _likelihood(params.start_token, obs))


def next_belief(params: TabularParams, belief: Array, action: Array, obs: Array) -> Array:
    """[S]: P(s_{t+1} given h_t, a_t, o_{t+1}), where the episode went on: no terminal state was entered."""
    return _normalised(_entered(params, belief, action) * _likelihood(_at(params.token, action), obs))


def predictive(params: TabularParams, belief: Array, action: Array, num_observations: int) -> tuple[Array, Array]:
    """What Bayes' rule expects of the next step: P(o_{t+1}, the episode goes on) [O], and P(it ends), a scalar."""
    entered, token = _entered(params, belief, action), _at(params.token, action)
    joint = entered[:, None] * _probabilities(token)
    return jnp.zeros(num_observations).at[token.value].add(joint), 1 - entered.sum()


def _entered(params: TabularParams, belief: Array, action: Array) -> Array:
    """[S]: P(s', the episode goes on) by this action."""
    successor = Outcomes(params.successor.value[:, action], params.successor.cumulative[:, action])
    mass = belief[:, None] * _probabilities(successor)
    return jnp.zeros_like(belief).at[successor.value].add(mass) * jnp.where(params.terminal, 0.0, 1.0)


def _at(law: Outcomes, index: Array) -> Outcomes:
    return Outcomes(law.value[index], law.cumulative[index])


def _probabilities(law: Outcomes) -> Array:
    """[..., K]: of each outcome; outcomes that stand behind the last one have none."""
    return jnp.diff(law.cumulative, axis=-1, prepend=0.0)


def _likelihood(law: Outcomes, obs: Array) -> Array:
    """[...]: the probability of one observation in every row."""
    return jnp.sum(jnp.where(law.value == obs, _probabilities(law), 0.0), -1)


def _normalised(mass: Array) -> Array:
    return mass / jnp.maximum(mass.sum(), 1e-30)
