"""The games by name. A new game is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable

from seqrl_jax import naming
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.games import arithmetic, negotiation, questions, small_talk, task_and_talk, text_maze, wordle

GAMES: dict[str, Callable[..., Game]] = {
    "twenty_questions": questions.twenty_questions,
    "visual_dialogue": questions.visual_dialogue,
    "wordle": wordle.wordle,
    "negotiation": negotiation.negotiation,
    "small_talk": small_talk.small_talk,
    "tool_arithmetic": arithmetic.tool_arithmetic,
    "text_maze": text_maze.text_maze,
    "task_and_talk": task_and_talk.task_and_talk,
}


def make_game(spec: str) -> Game:
    """The game that `spec` names, `NAME` or `NAME:key=value,...`. Raises: SpecError with the nearest names."""
    name, settings = naming.parse(spec)
    function = naming.lookup("game", name, GAMES)
    return naming.made(spec, lambda: function(**naming.arguments(spec, settings, naming.settable(function))))
