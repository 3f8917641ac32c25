"""Q-learning from replayed sequences, on the observation, a window or the history.

    Q(h_t, a_t) <- r_t + gamma Q'(h_{t+1}, argmax_a Q(h_{t+1}, a))        (double Q; Q' is the target network)

where h_t is what the memory keeps of o_0 ... o_t. On the observation or a window this is wrong where o is not Markov:
the target bootstraps from the value of an observation, which different states share. With the whole history it is
right, if the memory's state is: a sequence that begins inside an episode has lost what came before it. What
`replayed` offers against that:

    whole    every rollout begins with fresh episodes, so nothing has to be stored: h_t is read anew from o_0.
    zero     sequences begin where they fall, from an empty state (DRQN's random updates).
    stored   from the state that the acting network had there, with the weights it had then: stale.

`burn_in` runs the current weights over the block of steps before the sequence, and learns nothing from it.

A transformer's state is its cache of keys and values, thousands of numbers per step, each stale as soon as the weights
change. So `q_transformer` stores observations only and reads whole episodes: nothing is stale, at a cost of T^2 scores.

Sources: van Hasselt et al. (2016); Hausknecht & Stone (2015) for the recurrent form; Kapturowski et al. (2019) for the
stored state, burn-in, rescaling and sequence priorities; Haarnoja et al. (2017) for the soft form.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.agents import replay
from seqrl_jax.agents.base import MemorylessAgent, Policy, horizon_class, refuse_short, updates_in, whole_episodes
from seqrl_jax.agents.exploration import Acting, explore, no_repeat
from seqrl_jax.agents.functions import function_of
from seqrl_jax.agents.greedy import greedy, greedy_table, mean_over_actions, outputs_at_start
from seqrl_jax.agents.history import HistoryFunction, Step, single
from seqrl_jax.agents.latent import COLLAPSED, POSTERIOR_COLLAPSE, Latent, count_collapsed
from seqrl_jax.agents.networks import masked, of_action, sample
from seqrl_jax.agents.replay import Replay
from seqrl_jax.agents.rollout import (
    Magnitude,
    Position,
    Rollout,
    StepInput,
    begin,
    bootstrap_discount,
    collect,
    measured,
    no_magnitude,
)
from seqrl_jax.agents.schedules import LAST_RATE, falling
from seqrl_jax.memory import GRU, Memory
from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, Depth, Exponent, Fraction, PositiveFloat, Probability, RunSteps, Share
from seqrl_jax.tasks.environment import Environment, split_key_cheaply


class Sequence(NamedTuple):
    """What is replayed: the steps of one rollout, and the memory's state before it (None where it is not stored)."""

    rollout: Rollout
    memory: Any


class QState(NamedTuple):
    """Weights, those of the target, the optimiser's state, the replay, the units, and where things stand.

    collapsed_for: see `latent.count_collapsed`.
    """

    weights: Any
    target: Any
    optimiser: Any
    replay: Replay
    magnitude: Magnitude
    position: Position
    updates: Array
    collapsed_for: Array
    key: Array


TRACED = (
    "learning_rate",
    "run_steps",
    "max_gradient_norm",
    "epsilon_end",
    "exploration_share",
    "temperature",
    "priority_exponent",
    "importance_exponent",
)
STATIC = (
    "memory",
    "soft",
    "n_steps",
    "double",
    "replayed",
    "burn_in",
    "rescale_values",
    "num_envs",
    "rollout_length",
    "replay_blocks",
    "batch_sequences",
    "learning_steps",
    "target_period",
    "bootstrap_truncated",
)


