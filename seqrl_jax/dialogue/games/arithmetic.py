"""Arithmetic with a tool: words whose meaning only the calculator knows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform

NUMBERS = ("zero", "one", "two", "three", "four")
MEANINGS: dict[str, Callable[[int], int]] = {
    "add": lambda x: (x + 1) % 5,
    "skip": lambda x: (x + 2) % 5,
    "twice": lambda x: 2 * x % 5,
}
SYMBOLS = ("blip", "blop")
Operations = Annotated[int, Meta(ge=1, le=4)]
CALL_COST, STEP_REWARD = 0.02, 0.2


def tool_arithmetic(
    operations: Operations = 3, turns: Horizon = 6, paid: Literal["outcome", "steps"] = "outcome"
) -> Game:
    """A number goes through a chain of operations, blip and blop; what they mean is drawn anew in every dialogue, and
    a calculator answers one call per turn. The right answer pays 1, a wrong one 0, and either ends the dialogue.

    An operation adds 1, adds 2 or doubles, modulo 5. A call costs .02. With `paid=steps` the next right link of the
    chain pays .2 as well.

    Picture::

        two blip blop blip -- call two blip -- three -- call three blop -- one -- answer two -- (end)

    Seed idea: one call tells what a word means for all numbers but some, so the chain need not be followed to its end.
    """
    chains = list(itertools.product(range(len(NUMBERS)), itertools.product(range(2), repeat=operations)))
    meanings = list(itertools.product(MEANINGS, repeat=2))
    progress = range(operations + 1 if paid == "steps" else 1)
    states = [(number, chain, meant, done) for number, chain in chains for meant in meanings for done in progress]
    calls = {
        f"call_{name}_{symbol}": (number, which)
        for number, name in enumerate(NUMBERS)
        for which, symbol in enumerate(SYMBOLS)
    }
    answers = {f"answer_{name}": number for number, name in enumerate(NUMBERS)}
    utterances = [*calls, *answers]

    def value(state: Any, length: int) -> int:
        number, chain, meant, _ = state
        for which in chain[:length]:
            number = MEANINGS[meant[which]](number)
        return number

    def step(state: Any, said: str) -> Outcome:
        number, chain, meant, done = state
        if said in answers:
            return ends(float(answers[said] == value(state, operations)))
        right = paid == "steps" and done < operations and calls[said] == (value(state, done), chain[done])
        return goes((number, chain, meant, done + right), STEP_REWARD * right - CALL_COST)

    def opening(state: Any) -> str:
        return "_".join([NUMBERS[state[0]], *(SYMBOLS[which] for which in state[1])])

    def reply(said: str, state: Any) -> str:
        if said not in calls:
            return opening(state)
        number, which = calls[said]
        return NUMBERS[MEANINGS[state[2][which]](number)]

    openings = list(dict.fromkeys(opening(state) for state in states))
    task = build(
        name="tool_arithmetic",
        states=states,
        actions=utterances,
        observations=[*openings, *NUMBERS],
        start=uniform([state for state in states if state[3] == 0]),
        step=step,
        observe=opening,
        observe_after=reply,
        discount=1.0,
        horizon=turns,
    )
    right = lambda state, said: float(answers.get(said) == value(state, operations))
    speakers = (
        speaker(0.45, states, utterances, lambda _, said: float(said in calls)),
        speaker(0.35, states, utterances, right, "likely"),
        anything(0.2, states, utterances),
    )
    return checked(Game(task, speakers))
