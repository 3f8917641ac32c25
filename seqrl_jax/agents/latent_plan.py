"""Planning in a learned latent model: value iteration over the values of z.

    Q(z, a) = E[r | z, a] + gamma P(it goes on | z, a) sum_z' p(z' | z, a) max_a' Q(z', a')

A categorical z of one variable makes the model a table. The agent acts on `sum_z q(z | history) Q(z, a)`: where z is an
information state that is planning in belief space; where the posterior is torn between two states it is Q-MDP, which
thinks that all doubt ends with the next step (Littman, Cassandra & Kaelbling, 1995). Nothing is trained but the model's
bound, on whole episodes that the plan itself and random actions have made.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents import replay
from seqrl_jax.agents.action_values import CLAIM_RESETS, best, first_observations, greedy
from seqrl_jax.agents.annealed import AnnealedAgent
from seqrl_jax.agents.base import Policy, horizon_class, refuse_short, whole_episodes
from seqrl_jax.agents.exploration import EpsilonZ, ExplorationField
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.agents.learning import TrainState, train_state
from seqrl_jax.agents.network import HistoryNetwork, Step, auxiliary_loss, init_weights, policy_of
from seqrl_jax.agents.replay import Replay, Uniform
from seqrl_jax.agents.rollout import (
    Magnitude,
    Rollout,
    begin,
    collect,
    first_inputs,
    measured,
    no_magnitude,
    transposed,
)
from seqrl_jax.naming import check, require
from seqrl_jax.networks import Latent
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Count, PositiveFloat
from seqrl_jax.tasks.environment import Environment, num_actions


class PlanState(NamedTuple):
    """What is learned, the replay, the magnitude of rewards, updates so far, the memory's diagnostics, the key."""

    train: TrainState
    replay: Replay
    magnitude: Magnitude
    updates: Array
    diagnostics: Any
    key: Array


