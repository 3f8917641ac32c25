"""Losses and gradients of this suite against TRL's, on shared weights and random batches with padding.

    python benchmarks/peers/environment.py trl benchmarks/peers/trl_losses.py --out trl_losses_cpu.json

TRL 1.16.0 compares DPO, IPO, KTO, RLOO, GRPO and Dr. GRPO. PPO left TRL after 1.12.0, which compares PPO alone
(environment `trl_ppo`). TRL's own code turns completions and rewards into advantages, then computes the loss for a
policy that has moved on since, so that ratios and clips count. Where TRL's loss is another by design, what stands
between them is said here, and nothing else:

- IPO: TRL divides h by the completion's length. On completions of one length n its loss with beta is ours with
  beta / n, divided by n^2.
- GRPO and Dr. GRPO: since 1.16 TRL multiplies the KL's estimate by the ratio (DeepSeek-V3.2) unless that is switched
  off, as it is here and in Shao et al. (2024).
- Dr. GRPO: TRL divides by the longest completion's length, ours does not: a factor L.
- PPO: TRL takes the mean over tokens (again L, as all have L) and whitens the advantages. Its value model has a body of
  its own; with equal weights the two bodies' gradients add up to that of a shared one.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import trl
from datasets import Dataset
from trl_peer import (
    arguments,
    from_disk,
    gradients,
    largest_difference,
    prepared,
    spoken,
    their_judge,
    theirs,
    tokenizer,
)

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.policy_gradient import PolicyGradient, Rollout, clipped_value_loss, log_probs_and_values, surrogate
from seqrl_jax.lm.sampling import Completions
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.text.losses import losses_of
from seqrl_jax.text.policy import POLICY_GRADIENTS

V, PROMPT, LENGTH, GROUP, PROMPTS = 8, 3, 6, 4, 3
MODEL = GPT(V, context=PROMPT + LENGTH, width=16, layers=2, heads=2)
BETA = 0.3
BATCHES = 5


def shaken(seed: int) -> Any:
    """Weights about which nothing is special."""
    start_key, *keys = jax.random.split(jax.random.key(seed), 100)
    leaves, tree = jax.tree.flatten(MODEL.init(start_key))
    return jax.tree.unflatten(tree, [leaf + 0.1 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys)])


def moved(weights: Any, seed: int) -> Any:
    """Weights a few updates later."""
    return jax.tree.map(lambda leaf, other: leaf + 0.1 * (other - leaf), weights, shaken(seed))


def preferences(method: str, seed: int, folder: str) -> dict[str, float]:
    """DPO, IPO or KTO on pairs behind prompts of several lengths."""
    rng = np.random.default_rng(seed)
    some = lambda length: rng.integers(0, V, length).tolist()
    longest = LENGTH if method == "ipo" else None
    pairs = [
        {
            "prompt_ids": some(rng.integers(1, PROMPT + 1)),
            "chosen_ids": some(longest or rng.integers(1, LENGTH + 1)),
            "rejected_ids": some(longest or rng.integers(1, LENGTH + 1)),
        }
        for _ in range(8)
    ]
    reference, policy = shaken(2 * seed), moved(shaken(2 * seed), 2 * seed + 1)
    if method == "kto":
        from trl import KTOConfig, KTOTrainer

        others = [*pairs[1:], *pairs[:1]]
        examples = [
            {
                "prompt_ids": one["prompt_ids"],
                "completion_ids": one[kind],
                "KL_completion_ids": other[kind],
                "label": kind == "chosen_ids",
            }
            for kind in ("chosen_ids", "rejected_ids")
            for one, other in zip(pairs, others)
        ]
        config = arguments(KTOConfig, folder, beta=BETA, per_device_train_batch_size=16)
        Trainer, answers = prepared(KTOTrainer), ("chosen_ids", "rejected_ids", "other", "other")
        crossed = [[other["chosen_ids"], other["rejected_ids"]] for other in others]
    else:
        from trl import DPOConfig, DPOTrainer

        examples, crossed, answers = pairs, [[] for _ in pairs], ("chosen_ids", "rejected_ids")
        kind = {"dpo": "sigmoid", "ipo": "ipo"}[method]
        config = arguments(DPOConfig, folder, beta=BETA, loss_type=[kind], per_device_train_batch_size=8)
        Trainer = prepared(DPOTrainer)
    trainer = Trainer(
        model=theirs(MODEL, policy),
        ref_model=theirs(MODEL, reference),
        args=config,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer(V),
    )
    collated = trainer.data_collator(examples)
    loss = trainer._compute_loss(trainer.model, collated, return_outputs=False)
    loss.backward()

    tokens = np.zeros((len(pairs), len(answers), PROMPT + LENGTH), np.int32)
    mask = np.zeros((len(pairs), len(answers), PROMPT + LENGTH - 1), bool)
    for row, (pair, rest) in enumerate(zip(pairs, crossed)):
        for column, answer in enumerate([pair["chosen_ids"], pair["rejected_ids"], *rest]):
            whole = [*pair["prompt_ids"], *answer]
            tokens[row, column, : len(whole)] = whole
            mask[row, column, len(pair["prompt_ids"]) - 1 : len(whole) - 1] = True
    beta, scale = (BETA / LENGTH, LENGTH**2) if method == "ipo" else (BETA, 1)
    ours = lambda weights: losses_of(method, beta, MODEL, {"model": weights}, reference, tokens, mask)[0].mean() / scale
    return compared(ours, policy, loss.item(), gradients(trainer.model))


def policy_gradients(method: str, seed: int, folder: str) -> dict[str, float]:
    """RLOO, GRPO or Dr. GRPO, from completions and rewards on."""
    rng = np.random.default_rng(seed)
    # TRL's RLOO clips the ratio of the completion, and may pass over a batch more than once.
    shape = {"ratio": "completion", "clip": 0.2} if method == "rloo" else {}
    policy = dataclasses.replace(POLICY_GRADIENTS[method], kl_coef=BETA, group=GROUP, **shape)
    settings = {"beta": policy.kl_coef, "epsilon": policy.clip, "num_iterations": 2, "num_generations": GROUP}
    settings |= {"max_completion_length": LENGTH, "per_device_train_batch_size": GROUP * PROMPTS}
    reference, old = shaken(2 * seed), moved(shaken(2 * seed), 2 * seed + 1)
    prompt, drawn, rewards = drawn_at_random(rng, old)

    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    if method == "rloo":
        Trainer, config = RLOOTrainer, arguments(RLOOConfig, folder, **settings)
    else:
        how = {"grpo": ("grpo", "group"), "dr_grpo": ("dr_grpo", "none")}[method]
        settings |= {"loss_type": how[0], "scale_rewards": how[1], "use_bias_correction_kl": False}
        config = arguments(GRPOConfig, folder, **settings)
        Trainer = GRPOTrainer
    their_model = from_disk(MODEL, reference, folder)
    their_model.load_state_dict(theirs(MODEL, old).state_dict())
    trainer = Trainer(
        model=their_model,
        reward_funcs=lambda **_: rewards.tolist(),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": spoken(one)} for one in prompt]),
        processing_class=tokenizer(V),
    )
    trainer.ref_model.eval()
    lists = [tokens[mask].tolist() for tokens, mask in zip(np.asarray(drawn.tokens), np.asarray(drawn.mask))]
    texts = list(map(spoken, lists))
    said = (prompt.tolist(), lists, texts)
    if method != "rloo":
        said = (prompt.tolist(), lists, None, texts, None, {}, None, None)
    trainer._generate = lambda prompts: said
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    inputs = trainer._generate_and_score_completions([{"prompt": spoken(one)} for one in prompt])
    now = moved(old, 2 * seed + 77)
    trainer.model.load_state_dict(theirs(MODEL, now).state_dict())
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()

    collected = {"model": old, "value": jnp.zeros(MODEL.width)}
    rollout = policy.rollout(MODEL, collected, reference, jnp.asarray(prompt), drawn, jnp.asarray(rewards))
    scale = LENGTH if method == "dr_grpo" else 1
    ours = lambda weights: policy.loss(MODEL, {"model": weights, "value": collected["value"]}, rollout) / scale
    return compared(ours, now, loss.item(), gradients(trainer.model))


def drawn_at_random(rng: np.random.Generator, old: Any, cut: bool = True) -> tuple[np.ndarray, Completions, np.ndarray]:
    """Prompts [B, P], completions of several lengths behind them, and rewards [B]."""
    prompt = np.repeat(rng.integers(0, V, (PROMPTS, PROMPT)), GROUP, 0)
    tokens = rng.integers(0, V, (len(prompt), LENGTH))
    lengths = rng.integers(1, LENGTH + 1, len(prompt)) if cut else np.full(len(prompt), LENGTH)
    lengths[0] = LENGTH
    mask = jnp.arange(LENGTH) < lengths[:, None]
    log_prob = jnp.where(mask, token_log_probs(MODEL, old, jnp.asarray(prompt), jnp.asarray(tokens)), 0.0)
    return prompt, Completions(jnp.asarray(tokens), mask, log_prob), rng.normal(size=len(prompt)).astype(np.float32)


def ppo(seed: int, folder: str) -> dict[str, float]:
    """PPO, from completions on: TRL's `train` runs, with its sampling and its steps taken over by shared ones."""
    from trl.experimental import ppo as their_ppo
    from trl.experimental.ppo import ppo_trainer

    rng = np.random.default_rng(seed)
    reference, old = shaken(2 * seed), moved(shaken(2 * seed), 2 * seed + 1)
    now = moved(old, 2 * seed + 77)
    value, head = (0.3 * rng.normal(size=MODEL.width).astype(np.float32) for _ in range(2))
    prompt, drawn, _ = drawn_at_random(rng, old, cut=False)
    policy = POLICY_GRADIENTS["ppo"]
    settings = {"num_ppo_epochs": 2, "num_mini_batches": 1, "per_device_train_batch_size": len(prompt)}
    settings |= {"gradient_accumulation_steps": 1, "total_episodes": len(prompt), "response_length": LENGTH}
    settings |= {"kl_coef": policy.kl_coef, "kl_estimator": "k1", "cliprange": policy.clip, "cliprange_value": 0.2}
    settings |= {"vf_coef": policy.value_cost, "gamma": 1.0, "lam": policy.lambda_, "temperature": 1.0}
    settings |= {"num_sample_generations": 0, "learning_rate": 0.0, "missing_eos_penalty": None}
    # Its padding must be no word: it is masked by its number.
    spelled = tokenizer(V, "<pad>")
    spelled.padding_side = "left"
    rows = [{"input_ids": one.tolist()} for one in prompt]
    trainer = their_ppo.PPOTrainer(
        args=arguments(their_ppo.PPOConfig, folder, **settings),
        processing_class=spelled,
        model=theirs(MODEL, old),
        ref_model=theirs(MODEL, reference),
        reward_model=their_judge(MODEL, reference, head),
        value_model=their_judge(MODEL, old, value),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
    )
    whole = torch.from_numpy(np.concatenate([prompt, np.asarray(drawn.tokens)], 1)).long()

    free, orders = np.ones(len(prompt), bool), []

    def shared(model: Any, queries: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # The loader shuffles prompts: each goes on as it did.
        for one in queries:
            place = int(np.flatnonzero((prompt == one.numpy()).all(1) & free)[0])
            free[place] = False
            orders.append(place)
        return whole[orders], model(whole[orders]).logits[:, PROMPT - 1 : -1]

    ppo_trainer.batch_generation = shared
    losses: list[float] = []
    their_gradients: dict[str, np.ndarray] = {}

    def backward(loss: torch.Tensor) -> None:
        losses.append(loss.item())
        loss.backward()
        inner = trainer.accelerator.unwrap_model(trainer.model)
        one, two = gradients(inner.policy), gradients(inner.value_model)
        their_gradients.update({name: one[name] + two[name] for name in one})
        their_gradients["value"] = inner.value_model.score.weight.grad.numpy()[0].copy()
        inner.policy.load_state_dict(theirs(MODEL, now).state_dict())
        inner.value_model.load_state_dict(their_judge(MODEL, now, value).state_dict())

    trainer.accelerator.backward = backward
    trainer.train()

    collected = {"model": old, "value": jnp.asarray(value)}
    text = jnp.asarray(whole.numpy())
    rewards = MODEL.apply(reference, text, method="hidden")[:, -1] @ head
    rollout = policy.rollout(MODEL, collected, reference, jnp.asarray(prompt), drawn, rewards)
    spread = rollout.advantage - rollout.advantage.mean()
    whitened = spread * jax.lax.rsqrt(rollout.advantage.var(ddof=1) + 1e-8)
    return compared(partial(_ppo_loss, policy, rollout, whitened), now, losses[-1], their_gradients, jnp.asarray(value))


def _ppo_loss(policy: PolicyGradient, rollout: Rollout, whitened: Any, weights: Any, head: Any) -> Any:
    whole = {"model": weights, "value": head}
    log_prob, value = log_probs_and_values(MODEL, whole, rollout.prompt, rollout.tokens)
    gain = surrogate(log_prob, rollout.log_prob, rollout.mask, whitened, policy.ratio, policy.clip)
    old_value = rollout.value_target - rollout.advantage
    cost = clipped_value_loss(value, old_value, rollout.value_target, 0.2)
    return jnp.mean(policy.value_cost * cost - gain)


def compared(
    ours: Callable[..., Any], weights: Any, loss: float, gradient: dict[str, np.ndarray], *more: Any
) -> dict[str, float]:
    """How far loss and gradient are apart."""
    value, our_gradient = jax.value_and_grad(ours, argnums=tuple(range(1 + len(more))))(weights, *more)
    differences = {"loss": loss, "loss_apart": abs(float(value) - loss)}
    if more:
        head = gradient.pop("value")
        difference = np.abs(np.asarray(our_gradient[1]) - head).max() / np.abs(head).max()
        differences["value_gradient_apart"] = float(difference)
    return {**differences, "gradient_apart": largest_difference(our_gradient[0], gradient)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    of: dict[str, Callable[[int, str], dict[str, float]]] = {
        **{name: partial(preferences, name) for name in ("dpo", "ipo", "kto")},
        **{name: partial(policy_gradients, name) for name in ("rloo", "grpo", "dr_grpo")},
    }
    if trl.__version__ == "1.12.0":
        of = {"ppo": ppo}
    rows = []
    for name, compare in of.items():
        with tempfile.TemporaryDirectory() as folder:
            each = [compare(seed, folder) for seed in range(BATCHES)]
        worst = {key: max(one[key] for one in each) for key in each[0] if key != "loss"}
        rows.append({"method": name, "batches": BATCHES, "losses": [one["loss"] for one in each], **worst})
        print(rows[-1], flush=True)
    if options.out:
        write_measurement(options.out, {"trl": trl.__version__, "torch": torch.__version__, "rows": rows})


if __name__ == "__main__":
    main()
