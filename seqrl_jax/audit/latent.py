"""What a latent model knows, against what the exact Bayes filter knows: prediction and a probe for the belief."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.base import Agent
from seqrl_jax.agents.latent import LatentFunction
from seqrl_jax.agents.networks import of_action
from seqrl_jax.agents.rollout import Rollout, StepInput, begin, collect, no_magnitude
from seqrl_jax.tasks.filter import first_belief, first_predictive, next_belief, predictive
from seqrl_jax.tasks.simulator import TabularEnv, TabularParams

PROBE_STEPS = 400


class Knowledge(NamedTuple):
    """Means over steps, in nats.

    log_loss: of what the model expects to see, first observations and next ones or the end. filter_log_loss: of what
    the exact filter expects, which no model can beat. probe: cross-entropy of the state in a linear softmax of z, on
    data that it was not fitted to. belief_entropy: of the exact belief, which no probe can beat. divergence: of the
    posterior from the prior.
    """

    log_loss: Array
    filter_log_loss: Array
    probe: Array
    belief_entropy: Array
    divergence: Array


def play(
    key: Array, agent: Agent, env: TabularEnv, params: TabularParams, state: Any, envs: int, length: int
) -> Rollout:
    """[length, envs]: the agent's policy at work, from fresh episodes on."""
    policy = agent.policy(env, params, state)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (envs, *jnp.shape(leaf))), policy.initialise())

    def act(key: Array, carry: Any, seen: StepInput) -> tuple[Any, Array]:
        clear = lambda fresh, old: jnp.where(seen.first.reshape(-1, *[1] * (old.ndim - 1)), fresh, old)
        return jax.vmap(policy.act)(jax.random.split(key, envs), jax.tree.map(clear, start, carry), seen.obs)

    begin_key, collect_key = jax.random.split(key)
    return collect(collect_key, env, params, begin(begin_key, env, params, envs, start), act, length)[1]


def beliefs(params: TabularParams, rollout: Rollout) -> Array:
    """[T, B, S]: the exact filter along a rollout that begins with fresh episodes."""

    def step(belief: Array, seen: StepInput) -> tuple[Array, Array]:
        here = jnp.where(
            seen.first, first_belief(params, seen.obs), next_belief(params, belief, seen.previous, seen.obs)
        )
        return here, here

    along = lambda seen: jax.lax.scan(step, jnp.zeros(params.terminal.shape[0]), seen)[1]
    return jax.vmap(along, in_axes=1, out_axes=1)(rollout.seen)


def knowledge(
    key: Array,
    function: LatentFunction,
    weights: Any,
    env: TabularEnv,
    params: TabularParams,
    rollout: Rollout,
    samples: int,
) -> Knowledge:
    """What the model knows along a rollout that begins with fresh episodes."""
    predict_key, code_key = jax.random.split(key)
    exact = beliefs(params, rollout)
    expects = jax.vmap(jax.vmap(lambda belief, action: predictive(params, belief, action, env.num_observations)))
    seen, ends = expects(exact, rollout.action)
    event = jnp.where(rollout.terminated, env.num_observations, rollout.next_obs)
    floor = jnp.log(jnp.maximum(of_action(jnp.concatenate([seen, ends[..., None]], -1), event), 1e-12))

    hidden = function.filtered(weights, function.initialise(weights, rollout.time.shape[1]), rollout.seen)
    log_law = function.log_predictive(weights, hidden, rollout.action, predict_key, samples)
    laws = function.posterior(weights, hidden)
    code = function.memory.code(laws, None)
    fitted = _probe(code, rollout.state.number, env.num_states)
    start = function.initialise(weights, rollout.time.shape[1])
    _, terms = function.model_loss(
        weights, start, rollout.experience(no_magnitude()), env.observation_mask(params), code_key
    )
    first_floor = jnp.log(jnp.maximum(first_predictive(params, env.num_observations), 1e-12))[rollout.obs]
    first_log_law = function.log_first(weights, predict_key, samples * samples)[rollout.obs]
    begun = lambda logs: jnp.where(rollout.first, logs, 0.0)
    return Knowledge(
        log_loss=-jnp.mean(of_action(log_law, event) + begun(first_log_law)),
        filter_log_loss=-jnp.mean(floor + begun(first_floor)),
        probe=fitted,
        belief_entropy=-jnp.mean(jnp.sum(jnp.where(exact > 0, exact * jnp.log(jnp.maximum(exact, 1e-30)), 0.0), -1)),
        divergence=terms["divergence"],
    )


def _probe(code: Array, state: Array, num_states: int) -> Array:
    """Cross-entropy of states [T, B] in softmax(linear(code [T, B, C])), fitted on half of the environments."""
    half = code.shape[1] // 2
    split = lambda array: (array[:, :half], array[:, half:])
    (code_fit, code_held), (state_fit, state_held) = split(code), split(state)

    def loss(weights: dict[str, Array], code: Array, state: Array) -> Array:
        logits = code @ weights["kernel"] + weights["bias"]
        return -jnp.mean(of_action(jax.nn.log_softmax(logits), state))

    adam = optax.adam(0.05)
    weights = {"kernel": jnp.zeros((code.shape[-1], num_states)), "bias": jnp.zeros(num_states)}

    def fit(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        weights, optimiser = carry
        change, optimiser = adam.update(jax.grad(loss)(weights, code_fit, state_fit), optimiser)
        return (optax.apply_updates(weights, change), optimiser), None

    (weights, _), _ = jax.lax.scan(fit, (weights, adam.init(weights)), length=PROBE_STEPS)
    return loss(weights, code_held, state_held)
