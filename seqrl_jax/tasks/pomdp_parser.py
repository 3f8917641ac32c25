"""The grammar of Cassandra's `.POMDP` text: from tokens to arrays. `pomdp_file` makes a task of them.

Source: http://www.pomdp.org/code/pomdp-file-spec.html and http://www.pomdp.org/code/pomdp-file-grammar.html.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from seqrl_jax.tasks.pomdp_tokens import (
    BODY,
    KEYWORDS,
    NAME,
    NUMBER,
    PREAMBLE,
    WHOLE,
    Cursor,
    Element,
    NameSet,
    Token,
    nearest,
    tokenise,
)

MAX_NAMES = 8192
"""Most states, actions or observations that a file may declare."""
MAX_ENTRIES = 2**26
"""Most numbers in one dense array (0.5 GiB of float64): a typing error in a count must not take the memory."""


@dataclass(frozen=True)
class Table:
    """Distributions `rows[..., K]` and, for each, the line of the last entry that wrote to it (0: none)."""

    rows: np.ndarray
    lines: np.ndarray

    @classmethod
    def empty(cls, *shape: int) -> Table:
        return cls(np.zeros(shape), np.zeros(shape[:-1], int))


class Reward(NamedTuple):
    """One `R` entry: `values` belong to (a, s), (a, s, s') or (a, s, s', o) and have the shape of the rest."""

    where: tuple[Element, ...]
    values: np.ndarray
    keyword: Token


@dataclass
class Model:
    """What a file says, in its own terms: unnormalised rows, `R` entries in their order, annotations."""

    source: str
    discount: float
    cost: bool
    states: NameSet
    actions: NameSet
    observations: NameSet
    start: Table
    transition: Table
    observation: Table
    end: Token
    rewards: list[Reward] = field(default_factory=list)
    horizon: int | None = None
    terminal_lines: np.ndarray | None = None
    initial_observation: Table | None = None


def parse(text: str, source: str) -> Model:
    """Read the text of a `.POMDP` file. Raises PomdpFileError, naming `source`, at the first fault."""
    tokens, annotations = tokenise(text)
    model = _Parser(tokens, source).parse()
    for annotation in annotations:
        _annotate(model, Cursor(annotation, source))
    return model


class _Parser(Cursor):
    """pomdp_file ::= preamble body: the grammar, one method for each of its rules."""

    def __init__(self, tokens: list[Token], source: str) -> None:
        super().__init__(tokens, source)
        self._seen: set[str] = set()
        self._sets: dict[str, NameSet] = {}
        self._discount = 1.0
        self._cost = False
        self._start: Table | None = None

    def parse(self) -> Model:
        while not self.at_end and self.next.text not in BODY:
            self._preamble_entry()
        model = self._model()
        while not self.at_end:
            self._body_entry(model)
        return model

    def _preamble_entry(self) -> None:
        keyword = self.take()
        if keyword.text not in PREAMBLE:
            expected = (*PREAMBLE, *BODY)
            self.fail(f"expected one of {', '.join(expected)}{nearest(keyword.text, expected)}", keyword)
        if keyword.text in self._seen:
            self.fail(f"{keyword.text!r} stands twice", keyword)
        self._seen.add(keyword.text)
        if keyword.text == "start":
            self._read_start(keyword)
            return
        self.expect(":")
        if keyword.text == "discount":
            self._read_discount()
        elif keyword.text == "values":
            self._read_values()
        else:
            self._sets[keyword.text] = self._read_names(keyword)

    def _read_discount(self) -> None:
        token = self.next
        self._discount = self.number()
        if not 0 < self._discount <= 1:
            self.fail("the discount must lie in (0, 1]", token)

    def _read_values(self) -> None:
        if self.next.text not in ("reward", "cost"):
            self.fail("expected 'reward' or 'cost'")
        self._cost = self.take().text == "cost"

    def _read_names(self, keyword: Token) -> NameSet:
        first = self.next
        names: dict[str, None] = {}
        if WHOLE.fullmatch(first.text):
            count = self.whole()
            # The range is only built for a count that is allowed.
            names = dict.fromkeys(map(str, range(count if count <= MAX_NAMES else 0)))
        else:
            # A word before a colon is a misspelt keyword, not one more name.
            while NAME.fullmatch(self.next.text) and self.next.text not in KEYWORDS and self.second.text != ":":
                if self.next.text in names:
                    self.fail(f"this name stands twice among the {keyword.text}")
                names[self.take().text] = None
            count = len(names)
            if not names:
                self.fail(f"expected the number of {keyword.text} or their names")
        if not 1 <= count <= MAX_NAMES:
            self.fail(f"the number of {keyword.text} must lie between 1 and {MAX_NAMES}", first)
        return NameSet(keyword.text[:-1], tuple(names), first)

    def _read_start(self, keyword: Token) -> None:
        if "states" not in self._sets:
            self.fail("'states' must stand before 'start'", keyword)
        states = self._sets["states"]
        mode = self.take().text if self.next.text in ("include", "exclude") else ""
        self.expect(":")
        self._start = Table(
            self._start_states(states, mode) if mode else self._start_row(states), np.array(keyword.line)
        )

    def _start_states(self, states: NameSet, mode: str) -> np.ndarray:
        listed = np.zeros(len(states), bool)
        first = self.next
        while not self.at_end and self.next.text not in KEYWORDS:
            listed[self.element(states)] = True
        support = listed if mode == "include" else ~listed
        if not listed.any() or not support.any():
            self.fail(f"'start {mode}' must list at least one state and leave one to start in", first)
        return support / support.sum()

    def _start_row(self, states: NameSet) -> np.ndarray:
        if self.accept("uniform"):
            return np.full(len(states), 1 / len(states))
        lone = WHOLE.fullmatch(self.next.text) and not NUMBER.fullmatch(self.second.text)
        certain = len(states) == 1 and self.next.text == "1"
        if self.at_number and (certain or not lone):
            return self.numbers((len(states),), probabilities=True)
        if self.next.text in KEYWORDS:
            self.fail("expected 'uniform', a state or the probabilities of the states")
        row = np.zeros(len(states))
        state = self.next
        row[self.element(states)] = 1
        if row.sum() != 1:
            self.fail("expected one state; every state is 'uniform'", state)
        return row

    def _model(self) -> Model:
        for required in ("discount", "states", "actions", "observations"):
            if required not in self._seen:
                self.fail(f"'{required}:' is missing; it must stand before the first T, O or R")
        states, actions, observations = (self._sets[key] for key in ("states", "actions", "observations"))
        entries = len(actions) * len(states) * max(len(states), len(observations))
        if entries > MAX_ENTRIES:
            self.fail(f"the task needs an array of {entries} numbers; at most {MAX_ENTRIES} fit", states.declared)
        return Model(
            source=self.source,
            discount=self._discount,
            cost=self._cost,
            states=states,
            actions=actions,
            observations=observations,
            start=self._start or Table(np.full(len(states), 1 / len(states)), np.array(0)),
            transition=Table.empty(len(actions), len(states), len(states)),
            observation=Table.empty(len(actions), len(states), len(observations)),
            end=self._tokens[-1],
        )

    def _body_entry(self, model: Model) -> None:
        keyword = self.take()
        if keyword.text in PREAMBLE:
            self.fail(f"{keyword.text!r} must stand before the first T, O or R", keyword)
        if keyword.text not in BODY:
            self.fail("expected T, O or R", keyword)
        self.expect(":")
        if keyword.text == "R":
            self._read_reward(model, keyword)
        else:
            self._read_distribution(model, keyword)

    def _read_distribution(self, model: Model, keyword: Token) -> None:
        """`a : s : x p`, or `a : s` and a row, or `a` and a matrix."""
        transition = keyword.text == "T"
        table = model.transition if transition else model.observation
        outcomes = model.states if transition else model.observations
        where = self._address(model.actions, model.states, outcomes)
        shape = table.rows.shape[len(where) :]
        word = self.next
        if not shape:
            table.rows[where] = self.probability()
        elif self.accept("uniform"):
            table.rows[where] = 1 / len(outcomes)
        elif self.accept("identity"):
            if shape != (len(outcomes), len(outcomes)):
                self.fail("'identity' can only stand for a square matrix", word)
            table.rows[where] = np.eye(len(outcomes))
        elif self.accept("reset"):
            if not transition:
                self.fail("'reset' can only stand for rows of T", word)
            table.rows[where] = model.start.rows
        else:
            table.rows[where] = self.numbers(shape, probabilities=True)
        table.lines[where[:2]] = keyword.line

    def _address(self, first: NameSet, *others: NameSet) -> tuple[Element, ...]:
        where = [self.element(first)]
        for names in others:
            if not self.accept(":"):
                break
            where.append(self.element(names))
        return tuple(where)

    def _read_reward(self, model: Model, keyword: Token) -> None:
        """`a : s : s' : o v`, or `a : s : s'` and a row over o, or `a : s` and a matrix over s' and o."""
        where = self._address(model.actions, model.states, model.states, model.observations)
        if len(where) == 1:
            self.fail("expected ':' and a state")
        shape = (len(model.states), len(model.observations))[len(where) - 2 :]
        values = self.numbers(shape, probabilities=False)
        model.rewards.append(Reward(where, values, keyword))


def _annotate(model: Model, cursor: Cursor) -> None:
    """Take in one annotation: `horizon N`, `terminal STATE ...` or `initial_observation STATE : OBS PROB`."""
    key = cursor.take()
    if key.text == "horizon":
        number = cursor.next
        model.horizon = cursor.whole()
        if model.horizon < 1:
            cursor.fail("the horizon must be at least 1", number)
    elif key.text == "terminal":
        if model.terminal_lines is None:
            model.terminal_lines = np.zeros(len(model.states), int)
        while not cursor.at_end:
            model.terminal_lines[cursor.element(model.states)] = key.line
    elif key.text == "initial_observation":
        if model.initial_observation is None:
            model.initial_observation = Table.empty(len(model.states), len(model.observations))
        state = cursor.element(model.states)
        cursor.expect(":")
        observation = cursor.element(model.observations)
        model.initial_observation.rows[state, observation] = cursor.probability()
        model.initial_observation.lines[state] = key.line
    else:
        known = ("horizon", "terminal", "initial_observation")
        cursor.fail(f"unknown annotation, known: {', '.join(known)}{nearest(key.text, known)}", key)
    if not cursor.at_end:
        cursor.fail("the annotation should have ended here")
