"""Two agents who learn to talk to each other: Task & Talk, in which they are rewarded together.

Source: Kottur, Moura, Lee & Batra (2017), "Natural language does not emerge 'naturally' in multi-agent dialog".
"""

from seqrl_jax.dialogue.cooperative.conversation import (
    Chances,
    Dialogue,
    Utterance,
    converse,
    drawn,
    likeliest,
    uniform_chances,
)
from seqrl_jax.dialogue.cooperative.language import (
    Accuracy,
    Meaning,
    Transcript,
    accuracy,
    best_information,
    disentanglement,
    meaning,
    transcript,
)
from seqrl_jax.dialogue.cooperative.reinforce import Reinforce, success_advantage
from seqrl_jax.dialogue.cooperative.team import Answerer, Questioner, Team, TeamWeights
from seqrl_jax.dialogue.cooperative.world import World

__all__ = [
    "Accuracy",
    "Answerer",
    "Chances",
    "Dialogue",
    "Meaning",
    "Questioner",
    "Reinforce",
    "Team",
    "TeamWeights",
    "Transcript",
    "Utterance",
    "World",
    "accuracy",
    "best_information",
    "converse",
    "disentanglement",
    "drawn",
    "likeliest",
    "meaning",
    "success_advantage",
    "transcript",
    "uniform_chances",
]
