"""What actions are worth at a belief, against the values of the solver and against Bayes' rule by hand."""

import numpy as np
import pytest

from seqrl_jax.exact.advice import Advice
from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.tasks import make


@pytest.mark.parametrize("name", ["tiger", "peek_maze", "aliased_line"])
def test_the_best_advice_at_the_start_is_worth_the_history_value(name, solved):
    task, solution = solved(name)
    advice = Advice.on(task)
    chance = task.initial @ task.initial_observation
    firsts = [chance[o] * advice.action_values(0, advice.begin(o)).max() for o in np.flatnonzero(chance)]
    history = solution.values["history"]
    assert history.lower - 1e-9 <= sum(firsts) <= history.upper + 1e-9 and history.is_exact


def test_the_tiger_once_heard_is_worth_hearing_again():
    """After one growl the other door pays .85 * 10 - .15 * 100 = -6.5, and to listen is better."""
    task = make("tiger")
    listen, left, right = (task.actions.index(name) for name in ("listen", "open_left", "open_right"))
    advice = Advice.on(task)
    first = int(np.flatnonzero(task.initial @ task.initial_observation)[0])
    node = advice.after(advice.begin(first), listen, task.observations.index("hear_left"))
    values = advice.action_values(1, node)
    assert values[[left, right]] == pytest.approx([0.85 * -100 + 0.15 * 10, 0.85 * 10 - 0.15 * 100])
    assert values.argmax() == listen
    assert belief_graph(task).belief[node].max() == pytest.approx(0.85)


def test_no_advice_where_beliefs_cannot_be_listed():
    assert Advice.on(make("hidden_market")) is None
