"""Planning in a learned latent model: value iteration over the values of z.

    Q(z, a) = E[r | z, a] + gamma P(it goes on | z, a) sum_z' p(z' | z, a) max_a' Q(z', a')

A categorical z of one variable makes the model a table. The agent acts on `sum_z q(z | history) Q(z, a)`: where z is an
information state that is planning in belief space; where the posterior is torn between two states it is Q-MDP, which
thinks that all doubt ends with the next step (Littman, Cassandra & Kaelbling, 1995).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import horizon_class, refuse_short
from seqrl_jax.agents.greedy import CLAIM_RESETS
from seqrl_jax.agents.history import Step
from seqrl_jax.agents.latent import Latent, LatentFunction
from seqrl_jax.agents.networks import masked
from seqrl_jax.agents.q_learning import STATIC, TRACED, QLearning, QState
from seqrl_jax.agents.rollout import StepInput
from seqrl_jax.memory import Memory, memory_name
from seqrl_jax.naming import SpecError, require
from seqrl_jax.settings import Count
from seqrl_jax.tasks.environment import Environment


@partial(jax.tree_util.register_dataclass, data_fields=TRACED, meta_fields=(*STATIC, "plan_steps"))
@dataclass(frozen=True)
class LatentPlan(QLearning):
    """Replay and exploration of Q-learning; the values that act are planned, and nothing but the bound is trained.

    Attribute: plan_steps: sweeps of value iteration, at least the task's horizon, of which as many count.
    """

    memory: Memory | Latent = Latent(groups=1, classes=32)
    plan_steps: Count = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        latent = self.memory
        if not isinstance(latent, Latent):
            raise SpecError(f"memory is {memory_name(latent)}: planning needs a latent model")
        table = latent.kind == "categorical" and latent.groups == 1
        why = "planning needs a table of states: a categorical latent state of one group"
        require(table, why, kind=latent.kind, groups=latent.groups)
        why = "planning needs dynamics of z alone: leave out the recurrent path"
        require(not latent.recurrent_prior, why, recurrent_prior=True)

    def for_run(self, horizon: int, steps: int) -> Self:
        return dataclasses.replace(
            super().for_run(horizon, steps), plan_steps=max(self.plan_steps, horizon_class(horizon))
        )

    def acting(self, env: Environment, params: Any, weights: Any) -> Step:
        function = self.function(env)
        assert isinstance(function, LatentFunction)
        plan = self.plan(env, params, weights)

        def step(carry: Any, seen: StepInput, key: Array | None) -> tuple[Any, Array]:
            carry, law = function.law_after(weights, carry, seen)
            return carry, function.memory.code(law, None) @ plan

        return step

    def plan(self, env: Environment, params: Any, weights: Any) -> Array:
        """[K, A]: what each action is worth with the whole horizon to go, in units of the largest reward."""
        refuse_short("plan_steps", self.plan_steps, env)
        function = self.function(env)
        assert isinstance(function, LatentFunction)
        size = function.memory.classes
        codes = jnp.repeat(jnp.eye(size), env.num_actions, 0)
        actions = jnp.tile(jnp.arange(env.num_actions), size)
        table = lambda values: values.reshape(size, env.num_actions, *values.shape[1:])
        nothing = jnp.zeros((len(codes), function.memory.width))
        moves = table(jax.nn.softmax(function.prior(weights, codes, actions, nothing)))
        reward, end = (table(part) for part in function.outcome(weights, codes, actions))
        mask, onward = env.action_mask(params), env.discount(params) * jax.nn.sigmoid(-end)

        def sweep(q: Array, number: Array) -> tuple[Array, None]:
            better = reward + onward * jnp.einsum("kaj,j->ka", moves, jnp.max(masked(q, mask), -1))
            return jnp.where(number < env.horizon(params), better, q), None

        start = jnp.zeros((size, env.num_actions))
        return jax.lax.stop_gradient(jax.lax.scan(sweep, start, jnp.arange(self.plan_steps))[0])

    def claim(self, env: Environment, params: Any, state: QState, key: Array) -> Array:
        obs, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, CLAIM_RESETS), params)
        seen = StepInput(obs, jnp.ones(CLAIM_RESETS, bool), jnp.zeros(CLAIM_RESETS, jnp.int32))
        start = self.function(env).initialise(state.weights, CLAIM_RESETS)
        _, q = self.acting(env, params, state.weights)(start, seen, None)
        return state.magnitude.reward * jnp.mean(jnp.max(masked(q, env.action_mask(params)), -1))
