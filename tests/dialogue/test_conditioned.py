"""The limit of imitating the best dialogues: against a list of all histories, and at its ends."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from seqrl_jax.dialogue.conditioned import conditioned_on_best
from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.tasks.tabular import with_discount


def by_listing(known, best):
    """Every history as a tuple, with its probability in the logs: conditioned, and played again."""
    task, speak = known.game.task, {}
    for row, label, law in zip(known.beliefs.belief, known.beliefs.graph.label, known.behaviour, strict=True):
        speak[(*row.round(8) + 0.0, label)] = law
    whole = []

    def go(history, joint, earned, t, prob):
        """joint: [S], the hidden state's law; whole: (history, return, probability in the logs)."""
        if t == task.horizon:
            whole.append((history, earned, prob))
            return
        law = speak[(*joint.round(8) + 0.0, history[-1])]
        for u, s2 in itertools.product(range(task.num_actions), range(task.num_states)):
            for r in np.unique(task.reward[u][:, s2][joint > 0]):
                mass = (joint * task.transition[u][:, s2])[np.isclose(task.reward[u][:, s2], r)].sum()
                if mass > 0:
                    # small_talk: a reply tells the reward, and what is replied to the state it came from.
                    steps.setdefault((history, u), {}).setdefault(
                        (int(task.observation[u, s2].argmax()), r), np.zeros(task.num_states)
                    )[s2] += mass
        for u in range(task.num_actions):
            for (o, r), after in steps[history, u].items():
                go((*history, u, o), after / after.sum(), earned + r, t + 1, prob * law[u] * after.sum())

    steps = {}
    start = task.initial[:, None] * task.initial_observation
    for o in np.flatnonzero(start.sum(0)):
        go((int(o),), start[:, o] / start[:, o].sum(), 0.0, 0, start[:, o].sum())
    returns = np.array([earned for _, earned, _ in whole])
    probs = np.array([prob for *_, prob in whole])
    less = np.array([probs[returns < r - 1e-9].sum() for r in returns])
    top = (less >= 1 - best - 1e-12) | (returns > returns[probs > 0].max() - 1e-9)
    wanted, said = {}, {}
    for (history, _, prob), inside in zip(whole, top, strict=True):
        for t in range(task.horizon):
            key = history[: 2 * t + 1]
            for table, weight in ((wanted, prob * inside), (said, prob)):
                table.setdefault(key, np.zeros(task.num_actions))[history[2 * t + 1]] += weight
    value = 0.0
    for history, earned, prob in whole:
        played = prob
        for t in range(task.horizon):
            key, u = history[: 2 * t + 1], history[2 * t + 1]
            law = wanted[key] if wanted[key].sum() > 0 else said[key]
            played *= law[u] / law.sum() / (said[key][u] / said[key].sum())
        value += played * earned
    return probs[top].sum(), value


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("best", [0.1, 0.3])
def test_against_a_list_of_all_histories(noise, best):
    known = Known(make_game(f"small_talk:turns=2,noise={noise}"))
    share, value = by_listing(known, best)
    found = conditioned_on_best(known, best)
    assert found.share == pytest.approx(share, abs=1e-9) and found.value == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("spec", ["small_talk", "negotiation:turns=3", "twenty_questions:objects=4"])
def test_whoever_imitates_all_earns_what_the_logs_earn(spec):
    known = Known(make_game(spec))
    found = conditioned_on_best(known, 1.0)
    assert found.share == pytest.approx(1) and found.value == pytest.approx(known.value(known.logged), abs=1e-9)
    assert conditioned_on_best(known, 0.2).value <= known.value(known.best) + 1e-9


def test_where_most_fail_alike_the_best_are_those_who_do_not():
    """Nine of ten logged dialogues in the maze end with the same return, the worst; those are nobody's example."""
    known = Known(make_game("text_maze"))
    found = conditioned_on_best(known, 0.2)
    logs, best = known.value(known.logged), known.value(known.best)
    assert found.share < 0.1 and found.value > logs + 0.3 * (best - logs)


def test_luck_is_copied():
    """The more of the return is luck, the less the best dialogues teach; the optimum is the same all along. (Without
    any luck the best fifth are dialogues of users who were well to begin with, and teach nothing about others.)"""
    games = [Known(make_game(f"small_talk:noise={noise}")) for noise in (0.25, 0.75, 1.0)]
    best = [known.value(known.best) for known in games]
    assert best == pytest.approx([best[0]] * 3)
    gains = [conditioned_on_best(known, 0.2).value for known in games]
    assert gains[0] > gains[1] > gains[2]


def test_what_would_not_fit_is_refused_before_it_is_computed():
    """Four and a half gigabytes of laws."""
    known = Known(make_game("task:tiger:discount=1,horizon=100"))
    with pytest.raises(TooLarge, match="too many sums"):
        conditioned_on_best(known, 0.2)


def test_a_discount_is_refused():
    game = make_game("small_talk:turns=2")
    with pytest.raises(ValueError, match="without a discount"):
        conditioned_on_best(Known(replace(game, task=with_discount(game.task, 0.9))), 0.1)
