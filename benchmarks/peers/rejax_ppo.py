"""How fast rejax trains PPO on CartPole: its own networks, losses and environment, without its evaluations.

    python benchmarks/peers/environment.py rejax benchmarks/peers/rejax_ppo.py --updates 20 --agents 1 16

Policy and value are two layers of 64 units with tanh each, as PureJaxRL has them; many agents are one `vmap` of its
`train`, as its documentation runs them. One line of JSON: environment steps and seconds of each pass, by agents.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from typing import Any

import jax
from rejax import PPO

NUM_ENVS, STEPS, EPOCHS, MINIBATCHES = 4, 128, 4, 4


def learned(state: Any) -> tuple[jax.Array, jax.Array]:
    """Steps made, and a number that depends on all weights, so that nothing of the training is left out."""
    weights = jax.tree.leaves((state.actor_ts.params, state.critic_ts.params))
    return state.global_step, sum(leaf.sum() for leaf in weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    steps = options.updates * NUM_ENVS * STEPS
    agent = PPO.create(
        env="CartPole-v1",
        agent_kwargs={"activation": "tanh"},
        num_envs=NUM_ENVS,
        num_steps=STEPS,
        num_epochs=EPOCHS,
        num_minibatches=MINIBATCHES,
        learning_rate=2.5e-4,
        max_grad_norm=0.5,
        gamma=0.99,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
    ).replace(eval_callback=lambda agent, state, key: ())
    rows: list[dict[str, Any]] = []
    for agents in options.agents:
        train = jax.jit(lambda key, agents=agents: learned(jax.vmap(agent.train)(jax.random.split(key, agents))[0]))
        seconds = []
        for repeat in range(options.repeats + 1):
            began = time.perf_counter()
            made, _ = jax.block_until_ready(train(jax.random.key(repeat)))
            seconds.append(time.perf_counter() - began)
        rows.append({"agents": agents, "steps": int(made.sum()), "cold_seconds": seconds[0], "seconds": seconds[1:]})
    print(json.dumps({"rows": rows, "versions": {"rejax": version("rejax")}}))


if __name__ == "__main__":
    main()
