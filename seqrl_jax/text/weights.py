"""Weights of a transformer on disk: safetensors under GPT-2's names, which `transformers` loads as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from jax.sharding import Mesh

from seqrl_jax import hosts
from seqrl_jax.checkpoint import load_tree, require_file
from seqrl_jax.files import why_no_directory, write_whole
from seqrl_jax.naming import SpecError
from seqrl_jax.networks.gpt import GPT, Activation
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.sharding import laid_weights
from seqrl_jax.strict_json import read_object
from seqrl_jax.text.tokenizer import vocabulary_of
from seqrl_jax.text.vocabulary import Vocabulary

WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
HEAD = "head.safetensors"
"""Of a reward model, whose body the weights are."""
INDEX, PICKLED = "model.safetensors.index.json", "pytorch_model.bin"
UNTIED, PREFIX = "lm_head.weight", "transformer."
"""The output of an untied model, and what `transformers` puts before all other names of a model with its output."""
IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
COMPUTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": get_args(Activation),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "tie_word_embeddings": (True, False),
    "add_cross_attention": (False,),
}
"""Settings of `transformers` that change the function, and what of each is computed here; the first is its default."""

AROUND = {
    ("wte", "embedding"): "wte.weight",
    ("wpe", "embedding"): "wpe.weight",
    ("ln_f", "scale"): "ln_f.weight",
    ("ln_f", "bias"): "ln_f.bias",
    ("lm_head",): UNTIED,
}
"""GPT-2's names of what stands around the blocks, by flax's paths. A tied model is without the last."""
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
    around = {name: params[path] for path, name in AROUND.items() if path in params}
    blocks = {
        f"h.{layer}.{name}": params["h", *path][layer] for layer in range(layers) for path, name in OF_BLOCK.items()
    }
    return around | blocks


def from_names(tensors: dict[str, np.ndarray], layers: int) -> Weights:
    """The weights from arrays by GPT-2's names, as `by_name` gives them, in this host's memory."""
    around = {path: tensors[name] for path, name in AROUND.items() if name in tensors}
    stacked = lambda name: np.stack([tensors[f"h.{layer}.{name}"] for layer in range(layers)])
    return {"params": unflatten_dict(around | {("h", *path): stacked(name) for path, name in OF_BLOCK.items()})}


class TokenSettings(NamedTuple):
    """What the files of a model say of the tokens that begin, end and pad texts, in the words of `transformers`.

    config: of `config.json`, these alone. generation: all of `generation_config.json`.
    """

    config: Mapping[str, Any]
    generation: Mapping[str, Any]


def save_gpt(
    directory: Path,
    model: GPT,
    weights: Weights,
    vocabulary: Vocabulary | None = None,
    settings: TokenSettings | None = None,
) -> None:
    """Write `model.safetensors` and `config.json` into a directory, each whole or not at all; with a vocabulary also
    its files and the settings with which `transformers` generates and stops.

    settings: of the model that this one was trained from, or else its end begins and pads texts, too. Of several
    processes (`hosts`) all call this, and the first writes.
    """
    tensors = {name: np.asarray(leaf, np.float32) for name, leaf in by_name(hosts.whole(weights)).items()}
    if settings is None:
        ends = dict.fromkeys(IDS, None if vocabulary is None else vocabulary.end)
        settings = TokenSettings(ends, ends)
    hosts.on_first(lambda: _write(directory, model, tensors, vocabulary, settings))


def _write(
    directory: Path,
    model: GPT,
    tensors: dict[str, np.ndarray],
    vocabulary: Vocabulary | None,
    settings: TokenSettings,
) -> None:
    from safetensors.numpy import save

    directory.mkdir(parents=True, exist_ok=True)
    if not model.tied:
        # Of a body alone `transformers` also reads the bare names; beside an output it takes them for damage.
        tensors = {name if name == UNTIED else PREFIX + name: tensor for name, tensor in tensors.items()}
    write_whole(directory / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_whole(directory / CONFIG, as_json({**configuration(model), **settings.config}))
    if vocabulary is not None:
        for name, content in vocabulary.files().items():
            write_whole(directory / name, content)
        write_whole(directory / GENERATION, as_json(settings.generation))


def load_gpt(directory: Path, mesh: Mesh | None = None) -> tuple[GPT, Weights]:
    """The model and its weights in float32, from files that `transformers` wrote of GPT-2 with its head, too.

    mesh: over which they lie, each device with its part alone.
    Raises: ValueError, naming the directory that is none or holds no model, or the file and what is missing, of another
    shape, no finite number, or computed otherwise than here.
    """
    if wrong := why_no_directory(directory) or (None if (directory / CONFIG).exists() else f"holds no {CONFIG}"):
        raise ValueError(f"no model: {directory} {wrong}")
    model = _model(directory / CONFIG)
    path, tensors = _tensors(directory)
    expected = jax.eval_shape(lambda key: by_name(model.initial_weights(key)), jax.random.key(0))
    for name, shape in ((name, leaf.shape) for name, leaf in expected.items()):
        if name not in tensors:
            why = f", and {CONFIG} says that tie_word_embeddings is false" if name == UNTIED else ""
            raise ValueError(f"{path}: without {name}{why}")
        if tensors[name].shape != shape:
            raise ValueError(f"{path}: {name} is {list(tensors[name].shape)}, expected {list(shape)}")
        if not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            raise ValueError(f"{path}: {name} is of {tensors[name].dtype}, expected floating-point numbers")
        _require_finite(path, name, tensors[name])
    if more := next((name for name in tensors if name.startswith(f"h.{model.layers}.")), None):
        raise ValueError(f"{path}: {more} is of a block more than the {model.layers} of {CONFIG}")
    head = tensors.get(UNTIED)
    if model.tied and head is not None and not np.array_equal(head, tensors["wte.weight"]):
        raise ValueError(f"{path}: {UNTIED} is not wte.weight, and {CONFIG} says that tie_word_embeddings is true")
    weights = from_names({name: np.asarray(tensors[name], np.float32) for name in expected}, model.layers)
    return model, jax.device_put(weights) if mesh is None else laid_weights(mesh, weights)


def load_head(directory: Path, model: GPT) -> Array:
    """[D]: the head of a reward model, whose body is this. Raises: ValueError, naming the file."""
    path = directory / HEAD
    head: Array = load_tree(path, jnp.zeros(model.width))
    _require_finite(path, "the head", np.asarray(head))
    return head


def _require_finite(path: Path, name: str, tensor: np.ndarray) -> None:
    """What is drawn or scored with other numbers looks like any answer."""
    if not np.isfinite(tensor).all():
        raise ValueError(f"{path}: {name} holds numbers that are not finite")


def load_vocabulary(directory: Path) -> Vocabulary:
    """That of the model in a directory. Raises: ValueError; ImportError without the library of its tokenizer."""
    path = directory / CONFIG
    config = read_object(path)
    end = config.get("eos_token_id")
    if isinstance(end, list):
        if len(end) > 1:
            raise ValueError(f"{path}: eos_token_id is {end}, and a text has one end here")
        end = end[0] if end else None
    begin = config.get("bos_token_id", end)
    if begin not in (None, end):
        raise ValueError(f"{path}: bos_token_id is {begin} and eos_token_id {end}: a text begins with its end here")
    return vocabulary_of(directory, _model(path).vocabulary, end)


def load_token_settings(directory: Path) -> TokenSettings:
    """Those of the model in a directory. Raises: ValueError."""
    config = read_object(directory / CONFIG)
    ids = {name: config[name] for name in IDS if name in config}
    generation = directory / GENERATION
    return TokenSettings(ids, read_object(generation) if generation.exists() else ids)


def configuration(model: GPT) -> dict[str, Any]:
    """GPT-2's configuration in the words of `transformers`, without what it says of tokens."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": model.vocabulary,
        "n_positions": model.context,
        "n_embd": model.width,
        "n_layer": model.layers,
        "n_head": model.heads,
        "activation_function": model.activation,
        "layer_norm_epsilon": model.layer_norm_epsilon,
        "tie_word_embeddings": model.tied,
    }


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def weight_files(directory: Path) -> list[Path]:
    """The files that hold a model's weights, and before several of them their index.

    Raises: ValueError for an index that names none, and where there are only weights that are not read.
    """
    whole, index = directory / WEIGHTS, directory / INDEX
    if whole.exists() or not (index.exists() or (directory / PICKLED).exists()):
        return [whole]
    if not index.exists():
        raise ValueError(f"{directory}: only {PICKLED}, which is not read; save it again as {WEIGHTS}")
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{index}: without weight_map, which names the file of each array")
    return [index, *(directory / name for name in sorted(set(named.values())))]


