import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gpt2 import ACTIVATIONS, gpt2
from safetensors.flax import save_file as save_any
from safetensors.numpy import load_file, save_file

from seqrl_jax.checkpoint import save_tree
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.weights import HEAD, by_name, load_gpt, load_head, load_vocabulary, save_gpt, weight_files

MODEL = GPT(11, context=12, width=16, layers=3, heads=4)


@pytest.fixture
def saved(tmp_path, shaken):
    weights = shaken(MODEL)
    save_gpt(tmp_path, MODEL, weights)
    return tmp_path, weights


def test_what_is_saved_comes_back(saved):
    directory, weights = saved
    model, loaded = load_gpt(directory)
    assert model == MODEL
    jax.tree.map(np.testing.assert_array_equal, loaded, weights)
    tokens = jnp.arange(9)[None]
    np.testing.assert_array_equal(model.apply(loaded, tokens), MODEL.apply(weights, tokens))


def test_names_and_shapes_are_gpt_2_s(saved):
    directory, _ = saved
    shapes = {name: array.shape for name, array in load_file(directory / "model.safetensors").items()}
    block = {
        "ln_1.weight": (16,),
        "ln_1.bias": (16,),
        "attn.c_attn.weight": (16, 48),
        "attn.c_attn.bias": (48,),
        "attn.c_proj.weight": (16, 16),
        "attn.c_proj.bias": (16,),
        "ln_2.weight": (16,),
        "ln_2.bias": (16,),
        "mlp.c_fc.weight": (16, 64),
        "mlp.c_fc.bias": (64,),
        "mlp.c_proj.weight": (64, 16),
        "mlp.c_proj.bias": (16,),
    }
    outside = {"wte.weight": (11, 16), "wpe.weight": (12, 16), "ln_f.weight": (16,), "ln_f.bias": (16,)}
    assert shapes == outside | {f"h.{layer}.{name}": shape for layer in range(3) for name, shape in block.items()}


