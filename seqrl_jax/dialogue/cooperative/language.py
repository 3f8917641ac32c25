"""What a team's language can say, and whether its symbols mean something each."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy

from seqrl_jax.dialogue.cooperative.conversation import Chances, Dialogue, converse, likeliest
from seqrl_jax.dialogue.cooperative.team import Team, TeamWeights
from seqrl_jax.dialogue.cooperative.world import World


class Transcript(NamedTuple):
    """What greedy agents say about objects [B, attributes] under tasks [B]."""

    objects: Array
    tasks: Array
    dialogue: Dialogue


class Accuracy(NamedTuple):
    """Shares of the dialogues in which both guesses are right, and in which at least one is."""

    both: Array
    one: Array


class Meaning(NamedTuple):
    """What answers tell, given the question. In which round it is asked does not count.

    Attributes:
        share: [questions], of all questions that are asked.
        entropy: [questions], H(a | q) of the answers, in nats.
        information: [questions, attributes], I(a; v_k | q) between the answers and the values of an attribute, in nats.
    """

    share: Array
    entropy: Array
    information: Array


def transcript(team: Team, weights: TeamWeights, objects: Array) -> Transcript:
    """Dialogues about all of these objects [N, attributes] under all tasks: N * num_tasks of them."""
    objects, tasks = team.world.cases(objects)
    rounds, guesses = jnp.zeros((team.rounds, len(tasks))), jnp.zeros((2, len(tasks)))
    dialogue = converse(team, weights, objects, tasks, Chances(rounds, rounds, guesses), likeliest)
    return Transcript(objects, tasks, dialogue)


def accuracy(world: World, spoken: Transcript) -> Accuracy:
    """Of all objects and tasks of a transcript: exact, as greedy agents leave nothing to chance."""
    correct = world.correct(spoken.dialogue.guess.symbol, spoken.objects, spoken.tasks)
    return Accuracy(correct.all(0).mean(), correct.any(0).mean())


def meaning(team: Team, spoken: Transcript) -> Meaning:
    """By counting over a transcript."""
    questions = jax.nn.one_hot(spoken.dialogue.question.symbol, team.questions)
    answers = jax.nn.one_hot(spoken.dialogue.answer.symbol, team.answers)
    values = jax.nn.one_hot(spoken.objects, team.world.values)
    # [questions, attributes, answers, values]
    counts = jnp.einsum("rbq,rba,bkv->qkav", questions, answers, values)
    times = questions.sum((0, 1))
    law = counts / jnp.maximum(times, 1)[:, None, None, None]
    answer, value = _entropy(law.sum(3)), _entropy(law.sum(2))
    joint = _entropy(law.reshape(*law.shape[:2], -1))
    return Meaning(times / times.sum(), answer[:, 0], answer + value - joint)


def best_information(world: World, meaning: Meaning) -> Array:
    """[attributes]: the share of its entropy that answers to one question tell of an attribute, of the question that
    tells most of it."""
    return meaning.information.max(0) / jnp.log(world.values)


def disentanglement(meaning: Meaning) -> Array:
    """How far an answer tells of one attribute, chosen by the question alone: from 0, of no attribute more than of
    another, to 1.

        sum_q p(q) (I(a; v_1 | q) - I(a; v_2 | q)) / H(a | q)

    v_1 and v_2 are the values of the attributes of which the answers to q tell most and second most; questions whose
    answers never differ count 0. It is the positional disentanglement of Chaabouni et al. (2020), "Compositionality and
    generalization in emergent languages", sec. 2.2, with the question in the place of the position.
    """
    most, second = jax.lax.top_k(meaning.information, 2)[0].T
    differ = meaning.entropy > 1e-6
    gap = jnp.where(differ, (most - second) / jnp.where(differ, meaning.entropy, 1.0), 0.0)
    return jnp.sum(meaning.share * gap)


def _entropy(law: Array) -> Array:
    """[...] of [..., outcomes], in nats."""
    return -jnp.sum(xlogy(law, law), -1)