@partial(jax.tree_util.register_dataclass, data_fields=TRACED, meta_fields=STATIC)
@dataclass(frozen=True)
class QLearning(MemorylessAgent):
    """Q-learning with replay and a target network.

    Attributes:
        learning_rate: of Adam; it falls to a tenth over the `run_steps` steps of a run.
        max_gradient_norm: the global norm above which gradients are scaled down.
        epsilon_end: chance that a random action begins to repeat (see `explore`) once `exploration_share` of the run is
            over; until then it falls from 1.
        soft: act by softmax(Q / temperature), and value an observation by temperature logsumexp(Q / temperature);
            temperature is in units of the largest return.
        priority_exponent: alpha, 0 for uniform replay. importance_exponent: beta, of the weights that make up for it.
        memory: the backbone. double: whether Q chooses and Q' values. n_steps: n of the n-step return, which fades
            behind exploratory actions as exploration does (see `estimators.on_policy`).
        replayed, burn_in: where a sequence's memory comes from (above). rescale_values: learn h(Q) (see `rescale`).
        num_envs: B. rollout_length: T, the length of a sequence. replay_blocks: rollouts that are kept.
        batch_sequences: sequences per gradient step. learning_steps: gradient steps per rollout.
        target_period: updates after which the target network becomes the current one.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
    """

    learning_rate: PositiveFloat = 0.003
    run_steps: RunSteps = 300_000.0
    max_gradient_norm: PositiveFloat = 1.0
    epsilon_end: Probability = 0.02
    exploration_share: Fraction = 0.7
    temperature: PositiveFloat = 0.02
    priority_exponent: Exponent = 0.0
    importance_exponent: Share = 0.6
    memory: Memory | Latent = GRU(32)
    soft: bool = False
    n_steps: Depth = 5
    double: bool = True
    replayed: Literal["whole", "zero", "stored"] = "whole"
    burn_in: bool = False
    rescale_values: bool = False
    num_envs: Count = 16
    rollout_length: Count = 32
    replay_blocks: Count = 8
    batch_sequences: Count = 16
    learning_steps: Count = 4
    target_period: Count = 4
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        enough = self.replay_blocks >= 2 or not self.burn_in
        require(enough, "the memory burns in on the rollout before", burn_in=True, replay_blocks=self.replay_blocks)

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    @property
    def memoryless(self) -> bool:
        return self.memory.reach == 1

    @property
    def marked_wrong(self) -> bool:
        return self.memory.reach is not None

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        return "sampled" if self.soft else "greedy"

    def for_run(self, horizon: int, steps: int) -> Self:
        num_envs, length, sequences = self.num_envs, self.rollout_length, self.batch_sequences
        if self.replayed == "whole":
            num_envs, length = whole_episodes(num_envs, length, horizon)
            sequences = max(1, sequences * self.rollout_length // length)
        longer = num_envs * length / self.steps_per_update
        fitted = dataclasses.replace(
            self,
            num_envs=num_envs,
            rollout_length=length,
            batch_sequences=sequences,
            # Gradient steps follow environment steps, also where one environment is already more than there were.
            learning_steps=max(1, round(self.learning_steps * longer)),
            memory=self.memory.for_horizon(horizon_class(horizon)),
        )
        return dataclasses.replace(fitted, run_steps=float(updates_in(fitted, steps) * fitted.steps_per_update))

    def init(self, key: Array, env: Environment, params: Any) -> QState:
        if self.replayed == "whole":
            refuse_short("rollout_length", self.rollout_length, env)
        key, weights_key, begin_key, example_key = jax.random.split(key, 4)
        function = self.function(env)
        weights = function.init(weights_key)
        memory = Acting(function.initialise(weights, self.num_envs), no_repeat(self.num_envs))
        position = begin(begin_key, env, params, self.num_envs, memory)
        shapes = jax.eval_shape(lambda: self._collect(env, params, weights, position, jnp.int32(0), example_key)[1])
        return QState(
            weights=weights,
            target=weights,
            optimiser=self._optimiser(1.0).init(weights),
            replay=replay.empty(self.replay_blocks, shapes),
            magnitude=no_magnitude(),
            position=position,
            updates=jnp.int32(0),
            collapsed_for=jnp.int32(0),
            key=key,
        )

    def update(self, env: Environment, params: Any, state: QState) -> tuple[QState, dict[str, Array]]:
        key, collect_key, learn_key = jax.random.split(state.key, 3)
        position, block = self._collect(env, params, state.weights, state.position, state.updates, collect_key)
        memories = replay.add(state.replay, block)
        magnitude = measured(state.magnitude, block.rollout, env.discount(params))
        steps = state.updates * self.steps_per_update
        exploring = falling(steps, self.run_steps, 0.0)
        optimiser_now = self._optimiser(falling(steps, self.run_steps, LAST_RATE))

        def learn(carry: tuple[Any, Any, Replay], key: Array) -> tuple[tuple[Any, Any, Replay], dict[str, Array]]:
            weights, optimiser, memories = carry
            drawn = replay.sample(key, memories, self.batch_sequences, self.priority_exponent, self.burn_in)
            gradient, (error, metrics) = jax.grad(self._loss, argnums=2, has_aux=True)(
                env, params, weights, state.target, memories, drawn, magnitude, exploring, split_key_cheaply(key)
            )
            change, optimiser = optimiser_now.update(gradient, optimiser, weights)
            priority = 0.9 * jnp.abs(error).max(0) + 0.1 * jnp.abs(error).mean(0)
            return (
                optax.apply_updates(weights, change),
                optimiser,
                replay.set_priority(memories, drawn, priority),
            ), metrics

        carry = (state.weights, state.optimiser, memories)
        (weights, optimiser, memories), metrics = jax.lax.scan(
            learn, carry, jax.random.split(learn_key, self.learning_steps)
        )
        updates = state.updates + 1
        renew = updates % self.target_period == 0
        target = jax.tree.map(lambda new, old: jnp.where(renew, new, old), weights, state.target)
        metrics = jax.tree.map(jnp.mean, metrics)
        collapsed_for = count_collapsed(state.collapsed_for, metrics)
        return QState(weights, target, optimiser, memories, magnitude, position, updates, collapsed_for, key), metrics

    def alarms(self, state: QState) -> dict[str, Array]:
        return {POSTERIOR_COLLAPSE: state.collapsed_for >= COLLAPSED}

    def probabilities(self, env: Environment, params: Any, state: QState) -> Array:
        q, mask = self._values(self.function(env).table(state.weights)), env.action_mask(params)
        return jax.nn.softmax(masked(q, mask) / self.temperature) if self.soft else greedy_table(q, mask)

    def policy(self, env: Environment, params: Any, state: QState) -> Policy:
        choose = lambda key, out: self._choose(key, out, env.action_mask(params))
        start = self.function(env).initialise(state.weights, 1)
        return single(self.acting(env, params, state.weights), start, choose)

    def claim(self, env: Environment, params: Any, state: QState, key: Array) -> Array:
        q = self._values(outputs_at_start(self.function(env), state.weights, env, params, key))
        return state.magnitude.value * jnp.mean(self._value(q, q, env.action_mask(params)))

    def acting(self, env: Environment, params: Any, weights: Any) -> Step:
        """What acts with these weights: action values along an episode."""
        return self.function(env).acting(weights)

    def _collect(
        self, env: Environment, params: Any, weights: Any, position: Position, updates: Array, key: Array
    ) -> tuple[Position, Sequence]:
        """One rollout: where the environments stand, and its sequences [B, T, ...]."""
        begin_key, collect_key = jax.random.split(key)
        function = self.function(env)
        if self.replayed == "whole":
            memory = Acting(function.initialise(weights, self.num_envs), no_repeat(self.num_envs))
            position = begin(begin_key, env, params, self.num_envs, memory)
        step, mask, epsilon = (
            self.acting(env, params, weights),
            env.action_mask(params),
            falling(updates * self.steps_per_update, self.exploration_share * self.run_steps, self.epsilon_end),
        )

        def act(key: Array, memory: Acting, seen: StepInput) -> tuple[Acting, Array]:
            own_key, explore_key = jax.random.split(key)
            carry, out = step(memory.carry, seen, split_key_cheaply(key))
            own = self._choose(own_key, out, mask)
            repeat, action = explore(explore_key, memory.repeat, seen.first, own, mask, epsilon)
            return Acting(carry, repeat), action

        after, rollout = collect(collect_key, env, params, position, act, self.rollout_length)
        by_env = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), rollout._replace(state=None))
        return after, Sequence(by_env, position.memory.carry if self.replayed == "stored" else None)

    def _loss(
        self,
        env: Environment,
        params: Any,
        weights: Any,
        target: Any,
        memories: Replay,
        drawn: replay.Draw,
        magnitude: Magnitude,
        exploring: Array,
        key: Array,
    ) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        """The loss, and TD errors [T, M] with metrics."""
        function, mask = self.function(env), env.action_mask(params)
        block = replay.read(memories, drawn.slot, drawn.env)
        by_time = lambda tree: jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree)
        r = by_time(block.rollout)
        start, target_start = self._starts(function, weights, target, block, memories, drawn)

        pairs = lambda weights, start: function.unroll_pairs(
            weights, start, r.seen, r.action, r.next_obs, self.bootstrap_truncated, key
        )
        (here, after), (_, target_after) = pairs(weights, start), pairs(target, target_start)
        next_q = self._values(target_after)
        chooser = self._values(after) if self.double else next_q
        value = jax.lax.stop_gradient(self._value(chooser, next_q, mask))
        follows = jnp.bool_(True) if self.soft else r.action == greedy(here, mask)
        goal = estimators.n_step_return(
            r.reward / magnitude.value,
            bootstrap_discount(r, env.discount(params), self.bootstrap_truncated),
            estimators.on_policy(r.last, follows, exploring),
            value,
            self.n_steps,
        )
        predicted = of_action(here, r.action)
        error = predicted - jax.lax.stop_gradient(estimators.rescale(goal) if self.rescale_values else goal)
        weight = (1 / jnp.maximum(drawn.probability, 1e-9)) ** self.importance_exponent
        weight = weight / weight.max()
        loss = 0.5 * jnp.mean(weight * jnp.square(error))
        model_loss, terms = function.model_loss(
            weights, start, r.experience(magnitude), env.observation_mask(params), key
        )
        metrics = {
            "td_error": jnp.sqrt(jnp.mean(jnp.square(error))),
            "q": magnitude.value * mean_over_actions(self._values(here), mask),
        }
        return loss + model_loss, (error, metrics | terms)

    def _starts(
        self,
        function: HistoryFunction,
        weights: Any,
        target: Any,
        block: Sequence,
        memories: Replay,
        drawn: replay.Draw,
    ) -> tuple[Any, Any]:
        """The carries with which the sequences begin, for the current and for the target weights; no gradient."""

        def at_start(weights: Any, sequence: Sequence) -> Any:
            if self.replayed == "stored":
                return sequence.memory
            return function.initialise(weights, self.batch_sequences)

        if not self.burn_in:
            return at_start(weights, block), at_start(target, block)
        before = replay.read(memories, replay.before(memories, drawn.slot), drawn.env)
        seen = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), before.rollout.seen)
        warm = lambda weights: function.carry_after(weights, at_start(weights, before), seen)
        return jax.lax.stop_gradient((warm(weights), warm(target)))

    def _choose(self, key: Array, out: Array, mask: Array) -> Array:
        q = self._values(out)
        return sample(key, masked(q, mask) / self.temperature) if self.soft else greedy(q, mask)

    def _value(self, chooser: Array, q: Array, mask: Array) -> Array:
        """The value [...] of what `q` [..., A] says, at the action that `chooser` prefers."""
        if self.soft:
            return self.temperature * jax.nn.logsumexp(masked(q, mask) / self.temperature, axis=-1)
        return of_action(q, greedy(chooser, mask))

    def _values(self, out: Array) -> Array:
        """Q in units of the largest return, from the network's outputs."""
        return estimators.unrescale(out) if self.rescale_values else out

    def function(self, env: Environment) -> HistoryFunction:
        return function_of(self.memory, env.num_actions, env)

    def _optimiser(self, share: Array | float) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate * share, eps=1e-5)
        return optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), adam)
