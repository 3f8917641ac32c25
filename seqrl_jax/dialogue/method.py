"""What every method is: hyperparameters, a reader with heads, a law of what is said next, and an update."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.reading import MemoryField
from seqrl_jax.dialogue.conversation import Talker
from seqrl_jax.dialogue.data import Data
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.reader import Outputs, Reader, first_weights, read_on
from seqrl_jax.dialogue.views import Spelling, View
from seqrl_jax.naming import check, require
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.networks.recurrent import GRU
from seqrl_jax.settings import Count, PositiveFloat

LARGEST_GRADIENT = 1.0
Updates = Annotated[int, Meta(ge=0, le=1_000_000)]
"""How many of something that may be left out."""


def falling_adam(learning_rate: Array | float, steps: int) -> optax.GradientTransformation:
    """Adam whose learning rate falls to a tenth over so many steps."""
    falling = optax.linear_schedule(learning_rate, learning_rate / 10, steps)
    return optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), optax.adam(falling))


class Training(NamedTuple):
    """weights, those of the target network, the optimiser's state, the key; replay: earlier dialogues, a pytree that is
    empty where nothing is learned from twice."""

    weights: Weights
    target: Weights
    opt_state: optax.OptState
    key: Array
    replay: Any = ()


class Heard(NamedTuple):
    """Where one stands who has read what was said so far, in B dialogues side by side: the backbone's carry, outputs
    [B, n] of the next symbol, and whether nothing was said yet [B]."""

    carry: Carry
    outputs: Outputs
    first: Array


Listener = Callable[[Carry, Array, Array], tuple[Carry, Outputs]]
"""(carry, symbol [B], first [B]) -> carry and outputs [B, n] after one more symbol."""


@hyperparameters
class Method:
    """A method that learns with Adam.

    Attributes: view: what a symbol is. learning_rate: of Adam; it falls to a tenth over
    the updates. updates. memory: the backbone, of those that keep a whole past.
    """

    view: View = "token"
    learning_rate: PositiveFloat = 0.003
    updates: Count = 2000
    memory: MemoryField = GRU(64)

    def __post_init__(self) -> None:
        check(self)
        why = "a dialogue is read whole, and by no model of anything else"
        require(self.memory.reach is None and not self.memory.has_model, why, memory=type(self.memory).__name__)

    def conditions(self, spelling: Spelling) -> int:
        """Classes of a condition that is read beside every symbol, 0 without one."""
        return 0

    @property
    def wanted(self) -> int:
        """The condition with which it speaks."""
        return 0

    @property
    def dropout(self) -> float:
        """The share of features that is dropped where it learns with dropout."""
        return 0.0

    @property
    def sees_state(self) -> bool:
        """Whether it learns from the user's hidden state, which a log knows and no agent sees."""
        return False

    @property
    def reads_logs(self) -> bool:
        """Whether it learns from logs; one that does not talks with the user itself."""
        return True

    @property
    def marked_wrong(self) -> bool:
        """Whether the theory says that it follows another gradient than it claims: it is there to show by how much."""
        return False

    def dialogues(self, logged: int) -> int:
        """How many it learns from, where logs hold so many."""
        return logged

    @abstractmethod
    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        """Names and sizes of what the reader says of the next symbol."""

    @abstractmethod
    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        """What it says next, from outputs [..., n] and what may be said [..., V]."""

    @abstractmethod
    def update(
        self, game: Game, spelling: Spelling, data: Data, training: Training
    ) -> tuple[Training, dict[str, Array]]:
        """One update. data: the log of the seed, which a method that only talks leaves alone."""

    @property
    def optimiser(self) -> optax.GradientTransformation:
        return falling_adam(self.learning_rate, self.gradient_steps)

    @property
    def gradient_steps(self) -> int:
        """Of all updates."""
        return self.updates

    def reader(self, spelling: Spelling) -> Reader:
        """The network that it learns."""
        memory = self.memory.for_horizon(spelling.longest)
        heads, conditions = self.heads(spelling.num_symbols), self.conditions(spelling)
        return Reader(spelling.num_symbols, heads, memory, conditions, self.dropout)

    def begin(self, spelling: Spelling, data: Data, key: Array) -> Training:
        """Before the first update. data: the log of the seed."""
        key, weights_key = jax.random.split(key)
        weights = first_weights(self.reader(spelling), weights_key)
        return Training(weights, weights, self.optimiser.init(weights), key)

    def listener(self, spelling: Spelling, weights: Weights) -> Listener:
        """What was learned, as it reads on when it speaks."""
        reader = self.reader(spelling)

        def hear(carry: Carry, symbol: Array, first: Array) -> tuple[Carry, Outputs]:
            wanted = jnp.full((1, len(symbol)), self.wanted, jnp.int32)
            return read_on(reader, weights, carry, symbol[None], first[None], wanted)

        return hear

    def promised(self, spelling: Spelling, weights: Weights, symbol: Array, own: Array) -> Array | None:
        """[E]: the return that its values promise of dialogues [E, T] by the first symbol that it says there, in units
        of `Data.unit`; None where it learns no values of returns."""
        return None

    def talker(self, spelling: Spelling, weights: Weights) -> Talker:
        """What was learned, as it speaks."""
        listener = self.listener(spelling, weights)
        nothing: Outputs = {name: jnp.zeros((1, size)) for name, size in self.heads(spelling.num_symbols)}

        def choose(key: Array, at: Heard, legal: Array) -> tuple[Array, Array]:
            law = self.law({name: leaf[0] for name, leaf in at.outputs.items()}, legal)
            chosen = law.sample(seed=key)
            return chosen, law.log_prob(chosen)

        def hear(at: Heard, symbol: Array, own: Array) -> Heard:
            return Heard(*listener(at.carry, symbol[None], at.first), jnp.zeros(1, bool))

        carry = self.memory.for_horizon(spelling.longest).initial_carry(1)
        return Talker(Heard(carry, nothing, jnp.ones(1, bool)), choose, hear)
