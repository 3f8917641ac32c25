"""PPO as PureJaxRL has it beside ours: the same networks, environment, updates and losses.

    python benchmarks/peers/purejaxrl_ppo.py --out benchmarks/results/peers/purejaxrl_ppo_cpu.json

Its two programs, `ppo` and `ppo_rnn`, call interfaces that flax and gymnax no longer have; what stands here is written
anew from what they do. Episodes are gymnax's own, their returns are logged at every step, networks are flax's, and many
agents are one `vmap`, as its documentation runs them. Ours takes the same environment through `gymnax:` and lays runs
over cores, as `seqrl run` does. Initial weights are no orthogonal ones on either side, since these deadlock under
`vmap` on two cores.

Every program is compiled once; then all of them run in turn, and the median of the ratios of a turn counts.

Source: Lu et al. (2022), "Discovered policy optimisation", whose code PureJaxRL is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable
from functools import partial
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents import make_agent
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.networks import GRU, Memory
from seqrl_jax.networks.layers import Codes, Dense
from seqrl_jax.networks.module import Carry
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.settings import Width
from seqrl_jax.tasks.environments import environment
from seqrl_jax.throughput.measure import Program, measure
from seqrl_jax.throughput.training import training

TASK = "CartPole-v1"
EPOCHS, MINIBATCHES = 4, 4
DISCOUNT, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5
RATE, LARGEST_GRADIENT = 2.5e-4, 0.5


class Size(NamedTuple):
    """Of a comparison: networks of so many units, so many environments and steps of each in an update."""

    recurrent: bool
    width: int
    num_envs: int
    steps: int


SIZES = {"ppo": Size(False, 64, 4, 128), "ppo_rnn": Size(True, 128, 64, 128)}


class ScannedGRU(nn.Module):
    """flax's cell over [T, B, I]."""

    width: int

    @partial(nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False})
    @nn.compact
    def __call__(self, carry: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        x, first = at
        carry = jnp.where(first[:, None], jnp.zeros_like(carry), carry)
        # The default initialiser, an orthogonal one, calls LAPACK, which must not run under `vmap` on a CPU.
        return nn.GRUCell(self.width, recurrent_kernel_init=nn.initializers.lecun_normal())(carry, x)


class TheirNetwork(nn.Module):
    """A policy and a value: towers of their own, behind a recurrent layer where there is one."""

    size: Size
    num_actions: int

    @nn.compact
    def __call__(self, carry: Array, obs: Array, first: Array) -> tuple[Array, distrax.Categorical, Array]:
        """Args: obs: [T, B, O]; first: [T, B]."""
        width = self.size.width
        if self.size.recurrent:
            x = nn.relu(nn.Dense(width)(obs))
            carry, x = ScannedGRU(width)(carry, (x, first))
            towers = [nn.relu(nn.Dense(width)(x)) for _ in range(2)]
        else:
            towers = [nn.tanh(nn.Dense(width)(nn.tanh(nn.Dense(width)(obs)))) for _ in range(2)]
        policy, value = towers
        return carry, distrax.Categorical(nn.Dense(self.num_actions)(policy)), nn.Dense(1)(value)[..., 0]


class Step(NamedTuple):
    """What a rollout keeps, [T, B, ...]."""

    first: Array
    action: Array
    value: Array
    reward: Array
    log_prob: Array
    obs: Array
    info: dict[str, Array]


def their_training(size: Size, updates: int, agents: int) -> Program:
    """PureJaxRL's training of so many agents."""
    # Its import makes arrays, and with them the devices, so it comes after `use_every_core`.
    import gymnax

    env, params = gymnax.make(TASK)
    network = TheirNetwork(size, env.num_actions)
    nothing = jnp.zeros((size.num_envs, size.width))
    steps = EPOCHS * MINIBATCHES * updates
    schedule = optax.linear_schedule(RATE, 0.0, steps)
    adam = optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), optax.adam(schedule, eps=1e-5))

    def act(weights: Any, carry: Array, obs: Array, first: Array) -> tuple[Array, distrax.Categorical, Array]:
        return network.apply(weights, carry, obs[None], first[None])

    def rollout_step(weights: Any, at: Any, _: None) -> tuple[Any, Step]:
        state, log, obs, first, carry, key = at
        key, act_key, env_key = jax.random.split(key, 3)
        carry, policy, value = act(weights, carry, obs, first)
        action = policy.sample(seed=act_key)
        log_prob = policy.log_prob(action)[0]
        action = action[0]
        after, state, reward, terminated, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, size.num_envs), state, action, params
        )
        ended = terminated | truncated
        going, length, told, told_length, time = log
        going, length = going + reward, length + 1
        told, told_length = jnp.where(ended, going, told), jnp.where(ended, length, told_length)
        info = {"return": told, "length": told_length, "ended": ended, "time": time + 1}
        log = (going * (1 - ended), length * (1 - ended), told, told_length, time + 1)
        step = Step(first, action, value[0], reward, log_prob, obs, info)
        return (state, log, after, ended, carry, key), step

    def advantages(steps: Step, last_value: Array, last_first: Array) -> Array:
        def one(after: tuple[Array, Array, Array], step: Step) -> tuple[Any, Array]:
            advantage, value, first = after
            error = step.reward + DISCOUNT * value * (1 - first) - step.value
            advantage = error + DISCOUNT * LAMBDA * (1 - first) * advantage
            return (advantage, step.value, step.first), advantage

        start = (jnp.zeros_like(last_value), last_value, last_first)
        return jax.lax.scan(one, start, steps, reverse=True, unroll=16)[1]

    def loss(weights: Any, carry: Array, steps: Step, advantage: Array, target: Array) -> Array:
        _, policy, value = network.apply(weights, carry, steps.obs, steps.first)
        near = steps.value + (value - steps.value).clip(-CLIP, CLIP)
        value_loss = 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(near - target)).mean()
        ratio = jnp.exp(policy.log_prob(steps.action) - steps.log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, ratio.clip(1 - CLIP, 1 + CLIP) * advantage).mean()
        return VALUE * value_loss - gain - ENTROPY * policy.entropy().mean()

    def epoch(learned: Any, key: Array, batch: tuple[Any, ...]) -> tuple[Any, None]:
        def minibatch(learned: Any, part: tuple[Any, ...]) -> tuple[Any, None]:
            weights, opt_state = learned
            carry, steps, advantage, target = part
            gradient = jax.grad(loss)(weights, carry[0], steps, advantage, target)
            change, opt_state = adam.update(gradient, opt_state, weights)
            return (optax.apply_updates(weights, change), opt_state), None

        if not size.recurrent:
            # Single steps are shuffled, as [1, T B].
            batch = jax.tree.map(lambda leaf: leaf.reshape(1, -1, *leaf.shape[2:]), batch)
        columns = jax.random.permutation(key, batch[2].shape[1])
        shuffled = jax.tree.map(lambda leaf: jnp.take(leaf, columns, axis=1), batch)
        split = lambda leaf: leaf.reshape(len(leaf), MINIBATCHES, -1, *leaf.shape[2:]).swapaxes(0, 1)
        return jax.lax.scan(minibatch, learned, jax.tree.map(split, shuffled))

    def update(at: Any, _: None) -> tuple[Any, dict[str, Array]]:
        learned, position = at
        carry = position[4]
        position, steps = jax.lax.scan(partial(rollout_step, learned[0]), position, None, size.steps)
        state, log, obs, first, last_carry, key = position
        last_value = act(learned[0], last_carry, obs, first)[2][0]
        advantage = advantages(steps, last_value, first)
        # A network without memory takes no carry: a column of its own per step keeps shapes alike.
        start = carry[None] if size.recurrent else jnp.zeros((*advantage.shape, 1))
        batch = (start, steps, advantage, advantage + steps.value)
        key, *orders = jax.random.split(key, EPOCHS + 1)
        learned, _ = jax.lax.scan(lambda learned, key: epoch(learned, key, batch), learned, jnp.stack(orders))
        return (learned, (state, log, obs, first, last_carry, key)), steps.info

    def train(key: Array) -> Any:
        key, weights_key, reset_key = jax.random.split(key, 3)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(reset_key, size.num_envs), params)
        first = jnp.zeros(size.num_envs, bool)
        weights = network.init(weights_key, nothing, obs[None], first[None])
        zeros, counts = jnp.zeros(size.num_envs), jnp.zeros(size.num_envs, jnp.int32)
        position = (state, (zeros, counts, zeros, counts, counts), obs, first, nothing, key)
        (learned, _), info = jax.lax.scan(update, ((weights, adam.init(weights)), position), None, updates)
        return learned, info

    run = jax.jit(lambda key: jax.vmap(train)(jax.random.split(key, agents)))
    return Program(run, agents, agents * updates * size.num_envs * size.steps)