def test_names_below_the_model_s_own_are_read_too(saved):
    """As `transformers` writes them, beside buffers that are no weights."""
    directory, weights = saved
    path = directory / "model.safetensors"
    theirs = {f"transformer.{name}": array for name, array in load_file(path).items()}
    save_file({**theirs, "transformer.h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}, path)
    jax.tree.map(np.testing.assert_array_equal, load_gpt(directory)[1], weights)


def test_blocks_do_not_change_places(saved):
    directory, weights = saved
    tensors = load_file(directory / "model.safetensors")
    for layer in range(3):
        np.testing.assert_array_equal(
            tensors[f"h.{layer}.mlp.c_fc.weight"], weights["params"]["h"]["mlp"]["c_fc"]["kernel"][layer]
        )


def test_damage_is_named(saved):
    directory, _ = saved
    path = directory / "model.safetensors"
    whole = load_file(path)
    save_file({name: array for name, array in whole.items() if name != "h.1.ln_2.bias"}, path)
    with pytest.raises(ValueError, match=r"without h\.1\.ln_2\.bias"):
        load_gpt(directory)
    save_file({**whole, "wpe.weight": whole["wpe.weight"][:5]}, path)
    with pytest.raises(ValueError, match=r"wpe.weight is \[5, 16\], expected \[12, 16\]"):
        load_gpt(directory)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not safetensors"):
        load_gpt(directory)
    config = directory / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({key: value for key, value in content.items() if key != "n_head"}))
    with pytest.raises(ValueError, match="without 'n_head'"):
        load_gpt(directory)
    config.write_text(json.dumps(content | {"n_layer": None}))
    with pytest.raises(ValueError, match="without 'n_layer'"):
        load_gpt(directory)
    config.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_gpt(directory)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_as_its_float32(saved, dtype):
    directory, _ = saved
    path = directory / "model.safetensors"
    halves = {name: jnp.asarray(array).astype(dtype) for name, array in load_file(path).items()}
    save_any(halves, path)
    loaded = by_name(load_gpt(directory)[1])
    for name, half in halves.items():
        assert loaded[name].dtype == jnp.float32
        np.testing.assert_array_equal(loaded[name], half.astype(jnp.float32))


def test_parts_of_a_checkpoint_are_put_together(saved):
    directory, weights = saved
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    where = {name: f"part-{place % 2}.safetensors" for place, name in enumerate(names)}
    for part in set(where.values()):
        save_file({name: tensors[name] for name in names if where[name] == part}, directory / part)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    jax.tree.map(np.testing.assert_array_equal, load_gpt(directory)[1], weights)
    index = directory / "model.safetensors.index.json"
    assert weight_files(directory) == [index, directory / "part-0.safetensors", directory / "part-1.safetensors"]
    for damage in ({}, {"weight_map": {}}, {"weight_map": ["part-0.safetensors"]}, {"weight_map": {"wte.weight": 1}}):
        index.write_text(json.dumps(damage))
        with pytest.raises(ValueError, match="without weight_map"):
            load_gpt(directory)


@pytest.mark.parametrize("end", [None, [], "x", -1, 10**6])
def test_an_end_that_is_no_token_is_refused(saved, end):
    directory, _ = saved
    (directory / "tokenizer.json").write_text("{}")
    configure(directory, {"eos_token_id": end})
    with pytest.raises(ValueError, match=r"eos_token_id is .*, expected one of the 11 tokens"):
        load_vocabulary(directory)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"eos_token_id": 3, "bos_token_id": 2}, "bos_token_id is 2 and eos_token_id 3"),
        ({"eos_token_id": [3, 4]}, r"eos_token_id is \[3, 4\], and a text has one end here"),
        ({"vocab_size": 11.0}, r"vocab_size is 11\.0, expected a whole number"),
        ({"n_embd": [16]}, r"n_embd is \[16\], expected a whole number"),
        ({"quantization_config": {"bits": 8}}, "its weights are quantised"),
    ],
)
def test_what_begins_ends_or_weighs_otherwise_is_refused(saved, settings, why):
    directory, _ = saved
    configure(directory, settings)
    with pytest.raises(ValueError, match=rf"config\.json: {why}"):
        load_vocabulary(directory)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(saved, dtype, number):
    """A model of such weights draws its first token for ever, and its scores are no numbers."""
    directory, _ = saved
    path = directory / "model.safetensors"
    tensors = {name: jnp.asarray(array).astype(dtype) for name, array in load_file(path).items()}
    save_any(tensors | {"ln_f.bias": tensors["ln_f.bias"].at[3].set(number)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors: ln_f\.bias holds numbers that are not finite"):
        load_gpt(directory)


def test_a_head_that_is_no_number_is_refused(tmp_path):
    head = jnp.arange(16.0)
    save_tree(tmp_path / HEAD, head, {})
    np.testing.assert_array_equal(load_head(tmp_path, MODEL), head)
    save_tree(tmp_path / HEAD, head.at[2].set(jnp.nan), {})
    with pytest.raises(ValueError, match=r"head\.safetensors: the head holds numbers that are not finite"):
        load_head(tmp_path, MODEL)


def test_a_directory_in_the_place_of_weights_is_named(saved):
    path = saved[0] / "model.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"model\.safetensors: not safetensors \(a directory\)"):
        load_gpt(saved[0])


def test_whole_numbers_and_blocks_beyond_the_model_are_no_weights_of_it(saved):
    directory, _ = saved
    path = directory / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("mlp.c_fc.weight"))
    save_file(tensors | {name: tensors[name].astype(np.int8)}, path)
    with pytest.raises(ValueError, match=r"is of int8, expected floating-point numbers"):
        load_gpt(directory)
    layers = json.loads((directory / "config.json").read_text())["n_layer"]
    save_file(tensors | {f"h.{layers}.ln_1.bias": tensors["ln_f.bias"]}, path)
    with pytest.raises(ValueError, match="a block more than"):
        load_gpt(directory)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "mish"),
        ("activation_function", ["gelu"]),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("tie_word_embeddings", "no"),
        ("add_cross_attention", True),
        ("n_inner", 32),
    ],
)
def test_settings_under_which_another_function_is_meant_are_refused(saved, setting, value):
    directory, _ = saved
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {setting: value}))
    with pytest.raises(ValueError, match=rf"config\.json: {setting} is {re.escape(str(value))}, and only "):
        load_gpt(directory)


SETTINGS = [
    *({"activation_function": name} for name in ACTIVATIONS),
    {"layer_norm_epsilon": 1e-12},
    {"layer_norm_epsilon": 0.3},
    {"tie_word_embeddings": False},
    {"activation_function": "gelu", "layer_norm_epsilon": 1e-6, "tie_word_embeddings": False},
]
TOKENS = jax.random.randint(jax.random.key(5), (2, 9), 0, 11)


