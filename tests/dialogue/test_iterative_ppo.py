"""Rounds of dialogues, and Q of who talked in them."""

import dataclasses

import numpy as np
import pytest
from dialogue import compiled
from dialogue.enumerated import Histories, learned_tables, spoken_by_anyone, values_of

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_tables_end_at_the_values_of_who_spoke(view):
    """Tables over histories, dialogues of one who says anything: at every turn Q and V of such a one."""
    game = make_game("twenty_questions:objects=2,turns=2")
    known = Known(dataclasses.replace(game, task=dataclasses.replace(game.task, discount=0.8)))
    symbols, method = spelling(game, view), make_method(f"iterative_ppo:view={view}")
    made, log = spoken_by_anyone(known, symbols)
    steps, histories = compiled.steps_of(made, known.game, symbols), Histories()
    histories(steps.symbols)
    loss = lambda critic, _: method.critic_loss(critic(steps.symbols), steps)
    found = compiled.of_turns(learned_tables(loss, histories, symbols.num_symbols)(steps.symbols), steps)
    law = np.full((2, *known.beliefs.graph.reward.shape), 1 / game.task.num_actions)
    np.testing.assert_allclose(found, values_of(known, log, law), atol=4e-3)
