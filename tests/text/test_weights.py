import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.flax import save_file as save_any
from safetensors.numpy import load_file, save_file

from seqrl_jax.networks.gpt import GPT
from seqrl_jax.text.weights import by_name, load_gpt, save_gpt

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


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "gelu"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("tie_word_embeddings", False),
        ("add_cross_attention", True),
        ("n_inner", 32),
    ],
)
def test_settings_under_which_another_function_is_meant_are_refused(saved, setting, value):
    directory, _ = saved
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {setting: value}))
    with pytest.raises(ValueError, match=rf"config\.json: {setting} is {value}, and only "):
        load_gpt(directory)


def test_an_output_that_is_not_the_embedding_is_refused(saved):
    directory, _ = saved
    path = directory / "model.safetensors"
    whole = load_file(path)
    save_file({**whole, "lm_head.weight": whole["wte.weight"]}, path)
    assert load_gpt(directory)[0] == MODEL
    save_file({**whole, "lm_head.weight": whole["wte.weight"] + 1}, path)
    with pytest.raises(ValueError, match=r"lm_head\.weight is not wte\.weight"):
        load_gpt(directory)


def test_pickled_weights_are_not_read(saved):
    directory, _ = saved
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pytorch_model\.bin, which is not read"):
        load_gpt(directory)
