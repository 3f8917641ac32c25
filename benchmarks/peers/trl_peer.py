"""What the comparisons with TRL share: our weights in its models, and tokens without a text behind them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast

from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.weights import by_name, save_gpt

NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def theirs(model: GPT, weights: Any) -> GPT2LMHeadModel:
    """Our weights as `transformers` has them."""
    with tempfile.TemporaryDirectory() as folder:
        return from_disk(model, weights, folder)


def their_judge(model: GPT, weights: Any, head: np.ndarray) -> GPT2ForSequenceClassification:
    """The same body with a scalar head [D]: a reward or value model."""
    with tempfile.TemporaryDirectory() as folder:
        save_gpt(Path(folder), model, weights)
        judge = GPT2ForSequenceClassification.from_pretrained(folder, num_labels=1, **NO_DROPOUT)
    with torch.no_grad():
        judge.score.weight.copy_(torch.from_numpy(np.array(head, np.float32))[None])
    return judge


def arguments(config: Callable[..., Any], folder: str, **settings: Any) -> Any:
    """A configuration of TRL's that saves and logs nothing, in float32 on the CPU."""
    quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    return config(output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, **quiet, **settings)


def prepared(trainer: type) -> type:
    """The trainer for a dataset that holds tokens already."""
    return type(trainer.__name__, (trainer,), {"_prepare_dataset": lambda self, dataset, *_, **__: dataset})


def from_disk(model: GPT, weights: Any, folder: str) -> GPT2LMHeadModel:
    """`theirs`, saved: RLOO's and GRPO's trainers load pi_0 from where the model says that it came from."""
    save_gpt(Path(folder), model, weights)
    loaded = GPT2LMHeadModel.from_pretrained(folder, **NO_DROPOUT)
    loaded.save_pretrained(folder)
    return loaded


def tokenizer(vocabulary: int, padding: str = "0") -> PreTrainedTokenizerFast:
    """Numbers with spaces between them. The end is one token more, which no model here says, and so is `<pad>`."""
    words = {str(token): token for token in range(vocabulary)} | {"</s>": vocabulary, "<pad>": vocabulary + 1}
    plain = Tokenizer(models.WordLevel(words, unk_token="</s>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>", pad_token=padding)


def spoken(tokens: Any) -> str:
    """Tokens as the text that `tokenizer` reads."""
    return " ".join(map(str, np.asarray(tokens).tolist()))


def gradients(model: GPT2LMHeadModel) -> dict[str, np.ndarray]:
    """By GPT-2's names."""
    return {name: part.grad.numpy().copy() for name, part in model.transformer.named_parameters()}


def largest_difference(ours: Any, other: dict[str, np.ndarray]) -> float:
    """The largest difference of two gradients, in units of the largest entry."""
    mine = {name: np.asarray(leaf) for name, leaf in by_name(ours).items()}
    assert mine.keys() == other.keys()
    scale = max(float(np.abs(leaf).max()) for leaf in other.values())
    return max(float(np.abs(mine[name] - other[name]).max()) for name in mine) / scale
