"""Weights of a transformer on disk: safetensors under GPT-2's names, which `transformers` loads as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from seqrl_jax.files import write_whole
from seqrl_jax.networks.gpt import GPT, LAYER_NORM_EPSILON
from seqrl_jax.networks.module import Weights

WEIGHTS, CONFIG = "model.safetensors", "config.json"

AROUND = {
    ("wte", "embedding"): "wte.weight",
    ("wpe", "embedding"): "wpe.weight",
    ("ln_f", "scale"): "ln_f.weight",
    ("ln_f", "bias"): "ln_f.bias",
}
"""GPT-2's names of what stands around the blocks, by flax's paths."""
OF_BLOCK = {
    ("ln_1", "scale"): "ln_1.weight",
    ("ln_1", "bias"): "ln_1.bias",
    ("attn", "c_attn", "kernel"): "attn.c_attn.weight",
    ("attn", "c_attn", "bias"): "attn.c_attn.bias",
    ("attn", "c_proj", "kernel"): "attn.c_proj.weight",
    ("attn", "c_proj", "bias"): "attn.c_proj.bias",
    ("ln_2", "scale"): "ln_2.weight",
    ("ln_2", "bias"): "ln_2.bias",
    ("mlp", "c_fc", "kernel"): "mlp.c_fc.weight",
    ("mlp", "c_fc", "bias"): "mlp.c_fc.bias",
    ("mlp", "c_proj", "kernel"): "mlp.c_proj.weight",
    ("mlp", "c_proj", "bias"): "mlp.c_proj.bias",
}
"""The same within a block, whose number GPT-2 puts before the name."""


def by_name(weights: Weights) -> dict[str, Array]:
    """The weights by GPT-2's names, block by block: `h.0.attn.c_attn.weight` [D, 3 D] and so on."""
    params = flatten_dict(weights["params"])
    layers = len(params["h", "ln_1", "scale"])
    around = {name: params[path] for path, name in AROUND.items()}
    blocks = {
        f"h.{layer}.{name}": params["h", *path][layer] for layer in range(layers) for path, name in OF_BLOCK.items()
    }
    return around | blocks


def from_names(tensors: dict[str, np.ndarray], layers: int) -> Weights:
    """The weights from arrays by GPT-2's names; what bears another name is left out."""
    around = {path: jnp.asarray(tensors[name]) for path, name in AROUND.items()}
    stacked = lambda name: jnp.stack([jnp.asarray(tensors[f"h.{layer}.{name}"]) for layer in range(layers)])
    return {"params": unflatten_dict(around | {("h", *path): stacked(name) for path, name in OF_BLOCK.items()})}


def save_gpt(directory: Path, model: GPT, weights: Weights) -> None:
    """Write `model.safetensors` and `config.json` into a directory, each whole or not at all."""
    from safetensors.numpy import save

    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(leaf, np.float32) for name, leaf in by_name(weights).items()}
    write_whole(directory / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_whole(directory / CONFIG, (json.dumps(configuration(model), indent=1) + "\n").encode())


def load_gpt(directory: Path) -> tuple[GPT, Weights]:
    """The model and its weights, also from files that `transformers` wrote of GPT-2 with its head.

    Raises: ValueError, naming the file and what is missing or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    model = _model(directory / CONFIG)
    path = directory / WEIGHTS
    try:
        tensors = {name.removeprefix("transformer."): array for name, array in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"{path}: not safetensors ({error})") from error
    expected = jax.eval_shape(lambda key: by_name(model.initial_weights(key)), jax.random.key(0))
    for name, shape in ((name, leaf.shape) for name, leaf in expected.items()):
        if name not in tensors:
            raise ValueError(f"{path}: without {name}")
        if tensors[name].shape != shape:
            raise ValueError(f"{path}: {name} is {list(tensors[name].shape)}, expected {list(shape)}")
    return model, from_names(tensors, model.layers)


def configuration(model: GPT) -> dict[str, Any]:
    """GPT-2's configuration in the words of `transformers`."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": model.vocabulary,
        "n_positions": model.context,
        "n_embd": model.width,
        "n_layer": model.layers,
        "n_head": model.heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _model(path: Path) -> GPT:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        sizes = [config[name] for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")]
    except KeyError as error:
        raise ValueError(f"{path}: without {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    return GPT(*sizes)
