"""What `align_speed.py` measures beside ours: a plain loop around `transformers`, and TRL's trainers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoTokenizer, GPT2LMHeadModel, TrainerCallback
from trl_peer import NO_DROPOUT, arguments, prepared

from seqrl_jax.text.corpus import Part
from seqrl_jax.text.packing import PackedBatch
from seqrl_jax.text.settings import TextRun

CLIP = 1.0
IGNORED = -100
"""A label of no token, as PyTorch has it."""


Timed = dict[str, float]
"""Of a run: seconds to its first point (`cold`), seconds of a step behind it (`warm`), and `tokens` of a step."""


def timed(began: float, ends: Sequence[float], run: TextRun, tokens: float, updates: int = 1) -> Timed:
    """ends: of each update of the optimiser, so many of which make a step."""
    first, *others = np.diff([began, *ends[run.points_every * updates - 1 :: run.points_every * updates]]).tolist()
    return {"cold": first, "warm": float(np.median(others)) / run.points_every, "tokens": tokens}


def loaded(folder: Path) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(folder, **NO_DROPOUT)


def plain_loss(model: GPT2LMHeadModel, batch: Sequence[torch.Tensor], texts: float) -> torch.Tensor:
    """That of packed rows, as ours: the fields of a `PackedBatch`, and the places of tokens in their texts [B, T]."""
    tokens, targets, loss_weight, segment_ids, places = batch
    causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
    visible = (segment_ids[:, :, None] == segment_ids[:, None]) & causal
    logits = model(tokens, attention_mask=visible[:, None], position_ids=places, use_cache=False).logits
    each = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (each * loss_weight.flatten()).sum() / texts


def plain_loop(folder: Path, rows: PackedBatch, run: TextRun, steps: int) -> Timed:
    """The loop that one writes around `transformers`, on all packed rows of a run."""
    began = time.perf_counter()
    model, tensors = loaded(folder), as_tensors(rows)
    texts = run.batch * float(rows.segment_ids.max(1).mean())
    optimiser = torch.optim.AdamW(model.parameters(), run.learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, run.steps)
    loader = DataLoader(TensorDataset(*tensors), run.batch, shuffle=True, drop_last=True)
    ends, losses = list[float](), list[torch.Tensor]()
    model.train()
    while True:
        for batch in loader:
            loss = plain_loss(model, batch, texts)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.detach())
            ends.append(time.perf_counter())
            if len(ends) % run.points_every == 0:
                print(f"loop step {len(ends)} loss {torch.stack(losses).mean():.4g}", flush=True)
                losses = []
            if len(ends) == steps:
                return timed(began, ends, run, run.batch * tokens_of(rows))


def as_tensors(rows: PackedBatch) -> list[torch.Tensor]:
    """The arguments of `plain_loss`."""
    segment_ids = rows.segment_ids
    begins = np.diff(segment_ids, axis=1, prepend=-1) != 0
    every = np.arange(segment_ids.shape[1])
    places = every - np.maximum.accumulate(np.where(begins, every, 0), 1)
    integers = (rows.tokens, rows.targets, segment_ids, places)
    tokens, targets, segment_ids, places = (torch.from_numpy(array.astype(np.int64)) for array in integers)
    return [tokens, targets, torch.from_numpy(rows.loss_weight), segment_ids, places]


def tokens_of(rows: PackedBatch) -> float:
    """Tokens of a row on average."""
    return float((rows.segment_ids > 0).sum(1).mean())


class Clock(TrainerCallback):
    """When each step of TRL's ended; stops it after so many."""

    def __init__(self, steps: int) -> None:
        self.steps, self.ends = steps, list[float]()

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())
        control.should_training_stop = state.global_step >= self.steps


def trained(make: Callable[[], Any], run: TextRun, steps: int, tokens: Callable[[], float], updates: int = 1) -> Timed:
    """A run of one of TRL's trainers. updates: of its optimiser in a step of ours."""
    began, clock = time.perf_counter(), Clock(steps * updates)
    trainer = make()
    trainer.add_callback(clock)
    trainer.train()
    return timed(began, clock.ends, run, tokens(), updates)


def shared(run: TextRun, updates: int = 1) -> dict[str, Any]:
    """What all of TRL's trainers are told. updates: of the optimiser in a step of ours."""
    return {"learning_rate": run.learning_rate, "max_steps": run.steps * updates, "max_grad_norm": CLIP}


