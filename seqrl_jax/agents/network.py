"""Functions of what was given so far: an encoder, a memory over it, and one linear layer over the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import Policy
from seqrl_jax.networks.base import DRAWS, Memory
from seqrl_jax.networks.encoders import Encoder
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.layers import Dense, plain_layer_norm
from seqrl_jax.networks.module import Carry, Module, Weights
from seqrl_jax.tasks.environment import Discrete, Environment, Space, everything_in, split_key_cheaply, zeros_in

Step = Callable[[Carry, StepInput, Array | None], tuple[Carry, Array]]
"""(carry, inputs [B], key or None) -> carry, outputs [B, outputs]."""


class HistoryNetwork(Module):
    """Its last layer starts at zero, so that all outputs do.

    Attributes:
        memory: the backbone. outputs: how many. space: of the observations. action_space: of the actions.
        previous_action, previous_reward: whether a_{t-1} and r_{t-1} are read beside o_t.
        normalise: whether the features are normalised before the last layer (Ba et al., 2016).
    """

    memory: Memory
    outputs: int
    space: Space
    action_space: Space
    previous_action: bool = False
    previous_reward: bool = False
    normalise: bool = False

    def setup(self) -> None:
        self.encoder = Encoder(self.space, self.action_space, self.previous_action, self.previous_reward)
        tabular = self.memory.tabular
        self.head = Dense(self.outputs, use_bias=not tabular, kernel_init=nn.initializers.zeros)
        self.norm = None
        # The mean of an observation's code would tell how many observations it has room for.
        if self.normalise and not tabular:
            self.norm = plain_layer_norm()

    def __call__(self, carry: Carry, inputs: StepInput) -> tuple[Carry, Array]:
        """Args: inputs: [T, B]. Returns: the carry after them, and outputs [T, B, outputs]."""
        carry, features = self.memory(carry, self.encoder(inputs), inputs.first)
        return carry, self.head(features if self.norm is None else self.norm(features))

    def auxiliary_loss(
        self, carry: Carry, experience: Experience, observation_mask: Array
    ) -> tuple[Array, dict[str, Array]]:
        """What the memory learns by itself (see `Memory.auxiliary_loss`)."""
        xs = self.encoder(experience.inputs)
        return self.memory.auxiliary_loss(carry, xs, experience, observation_mask)

    def everything(self, carry: Carry, experience: Experience, observation_mask: Array) -> None:
        """Reads every weight there is, so that `init` makes it."""
        self(carry, experience.inputs)
        self.auxiliary_loss(carry, experience, observation_mask)


def network_for(
    env: Environment,
    memory: Memory,
    outputs: int,
    previous_action: bool,
    previous_reward: bool,
    normalise: bool = False,
) -> HistoryNetwork:
    """A network with so many outputs of what `memory` keeps in this environment.

    Raises: ValueError for a memory that is too short for the longest episode.
    """
    if memory.for_horizon(env.longest) != memory:
        raise ValueError(
            f"{type(memory).__name__} is too short for the longest episode, {env.longest} steps: "
            "fit the agent with `for_run(env.longest, steps)`"
        )
    fitted = memory.for_environment(env.observation_space, env.action_space)
    return HistoryNetwork(
        fitted, outputs, env.observation_space, env.action_space, previous_action, previous_reward, normalise
    )


def init_weights(network: HistoryNetwork, key: Array) -> Weights:
    """The network's first weights; they do not depend on how far a task was padded."""
    obs, action = zeros_in(network.space, 1, 1), zeros_in(network.action_space, 1, 1)
    nothing = jnp.zeros((1, 1))
    inputs = StepInput(obs, jnp.ones((1, 1), bool), action, nothing)
    experience = Experience(inputs, action, nothing, jnp.zeros((1, 1), bool))
    carry = network.memory.initial_carry(1)
    return network.init(key, carry, experience, everything_in(network.space), method="everything")


def unroll(
    network: HistoryNetwork, weights: Weights, carry: Carry, inputs: StepInput, key: Array | None = None
) -> tuple[Carry, Array]:
    """The carry, and outputs [T, B, outputs] along inputs [T, B]. key: of memories that draw their state."""
    chex.assert_rank(inputs.first, 2)
    chex.assert_equal_shape([inputs.first, inputs.previous_reward])
    chex.assert_equal_shape_prefix([inputs.first, inputs.obs, inputs.previous_action], 2)
    return network.apply(weights, carry, inputs, rngs=_draws(key))


