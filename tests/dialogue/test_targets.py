"""Targets by the least of several readings with dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled
from noise import shaken

from seqrl_jax.dialogue.data import data_of
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling

GAME = make_game("negotiation:turns=3")
SYMBOLS = spelling(GAME, "utterance")
DATA = jax.device_put(data_of(logged(GAME, 64, 3000), SYMBOLS, 1.0))


def made(settings):
    return make_method(f"kl_control:view=utterance,width=8,batch=16{settings}")


def noisy(method):
    return shaken(compiled.begin(method, SYMBOLS, DATA, jax.random.key(0)).weights, 0.3)


def updated(method):
    weights = noisy(method)
    training = compiled.begin(method, SYMBOLS, DATA, jax.random.key(0))._replace(weights=weights, target=weights)
    step = jax.jit(lambda training: method.update(GAME, SYMBOLS, DATA, training)[0])
    return step(step(training)).weights


def test_without_dropout_all_readings_are_one():
    """Two updates, number by number; with dropout they differ."""
    once, none, some = (updated(made(s)) for s in ("", ",targets=least,dropout=0", ",targets=least,dropout=0.2"))
    for one, other in zip(jax.tree.leaves(once), jax.tree.leaves(none), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(some), strict=True))


def test_a_target_is_the_least_of_independent_readings():
    """Symbol by symbol against a loop over readings; what was imitated is read without dropout."""
    method = made(",targets=least,dropout=0.3,passes=4")
    weights, reader = noisy(method), method.reader(SYMBOLS)
    symbol, _ = compiled.batch_of(DATA, SYMBOLS, jnp.arange(8))
    read = lambda key: compiled.read(reader, weights, symbol, drop_key=key)
    found = jax.jit(lambda key: method.target_outputs(read, key))(jax.random.key(2))
    passes = [np.asarray(read(key)["q"]) for key in jax.random.split(jax.random.key(2), 4)]
    least = passes[0].copy()
    for index in np.ndindex(least.shape):
        least[index] = min(each[index] for each in passes)
    np.testing.assert_allclose(found["q"], least, atol=1e-5)
    np.testing.assert_array_equal(found["policy"], read(None)["policy"])
    for i in range(4):
        assert (least < passes[i] - 1e-4).mean() > 0.5, "each reading is the least of few"
        assert all(np.abs(passes[i] - passes[j]).max() > 0.1 for j in range(i))
    learned = jax.jit(lambda key: method.outputs(read, key))(jax.random.key(3))
    assert np.abs(np.asarray(learned["q"]) - np.asarray(read(None)["q"])).max() > 0.1


def test_features_are_dropped_before_the_heads():
    """Heads are linear in features x: with dropout a head's mean is what it is without, its variance the sum of
    (w x)^2 rate / (1 - rate); by 4,000 readings, within 5 standard errors and a fifth."""
    method = made(",targets=least,dropout=0.3")
    weights, reader = noisy(method), method.reader(SYMBOLS)
    symbol = DATA.symbol[:1, :2].T
    read = lambda key: compiled.read(reader, weights, symbol, drop_key=key)["q"][0, 0]
    draws = np.asarray(jax.jit(jax.vmap(read))(jax.random.split(jax.random.key(4), 4000)))
    carry = reader.memory.initial_carry(1)
    code = (jax.nn.one_hot(symbol[:1], SYMBOLS.num_symbols),)
    params = weights["params"]
    apply = jax.jit(reader.memory.apply)
    _, features = apply({"params": params["memory"]}, carry, code, jnp.ones((1, 1), bool))
    kernel, bias = np.asarray(params["q"]["kernel"]), np.asarray(params["q"]["bias"])
    x = np.asarray(features)[0, 0]
    variance = np.square(x[:, None] * kernel).sum(0) * 0.3 / 0.7
    np.testing.assert_allclose(draws.mean(0), x @ kernel + bias, atol=5 * (variance.max() / len(draws)) ** 0.5)
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.2)


def test_who_speaks_drops_nothing():
    """The same weights say the same with dropout as without, symbol by symbol."""
    with_dropout, without = made(",targets=least,dropout=0.9"), made("")
    weights = noisy(without)
    laws = []
    for method in (with_dropout, without):

        @jax.jit
        def law(symbols, method=method):
            talker = method.talker(SYMBOLS, weights)
            at = talker.initial_carry
            for symbol in symbols:
                at = talker.hear(at, symbol, jnp.bool_(False))
            return method.law({name: leaf[0] for name, leaf in at.outputs.items()}, jnp.asarray(SYMBOLS.legal[0])).probs

        laws.append(law(DATA.symbol[0, :3]))
    np.testing.assert_array_equal(*laws)


def test_all_may_not_be_dropped():
    with pytest.raises(ValueError, match="dropout"):
        made(",targets=least,dropout=1")
