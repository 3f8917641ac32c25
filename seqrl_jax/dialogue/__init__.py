"""Many-step language: dialogues whose optimum is known, data logged from imperfect speakers, and methods for both."""

from seqrl_jax.dialogue.game import Game, Speaker, behaviour
from seqrl_jax.dialogue.registry import GAMES, make_game

__all__ = ["GAMES", "Game", "Speaker", "behaviour", "make_game"]
