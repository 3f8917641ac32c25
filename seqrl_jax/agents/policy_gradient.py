"""Policy gradients on the observation or the history: one update rule, and the weights that stand in it.

    theta <- theta + alpha sum_t Psi_t grad log pi_theta(a_t | h_t)

where h_t is what the policy's memory keeps of o_0, a_0, ... o_t. With `Psi` the return of the episode, the reward to
go, or the reward to go minus any function of what came before a_t (the observation, the history, even the hidden
state), the expectation is the gradient of J also when o is not Markov: these are valid under partial observability.
With a value of the *next observation* in Psi (a TD error, or GAE below lambda = 1) it is not: two states that share an
observation share a value, and the critic reports their average. A critic of the history, own actions included, makes it
legitimate again. Every weight carries gamma^t, without which no choice of Psi gives the gradient of a discounted J.

Source: Williams (1992); Schulman et al. (2016), eq. 1, for the family of weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax import estimators, settings
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
    StepInput,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
    surely_complete,
)
from seqrl_jax.naming import check, require
from seqrl_jax.networks import Table
from seqrl_jax.networks.distributions import Categorical, masked_categorical
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import Count, PositiveFloat, Share
from seqrl_jax.tasks.environment import Discrete, Environment
from seqrl_jax.tasks.simulator import TabularEnv


class Evidence(NamedTuple):
    """What a weight may look at, all [T, B]: rewards, the conventions of `estimators`, gamma^t, and values."""

    reward: Array
    discount: Array
    continues: Array
    first: Array
    gamma_t: Array
    value: Array
    next_value: Array
    lambda_: Array | float


Weight = Callable[[Evidence], Array]


def total_return(e: Evidence) -> Array:
    """Psi_t = sum_k gamma^k r_k over the whole episode, also what was paid before a_t."""
    to_go = e.gamma_t * estimators.reward_to_go(e.reward, e.discount * e.continues)
    return estimators.return_so_far(e.reward, e.gamma_t, e.first) + to_go


def reward_to_go(e: Evidence) -> Array:
    """Psi_t = gamma^t G_t: an action has no part in what was paid before it."""
    return e.gamma_t * estimators.reward_to_go(e.reward, e.discount * e.continues)


def minus_baseline(e: Evidence) -> Array:
    """Psi_t = gamma^t (G_t - b(o_t)): a function of the observation changes the variance and not the mean."""
    return e.gamma_t * (estimators.reward_to_go(e.reward, e.discount * e.continues) - e.value)


def generalised_advantage(e: Evidence) -> Array:
    """Psi_t = gamma^t A_t with GAE(lambda); at lambda = 0 the TD error r + gamma V(o') - V(o)."""
    return e.gamma_t * advantage(e)


def advantage(e: Evidence) -> Array:
    """GAE(lambda) of the evidence, [T, B]; with lambda = 1 the return minus the value."""
    return estimators.gae(e.reward, e.discount, e.continues, e.value, e.next_value, e.lambda_)


class PolicyGradientState(NamedTuple):
    """What the policy and the value function have learned, the magnitude of values, and the key of the run."""

    policy: TrainState
    value: TrainState
    magnitude: Magnitude
    key: Array


class Gradients(NamedTuple):
    """Of the losses, in the shapes of the policy's and of the value function's weights."""

    policy: Weights
    value: Weights


@hyperparameters
class PolicyGradient(ReadingAgent, MemorylessAgent):
    """Policy gradient with Adam; the baseline or critic, where the weight uses one, fits lambda-returns.

    Attributes:
        learning_rate, value_learning_rate: of the policy and of the value function.
        lambda_: of the returns that the value function fits (1: Monte Carlo), and of GAE where the weight uses it.
        entropy_cost: weight of the mean policy entropy, in units of return.
        weight: which Psi.
        memory: what the policy keeps of the past; a `Table` makes it a table over the observation.
        previous_action, previous_reward: whether it reads a_{t-1} and r_{t-1} beside o_t.
        critic: what the value function sees: the `observation` (linear in its code, unless the policy's own memory
            holds no more), the `history` (a memory of its own, like the policy's), or the hidden `state` (of a tabular
            task; it is needed for learning only, not for acting).
        num_envs: B. rollout_length: T, at least the horizon: a longer one has fewer environments.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.1
    value_learning_rate: PositiveFloat = 0.1
    lambda_: Share = 1.0
    entropy_cost: settings.Weight = 0.0
    weight: Weight = reward_to_go
    memory: MemoryField = Table()
    previous_action: bool | None = None
    previous_reward: bool = False
    critic: Literal["observation", "history", "state"] = "observation"
    num_envs: Count = 32
    rollout_length: Count = 32
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        self.require_readable()
        why = "a plain policy gradient does not train a model of the world"
        require(not self.memory.has_model, why, memory=type(self.memory).__name__.lower())
        blind = self.critic == "state" and self.bootstrap_truncated
        why = "a critic of the state ends with the horizon: it does not see the state behind it"
        require(not blind, why, critic=self.critic, bootstrap_truncated=self.bootstrap_truncated)

    @property
    def marked_wrong(self) -> bool:
        bootstraps = self.weight is generalised_advantage and float(self.lambda_) < 1
        return bootstraps and not (self.critic == "history" and self.reads_history)

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
        policy, value = self.policy_network(env), self._value_network(env)
        refuse_short("rollout_length", self.rollout_length, env)
        return PolicyGradientState(
            policy=train_state(optax.adam(self.learning_rate), init_weights(policy, policy_key)),
            value=train_state(optax.adam(self.value_learning_rate), init_weights(value, value_key)),
            magnitude=no_magnitude(),
            key=key,
        )

    def update(
        self, env: Environment, params: Any, state: PolicyGradientState
    ) -> tuple[PolicyGradientState, dict[str, Array]]:
        key, estimate_key = jax.random.split(state.key)
        gradients, state, metrics = self.estimate(env, params, state, estimate_key)
        policy = state.policy.apply(optax.adam(self.learning_rate), gradients.policy)
        value = state.value.apply(optax.adam(self.value_learning_rate), gradients.value)
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
        value_weights = scale_outputs(state.value.weights, state.magnitude.value / magnitude.value)
        state = state._replace(magnitude=magnitude, value=state.value._replace(weights=value_weights))

        counted = surely_complete(rollout, env.horizon(params)).astype(jnp.float32)
        value, next_value = self._values(env, value_weights, rollout)
        evidence = self._evidence(env, params, rollout, magnitude, value, next_value)
        psi = self.weight(evidence) * counted
        lambda_return = (evidence.value + advantage(evidence)) / magnitude.value

        def policy_loss(weights: Weights) -> tuple[Array, Array]:
            policy = self._policy(env, params, unroll(network, weights, carry, rollout.inputs)[1])
            entropy = policy.entropy()
            # Divided by B, a constant: the number of episodes depends on the actions, and would bias the mean.
            log_prob = policy.log_prob(rollout.action)
            objective = jnp.sum(psi * log_prob + self.entropy_cost * entropy * counted) / self.num_envs
            return -objective, jnp.sum(entropy * counted) / jnp.maximum(counted.sum(), 1)

        def value_loss(weights: Weights) -> Array:
            error = self._values(env, weights, rollout)[0] - lambda_return
            return 0.5 * jnp.sum(counted * jnp.square(error)) / jnp.maximum(counted.sum(), 1)

        (_, entropy), policy_gradient = jax.value_and_grad(policy_loss, has_aux=True)(state.policy.weights)
        episodes = jnp.maximum(jnp.sum(jnp.where(rollout.first, counted, 0)), 1)
        metrics = {"return": jnp.sum(evidence.gamma_t * rollout.reward * counted) / episodes, "entropy": entropy}
        return Gradients(policy_gradient, jax.grad(value_loss)(value_weights)), state, metrics

    def probabilities(self, env: Environment, params: Any, state: PolicyGradientState) -> Array:
        return self._policy(env, params, table(self.policy_network(env), state.policy.weights)).probs

    def policy(self, env: Environment, params: Any, state: PolicyGradientState) -> Policy:
        choose = lambda key, out: self._policy(env, params, out).sample(seed=key)
        step = acting(self.policy_network(env), state.policy.weights)
        return policy_of(step, self.memory.initial_carry(1), choose)

    def policy_network(self, env: Environment) -> HistoryNetwork:
        """Outputs: the logits of the policy."""
        return self.network(env, env.num_actions)

    def _value_network(self, env: Environment) -> HistoryNetwork:
        """The value, in units of the largest return, of what the critic sees."""
        if self.critic == "history":
            return self.network(env, 1)
        if self.critic == "observation":
            memory = self.memory if self.memory.reach == 1 else Table()
            return HistoryNetwork(memory, 1, env.observation_space, env.num_actions)
        if not isinstance(env, TabularEnv):
            raise ValueError("a critic of the state needs a tabular task: this environment does not number its states")
        return HistoryNetwork(Table(), 1, Discrete(env.num_states), env.num_actions)

    def _values(self, env: Environment, weights: Weights, rollout: Rollout) -> tuple[Array, Array]:
        """Of o_t and of what really followed, in units of the largest return; both [T, B]."""
        network = self._value_network(env)
        carry = network.memory.initial_carry(self.num_envs)
        if self.critic == "state":
            states = rollout.inputs._replace(obs=rollout.state.number)
            value = unroll(network, weights, carry, states)[1][..., 0]
            # What follows the last step is read only where an episode goes on, and such an episode is not counted.
            return value, jnp.concatenate([value[1:], value[-1:]])
        here, after = unroll_pairs(
            network, weights, carry, rollout.inputs, rollout.next_inputs, self.bootstrap_truncated
        )
        return here[..., 0], after[..., 0]

    def _policy(self, env: Environment, params: Any, out: Array) -> Categorical:
        return masked_categorical(out, env.action_mask(params))

    def _evidence(
        self, env: Environment, params: Any, rollout: Rollout, magnitude: Magnitude, value: Array, next_value: Array
    ) -> Evidence:
        gamma = env.discount(params)
        return Evidence(
            reward=rollout.reward,
            discount=bootstrap_discount(rollout, gamma, self.bootstrap_truncated),
            continues=jnp.where(rollout.last, 0.0, 1.0),
            first=rollout.first,
            gamma_t=gamma ** rollout.time.astype(jnp.float32),
            value=magnitude.value * value,
            next_value=magnitude.value * next_value,
            lambda_=self.lambda_,
        )