@hyperparameters
class LatentPlan(AnnealedAgent):
    """A latent model of one categorical variable, and the plan that it makes.

    Attributes:
        memory: the model.
        exploration: which random actions are taken. buffer: what is kept of the past, and how it is drawn.
        rollout_length: T, at least the horizon: a longer one has fewer environments.
        batch_sequences: sequences per gradient step. learning_steps: gradient steps per rollout.
        plan_steps: sweeps of value iteration, at least the task's horizon, of which as many count.
        The others: see `AnnealedAgent`.
    """

    learning_rate: PositiveFloat = 0.003
    memory: Annotated[Latent, Choice({"latent": Latent})] = Latent(groups=1, classes=32)
    exploration: ExplorationField = EpsilonZ()
    buffer: Annotated[Uniform, Choice({"uniform": Uniform}), TRACED] = Uniform()
    batch_sequences: Count = 16
    learning_steps: Count = 4
    plan_steps: Count = 32

    def __post_init__(self) -> None:
        check(self)
        latent = self.memory
        table = latent.kind == "categorical" and latent.groups == 1
        why = "planning needs a table of states: a categorical latent state of one group"
        require(table, why, kind=latent.kind, groups=latent.groups)
        why = "planning needs dynamics of z alone: leave out the recurrent path"
        require(not latent.recurrent_prior, why, recurrent_prior=True)
        why = "the plan weighs the posterior's probabilities, and nothing is learned on top of it"
        require(not (latent.draws or latent.pass_gradient), why, use=latent.use, pass_gradient=latent.pass_gradient)

    @property
    def acts(self) -> Literal["greedy"]:
        return "greedy"

    def for_run(self, horizon: int, steps: int) -> Self:
        shape = whole_episodes(self.num_envs, self.rollout_length, horizon)
        plan_steps = max(self.plan_steps, horizon_class(horizon))
        return dataclasses.replace(replay.resized(self, *shape), plan_steps=plan_steps).with_run_of(steps)

    @property
    def gradient_steps(self) -> int:
        return self.learning_steps

    def init(self, key: Array, env: Environment, params: Any) -> PlanState:
        refuse_short("rollout_length", self.rollout_length, env)
        key, weights_key, example_key = jax.random.split(key, 3)
        train = train_state(self.optimiser, init_weights(self.network_in(env), weights_key))
        example = jax.eval_shape(lambda: self._collect(env, params, train.weights, jnp.int32(0), example_key))
        blocks = max(1, self.buffer.capacity // self.steps_per_update)
        buffer, diagnostics = replay.empty(blocks, example), self.memory.initial_diagnostics()
        return PlanState(train, buffer, no_magnitude(), jnp.int32(0), diagnostics, key)

    def update(self, env: Environment, params: Any, state: PlanState) -> tuple[PlanState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        block = self._collect(env, params, state.train.weights, state.updates, collect_key)
        buffer = replay.add(state.replay, block)
        magnitude = measured(state.magnitude, transposed(block), env.discount(params))
        network, carry = self.network_in(env), self.memory.initial_carry(self.batch_sequences)

        def learn(train: TrainState, key: Array) -> tuple[TrainState, dict[str, Array]]:
            draw_key, loss_key = jax.random.split(key)
            drawn = replay.sample(draw_key, buffer, self.batch_sequences, self.buffer.priority_exponent, False)
            sequences = replay.read(buffer, drawn.slot, drawn.env)
            rollout = transposed(sequences)

            def loss(weights: Weights) -> tuple[Array, dict[str, Array]]:
                experience, seen = rollout.experience(magnitude), env.observation_mask(params)
                return auxiliary_loss(network, weights, carry, experience, seen, loss_key)

            gradient, terms = jax.grad(loss, has_aux=True)(train.weights)
            return train.apply(self.optimiser, gradient), terms

        train, metrics = jax.lax.scan(learn, state.train, jax.random.split(learn_key, self.learning_steps))
        metrics = jax.tree.map(jnp.mean, metrics)
        diagnostics = self.memory.diagnose(state.diagnostics, metrics)
        return PlanState(train, buffer, magnitude, state.updates + 1, diagnostics, key), metrics

    def policy(self, env: Environment, params: Any, state: PlanState) -> Policy:
        choose = lambda key, q: greedy(q, env.action_mask(params))
        value = lambda q: state.magnitude.reward * best(q, env.action_mask(params))
        step = self._acting(env, params, state.train.weights)
        return policy_of(step, self.memory.initial_carry(1), choose, value)

    def claim(self, env: Environment, params: Any, state: PlanState, key: Array) -> Array:
        inputs = first_inputs(env, first_observations(env, params, key), CLAIM_RESETS)
        step = self._acting(env, params, state.train.weights)
        _, q = step(self.memory.initial_carry(CLAIM_RESETS), inputs, None)
        return state.magnitude.reward * jnp.mean(best(q, env.action_mask(params)))

    def plan(self, env: Environment, params: Any, weights: Weights) -> Array:
        """[K, A]: what each action is worth with the whole horizon to go, in units of the largest reward."""
        refuse_short("plan_steps", self.plan_steps, env)
        size = self.memory.classes
        states = jnp.repeat(jnp.eye(size), num_actions(env), 0)
        actions = jnp.tile(jnp.arange(num_actions(env)), size)
        table = lambda values: values.reshape(size, num_actions(env), *values.shape[1:])
        model = lambda method, *arguments: self.network_in(env).apply(weights, *arguments, method=method)
        moves = table(jax.nn.softmax(model(lambda net: net.memory.dynamics(states, actions))))
        reward, end = (table(part) for part in model(lambda net: net.memory.outcome(states, actions)))
        mask, onward = env.action_mask(params), env.discount(params) * jax.nn.sigmoid(-end)

        def sweep(q: Array, number: Array) -> tuple[Array, None]:
            better = reward + onward * jnp.einsum("kaj,j->ka", moves, best(q, mask))
            return jnp.where(number < env.horizon(params), better, q), None

        start = jnp.zeros((size, num_actions(env)))
        return jax.lax.stop_gradient(jax.lax.scan(sweep, start, jnp.arange(self.plan_steps))[0])

    def network_in(self, env: Environment) -> HistoryNetwork:
        """No outputs: the model is all there is."""
        return self.network(env, 0)

    def _acting(self, env: Environment, params: Any, weights: Weights) -> Step:
        network, plan = self.network_in(env), self.plan(env, params, weights)

        def step(carry: Carry, inputs: StepInput, key: Array | None) -> tuple[Carry, Array]:
            one = jax.tree.map(lambda leaf: leaf[None], inputs)
            carry, _, law = network.apply(weights, carry, one, method=posterior)
            return carry, self.memory.mean_state(law[0]) @ plan

        return step

    def _collect(self, env: Environment, params: Any, weights: Weights, updates: Array, key: Array) -> Rollout:
        """One rollout from fresh episodes on, its sequences [B, T, ...]."""
        begin_key, collect_key = jax.random.split(key)
        step, mask = self._acting(env, params, weights), env.action_mask(params)
        progress = self.progress(updates)

        def act(key: Array, carry: tuple[Carry, Any], inputs: StepInput) -> tuple[tuple[Carry, Any], Array]:
            memory, q = step(carry[0], inputs, None)
            own = greedy(q, mask)
            exploring, action = self.exploration.explore(key, carry[1], inputs.first, own, mask, progress)
            return (memory, exploring), action

        carry = self.memory.initial_carry(self.num_envs), self.exploration.initial_carry(self.num_envs)
        position = begin(begin_key, env, params, self.num_envs, carry)
        _, rollout = collect(collect_key, env, params, position, act, self.rollout_length)
        return transposed(rollout._replace(state=None))


def posterior(network: HistoryNetwork, carry: Carry, inputs: StepInput) -> tuple[Carry, Array, Array]:
    """Of a network whose memory is a latent model: see `Latent.posterior`."""
    return network.memory.posterior(carry, network.encoder(inputs), inputs.first)
