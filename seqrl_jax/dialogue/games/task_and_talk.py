"""Task & Talk: two attributes of a thing are to be found out from one who answers in symbols of their own."""

from __future__ import annotations

import itertools
from typing import Annotated

from msgspec import Meta

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon, Probability
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform

ATTRIBUTES = {
    "colour": ("red", "green", "blue", "purple"),
    "shape": ("square", "triangle", "circle", "star"),
    "style": ("dotted", "solid", "filled", "dashed"),
}
SYMBOLS = ("one", "two", "three", "four")
"""What is answered. The same symbol names a value of each attribute: which one depends on what was asked."""
Values = Annotated[int, Meta(ge=2, le=4)]
State = tuple[tuple[str, ...], tuple[int, ...]]
"""The task, and which value each attribute of the thing has."""


def task_and_talk(values: Values = 4, turns: Horizon = 3, noise: Probability = 0.0) -> Game:
    """A thing has a colour, a shape and a style of up to 4 values each. You are given two of them to find out, ask
    for attributes, and end the dialogue by naming the two values: 1 if both are right, 0 if not.

    The user knows the thing and not the task, and answers a question by one of 4 symbols, which the three attributes
    share. An answer is another symbol than the true one with probability `noise`.

    Picture::

        colour shape -- ask colour -- two -- ask shape -- four -- guess green star -- (end)

    Seed idea: what an answer means depends on the question, and which questions matter on the task.
    Optimum: (1 - noise)^2 for 3 or 4 turns, where the true symbol is the likeliest: a second answer to the same
    question helps only beside a third.
    Source: Kottur, Moura, Lee & Batra (2017), "Natural language does not emerge 'naturally' in multi-agent dialog",
    sec. 2, where both speakers learn (see `dialogue.cooperative`); the user speaks the language of their table 2. Their
    tasks come in either order; here a value's word says of which attribute it is, and order would change nothing.
    """
    tasks = list(itertools.combinations(ATTRIBUTES, 2))
    states: list[State] = list(itertools.product(tasks, itertools.product(range(values), repeat=len(ATTRIBUTES))))
    asks = {f"ask_{name}": place for place, name in enumerate(ATTRIBUTES)}
    guesses = {
        f"guess_{ATTRIBUTES[one][i]}_{ATTRIBUTES[other][j]}": ((one, other), (i, j))
        for one, other in tasks
        for i, j in itertools.product(range(values), repeat=2)
    }
    utterances = [*asks, *guesses]
    names = list(ATTRIBUTES)

    def right(state: State, said: str) -> float:
        task, thing = state
        return float(guesses.get(said) == (task, tuple(thing[names.index(name)] for name in task)))

    def step(state: State, said: str) -> Outcome:
        return goes(state) if said in asks else ends(right(state, said))

    def reply(said: str, state: State) -> str | dict[str, float]:
        if said not in asks:
            return opening(state)
        true = state[1][asks[said]]
        law = {symbol: noise / (values - 1) for symbol in SYMBOLS[:values]} | {SYMBOLS[true]: 1 - noise}
        return {symbol: p for symbol, p in law.items() if p > 0}

    def opening(state: State) -> str:
        return "_".join(state[0])

    task = build(
        name="task_and_talk",
        states=states,
        actions=utterances,
        observations=[*("_".join(task) for task in tasks), *SYMBOLS[:values]],
        start=uniform(states),
        step=step,
        observe=opening,
        observe_after=reply,
        discount=1.0,
        horizon=turns,
    )
    needed = lambda state, said: float(said in asks and names[asks[said]] in state[0])
    speakers = (
        speaker(0.25, states, utterances, needed),
        speaker(0.15, states, utterances, right, "likely"),
        anything(0.6, states, utterances),
    )
    return checked(Game(task, speakers))
