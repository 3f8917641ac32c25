"""How long an update takes here and in TRL, on the task `keyword` and its transformer, with equal work on both sides.

    python benchmarks/peers/environment.py trl benchmarks/peers/trl_speed.py --out benchmarks/results/trl_speed_cpu.json

TRL 1.16.0 times DPO, RLOO and GRPO; 1.12.0, the last with PPO, times PPO (environment `trl_ppo`). An update is 128
pairs, or 128 completions sampled, judged and learned from; PPO passes four times over them in four parts each, and a
reward model of the policy's size judges. TRL's PPO keeps a value model of its own body, ours a head on the policy's:
that is the libraries' difference, not the benchmark's. Both start from the same weights, in float32, with Adam and a
clipped norm. All runs of one method alternate in this process. TRL's time is the median of its steps but for the first
ones; ours is that of a whole compiled run by its updates, alone and with 16 seeds under `vmap`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import trl
from datasets import Dataset
from transformers import TrainerCallback
from trl_peer import arguments, from_disk, prepared, spoken, their_judge, theirs, tokenizer

from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import Preference, compared
from seqrl_jax.lm.registry import GRPO, PPO, RLOO, make_model
from seqrl_jax.lm.reward_model import Fitted, RewardModel
from seqrl_jax.lm.stage import Aligning, run_all
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.lm.training import minimise
from seqrl_jax.results.provenance import write_measurement

TASK = make_task("keyword")
MODEL = make_model(TASK)
BATCH, GROUP, PAIRS, SEEDS, SKIPPED = 128, 8, 4096, 16, 5
STEP = {"per_device_train_batch_size": BATCH, "learning_rate": 0.001}


class Clock(TrainerCallback):
    """When each step of TRL's began and ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def dpo(weights: Any, steps: int, folder: str) -> tuple[Any, Callable[[Any, Any, int], Any]]:
    """TRL's trainer, and our run (key, weights, updates), on the same pairs."""
    from trl import DPOConfig, DPOTrainer

    preference = Preference(batch=BATCH)
    pairs = compared(jax.random.key(1), MODEL, TASK, weights, PAIRS, 2, Labeller())
    rows = zip(*(np.asarray(part).tolist() for part in (pairs.prompt, pairs.chosen, pairs.rejected)))
    examples = [{"prompt_ids": a, "chosen_ids": b, "rejected_ids": c} for a, b, c in rows]
    trainer = prepared(DPOTrainer)(
        model=theirs(MODEL, weights),
        ref_model=theirs(MODEL, weights),
        args=arguments(DPOConfig, folder, **STEP, beta=preference.beta, max_steps=steps),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer(TASK.size),
    )

    def ours(key: Any, weights: Any, updates: int) -> Any:
        def loss(learned: Any, key: Any) -> Any:
            drawn = jax.random.randint(key, (BATCH,), 0, PAIRS)
            batch = jax.tree.map(lambda leaf: leaf[drawn], pairs)
            return preference.loss_of(MODEL, TASK, learned, weights, batch)

        return minimise(loss, weights, key, 0.001, updates)[0]

    return trainer, ours


def policy_gradient(method: str, weights: Any, steps: int, folder: str) -> tuple[Any, Callable[[Any, Any, int], Any]]:
    """The same for RLOO or GRPO, one gradient step for each batch, on the gold reward."""
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    policy, config, Trainer = {
        "rloo": (RLOO, RLOOConfig, RLOOTrainer),
        "grpo": (GRPO, GRPOConfig, GRPOTrainer),
    }[method]
    gold = gold_table()

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(gold[prompt][tuple(tokens)]) for prompt, tokens in zip(prompts, completion_ids)]

    more = {"beta": policy.kl_coef, "num_generations": GROUP, "max_completion_length": TASK.length, "max_steps": steps}
    trainer = Trainer(
        model=from_disk(MODEL, weights, folder),
        reward_funcs=reward,
        args=arguments(config, folder, **STEP, steps_per_generation=1, **more),
        train_dataset=Dataset.from_list([{"prompt": spoken(one)} for one in TASK.prompts]),
        processing_class=tokenizer(TASK.size),
    )
    return trainer, our_run(policy, TASK.rewards, epochs=1, minibatches=1)


