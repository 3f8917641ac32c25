"""Who talks: a questioner who knows the task, and an answerer who sees the object.

Each is a recurrent network that reads what it knows itself and what was said. The paper's agents are LSTMs whose
questioner guesses by unrolling a second one; here one GRU for each has a layer for everything that it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.cooperative.world import World
from seqrl_jax.naming import check
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import Codes, Dense
from seqrl_jax.networks.module import Carry, Module, Weights
from seqrl_jax.networks.recurrent import GRU
from seqrl_jax.settings import Count, Several, Width

NOTHING = -1
"""The symbol before anything was said: its code is zero."""
SAYING_INIT = nn.initializers.variance_scaling(16.0, "fan_in", "normal")
"""Of the layers that say something. A GRU's first state is about a sixth of what its output may be, so that logits
begin at order one: where nobody's words depend on anything, no gradient tells what they should depend on."""


class Questioner(Module):
    """Sees the task and what was said. Attributes: sizes of what it reads and says."""

    tasks: int
    questions: int
    answers: int
    guesses: int
    memory: Memory

    @nn.compact
    def __call__(self, carry: Carry, task: Array, question: Array, answer: Array) -> tuple[Carry, Array, Array]:
        """One round. Args: task: [B]. question, answer: [B], of the round before.
        Returns: the carry; logits of the next question [B, questions]; of the two guesses [2, B, guesses]."""
        codes = _codes((task, self.tasks), (question, self.questions), (answer, self.answers))
        carry, (features,) = self.memory(carry, codes, jnp.zeros((1, len(task)), bool))
        guesses = jnp.stack([_says(self.guesses, name)(features) for name in ("first_guess", "second_guess")])
        return carry, _says(self.questions, "question")(features), guesses


class Answerer(Module):
    """Sees the object and what was said. Attributes: sizes; remembers: whether it knows of earlier rounds."""

    values: int
    questions: int
    answers: int
    remembers: bool
    memory: Memory

    @nn.compact
    def __call__(self, carry: Carry, objects: Array, question: Array, answer: Array) -> tuple[Carry, Array]:
        """One round. Args: objects: [B, attributes]. question: [B], of this round. answer: [B], of the round before.
        Returns: the carry, and logits of the answer [B, answers]."""
        own = answer if self.remembers else jnp.full_like(answer, NOTHING)
        attributes = [(values, self.values) for values in objects.T]
        codes = _codes(*attributes, (question, self.questions), (own, self.answers))
        firsts = jnp.full((1, len(question)), not self.remembers)
        carry, (features,) = self.memory(carry, codes, firsts)
        return carry, _says(self.answers, "answer")(features)


class TeamWeights(NamedTuple):
    """What the two have learned."""

    questioner: Weights
    answerer: Weights


@dataclass(frozen=True)
class Team:
    """Two agents in a world.

    Attributes:
        questions, answers: how many symbols each of them has.
        remembers: whether the answerer knows of earlier rounds; the questioner always does.
        rounds: of a question and an answer each, before the guess.
        width: of both memories.
    """

    world: World = World()
    questions: Several = 3
    answers: Several = 4
    remembers: bool = False
    rounds: Count = 2
    width: Width = 32

    def __post_init__(self) -> None:
        check(self)

    @property
    def questioner(self) -> Questioner:
        world = self.world
        return Questioner(world.num_tasks, self.questions, self.answers, world.num_guesses, GRU(self.width))

    @property
    def answerer(self) -> Answerer:
        return Answerer(self.world.values, self.questions, self.answers, self.remembers, GRU(self.width))

    def first_weights(self, key: Array) -> TeamWeights:
        """Before any training."""
        questioner, answerer = self.questioner, self.answerer
        questioner_key, answerer_key = jax.random.split(key)
        nothing, objects = jnp.full(1, NOTHING), jnp.zeros((1, self.world.attributes), jnp.int32)
        return TeamWeights(
            questioner.init(questioner_key, questioner.memory.initial_carry(1), nothing, nothing, nothing),
            answerer.init(answerer_key, answerer.memory.initial_carry(1), objects, nothing, nothing),
        )


def _says(symbols: int, name: str) -> Dense:
    return Dense(symbols, kernel_init=SAYING_INIT, name=name)


def _codes(*parts: tuple[Array, int]) -> Codes:
    """Symbols [B] of so many kinds as codes [1, B, kinds], of norm one together."""
    return tuple(jax.nn.one_hot(symbol, kinds)[None] * len(parts) ** -0.5 for symbol, kinds in parts)
