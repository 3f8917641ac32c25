"""Where the sequences begin from which Q-learning learns, and with which carry."""

from __future__ import annotations

from typing import Annotated, Protocol

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.parts import Choice


class Start(Protocol):
    """A sequence that begins inside an episode has lost what came before it, unless something stands in for that."""

    @property
    def whole(self) -> bool:
        """Whether every rollout begins with fresh episodes."""
        ...

    @property
    def stored(self) -> bool:
        """Whether the acting network's carry is kept beside each sequence."""
        ...

    @property
    def burn_in(self) -> bool:
        """Whether the current weights read the steps before the sequence first, and learn nothing from them."""
        ...


@hyperparameters
class Whole:
    """With an episode: the history is read anew from o_0, and nothing has to be stored."""

    whole = True
    stored = False
    burn_in = False


@hyperparameters
class Zero:
    """Where it falls, from an empty carry. Source: Hausknecht & Stone (2015), sec. 4.2, random updates.

    Attributes: burn_in: see `Start`.
    """

    burn_in: bool = False

    whole = False
    stored = False


@hyperparameters
class Stored:
    """Where it falls, from the carry that the acting network had there, with the weights it had then: stale.

    Attributes: burn_in: see `Start`. Source: Kapturowski et al. (2019), sec. 3.
    """

    burn_in: bool = False

    whole = False
    stored = True


STARTS = {"whole": Whole, "zero": Zero, "stored": Stored}
StartField = Annotated[Whole | Zero | Stored, Choice(STARTS)]