def step(
    network: HistoryNetwork, weights: Weights, carry: Carry, inputs: StepInput, key: Array | None = None
) -> tuple[Carry, Array]:
    """One step of B episodes: the carry, and outputs [B, outputs]."""
    carry, out = unroll(network, weights, carry, jax.tree.map(lambda leaf: leaf[None], inputs), key)
    return carry, out[0]


def unroll_pairs(
    network: HistoryNetwork,
    weights: Weights,
    carry: Carry,
    inputs: StepInput,
    following: StepInput,
    across_truncation: bool,
    key: Array | None = None,
) -> tuple[Array, Array]:
    """Outputs at o_t, and at what really followed step t: both [T, B, outputs].

    Inside an episode the second is the first, one step later; after the rollout's last step it is at `following`.
    Where an episode ended inside the rollout, it is what the *next* episode begins with and must not be used,
    unless `across_truncation`: then the memory steps to `following` at every t, at twice the cost.
    """
    if not across_truncation:
        more = jax.tree.map(lambda here, after: jnp.concatenate([here, after[-1:]]), inputs, following)
        out = unroll(network, weights, carry, more, key)[1]
        return out[:-1], out[1:]

    def both(carry: Carry, at: tuple[StepInput, StepInput, Array | None]) -> tuple[Carry, tuple[Array, Array]]:
        here_key, after_key = (None, None) if at[2] is None else jax.random.split(at[2])
        carry, here = step(network, weights, carry, at[0], here_key)
        return carry, (here, step(network, weights, carry, at[1], after_key)[1])

    keys = None if key is None else jax.random.split(key, len(inputs.first))
    return jax.lax.scan(both, carry, (inputs, following, keys))[1]


def auxiliary_loss(
    network: HistoryNetwork,
    weights: Weights,
    carry: Carry,
    experience: Experience,
    observation_mask: Array,
    key: Array,
) -> tuple[Array, dict[str, Array]]:
    """What the memory learns by itself along a rollout [T, B], and the terms of it."""
    arguments = (weights, carry, experience, observation_mask)
    return network.apply(*arguments, rngs=_draws(key), method="auxiliary_loss")


def acting(network: HistoryNetwork, weights: Weights) -> Step:
    """`step` with these weights; tabulated where it is a function of one integer observation."""
    if network.memory.reach == 1 and isinstance(network.space, Discrete):
        every = table(network, weights)
        return lambda carry, inputs, key: (carry, every[inputs.obs])
    return lambda carry, inputs, key: step(network, weights, carry, inputs, key)


def table(network: HistoryNetwork, weights: Weights) -> Array:
    """[O, outputs]: the outputs at every observation, of a network that remembers nothing."""
    assert isinstance(network.space, Discrete), "only discrete observations can be listed"
    assert network.memory.reach == 1, "a function of the history is no table over observations"
    size = network.space.size
    action = zeros_in(network.action_space, size)
    every = StepInput(jnp.arange(size), jnp.ones(size, bool), action, jnp.zeros(size))
    return step(network, weights, network.memory.initial_carry(size), every)[1]


def scale_outputs(weights: Weights, scale: Array) -> Weights:
    """Weights whose network has outputs `scale` [outputs] times as large."""
    head = {name: leaf * scale for name, leaf in weights["params"]["head"].items()}
    return {**weights, "params": {**weights["params"], "head": head}}


def policy_of(
    step: Step,
    start: Carry,
    choose: Callable[[Array, Array], Array],
    value: Callable[[Array], Array] | None = None,
) -> Policy:
    """The policy of one environment that chooses by a network's outputs.

    Args: step: what acts. start: its carry [1, ...] before an episode. choose: (key, outputs [outputs]) -> action.
        value: outputs [outputs] -> what is expected, where they tell.
    """

    def read(key: Array, carry: Carry, inputs: StepInput) -> tuple[Carry, Array]:
        carry, out = step(carry, jax.tree.map(lambda leaf: leaf[None], inputs), split_key_cheaply(key))
        return carry, out[0]

    def act(key: Array, carry: Carry, inputs: StepInput) -> tuple[Carry, Array]:
        carry, out = read(key, carry, inputs)
        return carry, choose(key, out)

    expected = None if value is None else lambda key, carry, inputs: value(read(key, carry, inputs)[1])
    return Policy(lambda: start, act, expected)


def _draws(key: Array | None) -> dict[str, Any]:
    return {} if key is None else {DRAWS: key}
