"""The grammar of Cassandra's `.POMDP` text: from tokens to arrays. `pomdp_file` makes a task of them.

Source: http://www.pomdp.org/code/pomdp-file-spec.html and http://www.pomdp.org/code/pomdp-file-grammar.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from scipy import sparse

from seqrl_jax.tasks.pomdp_model import MAX_ENTRIES, Model, Written
from seqrl_jax.tasks.pomdp_rewards import Reward, Rewards
from seqrl_jax.tasks.pomdp_tokens import (
    BODY,
    EVERY,
    KEYWORDS,
    NAME,
    NUMBER,
    PREAMBLE,
    PROBABILITY_TOLERANCE,
    WHOLE,
    Cursor,
    Element,
    NameSet,
    Plain,
    PomdpFileError,
    Token,
    nearest,
    origin_of,
    tokenise,
)
from seqrl_jax.tasks.tables import MOST_ENTRIES, MOST_STATES, Matrix

MAX_NAMES = MOST_STATES
"""Most states, actions or observations that a file may declare."""
CALLED = {"E": "it marks the end of episodes for some programs: write '# seqrl: terminal STATE ...' instead"}
XML = "this is XML, a POMDPX file it seems, which is not supported: convert it to Cassandra's .POMDP format"


def parse(text: str, source: str) -> Model:
    """Read the text of a `.POMDP` file. Raises PomdpFileError, naming `source`, at the first fault."""
    tokens, annotations = tokenise(text)
    if tokens[0].text.startswith("<"):
        raise PomdpFileError(source, tokens[0].line, XML, tokens[0].text)
    model = _Parser(tokens, source).parse(origin_of(text))
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
        self._start: np.ndarray | None = None
        self._start_line = 0

    def parse(self, origin: tuple[str, ...]) -> Model:
        while not self.at_end and self.next.text not in BODY:
            self._preamble_entry()
        model = self._model(origin)
        while not self.at_end:
            self._body_entry(model)
        return model

    def _preamble_entry(self) -> None:
        keyword = self.take()
        if keyword.text not in PREAMBLE:
            self._refuse(keyword, f"one of {', '.join((*PREAMBLE, *BODY))}", (*PREAMBLE, *BODY))
        if keyword.text in self._seen:
            self.fail(f"{keyword.text!r} stands twice", keyword)
        self._seen.add(keyword.text)
        if keyword.text == "start":
            self._read_start(keyword)
            return
        self.expect(":", keyword)
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
            self.fail("expected 'reward' or 'cost'" + nearest(self.next.text, ("reward", "cost")))
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
        self.expect(":", keyword)
        self._start = self._start_states(states, mode) if mode else self._start_row(states)
        self._start_line = keyword.line

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
            return self.numbers((len(states),), probabilities=True)[0]
        if self.next.text in KEYWORDS:
            self.fail("expected 'uniform', a state or the probabilities of the states")
        row = np.zeros(len(states))
        state = self.next
        row[self.element(states)] = 1
        if row.sum() != 1:
            self.fail("expected one state; every state is 'uniform'", state)
        return row

    def _model(self, origin: tuple[str, ...]) -> Model:
        for required in ("discount", "states", "actions", "observations"):
            if required not in self._seen:
                self.fail(f"'{required}:' is missing; it must stand before the first T, O or R")
        states, actions, observations = (self._sets[key] for key in ("states", "actions", "observations"))
        entries = (3 * len(actions) + 1) * len(states)
        if entries > MOST_ENTRIES:
            problem = f"the task needs at least {entries} numbers; at most {MOST_ENTRIES} fit"
            self.fail(problem, states.declared)
        return Model(
            source=self.source,
            discount=self._discount,
            cost=self._cost,
            states=states,
            actions=actions,
            observations=observations,
            start=np.full(len(states), 1 / len(states)) if self._start is None else self._start,
            start_line=self._start_line,
            transition=Written(len(actions), len(states), len(states)),
            observation=Written(len(actions), len(states), len(observations)),
            end=self._tokens[-1],
            origin=origin,
        )

    def _body_entry(self, model: Model) -> None:
        keyword = self.take()
        if keyword.plain:
            self._read_plain(model, keyword, keyword.plain)
            return
        if keyword.text in PREAMBLE:
            self.fail(f"{keyword.text!r} must stand before the first T, O or R", keyword)
        if keyword.text not in BODY:
            self._refuse(keyword, "T, O or R", BODY)
        self.expect(":", keyword)
        if keyword.text == "R":
            self._read_reward(model, keyword)
        else:
            self._read_distribution(model, keyword)

    def _refuse(self, keyword: Token, expected: str, known: Sequence[str]) -> NoReturn:
        """Fail at a word that begins no entry, saying what it was probably meant for."""
        before_colon = self.next.text == ":"
        if before_colon and keyword.text in CALLED:
            self.fail(f"{keyword.text!r} entries are not supported; {CALLED[keyword.text]}", keyword)
        hint = nearest(keyword.text, known)
        initial = keyword.text[:1].upper()
        if before_colon and not hint and initial in BODY:
            hint = f"; did you mean {initial!r}?"
        self.fail(f"expected {expected}{hint}", keyword)

    def _read_plain(self, model: Model, keyword: Token, plain: Plain) -> None:
        """A run of plain entries, together; word by word where something is wrong or special."""
        action, state, column, value = plain.columns(keyword.text)
        rewards = keyword.text == "R"
        outcomes = model.observations if keyword.text == "O" else model.states
        # Few different numbers stand in a file; what is none becomes nan here.
        read = {text: float(text) if NUMBER.fullmatch(text) else np.nan for text in set(value)}
        values = _looked_up(read, value, np.float64)
        most = 1 + PROBABILITY_TOLERANCE
        good = np.isfinite(values) if rewards else (values >= 0) & (values <= most)
        try:
            a = _looked_up(_words_of(model.actions, not rewards), action, np.int64)
            s = _looked_up(_words_of(model.states, False), state, np.int64)
            x = _looked_up(_words_of(outcomes, rewards), column, np.int64)
        except KeyError:
            good[:] = False
        if not good.all() or (rewards and self.at_number):
            tokens = [*plain.tokens(), self.next]
            word_by_word = _Parser(tokens, self.source)
            while not word_by_word.at_end:
                word_by_word._body_entry(model)
            return
        if rewards:
            model.rewards.append(Rewards(a, s, x, values, keyword))
            return
        table = model.transition if keyword.text == "T" else model.observation
        # An entry of every action is one of each, in its place.
        times = np.where(a < 0, len(model.actions), 1)
        which = np.repeat(np.arange(len(a)), times)
        within = np.arange(len(which)) - np.repeat(times.cumsum() - times, times)
        row = np.where(a[which] < 0, within, a[which]) * len(model.states) + s[which]
        self._make_room(table, len(row), keyword)
        table.put(row, x[which], values[which])
        table.lines.ravel()[row] = plain.line + which

    def _make_room(self, table: Written, entries: int, token: Token) -> None:
        if not table.has_room(entries):
            self.fail(f"the table would hold {entries} numbers more; at most {MAX_ENTRIES} fit", token)

    def _read_distribution(self, model: Model, keyword: Token) -> None:
        """`a : s : x p`, or `a : s` and a row, or `a` and a matrix."""
        transition = keyword.text == "T"
        table = model.transition if transition else model.observation
        outcomes = model.states if transition else model.observations
        where = self._address(model.actions, model.states, outcomes)
        word, lines = self.next, [keyword.line]
        content: Matrix
        if len(where) == 3 and where[2] != EVERY:
            single = table.number[where[:2]].ravel()
            table.put(single, np.full(len(single), where[2]), np.full(len(single), self.probability()))
            table.lines.ravel()[single] = keyword.line
            return
        if len(where) == 3:
            content = np.full((1, len(outcomes)), self.probability())
        elif self.accept("uniform"):
            content = np.full((1, len(outcomes)), 1 / len(outcomes))
        elif self.accept("identity"):
            if len(where) == 2 or len(model.states) != len(outcomes):
                self.fail("'identity' can only stand for a square matrix", word)
            content = sparse.eye_array(len(outcomes), format="csr")
        elif self.accept("reset"):
            if not transition:
                self.fail("'reset' can only stand for rows of T", word)
            content = model.start[None]
        else:
            shape = (1 if len(where) == 2 else len(model.states), len(outcomes))
            content, lines = self.numbers(shape, probabilities=True)
        content = sparse.csr_array(content)
        row = table.number[where[:2]].reshape(-1, content.shape[0])
        self._make_room(table, len(row) * content.nnz, word)
        table.write(row, content)
        table.lines.ravel()[row] = lines if len(where) == 1 else keyword.line

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
        values, _ = self.numbers(shape, probabilities=False)
        model.rewards.append(Reward(where, values, keyword))


def _words_of(names: NameSet, every: bool) -> Mapping[str, int]:
    """The elements by word, and -1 by `*` where it may stand."""
    return names.by_word | ({"*": -1} if every else {})


def _looked_up(table: Mapping[str, float], words: Sequence[str], dtype: type) -> np.ndarray:
    """[N]: what these words stand for. Raises: KeyError for one that stands for nothing."""
    return np.fromiter(map(table.__getitem__, words), dtype, len(words))


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
            model.initial_observation = Written(len(model.states), len(model.observations))
        table = model.initial_observation
        state = cursor.next
        row = table.number[cursor.element(model.states)].ravel()
        cursor.expect(":", state)
        observation = np.arange(len(model.observations))[cursor.element(model.observations)].ravel()
        probability = cursor.probability()
        if not table.has_room(len(row) * len(observation)):
            cursor.fail(f"the table would hold more numbers than the {MAX_ENTRIES} that fit", key)
        pairs = np.repeat(row, len(observation)), np.concatenate([observation] * len(row))
        table.put(*pairs, np.full(len(row) * len(observation), probability))
        table.lines[row] = key.line
    else:
        known = ("horizon", "terminal", "initial_observation")
        cursor.fail(f"unknown annotation, known: {', '.join(known)}{nearest(key.text, known)}", key)
    if not cursor.at_end:
        cursor.fail("the annotation should have ended here")
