"""Whole utterances and their words are two views of one game."""

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, action_values
from seqrl_jax.dialogue.game import Game, anything
from seqrl_jax.dialogue.registry import GAMES, make_game
from seqrl_jax.dialogue.views import END, SPECIAL, spelling, symbol_probabilities, symbol_values
from seqrl_jax.tasks.build import build, goes


@pytest.fixture(scope="module", params=GAMES)
def game(request):
    return make_game(request.param)


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_every_utterance_is_one_path_of_the_tree(game, view):
    spelled = spelling(game, view)
    for number, symbols in enumerate(spelled.said):
        node = 0
        for place in range(spelled.said_length[number]):
            assert spelled.utterance[node] == -1, "no utterance is the beginning of another"
            assert spelled.legal[node, symbols[place]]
            node = spelled.child[node, symbols[place]]
        assert spelled.utterance[node] == number and not spelled.legal[node].any()
        assert spelled.within[node].sum() == 1 and spelled.within[node, number]
    assert not spelled.legal[:, : SPECIAL.index(END)].any(), "the agent neither listens nor says nothing in its turn"
    assert spelled.within[0].all()
    names = [spelled.text(symbols) for symbols in spelled.said]
    assert names == [name.replace("_", " ") if view == "token" else name for name in game.task.actions]


def test_words_are_worth_what_utterances_are(game):
    """At the ends of turns both views have the same values, and so at every turn's beginning: one recursion over words,
    symbol by symbol, against the maximum over utterances."""
    spelled = spelling(game, "token")
    q = np.random.default_rng(0).normal(size=(5, game.task.num_actions))
    values = symbol_values(spelled, q)
    np.testing.assert_allclose(values[:, 0], q.max(1))

    def best(row, node):
        if spelled.utterance[node] >= 0:
            return q[row, spelled.utterance[node]]
        return max(best(row, spelled.child[node, symbol]) for symbol in np.flatnonzero(spelled.legal[node]))

    for node in range(spelled.num_nodes):
        np.testing.assert_allclose(values[:, node], [best(row, node) for row in range(5)])


def test_a_discount_per_symbol_favours_short_utterances():
    game = make_game("visual_dialogue")
    spelled = spelling(game, "token")
    values = symbol_values(spelled, np.ones((1, game.task.num_actions)), discount=0.9)
    assert values[0, 0] == pytest.approx(0.9 ** int(spelled.said_length.min()))


def test_the_optimum_is_the_same_in_both_views():
    """Backward induction of twenty questions where each turn is decided word by word."""
    known = Known(make_game("twenty_questions:objects=6,turns=5"))
    graph, spelled = known.beliefs.graph, spelling(known.game, "token")
    value = np.zeros(graph.num_nodes)
    for _ in range(known.horizon):
        value = symbol_values(spelled, action_values(graph, value))[:, 0]
    assert graph.start @ value == pytest.approx(known.value(known.best))


def test_who_says_words_as_likely_says_utterances_as_likely(game):
    spelled = spelling(game, "token")
    law = np.random.default_rng(1).dirichlet(np.full(game.task.num_actions, 0.3), 4)
    step = symbol_probabilities(spelled, law)
    reached = law @ spelled.within.T.astype(float) > 0
    inside = spelled.utterance < 0
    np.testing.assert_allclose(step.sum(-1)[reached & inside], 1)
    for number, symbols in enumerate(spelled.said):
        node, total = 0, np.ones(4)
        for symbol in symbols[: spelled.said_length[number]]:
            total *= step[:, node, symbol]
            node = spelled.child[node, symbol]
        np.testing.assert_allclose(total, law[:, number], atol=1e-12)


@pytest.mark.parametrize(("kept", "why"), [("listen", "'listen' is kept"), ("none_at_all", "'none' is kept")])
def test_words_that_are_kept_for_other_use_are_refused(kept, why):
    task = build("odd", [0], [kept, "go"], ["x"], {0: 1.0}, lambda s, a: goes(s), lambda _: "x", 1.0, 2)
    game = Game(task, (anything(1.0, [0], task.actions, ends=False),))
    with pytest.raises(ValueError, match=why):
        spelling(game, "token")
