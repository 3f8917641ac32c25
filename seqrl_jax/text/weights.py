"""Weights of a transformer on disk: safetensors under GPT-2's names, which `transformers` loads as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.files import write_whole
from seqrl_jax.lm.gpt import GPT, LAYER_NORM_EPSILON

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def named(weights: Any) -> dict[str, Array]:
    """The weights by GPT-2's names, blocks apart: `h.0.attn.c_attn.weight` [D, 3 D] and so on."""
    blocks = weights["h"]
    layers = jax.tree.leaves(blocks)[0].shape[0]
    apart = {"wte": weights["wte"], "wpe": weights["wpe"], "ln_f": weights["ln_f"]}
    for layer in range(layers):
        apart[f"h.{layer}"] = jax.tree.map(lambda leaf, layer=layer: leaf[layer], blocks)
    flat, _ = jax.tree_util.tree_flatten_with_path(apart)
    return {".".join(str(step.key) for step in path): leaf for path, leaf in flat}


def save_gpt(directory: Path, model: GPT, weights: Any) -> None:
    """Write `model.safetensors` and `config.json` into a directory, each whole or not at all."""
    from safetensors.numpy import save

    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(leaf, np.float32) for name, leaf in named(weights).items()}
    write_whole(directory / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_whole(directory / CONFIG, (json.dumps(configuration(model), indent=1) + "\n").encode())


def load_gpt(directory: Path) -> tuple[GPT, Any]:
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
    wanted = jax.eval_shape(lambda key: named(model.init(key)), jax.random.key(0))
    for name, shape in ((name, leaf.shape) for name, leaf in wanted.items()):
        if name not in tensors:
            raise ValueError(f"{path}: without {name}")
        if tensors[name].shape != shape:
            raise ValueError(f"{path}: {name} is {list(tensors[name].shape)}, expected {list(shape)}")

    def stacked(tree: Any, prefix: str) -> Any:
        if isinstance(tree, dict):
            return {key: stacked(value, f"{prefix}.{key}") for key, value in tree.items()}
        return jnp.stack([jnp.asarray(tensors[f"h.{layer}{prefix}"]) for layer in range(model.layers)])

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rest = {
        part: {key: jnp.asarray(tensors[f"{part}.{key}"]) for key in shapes[part]} for part in ("wte", "wpe", "ln_f")
    }
    return model, {**rest, "h": stacked(shapes["h"], "")}


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