def trl_sft(folder: Path, rows: PackedBatch, run: TextRun, steps: int, out: str) -> Timed:
    """On the same rows; a text's first token is no label."""
    from trl import SFTConfig, SFTTrainer

    begins = np.diff(rows.segment_ids, axis=1, prepend=-1) != 0
    labels = np.where(begins | (rows.segment_ids == 0), IGNORED, rows.tokens)
    pairs = zip(rows.tokens.tolist(), labels.tolist(), strict=True)
    examples = [{"input_ids": tokens, "labels": targets} for tokens, targets in pairs]

    def make() -> Any:
        return prepared(SFTTrainer)(
            model=loaded(folder),
            args=arguments(SFTConfig, out, per_device_train_batch_size=run.batch, max_length=None, **shared(run)),
            train_dataset=Dataset.from_list(examples),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )

    return trained(make, run, steps, lambda: run.batch * tokens_of(rows))


def trl_dpo(folder: Path, part: Part, run: TextRun, steps: int, out: str) -> Timed:
    """On the same pairs."""
    from trl import DPOConfig, DPOTrainer

    corpus = part.corpus
    examples = [
        {
            "prompt_ids": [corpus.vocabulary.end, *corpus.prompt(index).tolist()],
            "chosen_ids": corpus.answer(index, 0)[0].tolist(),
            "rejected_ids": corpus.answer(index, 1)[0].tolist(),
        }
        for index in part.indices
    ]

    def make() -> Any:
        settings = {"per_device_train_batch_size": run.batch, "beta": run.price, "max_length": None}
        return prepared(DPOTrainer)(
            model=loaded(folder),
            ref_model=loaded(folder),
            args=arguments(DPOConfig, out, **settings, **shared(run)),
            train_dataset=Dataset.from_list(examples),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )

    return trained(make, run, steps, lambda: run.batch * tokens_of_pairs(part))


def tokens_of_pairs(part: Part) -> float:
    """Tokens of an example's texts on average, without the end that begins and the one that ends each."""
    bounds = part.corpus.bounds[part.indices]
    prompts, answers = np.diff(bounds[:, :2]).mean(), np.diff(bounds[:, 1:]).sum(1).mean()
    return float(2 * prompts + answers - 2)


def trl_grpo(
    policy: Path, judge: Path, head: np.ndarray, prompts: list[str], run: TextRun, steps: int, out: str
) -> Timed:
    """On the same prompts, with the same reward model, without what our reward is normalised by."""
    from trl import GRPOConfig, GRPOTrainer

    passes, parts = run.policy.epochs, run.policy.minibatches
    drawn = list[int]()

    def make() -> Any:
        tokenizer = AutoTokenizer.from_pretrained(policy)
        model = loaded(policy)
        # pi_0 is read from where the model says that it came from, without what was set in memory.
        model.save_pretrained(out)
        model = loaded(Path(out))
        judging = judge_of(judge, head)

        def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
            drawn.append(sum(map(len, completion_ids)))
            texts = [
                tokenizer(prompt)["input_ids"] + said for prompt, said in zip(prompts, completion_ids, strict=True)
            ]
            padded = torch.full((len(texts), max(map(len, texts))), tokenizer.eos_token_id)
            for row, text in zip(padded, texts, strict=True):
                row[: len(text)] = torch.tensor(text)
            with torch.no_grad():
                return judging(padded, attention_mask=torch.ones_like(padded)).logits[:, 0].tolist()

        return GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=arguments(
                GRPOConfig,
                out,
                per_device_train_batch_size=run.batch // parts,
                steps_per_generation=parts,
                num_iterations=passes,
                num_generations=run.group,
                max_completion_length=run.answer,
                beta=run.price,
                epsilon=run.policy.clip,
                loss_type="grpo",
                **shared(run, passes * parts),
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=tokenizer,
        )

    return trained(make, run, steps, lambda: float(np.mean(drawn)), passes * parts)


def judge_of(folder: Path, head: np.ndarray) -> Any:
    from transformers import GPT2ForSequenceClassification

    judge = GPT2ForSequenceClassification.from_pretrained(folder, num_labels=1, **NO_DROPOUT).eval()
    with torch.no_grad():
        judge.score.weight.copy_(torch.from_numpy(np.array(head, np.float32))[None])
    return judge
