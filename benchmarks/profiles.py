"""Where the time of three hot paths goes, part by part, and how near each part comes to what the device can do.

    python benchmarks/profiles.py --out benchmarks/results/profiles_cpu.json

Each part is a program of its own on the same arrays, so that parts add up to the whole only roughly: what XLA fuses
across them is not seen. All programs of a path run in turn, on one core (the device of a run). `before` is the same
part as it was, or would be, without what makes it fast:

update    recurrent PPO, GRU-128, 64 environments x 128 steps. Before: flax's cell in `nn.scan`, whose gradient is
          automatic (`benchmarks/recurrent_speed.py`, textbook).
stepping  2,048 environments of a tabular task. Before: `reset` has a key of its own from a split.
language  a step of Adam of a byte model. Before: gradients through all activations computed again (`remat`).
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from recurrent_speed import TASK, Textbook, ppo

from seqrl_jax.agents.learning import epochs_over
from seqrl_jax.agents.network import acting
from seqrl_jax.agents.rollout import collect, measured
from seqrl_jax.networks import GRU
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.environment import AutoReset, Transition, auto_reset
from seqrl_jax.tasks.environments import environment
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.throughput.lm import random_text_loss, step_of
from seqrl_jax.throughput.measure import Program, measure
from seqrl_jax.throughput.work import seconds_of

ENVIRONMENTS, STEPS = 2048, 500
MODEL = {"context": 128, "width": 128, "layers": 4, "heads": 4}
TEXTS = 8
Parts = Mapping[str, Program]


def total(tree: Any) -> Array:
    """A number that depends on every array, so that none is optimised away."""
    numbers = [leaf for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    return jnp.stack([leaf.sum().astype(jnp.float32) for leaf in numbers]).sum()


def update_parts(memory: GRU | Textbook) -> Parts:
    """Of one update of PPO on a task."""
    ready, agent = environment(TASK), ppo(memory)
    env, params = ready.env, ready.params
    gamma = env.discount(params)
    state = jax.jit(lambda key: agent.init(key, env, params))(jax.random.key(0))
    network = agent.network_in(env)

    def rolled(state: Any, key: Array) -> Any:
        step = acting(network, state.train.weights)

        def act(key: Array, carry: Any, inputs: Any) -> Any:
            carry, out = step(carry, inputs, None)
            return carry, agent.policy_from(env, params, out).sample(seed=key)

        return collect(key, env, params, state.position, act, agent.rollout_length)

    def prepared(state: Any, rollout: Any) -> Any:
        steps = agent._steps(rollout, measured(state.magnitude, rollout, gamma), gamma)
        return steps, agent.prepared(env, params, state.train.weights, state.position.carry, steps)

    def value(weights: Any, carry: Any, part: Any, key: Array) -> Any:
        steps, batch = part
        goal = agent.objective(env, params, weights, carry, steps, batch)
        return jnp.mean(goal.value_error**2) - jnp.mean(goal.surrogate) - 0.01 * jnp.mean(goal.entropy), {}

    def passes(state: Any, batch: Any, key: Array) -> Any:
        carry = state.position.carry
        arguments = (key, agent.optimiser, state.train, value, carry, batch, agent.epochs, agent.minibatches)
        return epochs_over(*arguments)[0]

    def forward(state: Any, batch: Any, key: Array) -> Array:
        """The losses of as many minibatches, without gradients."""
        columns = jax.random.permutation(key, agent.num_envs).reshape(agent.minibatches, -1)

        def one(sum_: Array, columns: Array) -> tuple[Array, None]:
            part, carry = (
                jax.tree.map(take, tree)
                for take, tree in (
                    (lambda leaf: leaf[:, columns], batch),
                    (lambda leaf: leaf[columns], state.position.carry),
                )
            )
            # The sum enters the weights, so that no pass is the same as another.
            weights = jax.tree.map(lambda leaf: leaf + 1e-9 * sum_, state.train.weights)
            return sum_ + value(weights, carry, part, key)[0], None

        return jax.lax.scan(one, jnp.float32(0), jnp.tile(columns, (agent.epochs, 1)))[0]

    def optimised(state: Any, key: Array) -> Any:
        gradient = jax.tree.map(jnp.ones_like, state.train.weights)
        one = lambda train, _: (train.apply(agent.optimiser, gradient), None)
        return jax.lax.scan(one, state.train, length=agent.gradient_steps)[0]

    def multiplied(key: Array) -> Array:
        """As many products with recurrent weights as in `forward`, one behind the other, and nothing else."""
        rows, width = agent.num_envs // agent.minibatches, memory.width
        kernels = jax.random.normal(key, (3, width, width)) * 0.5 * width**-0.5
        one = lambda state, _: (sum(state @ kernel for kernel in kernels), None)
        steps = agent.rollout_length * agent.gradient_steps
        return jax.lax.scan(one, jnp.ones((rows, width)), length=steps)[0]

    _, rollout = jax.jit(rolled)(state, jax.random.key(1))
    batch = jax.jit(prepared)(state, rollout)
    program = lambda run, *given: Program(
        jax.jit(lambda *given: total(run(*given))), agent.num_envs, agent.steps_per_update, arguments=given
    )
    return {
        "rollout": program(rolled, state),
        "advantages": program(lambda state, rollout, key: prepared(state, rollout), state, rollout),
        "recurrent products of forward alone": program(multiplied),
        "forward": program(forward, state, batch),
        "forward, backward and optimiser": program(passes, state, batch),
        "optimiser": program(optimised, state),
        "all": program(lambda state, key: agent.update(env, params, state._replace(key=key)), state),
    }


class SplitReset(AutoReset):
    """Automatic reset with a key of its own."""

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        step_key, reset_key = jax.random.split(key)
        last = self.env.step(step_key, state, action, params)
        first = self.env.reset(reset_key, params)
        ended = last.terminated | last.truncated
        obs, after = jax.tree.map(lambda fresh, old: jnp.where(ended, fresh, old), first, (last.obs, last.state))
        return last._replace(obs=obs, state=after)


def stepping_parts(wrap: Callable[[Any], Any]) -> Parts:
    """Of steps under random actions."""
    ready = environment(TASK)
    env, params = wrap(ready.env), ready.params
    keys = jax.random.split(jax.random.key(0), ENVIRONMENTS)
    state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)[1]
    actions = lambda key: (jax.random.uniform(key, (ENVIRONMENTS,)) * env.action_space.size).astype(jnp.int32)

    def each(one: Callable[[Any, Array], Any]) -> Program:
        run = lambda state, key: total(
            jax.lax.scan(lambda at, key: (one(at, key), None), state, jax.random.split(key, STEPS))[0]
        )
        return Program(jax.jit(run), ENVIRONMENTS, ENVIRONMENTS * STEPS, arguments=(state,))

    def stepped(env: Any) -> Callable[[Any, Array], Any]:
        def one(state: Any, key: Array) -> Any:
            keys = jax.random.split(key, ENVIRONMENTS)
            return jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, actions(key), params).state

        return one

    moved = lambda state, change: jax.tree.map(lambda leaf: leaf + change.astype(leaf.dtype), state)
    return {
        "actions": each(lambda state, key: moved(state, actions(key))),
        "keys": each(lambda state, key: moved(state, jax.random.key_data(jax.random.split(key, ENVIRONMENTS))[:, 0])),
        "actions, keys and step": each(stepped(ready.env)),
        "all": each(stepped(env)),
    }


def language_parts(remat: bool) -> Parts:
    """Of a step of a byte model's training."""
    model = GPT(Bytes().size, **MODEL, remat=remat)
    weights = model.initial_weights(jax.random.key(0))
    adam = optax.adam(1e-3)
    loss = partial(random_text_loss, model, TEXTS)
    program = lambda run, *given: Program(
        jax.jit(lambda *given: total(run(*given))), TEXTS, TEXTS * model.context, arguments=given
    )
    return {
        "forward": program(loss, weights),
        "forward and backward": program(jax.grad(loss), weights),
        "optimiser": program(lambda weights, state, key: adam.update(weights, state), weights, adam.init(weights)),
        "all": step_of(model, weights, TEXTS),
    }


