"""What a latent model knows, against what the exact Bayes filter knows: prediction and a probe for the belief."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.base import Agent
from seqrl_jax.agents.latent_plan import posterior
from seqrl_jax.agents.network import HistoryNetwork, auxiliary_loss
from seqrl_jax.agents.rollout import Magnitude, Rollout, begin, collect
from seqrl_jax.networks.base import DRAWS
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.networks.module import Weights
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
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (envs, *jnp.shape(leaf))), policy.initial_carry())

    def act(key: Array, carry: Any, inputs: StepInput) -> tuple[Any, Array]:
        clear = lambda fresh, old: jnp.where(inputs.first.reshape(-1, *[1] * (old.ndim - 1)), fresh, old)
        return jax.vmap(policy.act)(jax.random.split(key, envs), jax.tree.map(clear, start, carry), inputs)

    begin_key, collect_key = jax.random.split(key)
    return collect(collect_key, env, params, begin(begin_key, env, params, envs, start), act, length)[1]


def beliefs(params: TabularParams, rollout: Rollout) -> Array:
    """[T, B, S]: the exact filter along a rollout that begins with fresh episodes."""

    def step(belief: Array, inputs: StepInput) -> tuple[Array, Array]:
        later = next_belief(params, belief, inputs.previous_action, inputs.obs)
        here = jnp.where(inputs.first, first_belief(params, inputs.obs), later)
        return here, here

    along = lambda inputs: jax.lax.scan(step, jnp.zeros(params.terminal.shape[0]), inputs)[1]
    return jax.vmap(along, in_axes=1, out_axes=1)(rollout.inputs)


def knowledge(
    key: Array,
    network: HistoryNetwork,
    weights: Weights,
    env: TabularEnv,
    params: TabularParams,
    rollout: Rollout,
    magnitude: Magnitude,
    samples: int,
) -> Knowledge:
    """What the model knows along a rollout that begins with fresh episodes.

    Args: network: its memory is the latent model. magnitude: of rewards, as the run had it. samples: of z per
        prediction, and their square of z_0.
    """
    first_key, predict_key, bound_key = jax.random.split(key, 3)
    exact = beliefs(params, rollout)
    expects = jax.vmap(jax.vmap(lambda belief, action: predictive(params, belief, action, env.num_observations)))
    following, ends = expects(exact, rollout.action)
    event = jnp.where(rollout.terminated, env.num_observations, rollout.next_obs)
    floor = jnp.log(jnp.maximum(of_action(jnp.concatenate([following, ends[..., None]], -1), event), 1e-12))

    carry = network.memory.initial_carry(rollout.time.shape[1])
    _, hidden, law = network.apply(weights, carry, rollout.inputs, method=posterior)
    mask = env.observation_mask(params)
    log_law = _log_predictive(predict_key, network, weights, hidden, rollout.action, mask, samples)
    _, terms = auxiliary_loss(network, weights, carry, rollout.experience(magnitude), mask, bound_key)
    first_floor = jnp.log(jnp.maximum(first_predictive(params, env.num_observations), 1e-12))[rollout.obs]
    log_first = lambda net: net.memory.log_first(samples * samples, mask)
    first_log_law = network.apply(weights, rngs={DRAWS: first_key}, method=log_first)[rollout.obs]
    begun = lambda logs: jnp.where(rollout.first, logs, 0.0)
    return Knowledge(
        log_loss=-jnp.mean(of_action(log_law, event) + begun(first_log_law)),
        filter_log_loss=-jnp.mean(floor + begun(first_floor)),
        probe=probe(network.memory.mean_state(law), rollout.state.number, env.num_states),
        belief_entropy=-jnp.mean(jnp.sum(jnp.where(exact > 0, exact * jnp.log(jnp.maximum(exact, 1e-30)), 0.0), -1)),
        divergence=terms["divergence"],
    )


def _log_predictive(
    key: Array, network: HistoryNetwork, weights: Weights, hidden: Array, action: Array, mask: Array, samples: int
) -> Array:
    """[..., O + 1]: see `Latent.log_predictive`, as a mean over samples of z."""
    of_one = lambda net: net.memory.log_predictive(hidden, action, mask)
    one = lambda key: network.apply(weights, rngs={DRAWS: key}, method=of_one)
    logs = jax.lax.map(one, jax.random.split(key, samples))
    return jax.nn.logsumexp(logs, 0) - jnp.log(jnp.float32(samples))


def probe(code: Array, state: Array, num_states: int) -> Array:
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
