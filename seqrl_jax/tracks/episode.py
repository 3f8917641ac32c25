"""One episode of a tabular task, step by step: what is, is seen, is believed, is done, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.rollout import first_inputs
from seqrl_jax.exact.advice import Advice
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.tasks.filter import first_belief, next_belief
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP

DRAWS = 400
"""By which the probabilities of a policy's actions are estimated: it is a program that draws."""


@dataclass(frozen=True, eq=False)
class Moment:
    """Before an action. state: the hidden one. belief: [S], exact. values: [A], what each action and the best policy
    after it earn from here on; None where the beliefs of the task cannot be listed."""

    time: int
    state: int
    obs: int
    belief: np.ndarray
    values: np.ndarray | None


class Choice(NamedTuple):
    """What is done at a moment. probabilities: [A], how often a policy takes each action, by draws; None of a person.
    value: what an agent expects to earn from here on, in units of return; None of one that has no value."""

    action: int
    probabilities: np.ndarray | None = None
    value: float | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """A choice at a moment, and what it was paid."""

    moment: Moment
    choice: Choice
    reward: float

    @property
    def action(self) -> int:
        return self.choice.action

    @property
    def optimal_value(self) -> float | None:
        """What the best policy earns from this belief on."""
        return None if self.moment.values is None else float(self.moment.values.max())

    @property
    def value_error(self) -> float | None:
        """By how much the agent's value exceeds that."""
        value, optimal = self.choice.value, self.optimal_value
        return None if value is None or optimal is None else value - optimal

    @property
    def cost(self) -> float | None:
        """What the best action would have earned more, from this belief."""
        values = self.moment.values
        return None if values is None else float(values.max() - values[self.action])


Chooser = Callable[[Moment, float | None], Choice]
"""(the moment, what the last action was paid) -> what is done."""


def episode(task: TabularPOMDP, choose: Chooser, seed: int) -> Iterator[Step]:
    """The steps of an episode as they are made. seed: of the environment's draws."""
    env, params, advice = tabular_env(task), tabular_params(task), Advice.on(task)
    step, update = jax.jit(env.step), jax.jit(next_belief)
    reset_key, *keys = jax.random.split(jax.random.key(seed), task.horizon + 1)
    obs, state = jax.jit(env.reset)(reset_key, params)
    belief = jax.jit(first_belief)(params, obs)
    node = None if advice is None else advice.begin(int(obs))
    paid = None
    for time, key in enumerate(keys):
        values = None if advice is None or node is None else advice.action_values(time, node)
        moment = Moment(time, int(state.number), int(obs), np.asarray(belief), values)
        choice = choose(moment, paid)
        action = choice.action
        after = step(key, state, jnp.int32(action), params)
        paid = float(after.reward)
        yield Step(moment, choice, paid)
        if after.terminated or after.truncated:
            return
        belief = update(params, belief, jnp.int32(action), after.obs)
        node = None if advice is None or node is None else advice.after(node, action, int(after.obs))
        obs, state = after.obs, after.state


def by_policy(task: TabularPOMDP, policy: Policy, seed: int) -> Chooser:
    """Who acts as a policy does. seed: of its draws."""
    env = tabular_env(task)
    act = jax.jit(policy.act)
    draw = jax.jit(jax.vmap(lambda key, carry, inputs: policy.act(key, carry, inputs)[1], (0, None, None)))
    value_of = None if policy.value is None else jax.jit(policy.value)
    carry, action, key = policy.initial_carry(), 0, jax.random.key(seed)

    def choose(moment: Moment, paid: float | None) -> Choice:
        nonlocal carry, action, key
        key, act_key, draw_key = jax.random.split(key, 3)
        obs = jnp.int32(moment.obs)
        inputs = first_inputs(env, obs) if paid is None else _inputs(obs, action, paid)
        drawn = np.asarray(draw(jax.random.split(draw_key, DRAWS), carry, inputs))
        value = None if value_of is None else float(value_of(act_key, carry, inputs))
        carry, chosen = act(act_key, carry, inputs)
        action = int(chosen)
        return Choice(action, np.bincount(drawn, minlength=task.num_actions) / DRAWS, value)

    return choose


def _inputs(obs: jax.Array, action: int, paid: float) -> StepInput:
    return StepInput(obs, jnp.bool_(False), jnp.int32(action), jnp.float32(paid))
