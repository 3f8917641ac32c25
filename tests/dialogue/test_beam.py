"""Whole utterances found by a beam: against every utterance read out, and a beam over strings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.dialogue.conversation import converse
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.reader import predictions
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling

EPISODES = 4


def spoken(spec, view="token", game="twenty_questions:objects=6,turns=3"):
    """Dialogues of one with random weights; and a function from what was said to log pi_logs and Q behind it."""
    game = make_game(game)
    symbols, method = spelling(game, view), make_method(f"{spec},view={view},width=8")
    # Biases would say the same whatever was said.
    noise = lambda leaf: float(leaf.ndim > 1) * jax.random.normal(jax.random.key(1), leaf.shape)
    begin = lambda key: jax.tree.map(lambda leaf: leaf + noise(leaf), method.begin(symbols, None, key).weights)
    noisy = jax.jit(begin)(jax.random.key(0))
    talker = method.talker(symbols, noisy)
    begins, runs = (jax.random.split(key, EPISODES) for key in jax.random.split(jax.random.key(2)))
    one = lambda begin, run: converse(begin, run, game, symbols, talker)
    made = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(begins, runs))
    read = jax.jit(lambda said: predictions(method.reader(symbols), noisy, said))

    def along(said):
        """log pi_logs and Q [T - 1, B, V] of symbols 1 ... T - 1 [T, B]."""
        outputs = read(jnp.asarray(said))
        return np.asarray(outputs["policy"]), np.asarray(outputs["q"])

    return symbols, made, along


def turns_of(symbols, made):
    """(what was said before, utterance) of every turn."""
    for i in range(EPISODES):
        begin = None
        for place in np.flatnonzero(made.own[i]):
            begin = place if made.node[i, place] == 0 else begin
            number = symbols.utterance[symbols.child[made.node[i, place], made.symbol[i, place]]]
            if number >= 0:
                yield made.symbol[i, :begin], int(number)


def judged(symbols, along, past):
    """Of every utterance behind a past: log pi_logs of each of its symbols, and Q of its last one."""
    count = len(symbols.said)
    said = np.concatenate([np.tile(past[:, None], count), symbols.said.T]).astype(np.int32)
    said = np.pad(said, ((0, symbols.longest - len(said)), (0, 0)))
    logits, q = along(said)
    log_probs, values, before = np.full((count, symbols.said.shape[1]), -np.inf), np.zeros(count), len(past)
    for number, length in enumerate(symbols.said_length):
        node = 0
        for place in range(length):
            at, symbol = before + place - 1, symbols.said[number, place]
            here = logits[at, number][symbols.legal[node]].astype(float)
            log_probs[number, place] = logits[at, number, symbol] - np.log(np.exp(here - here.max()).sum()) - here.max()
            node = symbols.child[node, symbol]
        values[number] = q[before + length - 2, number, symbols.said[number, length - 1]]
    return log_probs, values


def found(symbols, log_probs, values, width):
    """A beam over prefixes as tuples: the finished utterance of highest value among those left at the end."""
    words = [tuple(said[:length]) for said, length in zip(symbols.said, symbols.said_length, strict=True)]
    score = {
        word[:place]: log_probs[number, :place].sum()
        for number, word in enumerate(words)
        for place in range(1, len(word) + 1)
    }
    beam = [()]
    for place in range(1, symbols.said.shape[1] + 1):
        longer = {word[:place] for word in words if word[: place - 1] in beam} | {
            word for word in beam if word in words
        }
        beam = sorted(longer, key=lambda prefix: -score[prefix])[:width]
    return max((number for number, word in enumerate(words) if word in beam), key=lambda number: values[number])


@pytest.mark.parametrize("memory", ["gru", "transformer", "linear_attention"])
def test_a_beam_as_wide_as_all_utterances_says_the_best_of_them(memory):
    """At every turn of spoken dialogues, all 14 utterances read out one by one."""
    symbols, made, along = spoken(f"beam_q:memory={memory},beam_width=14")
    met = set()
    for past, number in turns_of(symbols, made):
        values = judged(symbols, along, past)[1]
        assert values[number] == pytest.approx(values.max(), abs=1e-4)
        met.add(number)
    assert len(met) > 1 and not made.log_prob.any()


@pytest.mark.parametrize("width", [1, 3])
def test_a_narrow_beam_keeps_what_the_logs_would_say(width):
    symbols, made, along = spoken(f"beam_q:beam_width={width}")
    differs = 0
    for past, number in turns_of(symbols, made):
        log_probs, values = judged(symbols, along, past)
        assert number == found(symbols, log_probs, values, width)
        differs += number != values.argmax()
    assert differs, "or the width does not matter here"


def test_of_utterances_of_one_symbol_it_is_its_law():
    symbols, made, along = spoken("beam_q:beam_width=3", "utterance")
    method = make_method("beam_q:beam_width=3,view=utterance")
    chances = jax.jit(lambda outputs: method.law(outputs, jnp.asarray(symbols.legal[0])).probs)
    for past, number in turns_of(symbols, made):
        policy, q = along(np.pad(past[:, None], ((0, symbols.longest - len(past)), (0, 0))).astype(np.int32))
        probs = np.asarray(chances({"policy": policy[len(past) - 1, 0], "q": q[len(past) - 1, 0]}))
        assert probs[symbols.said[number, 0]] == pytest.approx(1)


def test_a_backup_by_its_own_law_is_refused():
    with pytest.raises(ValueError, match="no law of the next symbol"):
        make_method("beam_q:towards=own")
