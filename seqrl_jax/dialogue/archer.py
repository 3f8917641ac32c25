"""A critic of utterances that learns off policy, from what was said in earlier dialogues.

    Q(h, u)  towards  r + gamma V'(h')            of turns (h, u, r, h') of earlier dialogues
    V(h)     towards  Q'(h, u), u ~ pi(. | h)     said anew by the actor as it is now

Q' and V' are of a target network. The actor learns at the turns of earlier dialogues, too (see `utterance_critic`).

The paper has two critics, of which the less counts, and may subtract a baseline of symbols; neither is here.

Source: Zhou et al. (2024), ArCHer, sec. 3, whose high level is the turn and whose low level is the symbol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents import replay as ring
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.answers import answers
from seqrl_jax.dialogue.conversation import Spoken, unspoken
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.decisions import at_next_decision, mean_over
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Training
from seqrl_jax.dialogue.online import in_units, largest_return, steps_of
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.utterance_critic import UtteranceCritic, of_turns
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, Fraction

Judging = Callable[[Array], Outputs]
"""What a critic says along symbols [T + 1, B]."""


@hyperparameters
class Archer(UtteranceCritic):
    """Attributes:
    remembered: updates whose dialogues are learned from. batch: dialogues of a step of the critic.
    polyak: how far the target network moves towards the current one in such a step.
    """

    remembered: Count = 16
    batch: Count = 128
    polyak: Fraction = 0.1

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        dialogues = unspoken(self.groups * self.members, spelling.longest)
        return super().begin(spelling, data, key)._replace(replay=ring.empty(self.remembered, dialogues))

    def evaluated(
        self, game: Game, spelling: Spelling, made: Spoken, training: Training, key: Array
    ) -> tuple[Training, Spoken]:
        replay = ring.add(training.replay, made)
        unit, reader = largest_return(replay.data.reward), self.critic(spelling)
        talker = self.talker(spelling, training.weights)

        def judging(critic: Weights) -> Judging:
            return lambda symbols: predictions(reader, critic, symbols)

        def one(carry: tuple[Any, Any, Any], key: Array) -> tuple[tuple[Any, Any, Any], None]:
            critic, target, state = carry
            draw_key, say_key = jax.random.split(key)
            drawn = ring.sample(draw_key, replay, self.batch, 0.0, after_another=False)
            past = ring.read(replay, drawn.slot, drawn.env)
            steps = in_units(steps_of(past, game, spelling), unit)
            anew = steps_of(answers(past, self.batch, spelling, talker, say_key), game, spelling)
            loss = lambda critic: self.critic_loss(judging(critic), judging(target), steps, anew)
            change, state = self.critic_optimiser.update(jax.grad(loss)(critic), state, critic)
            critic = optax.apply_updates(critic, change)
            return (critic, optax.incremental_update(critic, target, self.polyak), state), None

        start = (training.weights.critic, training.target, training.opt_state.critic)
        (critic, target, state), _ = jax.lax.scan(one, start, jax.random.split(key, self.critic_steps))
        training = training._replace(
            weights=training.weights._replace(critic=critic),
            target=target,
            opt_state=training.opt_state._replace(critic=state),
            replay=replay,
        )
        return training, jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), replay.data)

    def critic_loss(self, critic: Judging, target: Judging, steps: Steps, anew: Steps) -> Array:
        """Args: critic, target: the current and the target network. steps: dialogues as they were, rewards in units.
        anew: what the actor now says at some turns."""
        turns = steps.by_turn
        q, _ = of_turns(critic(steps.symbols), steps)
        _, following = of_turns(target(steps.symbols), steps)
        error = turns.reward + turns.onward * at_next_decision(following, turns.talked) - q
        _, v = of_turns(critic(anew.symbols), anew)
        said, _ = of_turns(target(anew.symbols), anew)
        mean = lambda steps, error: mean_over(steps.by_turn.talked.astype(jnp.float32), jnp.square(error))
        return mean(steps, error) + mean(anew, said - v)
