"""What methods share that learn from their own later values: a target network, a start by imitation."""

from __future__ import annotations

import optax
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.method import Training, Updates
from seqrl_jax.dialogue.offline import Offline
from seqrl_jax.dialogue.pretraining import imitated
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Fraction


@hyperparameters
class Bootstrapped(Offline):
    """Has a head `policy` where it is pretrained.

    Attributes:
        polyak: how far the target network moves towards the current one in an update: of the papers' .005 it would be
            200 updates behind, of the 1,500 that are usual here.
        pretraining: updates of imitation, of the whole network, before the first value is learned.
    """

    polyak: Fraction = 0.02
    pretraining: Updates = 0

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        training = super().begin(spelling, data, key)
        return imitated(self, spelling, data, training, self.pretraining, self.batch)

    def follow(self, target: Weights, weights: Weights) -> Weights:
        return optax.incremental_update(weights, target, self.polyak)
