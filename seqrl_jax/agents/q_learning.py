"""Q-learning from replayed sequences, on the observation, a window or the history.

    Q(h_t, a_t) <- r_t + gamma V'(h_{t+1}),    V' from the target network, as `target` says

where h_t is what the memory keeps of o_0, a_0, ... o_t. On the observation or a window this is wrong where o is not
Markov: the target bootstraps from the value of an observation, which different states share. With the whole history it
is right, if the memory's carry is: what a sequence that begins inside an episode begins with is for `start` to say.

A transformer's carry is its cache of keys and values, thousands of numbers per step, each stale as soon as the weights
change. So `q_transformer` stores no carry and reads whole episodes: nothing is stale, at a cost of T^2 scores.

Sources: van Hasselt et al. (2016); Hausknecht & Stone (2015) for the recurrent form; Kapturowski et al. (2019) for the
stored carry, burn-in, rescaling and sequence priorities; Haarnoja et al. (2017) for the soft form.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents import replay
from seqrl_jax.agents.action_values import mean_over_actions, of_action, outputs_at_start
from seqrl_jax.agents.annealed import AnnealedAgent
from seqrl_jax.agents.base import MemorylessAgent, Policy, horizon_class, refuse_short, whole_episodes
from seqrl_jax.agents.exploration import EpsilonZ, ExplorationField
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import TrainState, falling, train_state
from seqrl_jax.agents.network import (
    HistoryNetwork,
    Step,
    acting,
    auxiliary_loss,
    init_weights,
    policy_of,
    scale_outputs,
    table,
    unroll,
    unroll_pairs,
)
from seqrl_jax.agents.replay import BufferField, Replay, Uniform
from seqrl_jax.agents.rollout import (
    Magnitude,
    Position,
    Rollout,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
    transposed,
)
from seqrl_jax.agents.starts import StartField, Whole
from seqrl_jax.agents.targets import Double, TargetField
from seqrl_jax.naming import check, require
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import Count, Depth, PositiveFloat
from seqrl_jax.tasks.environment import Environment, num_actions, split_key_cheaply


class Sequences(NamedTuple):
    """What is replayed: the steps of one rollout, and the carry before it (None where it is not stored)."""

    rollout: Rollout
    carry: Carry | None


class QState(NamedTuple):
    """What is learned, the target's weights, the replay, magnitudes, where things stand, the memory's diagnostics."""

    train: TrainState
    target: Weights
    replay: Replay
    magnitude: Magnitude
    position: Position
    updates: Array
    diagnostics: Any
    key: Array


@hyperparameters
class QLearning(AnnealedAgent, MemorylessAgent):
    """Q-learning with replay and a target network.

    Attributes:
        target: what is learned towards. exploration: which random actions are taken.
        start: where a sequence begins; it is as long as a rollout.
        buffer: what is kept of the past, and how it is drawn.
        n_steps: n of the n-step return. rescale_values: learn h(Q) of returns as they are (see `estimators.rescale`);
            otherwise Q is learned in units of the largest return.
        batch_sequences: sequences per gradient step. learning_steps: gradient steps per rollout.
        target_period: updates after which the target network becomes the current one.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
        The others: see `AnnealedAgent`.
    """

    learning_rate: PositiveFloat = 0.003
    target: TargetField = Double()
    exploration: ExplorationField = EpsilonZ()
    start: StartField = Whole()
    buffer: BufferField = Uniform()
    n_steps: Depth = 5
    rescale_values: bool = False
    batch_sequences: Count = 16
    learning_steps: Count = 4
    target_period: Count = 4
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        self.require_readable()
        enough = self.blocks >= 2 or not self.start.burn_in
        capacity, block = self.buffer.capacity, self.steps_per_update
        why = f"the memory burns in on the rollout before, and two of them are {2 * block} steps"
        require(enough, why, burn_in=True, capacity=capacity)

    @property
    def blocks(self) -> int:
        """Rollouts that the buffer holds."""
        return max(1, self.buffer.capacity // self.steps_per_update)

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        return self.target.acts

    def for_run(self, horizon: int, steps: int) -> Self:
        num_envs, length = self.num_envs, self.rollout_length
        if self.start.whole:
            num_envs, length = whole_episodes(num_envs, length, horizon)
        # Room for more steps than a run makes would stay empty.
        capacity = min(self.buffer.capacity, max(steps, 2 * num_envs * length))
        fitted = dataclasses.replace(
            replay.resized(self, num_envs, length),
            memory=self.memory.for_horizon(horizon_class(horizon)),
            buffer=dataclasses.replace(self.buffer, capacity=capacity),
        )
        return fitted.with_run_of(steps)

    @property
    def gradient_steps(self) -> int:
        return self.learning_steps

    def init(self, key: Array, env: Environment, params: Any) -> QState:
        if self.start.whole:
            refuse_short("rollout_length", self.rollout_length, env)
        key, weights_key, begin_key, example_key = jax.random.split(key, 4)
        weights = init_weights(self.network_in(env), weights_key)
        position = begin(begin_key, env, params, self.num_envs, self._initial_carry(self.num_envs))
        shapes = jax.eval_shape(lambda: self._collect(env, params, weights, position, jnp.int32(0), example_key)[1])
        return QState(
            train=train_state(self.optimiser, weights),
            target=weights,
            replay=replay.empty(self.blocks, shapes),
            magnitude=no_magnitude(),
            position=position,
            updates=jnp.int32(0),
            diagnostics=self.memory.initial_diagnostics(),
            key=key,
        )

    def update(self, env: Environment, params: Any, state: QState) -> tuple[QState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        weights = state.train.weights
        position, block = self._collect(env, params, weights, state.position, state.updates, collect_key)
        buffer = replay.add(state.replay, block)
        magnitude = measured(state.magnitude, transposed(block.rollout), env.discount(params))
        train = state.train._replace(weights=self._rescaled(weights, state.magnitude, magnitude))
        target = self._rescaled(state.target, state.magnitude, magnitude)
        exploring = falling(self.progress(state.updates), 1.0, 0.0)

        def learn(carry: tuple[TrainState, Replay], key: Array) -> tuple[tuple[TrainState, Replay], dict[str, Array]]:
            train, buffer = carry
            draw_key, loss_key = jax.random.split(key)
            exponent, burn_in = self.buffer.priority_exponent, self.start.burn_in
            drawn = replay.sample(draw_key, buffer, self.batch_sequences, exponent, burn_in)
            gradient, (error, metrics) = jax.grad(self._loss, argnums=2, has_aux=True)(
                env, params, train.weights, target, buffer, drawn, magnitude, exploring, loss_key
            )
            priority = 0.9 * jnp.abs(error).max(0) + 0.1 * jnp.abs(error).mean(0)
            buffer = replay.set_priority(buffer, drawn, priority)
            return (train.apply(self.optimiser, gradient), buffer), metrics

        (train, buffer), metrics = jax.lax.scan(
            learn, (train, buffer), jax.random.split(learn_key, self.learning_steps)
        )
        updates = state.updates + 1
        target = optax.periodic_update(train.weights, target, updates, self.target_period)
        metrics = jax.tree.map(jnp.mean, metrics)
        diagnostics = self.memory.diagnose(state.diagnostics, metrics)
        return QState(train, target, buffer, magnitude, position, updates, diagnostics, key), metrics

    def probabilities(self, env: Environment, params: Any, state: QState) -> Array:
        q = self._values(table(self.network_in(env), state.train.weights))
        return self.target.policy(q, env.action_mask(params)).probs

    def policy(self, env: Environment, params: Any, state: QState) -> Policy:
        choose = lambda key, out: self._choose(key, out, env.action_mask(params))
        value = (lambda out: self._expected(env, params, state, out)) if self.target.is_return else None
        return policy_of(self.acting(env, params, state), self.memory.initial_carry(1), choose, value)

    def claim(self, env: Environment, params: Any, state: QState, key: Array) -> Array | None:
        if not self.target.is_return:
            return None
        out = outputs_at_start(self.network_in(env), state.train.weights, env, params, key)
        return jnp.mean(self._expected(env, params, state, out))

    def acting(self, env: Environment, params: Any, state: QState) -> Step:
        """What acts: the network's outputs along an episode."""
        return acting(self.network_in(env), state.train.weights)

    def _collect(
        self, env: Environment, params: Any, weights: Weights, position: Position, updates: Array, key: Array
    ) -> tuple[Position, Sequences]:
        """One rollout: where the environments stand, and its sequences [B, T, ...]."""
        begin_key, collect_key = jax.random.split(key)
        if self.start.whole:
            position = begin(begin_key, env, params, self.num_envs, self._initial_carry(self.num_envs))
        step, mask = acting(self.network_in(env), weights), env.action_mask(params)
        progress = self.progress(updates)

        def act(key: Array, carry: tuple[Carry, Any], inputs: StepInput) -> tuple[tuple[Carry, Any], Array]:
            own_key, explore_key = jax.random.split(key)
            memory, out = step(carry[0], inputs, split_key_cheaply(key))
            own = self._choose(own_key, out, mask)
            exploring, action = self.exploration.explore(explore_key, carry[1], inputs.first, own, mask, progress)
            return (memory, exploring), action

        after, rollout = collect(collect_key, env, params, position, act, self.rollout_length)
        by_env = transposed(rollout._replace(state=None))
        return after, Sequences(by_env, position.carry[0] if self.start.stored else None)

    def _loss(
        self,
        env: Environment,
        params: Any,
        weights: Weights,
        target_weights: Weights,
        buffer: Replay,
        drawn: replay.Draw,
        magnitude: Magnitude,
        exploring: Array,
        key: Array,
    ) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        """The loss, and TD errors [T, M] with metrics."""
        network, mask = self.network_in(env), env.action_mask(params)
        block = replay.read(buffer, drawn.slot, drawn.env)
        r = transposed(block.rollout)
        start, target_start = self._starts(network, weights, target_weights, block, buffer, drawn)
        draw_key, target_key, auxiliary_key = jax.random.split(key, 3)

        pairs = lambda weights, start, key: unroll_pairs(
            network, weights, start, r.inputs, r.next_inputs, self.bootstrap_truncated, key
        )
        here, after = pairs(weights, start, draw_key)
        target_here, target_after = map(self._values, pairs(target_weights, target_start, target_key))
        q = self._values(here)
        goal = estimators.n_step_return(
            r.reward / self._unit(magnitude),
            bootstrap_discount(r, env.discount(params), self.bootstrap_truncated),
            self.target.continues(r.last, r.action, q, target_here, mask, exploring),
            self.target.value(self._values(after), target_after, mask),
            self.n_steps,
            self.target.bonus(target_here, r.action, mask),
        )
        goal = jax.lax.stop_gradient(estimators.rescale(goal) if self.rescale_values else goal)
        error = of_action(here, r.action) - goal
        weight = (1 / jnp.maximum(drawn.probability, 1e-9)) ** self.buffer.importance_exponent
        loss = 0.5 * jnp.mean(weight / weight.max() * jnp.square(error))
        experience = r.experience(magnitude)
        auxiliary, terms = auxiliary_loss(
            network, weights, start, experience, env.observation_mask(params), auxiliary_key
        )
        metrics = {
            "td_error": jnp.sqrt(jnp.mean(jnp.square(error))),
            "q": self._unit(magnitude) * mean_over_actions(q, mask),
        }
        return loss + auxiliary, (error, metrics | terms)

    def _starts(
        self,
        network: HistoryNetwork,
        weights: Weights,
        target_weights: Weights,
        block: Sequences,
        buffer: Replay,
        drawn: replay.Draw,
    ) -> tuple[Carry, Carry]:
        """The carries with which the sequences begin, for the current and for the target weights; no gradient."""
        begins = lambda block: block.carry if self.start.stored else self.memory.initial_carry(self.batch_sequences)
        if not self.start.burn_in:
            return begins(block), begins(block)
        before = replay.read(buffer, replay.before(buffer, drawn.slot), drawn.env)
        inputs = transposed(before.rollout).inputs
        warm = lambda weights: unroll(network, weights, begins(before), inputs)[0]
        return jax.lax.stop_gradient((warm(weights), warm(target_weights)))

    def _initial_carry(self, batch: int) -> tuple[Carry, Any]:
        return self.memory.initial_carry(batch), self.exploration.initial_carry(batch)

    def _choose(self, key: Array, out: Array, mask: Array) -> Array:
        policy = self.target.policy(self._values(out), mask)
        return policy.mode() if self.acts == "greedy" else policy.sample(seed=key)

    def _expected(self, env: Environment, params: Any, state: QState, out: Array) -> Array:
        """[...]: what is expected by outputs [..., A], in units of return."""
        q = self._values(out)
        return self._unit(state.magnitude) * self.target.value(q, q, env.action_mask(params))

    def _values(self, out: Array) -> Array:
        """Q in its unit, from the network's outputs."""
        return estimators.unrescale(out) if self.rescale_values else out

    def _unit(self, magnitude: Magnitude) -> Array:
        """Of Q, in units of return: rescaled values are learned as they are."""
        return jnp.float32(1.0) if self.rescale_values else magnitude.value

    def _rescaled(self, weights: Weights, before: Magnitude, after: Magnitude) -> Weights:
        """Weights that say in the new unit what they said in the old one."""
        return scale_outputs(weights, self._unit(before) / self._unit(after))

    def network_in(self, env: Environment) -> HistoryNetwork:
        """Outputs: action values, rescaled or in units of the largest return."""
        return self.network(env, num_actions(env))