def ppo(weights: Any, steps: int, folder: str) -> tuple[Any, Callable[[Any, Any, int], Any]]:
    """The same for PPO, with a reward model."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    policy = PPO
    head = np.random.default_rng(0).normal(size=MODEL.width).astype(np.float32)
    rows = [{"input_ids": prompt} for prompt in np.tile(TASK.prompts, (BATCH // len(TASK.prompts), 1)).tolist()]
    more = {"num_ppo_epochs": policy.epochs, "num_mini_batches": policy.minibatches, "kl_coef": policy.kl_coef}
    more |= {"total_episodes": BATCH * steps, "response_length": TASK.length, "num_sample_generations": 0}
    more |= {"local_rollout_forward_batch_size": BATCH, "gradient_accumulation_steps": 1, "temperature": 1.0}
    trainer = PPOTrainer(
        args=arguments(PPOConfig, folder, **STEP, missing_eos_penalty=None, **more),
        processing_class=tokenizer(TASK.size, "<pad>"),
        model=theirs(MODEL, weights),
        ref_model=theirs(MODEL, weights),
        reward_model=their_judge(MODEL, weights, head),
        value_model=their_judge(MODEL, weights, 0 * head),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
    )
    judge = RewardModel()
    offset = jnp.zeros((1, len(TASK.prompts)))
    fitted = Fitted(jax.tree.map(lambda leaf: leaf[None], {"body": weights, "head": head}), offset)
    return trainer, our_run(policy, judge.reward(MODEL, TASK, fitted))


def our_run(policy: PolicyGradient, reward: Any, **changed: int) -> Callable[[Any, Any, int], Any]:
    """Our run of a policy gradient."""

    def run(key: Any, weights: Any, updates: int) -> Any:
        mine = dataclasses.replace(policy, updates=updates, prompts=BATCH // GROUP, group=GROUP, **changed)
        return run_all([mine.stage(MODEL, TASK, lambda _: reward)], key, Aligning(weights, weights)).weights

    return run


def gold_table() -> dict[str, dict[tuple[int, ...], float]]:
    """Every reward, looked up, so that TRL waits for nothing of ours."""
    every = np.indices((TASK.size,) * TASK.length).reshape(TASK.length, -1).T
    table = {}
    for prompt in TASK.prompts:
        worth = TASK.rewards(jnp.tile(jnp.asarray(prompt), (len(every), 1)), jnp.asarray(every))
        table[spoken(prompt)] = dict(zip(map(tuple, every.tolist()), np.asarray(worth).tolist()))
    return table


def measure(method: str, steps: int, updates: int, repeats: int, folder: str) -> dict[str, Any]:
    """Seconds for an update, here and there."""
    weights = MODEL.initial_weights(jax.random.key(0))
    trainer, run = {"dpo": dpo, "ppo": ppo}.get(method, lambda *a: policy_gradient(method, *a))(weights, steps, folder)
    clock = Clock()
    trainer.add_callback(clock)
    keys = jax.random.split(jax.random.key(1), SEEDS)
    began = time.perf_counter()
    alone = jax.jit(lambda key: run(key, weights, updates)).lower(keys[0]).compile()
    compiled = time.perf_counter() - began
    stacked = jax.jit(jax.vmap(lambda key: run(key, weights, updates))).lower(keys).compile()
    timed: dict[str, list[float]] = {"trl": [], "alone": [], "a_seed_of_16": []}
    for _ in range(repeats):
        clock.ends = []
        trainer.train()
        timed["trl"].append(float(np.median(np.diff(clock.ends[SKIPPED:]))))
        for name, program, argument, runs in (
            ("alone", alone, keys[0], 1),
            ("a_seed_of_16", stacked, keys, SEEDS),
        ):
            began = time.perf_counter()
            jax.block_until_ready(program(argument))
            timed[name].append((time.perf_counter() - began) / updates / runs)
    middle = {name: statistics.median(values) for name, values in timed.items()}
    return {
        "method": method,
        "seconds_per_update": middle,
        "all": timed,
        "faster_alone": middle["trl"] / middle["alone"],
        "faster_per_seed_of_16": middle["trl"] / middle["a_seed_of_16"],
        "compile_seconds": compiled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25, help="of TRL in each repeat")
    parser.add_argument("--updates", type=int, default=200, help="of ours in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    methods = ("ppo",) if trl.__version__ == "1.12.0" else ("dpo", "rloo", "grpo")
    rows = []
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(method, options.steps, options.updates, options.repeats, folder))
        print({key: value for key, value in rows[-1].items() if key != "all"}, flush=True)
    if options.out:
        write_measurement(options.out, {"trl": trl.__version__, "torch": torch.__version__, "rows": rows})


if __name__ == "__main__":
    main()
