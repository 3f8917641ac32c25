"""What a network reads along a rollout, and what a model of the world learns from."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array


class StepInput(NamedTuple):
    """What an agent may be given at a step: o_t, whether it begins an episode, a_{t-1} and r_{t-1}.

    Arrays [..., *O], [...] bool, [..., *A] and [...] float32. The last two mean nothing where an episode begins.
    """

    obs: Array
    first: Array
    previous_action: Array
    previous_reward: Array


class Experience(NamedTuple):
    """Steps [T, B] as a model of the world learns from them.

    inputs: what the agent was given. action: a_t. reward: r_t in units of the largest. terminated: whether step t
    entered a terminal state.
    """

    inputs: StepInput
    action: Array
    reward: Array
    terminated: Array
