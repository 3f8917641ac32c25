"""Logs are the speakers' dialogues: their law, their words, their probabilities."""

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, turns
from seqrl_jax.dialogue.logs import logged, spelled, symbol_log_probs
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling

SPECS = (
    "twenty_questions:objects=6,turns=5,noise=0.1",
    "visual_dialogue:turns=4",
    "wordle:words=8,guesses=4",
    "negotiation",
    "small_talk",
    "tool_arithmetic:operations=2",
    "text_maze",
    "task_and_talk:values=2,turns=4,noise=0.2",
)
EPISODES = 3000


@pytest.fixture(scope="module", params=SPECS)
def case(request):
    game = make_game(request.param)
    return Known(game), logged(game, EPISODES, 7)


def test_logs_earn_what_their_speakers_earn(case):
    """The mean return within 5 standard errors of the exact one (false alarm 6e-7), and so the mean length."""
    known, log = case
    for sampled, exact in (
        (log.returns(known.game.task.discount), known.value(known.logged)),
        (log.length, turns(known.beliefs.graph, known.logged.policy)),
    ):
        assert sampled.mean() == pytest.approx(exact, abs=5 * float(sampled.std()) / EPISODES**0.5 + 1e-6)


def test_probabilities_are_those_of_the_exact_belief(case):
    """The filter in single precision against the listed beliefs, along dialogues followed by hand."""
    known, log = case
    task, beliefs = known.game.task, known.beliefs
    rounded = beliefs.belief.round(6) + 0.0
    number = {
        (row.tobytes(), label): i for i, (row, label) in enumerate(zip(rounded, beliefs.graph.label, strict=True))
    }
    for i in range(200):
        belief = task.initial * task.initial_observation[:, log.reply[i, 0]]
        for t in range(log.length[i]):
            belief = belief / belief.sum()
            node = number[(belief.round(6) + 0.0).tobytes(), log.reply[i, t]]
            np.testing.assert_allclose(log.probability[i, t], known.behaviour[node], atol=2e-5)
            said, after = log.utterance[i, t], log.reply[i, min(t + 1, task.horizon)]
            belief = (belief @ task.transition[said]) * ~task.terminal * task.observation[said][:, after]


def test_states_and_replies_go_together(case):
    known, log = case
    task = known.game.task
    for i in range(100):
        for t in range(log.length[i] - 1):
            said, here, after = log.utterance[i, t], log.state[i, t], log.state[i, t + 1]
            assert task.transition[said, here, after] > 0 and task.observation[said, after, log.reply[i, t + 1]] > 0
            assert log.reward[i, t] == pytest.approx(task.reward[said, here, after], abs=1e-6)
    assert (log.terminated | (log.length == task.horizon)).all()


def test_a_dialogue_does_not_depend_on_how_many_there_are():
    game = make_game("wordle:words=8,guesses=4")
    few, many = logged(game, 5, 3), logged(game, 50, 3)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:5])
    assert not np.array_equal(logged(game, 50, 4).utterance, many.utterance)


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_spelled_dialogues_say_the_same(case, view):
    known, log = case
    game, symbols = known.game, spelling(known.game, view)
    said = spelled(log, symbols)
    np.testing.assert_allclose(said.reward.sum(1), log.returns(1.0), rtol=1e-5, atol=1e-5)
    assert (said.own <= said.valid).all() and not said.reward[~said.own].any()
    # Legal at every place, and as likely in all as the utterances were.
    rows, places = np.nonzero(said.own)
    assert symbols.legal[said.node[rows, places], said.symbol[rows, places]].all()
    chosen = np.take_along_axis(log.probability, log.utterance[..., None], 2)[..., 0]
    logs = np.where(np.arange(game.task.horizon) < log.length[:, None], np.log(np.maximum(chosen, 1e-30)), 0).sum(1)
    np.testing.assert_allclose(symbol_log_probs(log, said, symbols).sum(1), logs, rtol=2e-4, atol=2e-4)
    for i in range(20):
        text = symbols.text(said.symbol[i][said.valid[i]])
        parts = [game.task.observations[log.reply[i, 0]]]
        for t in range(log.length[i]):
            parts.append(game.task.actions[log.utterance[i, t]])
            if t + 1 < log.length[i]:
                parts.append(game.task.observations[log.reply[i, t + 1]])
        assert text == (" ".join(parts).replace("_", " ") if view == "token" else " ".join(parts))


def test_both_views_have_the_same_returns_and_turns(case):
    known, log = case
    one, other = (spelled(log, spelling(known.game, view)) for view in ("utterance", "token"))
    for t in range(known.horizon):
        by_turn = [np.where(view.turn == t, view.reward, 0).sum(1) for view in (one, other)]
        np.testing.assert_allclose(*by_turn)