def configure(directory, settings):
    """Write settings into a `config.json`."""
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))


def put_output(directory, output):
    """Write `lm_head.weight` as `transformers` does, whose other names have a prefix then. Returns all tensors."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    save_file({**{f"transformer.{name}": tensors[name] for name in tensors}, "lm_head.weight": output}, path)
    return {**tensors, "lm_head.weight": output}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_what_a_configuration_asks_for_is_computed_and_written_back(settings, saved, tmp_path):
    directory, _ = saved
    configure(directory, settings)
    tensors = load_file(directory / "model.safetensors")
    if "tie_word_embeddings" in settings:
        tensors = put_output(directory, np.random.default_rng(0).normal(size=(11, 16)).astype(np.float32))
    model, weights = load_gpt(directory)
    logits = jax.jit(model.apply)(weights, TOKENS)
    activation, epsilon = settings.get("activation_function", "gelu_new"), settings.get("layer_norm_epsilon", 1e-5)
    np.testing.assert_allclose(logits, gpt2(tensors, TOKENS, 3, 4, activation, epsilon), atol=1e-5)

    save_gpt(tmp_path / "again", model, weights)
    again, same = load_gpt(tmp_path / "again")
    assert again == model and settings.items() <= json.loads((tmp_path / "again" / "config.json").read_text()).items()
    np.testing.assert_array_equal(jax.jit(again.apply)(same, TOKENS), logits)
    names = load_file(tmp_path / "again" / "model.safetensors").keys()
    untied = "tie_word_embeddings" in settings
    assert ("lm_head.weight" in names) == ("transformer.wte.weight" in names) == untied == ("wte.weight" not in names)


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_activations_are_not_each_other(activation, saved):
    """By more than the tolerance above: even exact GELU, which its form by tanh is at most 5e-4 from."""
    tensors = by_name(saved[1])
    difference = gpt2(tensors, TOKENS, 3, 4) - gpt2(tensors, TOKENS, 3, 4, activation)
    assert np.abs(difference).max() > 1e-4


@pytest.mark.parametrize("value", [0, -1e-5, 1e-40, float("nan"), float("inf"), None, True, "1e-5", [1e-5]])
def test_an_epsilon_that_is_none_is_refused(saved, value):
    configure(saved[0], {"layer_norm_epsilon": value})
    with pytest.raises(ValueError, match=r"config\.json: layer_norm_epsilon is .*, expected a number >= 1e-30 and <="):
        load_gpt(saved[0])


def test_an_output_is_the_embedding_where_the_configuration_ties_it(saved):
    directory, _ = saved
    embedding = load_file(directory / "model.safetensors")["wte.weight"]
    put_output(directory, embedding)
    assert load_gpt(directory)[0] == MODEL
    save_gpt(directory, MODEL, saved[1])
    put_output(directory, embedding + 1)
    message = (
        r"model\.safetensors: lm_head\.weight is not wte\.weight, and config\.json says that tie_word_embeddings is "
    )
    with pytest.raises(ValueError, match=f"{message}true"):
        load_gpt(directory)
    configure(directory, {"tie_word_embeddings": False})
    assert not load_gpt(directory)[0].tied


def test_an_untied_model_has_an_output(saved):
    directory, _ = saved
    configure(directory, {"tie_word_embeddings": False})
    message = r"model\.safetensors: without lm_head\.weight, and config\.json says that tie_word_embeddings is false"
    with pytest.raises(ValueError, match=message):
        load_gpt(directory)
    put_output(directory, np.ones((11, 8), np.float32))
    with pytest.raises(ValueError, match=r"lm_head\.weight is \[11, 8\], expected \[11, 16\]"):
        load_gpt(directory)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_transformers_computes_the_same(settings, saved, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    directory, _ = saved
    configure(directory, settings)
    if "tie_word_embeddings" in settings:
        put_output(directory, np.random.default_rng(0).normal(size=(11, 16)).astype(np.float32))
    model, weights = load_gpt(directory)
    save_gpt(tmp_path / "again", model, weights)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "again").eval()
    with torch.no_grad():
        logits = theirs(torch.tensor(np.asarray(TOKENS))).logits.numpy()
    np.testing.assert_allclose(jax.jit(model.apply)(weights, TOKENS), logits, atol=1e-4)


def test_pickled_weights_are_not_read(saved):
    directory, _ = saved
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pytorch_model\.bin, which is not read"):
        load_gpt(directory)
