"""What tests call of methods, compiled as wholes: operation by operation, each of a hundred would be a program of its
own."""

import jax
from jax import Array

from seqrl_jax.dialogue import data, online, utterance_critic
from seqrl_jax.dialogue.advantages import Steps
from seqrl_jax.dialogue.conversation import Spoken
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.reader import Outputs, predictions
from seqrl_jax.dialogue.views import Spelling

begin = jax.jit(lambda method, spelling, data, key: method.begin(spelling, data, key), static_argnums=(0, 1))
batch_of = jax.jit(data.batch_of, static_argnums=1)
read = jax.jit(predictions, static_argnums=0)
made_steps = jax.jit(online.steps_of, static_argnums=(1, 2))


def steps_of(made: Spoken, game: Game, spelling: Spelling) -> Steps:
    """What is the same for all dialogues stays a number."""
    return made_steps(made, game, spelling)._replace(discount=game.task.discount, turns=game.task.horizon)


def of_turns(outputs: Outputs, steps: Steps) -> tuple[Array, Array]:
    return jax.jit(lambda outputs: utterance_critic.of_turns(outputs, steps))(outputs)
