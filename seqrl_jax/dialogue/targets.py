"""What the target network thinks of a symbol: one reading of the dialogues, or the least of several with dropout.

targets.outputs(read, key); targets.target_outputs(read, key)
"""

from __future__ import annotations

from typing import Annotated

import jax
from jax import Array

from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.dialogue.offline import Reading
from seqrl_jax.dialogue.reader import DropoutRate, Outputs
from seqrl_jax.parts import Choice
from seqrl_jax.settings import Depth


@hyperparameters
class Once:
    """One reading, nothing dropped."""

    @property
    def dropout(self) -> float:
        return 0.0

    def outputs(self, read: Reading, key: Array) -> Outputs:
        """Of the current network."""
        return read(None)

    def target_outputs(self, read: Reading, key: Array) -> Outputs:
        """Of the target network."""
        return read(None)


@hyperparameters
class Least:
    """The least Q of several readings with dropout, a lower bound where the network is uncertain; the current network
    learns with dropout, too. What was imitated is read without.

    Attributes: dropout: the share of features that is dropped. passes: M, how many readings.
    Source: Jaques et al. (2019), sec. 4.3.
    """

    dropout: DropoutRate = 0.1
    passes: Depth = 5

    def outputs(self, read: Reading, key: Array) -> Outputs:
        return read(key)

    def target_outputs(self, read: Reading, key: Array) -> Outputs:
        q = jax.vmap(lambda key: read(key)["q"])(jax.random.split(key, self.passes))
        return read(None) | {"q": q.min(0)}


TARGETS = {"once": Once, "least": Least}
TargetsField = Annotated[Once | Least, Choice(TARGETS), TRACED]