PATHS: dict[str, tuple[Callable[[], Parts], Callable[[], Parts]]] = {
    "update": (lambda: update_parts(Textbook(128)), lambda: update_parts(GRU(128))),
    "stepping": (lambda: stepping_parts(SplitReset), lambda: stepping_parts(auto_reset)),
    "language": (lambda: language_parts(True), lambda: language_parts(False)),
}


def profile(path: str, repeats: int) -> list[dict[str, Any]]:
    """Rows by part, before and after."""
    before, after = (parts() for parts in PATHS[path])
    programs = {
        f"{when}: {name}": part
        for when, parts in (("before", before), ("after", after))
        for name, part in parts.items()
    }
    rows = []
    for row in measure(programs, repeats):
        when, name = row.what.split(": ")
        rows.append(
            {
                "path": path,
                "when": when,
                "part": name,
                "milliseconds": 1e3 * statistics.median(row.seconds),
                "gflops": row.work.products / statistics.median(row.seconds) / 1e9,
                "bound": row.bound,
                "share": row.share,
                "needed": {
                    kind: seconds / statistics.median(row.seconds)
                    for kind, seconds in seconds_of(row.work, row.ceilings).items()
                },
                "memory": row.memory,
                "compile_seconds": row.compile_seconds,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # Before the first array: a core that wakes another for every small operation is not what is looked at.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for path in options.paths:
        for row in profile(path, options.repeats):
            rows.append(row)
            print(
                f"{path:<9} {row['when']:<7} {row['part']:<36} {row['milliseconds']:9.2f} ms "
                f"{row['gflops']:7.1f} GFLOP/s {row['share']:6.0%} of {row['bound']}",
                flush=True,
            )
    if options.out:
        write_measurement(options.out, {"cores": 1, "rows": rows})


if __name__ == "__main__":
    main()
