"""The games by name. A new game is one function and one line here. Every task that is a table is a game as well."""

from __future__ import annotations

from collections.abc import Callable

from seqrl_jax import naming
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.games import arithmetic, negotiation, questions, small_talk, task_and_talk, text_maze, wordle
from seqrl_jax.dialogue.games.of_task import of_task
from seqrl_jax.settings import Probability
from seqrl_jax.tasks import TASKS
from seqrl_jax.tasks.environments import ENVIRONMENTS, GYMNAX, table

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


TASK = "task"
EXPERT = "expert"
SHARE = 0.3
"""Of the expert's actions in the logs of a task."""


def known(spec: str) -> bool:
    """Whether this looks like the name of a game."""
    return naming.base(spec) in (*GAMES, TASK)


def make_game(spec: str) -> Game:
    """The game that `spec` names: `NAME`, `NAME:key=value,...`, or `task:` and what names a table.

    A task takes beside its own keys `expert`, the share of what an expert does in its logs (see `of_task`).
    Raises: SpecError with the nearest names; what tasks raise that cannot be built.
    """
    name, _, rest = spec.partition(":")
    if name == TASK:
        return _of_task(spec, rest)
    if name not in GAMES and name in (*TASKS, *ENVIRONMENTS, GYMNAX):
        table(naming.without(spec, EXPERT)[0])
        raise naming.SpecError(f"{naming.shown(spec)} is a task; as a game of dialogues it is {TASK}:{spec}")
    name, settings = naming.parse(spec)
    function = naming.lookup("game", name, GAMES)
    arguments = naming.arguments(spec, settings, naming.settable(function))
    return naming.made(spec, lambda: function(**arguments))


def _of_task(spec: str, rest: str) -> Game:
    rest, given = naming.without(rest, EXPERT)
    settings = naming.arguments(spec, {} if given is None else {EXPERT: given}, {EXPERT: Probability})
    return of_task(table(rest), settings.get(EXPERT, SHARE))