class Towers(Memory):
    """The same networks up to their last layers, for an agent of ours: features of the policy, then of the value."""

    width: Width = 64
    recurrent: bool = False

    @property
    def reach(self) -> int | None:
        return None if self.recurrent else 1

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return GRU(self.width).initial_carry(batch) if self.recurrent else ()

    @nn.compact
    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        (x,) = xs
        if self.recurrent:
            x = nn.relu(Dense(self.width)(x))
            carry, x = GRU(self.width)(carry, (x,), firsts)
            towers = [nn.relu(Dense(self.width)(x)) for _ in range(2)]
        else:
            towers = [nn.tanh(Dense(self.width)(nn.tanh(Dense(self.width)(x)))) for _ in range(2)]
        return carry, jnp.concatenate(towers, -1)


def our_training(size: Size, updates: int, agents: int) -> Program:
    """Our PPO at the same sizes; it reads observations alone, as theirs does."""
    ready = environment(f"gymnax:{TASK}")
    agent = dataclasses.replace(
        make_agent("ppo"),
        memory=Towers(size.width, size.recurrent),
        previous_action=False,
        num_envs=size.num_envs,
        rollout_length=size.steps,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
    )
    return training(agent, ready.env, ready.params, updates, agents, gcd(agents, jax.device_count()))


def compared(name: str, updates: int, agents: int, repeats: int) -> dict[str, Any]:
    size = SIZES[name]
    sides: dict[str, Callable[..., Program]] = {"seqrl_jax": our_training, "PureJaxRL": their_training}
    ours, theirs = measure({side: program(size, updates, agents) for side, program in sides.items()}, repeats)
    return {
        "what": name,
        "agents": agents,
        **size._asdict(),
        "updates": updates,
        "steps_per_second": {row.what: row.steps_per_second for row in (ours, theirs)},
        "compile_seconds": {row.what: row.compile_seconds for row in (ours, theirs)},
        "products": {row.what: row.work.products for row in (ours, theirs)},
        "share_of_roof": {row.what: [row.bound, row.share] for row in (ours, theirs)},
        "devices": {row.what: row.devices for row in (ours, theirs)},
        "median_ratio": statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    rows = []
    for name, updates, agents in (("ppo", 20, 1), ("ppo", 20, 16), ("ppo_rnn", 2, 1), ("ppo_rnn", 1, 10)):
        rows.append(compared(name, updates, agents, options.repeats))
        print(json.dumps(rows[-1]), flush=True)
    if options.out:
        write_measurement(options.out, {"task": TASK, "rows": rows})


if __name__ == "__main__":
    main()
