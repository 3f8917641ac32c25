"""Dialogues of a team: a pure function of weights, of what there is to talk about, and of chances."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.cooperative.team import NOTHING, Team, TeamWeights

Choose = Callable[[Array, Array], Array]
"""(log-probabilities [..., symbols], chance [...]) -> symbol [...] int32."""


def drawn(log_probs: Array, chance: Array) -> Array:
    """Each symbol with its probability, for a chance that is uniform in [0, 1): by the inverse of the cumulative
    distribution."""
    cumulative = jnp.cumsum(jnp.exp(log_probs), -1)
    level = chance[..., None] * cumulative[..., -1:]
    return jnp.sum(level >= cumulative[..., :-1], -1, dtype=jnp.int32)


def likeliest(log_probs: Array, chance: Array) -> Array:
    """The likeliest symbol, whatever the chance."""
    return jnp.argmax(log_probs, -1).astype(jnp.int32)


class Chances(NamedTuple):
    """A number for everything that is said in B dialogues of R rounds: question and answer [R, B], guess [2, B]."""

    question: Array
    answer: Array
    guess: Array


def uniform_chances(key: Array, team: Team, batch: int) -> Chances:
    """Numbers in [0, 1)."""
    lengths = (team.rounds, team.rounds, 2)
    return Chances(*(jax.random.uniform(key, (n, batch)) for key, n in zip(jax.random.split(key, 3), lengths)))


class Utterance(NamedTuple):
    """[..., B] each: a symbol, its log-probability, and the entropy of its distribution, as a share of the largest that
    so many symbols allow."""

    symbol: Array
    log_prob: Array
    entropy: Array


class Dialogue(NamedTuple):
    """B dialogues of R rounds: questions and answers [R, B], and the two guesses [2, B]."""

    question: Utterance
    answer: Utterance
    guess: Utterance

    @property
    def log_prob(self) -> Array:
        """[B]: of all that was said."""
        return self.question.log_prob.sum(0) + self.answer.log_prob.sum(0) + self.guess.log_prob.sum(0)

    @property
    def entropy(self) -> Array:
        """[B]: sums of these shares over all that was said."""
        return self.question.entropy.sum(0) + self.answer.entropy.sum(0) + self.guess.entropy.sum(0)


def converse(
    team: Team, weights: TeamWeights, objects: Array, tasks: Array, chances: Chances, choose: Choose = drawn
) -> Dialogue:
    """Dialogues about objects [B, attributes] under tasks [B], which the answerer does not see."""
    questioner, answerer = team.questioner, team.answerer
    nothing = jnp.full(tasks.shape, NOTHING)
    carries = (questioner.memory.initial_carry(len(tasks)), answerer.memory.initial_carry(len(tasks)))

    def say(logits: Array, chance: Array) -> Utterance:
        log_probs = jax.nn.log_softmax(logits)
        symbol = choose(log_probs, chance)
        log_prob = jnp.take_along_axis(log_probs, symbol[..., None], -1)[..., 0]
        return Utterance(symbol, log_prob, -jnp.sum(jnp.exp(log_probs) * log_probs, -1) / math.log(logits.shape[-1]))

    def one_round(position: Any, chance: tuple[Array, Array]) -> tuple[Any, tuple[Utterance, Utterance]]:
        (asks, answers), question, answer = position
        asks, logits, _ = questioner.apply(weights.questioner, asks, tasks, question, answer)
        new_question = say(logits, chance[0])
        answers, logits = answerer.apply(weights.answerer, answers, objects, new_question.symbol, answer)
        new_answer = say(logits, chance[1])
        return ((asks, answers), new_question.symbol, new_answer.symbol), (new_question, new_answer)

    rounds = (chances.question, chances.answer)
    ((asks, _), question, answer), (questions, answers) = jax.lax.scan(one_round, (carries, nothing, nothing), rounds)
    _, _, guesses = questioner.apply(weights.questioner, asks, tasks, question, answer)
    return Dialogue(questions, answers, say(guesses, chances.guess))
