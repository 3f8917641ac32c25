"""Games of questions: an object is found by asking."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon, Probability, Weight
from seqrl_jax.tasks.build import Outcome, build, chance, ends, goes, uniform

Objects = Annotated[int, Meta(ge=2, le=16)]
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))
COLOURS, SHAPES = ("red", "green", "blue", "white"), ("ball", "box", "cone", "ring")


def twenty_questions(objects: Objects = 16, turns: Horizon = 8, noise: Probability = 0.0) -> Game:
    """One of up to 16 objects is to be found by questions about 8 attributes; every turn costs 1 until the right guess.

    The first four attributes are the bits of the object's number, the others whether two of them differ. An answer is
    wrong with probability `noise`; what is said of a guess is true.

    Picture::

        hello -- is it a2? -- yes -- is it a0? -- no -- guess o4 -- (end)

    Seed idea: a good question halves what is left, and a lucky guess is worth as much as a question.
    Optimum: -3.5 for 16 objects in 8 turns.
    """
    states = range(objects)
    asks = {f"is_it_a{number}": number for number in range(8)}
    guesses = {f"guess_o{number}": number for number in states}
    utterances = [*asks, *guesses]

    def step(thing: int, said: str) -> Outcome:
        return ends(0.0) if guesses.get(said) == thing else goes(thing, -1.0)

    def reply(said: str, thing: int) -> str | dict[str, float]:
        if said in guesses:
            return "no"
        true, false = ("yes", "no") if _attribute(thing, asks[said]) else ("no", "yes")
        return chance(noise, false, true)

    task = build(
        "twenty_questions",
        states,
        utterances,
        ["hello", "yes", "no"],
        uniform(states),
        step,
        lambda _: "hello",
        1.0,
        turns,
        reply,
    )
    speakers = (
        speaker(0.6, states, utterances, lambda _, said: float(said in asks)),
        speaker(0.3, states, utterances, lambda thing, said: float(guesses.get(said) == thing), "likely"),
        anything(0.1, states, utterances),
    )
    return checked(Game(task, speakers))


def visual_dialogue(turns: Horizon = 8, noise: Probability = 0.0, yes_no_cost: Weight = 2.0) -> Game:
    """As `twenty_questions`, about a picture: 4 colours, 4 shapes. Questions that are answered by yes or no cost
    `yes_no_cost` more, open ones do not.

    Picture::

        look -- what colour? -- red -- what shape? -- cone -- guess red cone -- (end)

    Seed idea: what is rewarded is a way of asking, and the logs mostly ask the other way.
    Optimum: -2.
    """
    states = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    opens = {"what_colour": (0, COLOURS), "what_shape": (1, SHAPES)}
    asks = {f"is_it_{value}": value for value in (*COLOURS, *SHAPES)}
    guesses = {f"guess_{colour}_{shape}": (colour, shape) for colour, shape in states}
    utterances = [*opens, *asks, *guesses]

    def step(picture: tuple[str, str], said: str) -> Outcome:
        return ends(0.0) if guesses.get(said) == picture else goes(picture, -1.0 - yes_no_cost * (said in asks))

    def reply(said: str, picture: tuple[str, str]) -> str | dict[str, float]:
        if said in guesses:
            return "no"
        if said in opens:
            part, values = opens[said]
            others = [value for value in values if value != picture[part]]
            law = {picture[part]: 1 - noise, **{value: noise / len(others) for value in others}}
            return {value: p for value, p in law.items() if p > 0}
        true, false = ("yes", "no") if asks[said] in picture else ("no", "yes")
        return chance(noise, false, true)

    replies = ["look", "yes", "no", *COLOURS, *SHAPES]
    task = build(
        "visual_dialogue", states, utterances, replies, uniform(states), step, lambda _: "look", 1.0, turns, reply
    )
    speakers = (
        speaker(0.5, states, utterances, lambda _, said: float(said in asks)),
        speaker(0.1, states, utterances, lambda _, said: float(said in opens)),
        speaker(0.3, states, utterances, lambda picture, said: float(guesses.get(said) == picture), "likely"),
        anything(0.1, states, utterances),
    )
    return checked(Game(task, speakers))


def _attribute(thing: int, number: int) -> bool:
    bits = [(thing >> place) & 1 for place in range(4)]
    if number < 4:
        return bool(bits[number])
    first, second = PAIRS[number - 4]
    return bits[first] != bits[second]
