"""The words of Cassandra's `.POMDP` text: tokens with their lines, a cursor that types them, errors that name them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import numpy as np

from seqrl_jax.figures import printable

PROBABILITY_TOLERANCE = 1e-4
"""How far rounded numbers in a file may carry a probability, or the sum of a row, past 1."""
PREAMBLE = ("discount", "values", "states", "actions", "observations", "start")
BODY = ("T", "O", "R")
KEYWORDS = frozenset((*PREAMBLE, *BODY, "include", "exclude", "uniform", "identity", "reset", "reward", "cost"))
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
WHOLE = re.compile(r"[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_WORD = re.compile(r"[:*]|[^\s:*]+")
_ANNOTATION = re.compile(r"\s*seqrl\s*:(.*)")

Element = int | slice
EVERY = slice(None)


class PomdpFileError(ValueError):
    """A `.POMDP` file that cannot be read, named in one line: `PATH:LINE: what is wrong, near 'TOKEN'`.

    Attributes:
        line: counted from 1; 0 when no line is to blame.
        token: the offending word, the row's address (`T: listen : left`) or `end of file`; may be empty.
    """

    def __init__(self, source: str, line: int, problem: str, token: str = "") -> None:
        super().__init__(source, line, problem, token)
        self.line = line
        self.token = token

    def __str__(self) -> str:
        source, line, problem, token = self.args
        short = token if len(token) <= 60 else f"{token[:57]}..."
        place = f"{printable(source)}{f':{line}' if line else ''}"
        return f"{place}: {problem}{f', near {short!r}' if token else ''}"


class Token(NamedTuple):
    """A word of the file and the line it stands on."""

    text: str
    line: int


@dataclass(frozen=True)
class NameSet:
    """The declared states, actions or observations. A declared count n gives the names `0` ... `n-1`."""

    kind: str
    names: tuple[str, ...]
    declared: Token
    number: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", {name: i for i, name in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)


def tokenise(text: str) -> tuple[list[Token], list[list[Token]]]:
    """The file's tokens, and those of each annotation (a comment `# seqrl: ...`); each list ends in a sentinel."""
    tokens: list[Token] = []
    annotations: list[list[Token]] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line, content in enumerate(lines, 1):
        code, _, comment = content.partition("#")
        tokens += [Token(word, line) for word in _WORD.findall(code)]
        if annotation := _ANNOTATION.fullmatch(comment):
            words = [Token(word, line) for word in _WORD.findall(annotation[1])]
            annotations.append([*words, Token("end of line", line)])
    return [*tokens, Token("end of file", len(lines))], annotations


def nearest(text: str, known: Iterable[str]) -> str:
    """`; did you mean 'NAME'?` for the most similar known name, else nothing."""
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class Cursor:
    """Takes typed pieces off a list of tokens, the last of which marks the end; a fault names its token."""

    def __init__(self, tokens: list[Token], source: str) -> None:
        self.source = source
        self._tokens = tokens
        self._position = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._position]

    @property
    def second(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self._position + 1, len(self._tokens) - 1)]

    @property
    def at_end(self) -> bool:
        return self._position == len(self._tokens) - 1

    @property
    def at_number(self) -> bool:
        return self.next.text in ("+", "-") or NUMBER.fullmatch(self.next.text) is not None

    def fail(self, problem: str, token: Token | None = None) -> NoReturn:
        text, line = token or self.next
        raise PomdpFileError(self.source, line, problem, text)

    def take(self) -> Token:
        token = self.next
        self._position += not self.at_end
        return token

    def accept(self, text: str) -> bool:
        found = self.next.text == text
        self._position += found
        return found

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"expected {text!r}")

    def number(self) -> float:
        sign = self.take().text if self.next.text in ("+", "-") else ""
        if not NUMBER.fullmatch(self.next.text):
            self.fail("expected a number")
        value = float(self.next.text)
        if not math.isfinite(value):
            self.fail("this number is not finite")
        self.take()
        return -value if sign == "-" else value

    def probability(self) -> float:
        token = self.next
        value = self.number()
        if not 0 <= value <= 1 + PROBABILITY_TOLERANCE:
            self.fail("a probability must lie between 0 and 1", token)
        return value

    def numbers(self, shape: tuple[int, ...], probabilities: bool) -> np.ndarray:
        """As many numbers as the shape holds, no fewer and no more."""
        count = math.prod(shape)
        read = self.probability if probabilities else self.number
        values: list[float] = []
        while self.at_number and len(values) < count:
            values.append(read())
        expected = f"expected {count} number{'s' * (count != 1)} here"
        if len(values) < count:
            self.fail(f"{expected}, found {len(values)}")
        if self.at_number:
            self.fail(f"{expected}, found more")
        return np.array(values).reshape(shape)

    def whole(self) -> int:
        if not WHOLE.fullmatch(self.next.text):
            self.fail("expected a whole number")
        return int(self.take().text)

    def element(self, names: NameSet) -> Element:
        """An element of the set by name or number, or `*` for every one."""
        token = self.take()
        if token.text == "*":
            return EVERY
        if token.text in names.number:
            return names.number[token.text]
        if not WHOLE.fullmatch(token.text):
            named = NAME.fullmatch(token.text)
            problem = f"unknown {names.kind}" if named else f"expected {names.kind}, number or '*'"
            self.fail(problem + nearest(token.text, names.names), token)
        if int(token.text) >= len(names):
            self.fail(f"there are {len(names)} {names.kind}s, numbered from 0", token)
        return int(token.text)
