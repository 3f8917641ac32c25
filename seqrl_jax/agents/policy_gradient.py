"""Policy gradients on the observation or the history: one update rule, and the weights that stand in it.

    theta <- theta + alpha sum_t Psi_t grad log pi_theta(a_t | h_t)

where h_t is what the policy's memory keeps of o_0, a_0, ... o_t. With `Psi` the return of the episode, the reward to
go, or the reward to go minus any function of what came before a_t (the observation, the history, even the hidden
state), the expectation is the gradient of J also when o is not Markov: these are valid under partial observability.
With a value of the *next observation* in Psi (a TD error, or GAE below lambda = 1) it is not: two states that share an
observation share a value, and the critic reports their average. A critic of the history, own actions included, makes it
legitimate again. The weights stand in `weights`.

Source: Williams (1992); Schulman et al. (2016), eq. 1, for the family of weights.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.action_law import action_law, law_size
from seqrl_jax.agents.base import MemorylessAgent, Policy, refuse_short, whole_episodes
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import TrainState, train_state
from seqrl_jax.agents.network import (
    HistoryNetwork,
    acting,
    init_weights,
    policy_of,
    scale_outputs,
    table,
    unroll,
    unroll_pairs,
)
from seqrl_jax.agents.reading import MemoryField, ReadingAgent
from seqrl_jax.agents.rollout import (
    Magnitude,
    Rollout,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
    surely_complete,
)
from seqrl_jax.agents.weights import Evidence, RewardToGo, WeightField
from seqrl_jax.naming import check, require
from seqrl_jax.networks import Table
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import Count, PositiveFloat, Weight
from seqrl_jax.tasks.environment import Discrete, Environment
from seqrl_jax.tasks.simulator import TabularEnv


class PolicyGradientState(NamedTuple):
    """What the policy and the value function (None: there is none) have learned, the magnitude of values, the key."""

    policy: TrainState
    value: TrainState | None
    magnitude: Magnitude
    key: Array


class Gradients(NamedTuple):
    """Of the losses, in the shapes of the policy's and of the value function's weights."""

    policy: Weights
    value: Weights | None


@hyperparameters
class PolicyGradient(ReadingAgent, MemorylessAgent):
    """Policy gradient with Adam; the baseline or critic, where the weight uses one, fits lambda-returns.

    Attributes:
        learning_rate: of the policy.
        entropy_cost: weight of the mean policy entropy, in units of return.
        weight: which Psi, with the value function that it needs.
        memory: what the policy keeps of the past; a `Table` makes it a table over the observation.
        rollout_length: T, at least the horizon: a longer one has fewer environments.
        The others: see `ReadingAgent`.
    """

    learning_rate: PositiveFloat = 0.1
    entropy_cost: Weight = 0.0
    weight: WeightField = RewardToGo()
    memory: MemoryField = Table()
    num_envs: Count = 32

    def __post_init__(self) -> None:
        check(self)
        self.require_readable()
        why = "a plain policy gradient does not train a model of the world"
        require(not self.memory.has_model, why, memory=type(self.memory).__name__.lower())

    @property
    def marked_wrong(self) -> bool:
        return self.weight.bootstraps and not (self.weight.critic == "history" and self.reads_history)

    @property
    def acts(self) -> Literal["sampled"]:
        return "sampled"

    def for_run(self, horizon: int, steps: int) -> Self:
        num_envs, length = whole_episodes(self.num_envs, self.rollout_length, horizon)
        return dataclasses.replace(
            self, num_envs=num_envs, rollout_length=length, memory=self.memory.for_horizon(length)
        )

    def init(self, key: Array, env: Environment, params: Any) -> PolicyGradientState:
        key, policy_key, value_key = jax.random.split(key, 3)
        value = None
        if self.weight.critic is not None:
            value = train_state(self._value_optimiser, init_weights(self._value_network(env), value_key))
        refuse_short("rollout_length", self.rollout_length, env)
        return PolicyGradientState(
            policy=train_state(optax.adam(self.learning_rate), init_weights(self.policy_network(env), policy_key)),
            value=value,
            magnitude=no_magnitude(),
            key=key,
        )

    def update(
        self, env: Environment, params: Any, state: PolicyGradientState
    ) -> tuple[PolicyGradientState, dict[str, Array]]:
        key, estimate_key = jax.random.split(state.key)
        gradients, state, metrics = self.estimate(env, params, state, estimate_key)
        policy = state.policy.apply(optax.adam(self.learning_rate), gradients.policy)
        value = state.value
        if value is not None and gradients.value is not None:
            value = value.apply(self._value_optimiser, gradients.value)
        return PolicyGradientState(policy, value, state.magnitude, key), metrics

    def estimate(
        self, env: Environment, params: Any, state: PolicyGradientState, key: Array
    ) -> tuple[Gradients, PolicyGradientState, dict[str, Array]]:
        """One rollout's estimate of both gradients, the state with the magnitudes after it, and metrics over its whole
        episodes.

        The policy's is that of -J (with the entropy's part) times the mean number of whole episodes per environment, a
        positive factor: with a valid weight its expectation points along the exact gradient.
        """
        begin_key, collect_key = jax.random.split(key)
        network, carry = self.policy_network(env), self.memory.initial_carry(self.num_envs)
        step = acting(network, state.policy.weights)

        def act(key: Array, carry: Carry, inputs: StepInput) -> tuple[Carry, Array]:
            carry, out = step(carry, inputs, None)
            return carry, self._policy(env, params, out).sample(seed=key)

        position = begin(begin_key, env, params, self.num_envs, carry)
        _, rollout = collect(collect_key, env, params, position, act, self.rollout_length)
        magnitude = measured(state.magnitude, rollout, env.discount(params))
        fitted = state.value
        if fitted is not None:
            grown = scale_outputs(fitted.weights, state.magnitude.value / magnitude.value)
            fitted = fitted._replace(weights=grown)
        state = state._replace(magnitude=magnitude, value=fitted)

        counted = surely_complete(rollout, env.horizon(params)).astype(jnp.float32)
        evidence = self._evidence(env, params, rollout, state)
        psi = self.weight.psi(evidence) * counted

        def policy_loss(weights: Weights) -> tuple[Array, Array]:
            policy = self._policy(env, params, unroll(network, weights, carry, rollout.inputs)[1])
            entropy = policy.entropy()
            # Divided by B, a constant: the number of episodes depends on the actions, and would bias the mean.
            log_prob = policy.log_prob(rollout.action)
            objective = jnp.sum(psi * log_prob + self.entropy_cost * entropy * counted) / self.num_envs
            return -objective, jnp.sum(entropy * counted) / jnp.maximum(counted.sum(), 1)

        def value_loss(weights: Weights) -> Array:
            error = self._values(env, weights, rollout)[0] - self.weight.fitted(evidence) / magnitude.value
            return 0.5 * jnp.sum(counted * jnp.square(error)) / jnp.maximum(counted.sum(), 1)

        (_, entropy), policy_gradient = jax.value_and_grad(policy_loss, has_aux=True)(state.policy.weights)
        episodes = jnp.maximum(jnp.sum(jnp.where(rollout.first, counted, 0)), 1)
        metrics = {"return": jnp.sum(evidence.gamma_t * rollout.reward * counted) / episodes, "entropy": entropy}
        value_gradient = None if fitted is None else jax.grad(value_loss)(fitted.weights)
        return Gradients(policy_gradient, value_gradient), state, metrics

    def probabilities(self, env: Environment, params: Any, state: PolicyGradientState) -> Array:
        return self._policy(env, params, table(self.policy_network(env), state.policy.weights)).probs

    def policy(self, env: Environment, params: Any, state: PolicyGradientState) -> Policy:
        choose = lambda key, out: self._policy(env, params, out).sample(seed=key)
        step = acting(self.policy_network(env), state.policy.weights)
        return policy_of(step, self.memory.initial_carry(1), choose)

    def policy_network(self, env: Environment) -> HistoryNetwork:
        """Outputs: the law of the action."""
        return self.network(env, law_size(env.action_space))

    def _value_network(self, env: Environment) -> HistoryNetwork:
        """The value, in units of the largest return, of what the critic sees."""
        if self.weight.critic == "history":
            return self.network(env, 1)
        if self.weight.critic == "observation":
            memory = self.memory if self.memory.reach == 1 else Table()
            return HistoryNetwork(memory, 1, env.observation_space, env.action_space)
        if not isinstance(env, TabularEnv):
            raise ValueError("a critic of the state needs a tabular task: this environment does not number its states")
        return HistoryNetwork(Table(), 1, Discrete(env.num_states), env.action_space)

    def _values(self, env: Environment, weights: Weights, rollout: Rollout) -> tuple[Array, Array]:
        """Of o_t and of what really followed, in units of the largest return; both [T, B]."""
        network = self._value_network(env)
        carry = network.memory.initial_carry(self.num_envs)
        if self.weight.critic == "state":
            states = rollout.inputs._replace(obs=rollout.state.number)
            value = unroll(network, weights, carry, states)[1][..., 0]
            # What follows the last step is read only where an episode goes on, and such an episode is not counted.
            return value, jnp.concatenate([value[1:], value[-1:]])
        here, after = unroll_pairs(
            network, weights, carry, rollout.inputs, rollout.next_inputs, self.weight.bootstrap_truncated
        )
        return here[..., 0], after[..., 0]

    def _policy(self, env: Environment, params: Any, out: Array) -> Any:
        return action_law(env.action_space, out, env.action_mask(params))

    def _evidence(self, env: Environment, params: Any, rollout: Rollout, state: PolicyGradientState) -> Evidence:
        gamma, nothing = env.discount(params), jnp.zeros_like(rollout.reward)
        value, after = (nothing, nothing) if state.value is None else self._values(env, state.value.weights, rollout)
        return Evidence(
            reward=rollout.reward,
            discount=bootstrap_discount(rollout, gamma, self.weight.bootstrap_truncated),
            continues=jnp.where(rollout.last, 0.0, 1.0),
            first=rollout.first,
            gamma_t=gamma ** rollout.time.astype(jnp.float32),
            value=state.magnitude.value * value,
            next_value=state.magnitude.value * after,
        )

    @property
    def _value_optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.weight.value_learning_rate)
