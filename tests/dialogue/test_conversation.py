"""What is spoken symbol by symbol is a dialogue of the game, and earns what the exact side says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.dialogue.conversation import Talker, converse
from seqrl_jax.dialogue.exact import Known, evaluated, turns
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling, symbol_probabilities

EPISODES = 2000
SPECS = (
    "twenty_questions:objects=6,turns=5,noise=0.1",
    "visual_dialogue:turns=4",
    "negotiation",
    "small_talk",
    "text_maze",
    "task_and_talk:values=2,turns=4,noise=0.2",
)


def talks(law, symbols):
    """One who says utterances with fixed probabilities [A], symbol by symbol; its carry is the node where it stands."""
    table = jnp.asarray(symbol_probabilities(symbols, law), jnp.float32)
    child, done = jnp.asarray(symbols.child), jnp.asarray(symbols.utterance)

    def choose(key, node, legal):
        logits = jnp.log(table[node])
        chosen = jax.random.categorical(key, jnp.where(legal, logits, -jnp.inf))
        return chosen, logits[chosen]

    def hear(node, symbol, own):
        after = child[node, symbol]
        return jnp.where((after < 0) | (done[jnp.maximum(after, 0)] >= 0), 0, after)

    return Talker(jnp.int32(0), choose, hear)


@pytest.fixture(scope="module", params=SPECS)
def case(request):
    known = Known(make_game(request.param))
    law = np.random.default_rng(0).dirichlet(np.full(known.game.task.num_actions, 5.0))
    spoken = {}
    for view in ("utterance", "token"):
        symbols = spelling(known.game, view)
        begins, runs = (jax.random.split(key, EPISODES) for key in jax.random.split(jax.random.key(1)))
        talker = talks(law, symbols)
        one = lambda begin, run, symbols=symbols, talker=talker: converse(begin, run, known.game, symbols, talker)
        spoken[view] = (symbols, jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(begins, runs)))
    return known, law, spoken


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_dialogues_earn_and_last_as_the_exact_side_says(case, view):
    """Means within 5 standard errors (false alarm 6e-7 each). A law that does not look at replies is exact at once; the
    tree's reading of replies as words of its own is what could go wrong, and is tested so."""
    known, law, spoken = case
    graph = known.beliefs.graph
    policy = np.broadcast_to(law, (known.horizon, *graph.reward.shape))
    _, made = spoken[view]
    for sampled, exact in (
        (made.reward.sum(1), known.value(evaluated(graph, policy))),
        (made.turn.max(1) + 1.0, turns(graph, policy)),
    ):
        assert sampled.mean() == pytest.approx(exact, abs=5 * float(sampled.std()) / EPISODES**0.5 + 1e-5)


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_every_symbol_is_legal_and_as_likely_as_its_utterance(case, view):
    _, law, spoken = case
    symbols, made = spoken[view]
    rows, places = np.nonzero(made.own)
    assert symbols.legal[made.node[rows, places], made.symbol[rows, places]].all()
    for i in range(50):
        total, node = 0.0, 0
        for place in np.flatnonzero(made.own[i]):
            assert made.node[i, place] == node
            node = symbols.child[node, made.symbol[i, place]]
            if symbols.utterance[node] >= 0:
                total, node = total + np.log(law[symbols.utterance[node]]), 0
        assert node == 0 or not made.valid[i, -1], "a dialogue ends with an utterance"
        assert made.log_prob[i].sum() == pytest.approx(total, rel=1e-4)
    assert not made.reward[~made.own].any() and (made.own <= made.valid).all()
