"""How a dialogue is said: whole utterances as one symbol each, or word by word.

In either view a dialogue is a sequence of symbols, of which the agent chooses its own. Word by word its utterances are
the paths of a tree, and END closes utterances and replies alike, so that a prefix of an utterance is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from seqrl_jax.dialogue.game import Game, words

View = Literal["utterance", "token"]
LISTEN, NONE, END = "listen", "none", "."
"""What the agent does while the other speaks; what it observes while it speaks; the end of an utterance or a reply."""
SPECIAL = (LISTEN, NONE, END)


@dataclass(frozen=True, eq=False)
class Spelling:
    """V symbols; the tree of the agent's A utterances with P nodes, node 0 before the first symbol; O replies.

    symbols: their names. turns: of a dialogue, at most. states: S, in which the user may be. child: [P, V] int32, the
    node after a symbol, -1 where no utterance goes on with it. utterance: [P] int32, what has been said at a node, -1
    inside. said: [A, L] int32, the symbols of utterances; said_length: [A]. heard: [O, M] int32, those of replies;
    heard_length: [O].
    """

    symbols: tuple[str, ...]
    turns: int
    states: int
    child: np.ndarray
    utterance: np.ndarray
    said: np.ndarray
    said_length: np.ndarray
    heard: np.ndarray
    heard_length: np.ndarray

    @property
    def num_symbols(self) -> int:
        return len(self.symbols)

    @property
    def num_nodes(self) -> int:
        return len(self.child)

    @cached_property
    def legal(self) -> np.ndarray:
        """[P, V] bool: what the agent may say at a node."""
        return self.child >= 0

    @cached_property
    def within(self) -> np.ndarray:
        """[P, A] bool: the utterances that a node may still become, or is."""
        reached = np.zeros((self.num_nodes, len(self.said)), bool)
        for number, symbols in enumerate(self.said):
            node = 0
            reached[node, number] = True
            for symbol in symbols[: self.said_length[number]]:
                node = self.child[node, symbol]
                reached[node, number] = True
        return reached

    @property
    def longest(self) -> int:
        """The most symbols of a dialogue, the opening's included."""
        return int(self.turns * (self.heard_length.max() + self.said_length.max()))

    def text(self, symbols: np.ndarray) -> str:
        """What symbols say, without the marks of ends."""
        return " ".join(self.symbols[symbol] for symbol in symbols if self.symbols[symbol] not in SPECIAL)


def spelling(game: Game, view: View) -> Spelling:
    """The symbols of a game in a view.

    Raises: ValueError for a word that is kept for other use, and for two utterances or replies of the same words.
    """
    say = (lambda name: (name,)) if view == "utterance" else (lambda name: (*words(name), END))
    said, heard = [say(name) for name in game.task.actions], [say(name) for name in game.task.observations]
    for group in (said, heard):
        if len(set(group)) < len(group):
            raise ValueError(f"{game.task.name}: two utterances or two replies are the same words")
    own = {word for name in (*game.task.actions, *game.task.observations) for word in say(name)} - {END}
    if taken := own & set(SPECIAL):
        raise ValueError(f"{game.task.name}: the word {min(taken)!r} is kept for other use")
    symbols = (*SPECIAL, *dict.fromkeys(word for one in (*said, *heard) for word in one if word != END))
    number = {symbol: index for index, symbol in enumerate(symbols)}
    child, utterance = _tree([[number[word] for word in one] for one in said], len(symbols))
    return Spelling(
        symbols=symbols,
        turns=game.task.horizon,
        states=game.task.num_states,
        child=child,
        utterance=utterance,
        said=_padded([[number[word] for word in one] for one in said]),
        said_length=np.array([len(one) for one in said], np.int32),
        heard=_padded([[number[word] for word in one] for one in heard]),
        heard_length=np.array([len(one) for one in heard], np.int32),
    )


def _tree(utterances: list[list[int]], num_symbols: int) -> tuple[np.ndarray, np.ndarray]:
    child: list[np.ndarray] = [np.full(num_symbols, -1, np.int32)]
    utterance = [-1]
    for number, symbols in enumerate(utterances):
        node = 0
        for symbol in symbols:
            if child[node][symbol] < 0:
                child[node][symbol] = len(child)
                child.append(np.full(num_symbols, -1, np.int32))
                utterance.append(-1)
            node = child[node][symbol]
        utterance[node] = number
    return np.array(child), np.array(utterance, np.int32)


def _padded(rows: list[list[int]]) -> np.ndarray:
    table = np.full((len(rows), max(map(len, rows))), SPECIAL.index(NONE), np.int32)
    for row, symbols in zip(table, rows, strict=True):
        row[: len(symbols)] = symbols
    return table


def symbol_values(spelling: Spelling, of_utterance: np.ndarray, discount: float = 1.0) -> np.ndarray:
    """[..., P]: the best value that a node can still lead to, from values [..., A] of whole utterances.

    discount: per symbol; at 1, as by default, time passes from turn to turn alone, and both views have the same values.
    """
    depth = np.zeros(spelling.num_nodes, int)
    for node in range(spelling.num_nodes):
        depth[spelling.child[node][spelling.legal[node]]] = depth[node] + 1
    ahead = spelling.said_length[None] - depth[:, None]
    scaled = of_utterance[..., None, :] * discount ** np.maximum(ahead, 0)
    return np.where(spelling.within, scaled, -np.inf).max(-1)


def symbol_probabilities(spelling: Spelling, of_utterance: np.ndarray) -> np.ndarray:
    """[..., P, V]: the law of the next symbol at every node, of one who says utterances with probabilities [..., A].

    0 at the nodes that such a one does not reach.
    """
    mass = of_utterance @ spelling.within.T.astype(float)
    after = np.where(spelling.legal, mass[..., np.maximum(spelling.child, 0)], 0.0)
    here = mass[..., None]
    return np.divide(after, here, out=np.zeros_like(after), where=here > 0)
