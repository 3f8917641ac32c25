"""What no method learns from: places behind a dialogue's end, and where the other speaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled

from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.data import data_of
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.offline import Offline
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.sweet import Sweet
from seqrl_jax.dialogue.views import spelling

PLACES = ("symbol", "own", "legal", "turn", "reward", "onward")
SPECS = (
    *("bc", "decision_transformer", "q_sft", "iql", "offline_q", "actor_critic", "digi_q", "chai:candidates=4"),
    *("kl_control", "multi_turn_dpo", "dmpo", "sweet", "refuel"),
    *("pg_return", "pg_group", "pg_talking", "gigpo", "ppo_talk", "ppo_turns"),
)


@pytest.fixture(scope="module")
def bargained():
    """(symbols, the batch of 16 dialogues of a negotiation, those that open alike side by side), word by word."""
    game = make_game("negotiation")
    symbols, log = spelling(game, "token"), logged(game, 16, 1)
    data = jax.device_put(data_of(log, symbols, 1.0))
    return symbols, compiled.batch_of(data, symbols, jnp.asarray(np.argsort(log.reply[:, 0])))[1]


def spoken(batch, log_prob, turns):
    """The same dialogues as they are learned from by who has just spoken them."""
    places = {name: getattr(batch, name) for name in PLACES}
    opening = jnp.zeros_like(batch.symbol[:1])
    parted = jnp.ones(batch.symbol.shape[1], jnp.int32)
    symbols = jnp.concatenate([opening, batch.symbol])
    return Steps(symbols=symbols, log_prob=log_prob, parted=parted, discount=1.0, turns=turns, **places)


def loss_of(method, outputs, batch, log_prob, turns):
    if isinstance(method, Sweet):
        return method.critic_loss(outputs["reference"], outputs["critic"], batch, turns)
    if isinstance(method, Offline):
        return method.loss(outputs, outputs, batch).loss
    steps = spoken(batch, log_prob, turns)
    return method.loss(outputs, method.goals(outputs, steps), steps)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_not_its_own_changes_nothing(spec, bargained):
    """Whatever the outputs are there, even no numbers."""
    symbols, batch = bargained
    method, rng = make_method(spec), np.random.default_rng(2)
    draw = lambda *size: rng.normal(size=(*batch.symbol.shape, *size)).astype(np.float32)
    outputs = {name: draw(size) for name, size in method.heads(symbols.num_symbols)}
    log_prob = np.where(batch.own, draw(), np.float32(0))
    padded = lambda leaf, by: np.concatenate([leaf, np.full((5, *leaf.shape[1:]), by, leaf.dtype)])
    longer = batch._replace(**{name: padded(getattr(batch, name), 0) for name in PLACES})
    nowhere = {name: padded(np.where(batch.own[..., None], leaf, np.nan), np.nan) for name, leaf in outputs.items()}
    loss = jax.jit(lambda *given: loss_of(method, *given, symbols.turns))
    expected = loss(outputs, batch, log_prob)
    assert np.isfinite(expected) and expected
    np.testing.assert_allclose(loss(nowhere, longer, padded(log_prob, 0)), expected, rtol=1e-5)