def _tensors(directory: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """By GPT-2's names, of any type, and the file that they or their index stand in."""
    from safetensors import SafetensorError, safe_open

    paths = weight_files(directory)
    tensors = dict[str, np.ndarray]()
    for path in paths if len(paths) == 1 else paths[1:]:
        require_file(path, "not safetensors")
        try:
            # flax's reader knows bfloat16, and puts what it reads on a device: one array after another.
            with safe_open(path, framework="flax") as file:
                tensors |= {key.removeprefix(PREFIX): np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path}: not safetensors ({error})") from error
    return paths[0], tensors


def _model(path: Path) -> GPT:
    """The model that a configuration describes. Raises: ValueError where it computes something else than `GPT`."""
    config = read_object(path)
    settings = {name: config.get(name, computed[0]) for name, computed in COMPUTED.items()}
    for name, value in settings.items():
        if value not in COMPUTED[name]:
            computed = " or ".join(map(str, COMPUTED[name]))
            raise ValueError(f"{path}: {name} is {value}, and only {computed} is computed here")
    if config.get("quantization_config") is not None:
        raise ValueError(f"{path}: its weights are quantised, and only numbers as they are are read here")
    for name in SIZES:
        if config.get(name) is None:
            raise ValueError(f"{path}: without {name!r}")
        if type(config[name]) is not int or config[name] < 1:
            raise ValueError(f"{path}: {name} is {config[name]!r}, expected a whole number of 1 or more")
    vocabulary, context, width, layers, heads = (config[name] for name in SIZES)
    inner = config.get("n_inner")
    if inner not in (None, 4 * width):
        raise ValueError(f"{path}: n_inner is {inner}, and only 4 n_embd is computed here")
    try:
        return GPT(
            vocabulary,
            context,
            width,
            layers,
            heads,
            activation=settings["activation_function"],
            layer_norm_epsilon=config.get("layer_norm_epsilon", GPT.layer_norm_epsilon),
            tied=bool(settings["tie_word_embeddings"]),
        )
    except SpecError as error:
        raise ValueError(f"{path}: {error}") from None
