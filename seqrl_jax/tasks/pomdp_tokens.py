"""The words of Cassandra's `.POMDP` text: tokens with their lines, a cursor that types them, errors that name them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
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
_NAMED, _GAP = r"[^\s:*#]+", r"[^\S\n]*"
_COLON, _END = f"{_GAP}:{_GAP}", rf"{_GAP}(?:\n|\Z)"
_TO = rf"{_COLON}(?:{_NAMED}|[*]){_COLON}{_NAMED}{_COLON}{_NAMED}[^\S\n]+{_NAMED}{_END}"
_R = rf"{_COLON}{_NAMED}{_COLON}{_NAMED}{_COLON}(?:{_NAMED}|[*]){_COLON}[*]{_GAP}{_NAMED}{_END}"
_RUN = {key: re.compile(f"(?:{_GAP}{key}{rest})++") for key, rest in (("T", _TO), ("O", _TO), ("R", _R))}
_WORDS = {"T": 5, "O": 5, "R": 6}
"""Of a plain entry, without colons: keyword, a, s, s' or o, for R an asterisk, and a number."""
_HEAD = re.compile(r"(?:\s*#.*)*")
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
    """A word of the file and the line it stands on.

    plain: for a keyword that begins a run of plain entries, these in one token; see `Plain`.
    """

    text: str
    line: int
    plain: Plain | None = None


@dataclass(frozen=True)
class Plain:
    """Entries of one keyword, each on a line of its own, `T: a : s : s' p` or `R: a : s : s' : * v`.

    text: as they stand in the file; line: where the first stands, the others follow. Large files are made of them, and
    they are read together; whatever is special about one, they are read word by word.
    """

    text: str
    line: int

    def columns(self, keyword: str) -> tuple[list[str], ...]:
        """Of all entries a, of all s, of all s' or o, and of all the number."""
        words, width = self.text.replace(":", " ").replace("*", " * ").split(), _WORDS[keyword]
        return words[1::width], words[2::width], words[3::width], words[width - 1 :: width]

    def tokens(self) -> list[Token]:
        """The same word by word."""
        lines = enumerate(self.text.split("\n"), self.line)
        return [Token(word, line) for line, content in lines for word in _WORD.findall(content)]


@dataclass(frozen=True)
class NameSet:
    """The declared states, actions or observations. A declared count n gives the names `0` ... `n-1`."""

    kind: str
    names: tuple[str, ...]
    declared: Token
    number: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", {name: i for i, name in enumerate(self.names)})

    @cached_property
    def by_word(self) -> dict[str, int]:
        """Each element by name and by number in digits."""
        return {str(i): i for i in range(len(self.names))} | self.number

    def __len__(self) -> int:
        return len(self.names)


def tokenise(text: str) -> tuple[list[Token], list[list[Token]]]:
    """The file's tokens, and those of each annotation (a comment `# seqrl: ...`); each list ends in a sentinel."""
    tokens: list[Token] = []
    annotations: list[list[Token]] = []
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    line, begin, end = 1, 0, len(text)
    while begin < end:
        keyword = text[begin : begin + 80].lstrip(" \t")[:1]
        if keyword in _RUN and (found := _RUN[keyword].match(text, begin)):
            tokens.append(Token(keyword, line, Plain(found[0], line)))
            begin, line = found.end(), line + found[0].count("\n")
            continue
        stop = text.find("\n", begin)
        content = text[begin : end if stop < 0 else stop]
        code, _, comment = content.partition("#")
        tokens += [Token(word, line) for word in _WORD.findall(code)]
        if annotation := _ANNOTATION.fullmatch(comment):
            words = [Token(word, line) for word in _WORD.findall(annotation[1])]
            annotations.append([*words, Token("end of line", line)])
        begin, line = (end, line) if stop < 0 else (stop + 1, line + 1)
    return [*tokens, Token("end of file", line)], annotations


def origin_of(text: str) -> tuple[str, ...]:
    """The comments before the first word: who made the task, and what it is. Without what a writer adds by itself."""
    comments = []
    head = _HEAD.match(text)
    for line in head[0].splitlines() if head else ():
        code, mark, comment = line.partition("#")
        if code.strip():
            break
        if mark and not _ANNOTATION.fullmatch(comment) and not comment.startswith(" task "):
            comments.append(printable(comment.strip()))
    return tuple(comments)


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
        token = token or self.next
        raise PomdpFileError(self.source, token.line, problem, token.text)

    def take(self) -> Token:
        token = self.next
        self._position += not self.at_end
        return token

    def accept(self, text: str) -> bool:
        found = self.next.text == text
        self._position += found
        return found

    def expect(self, text: str, after: Token) -> None:
        if not self.accept(text):
            self.fail(f"expected {text!r} after {after.text!r}")

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

    def numbers(self, shape: tuple[int, ...], probabilities: bool) -> tuple[np.ndarray, list[int]]:
        """As many numbers as the shape holds, no fewer and no more, and the line on which each of its rows begins."""
        count, width = math.prod(shape), shape[-1] if shape else 1
        most = 1 + PROBABILITY_TOLERANCE
        ahead = self._tokens[self._position : self._position + count]
        words = [token.text for token in ahead]
        if all(map(NUMBER.fullmatch, words)):
            array = np.array(list(map(float, words)))
            good = (array >= 0) & (array <= most) if probabilities else np.isfinite(array)
            if len(array) == count and good.all():
                self._position += count
                self._end_of_numbers(count)
                return array.reshape(shape), [token.line for token in ahead[::width]]
        # A sign that stands apart, or a fault.
        read = self.probability if probabilities else self.number
        values: list[float] = []
        lines: list[int] = []
        while self.at_number and len(values) < count:
            lines.append(self.next.line)
            values.append(read())
        if len(values) < count:
            a_name = shape and not values and NAME.fullmatch(self.next.text) and self.next.text not in KEYWORDS
            problem = f"expected {count} number{'s' * (count != 1)} here, found {len(values)}"
            self.fail(problem + ("; is a ':' missing before it?" if a_name else ""))
        self._end_of_numbers(count)
        return np.array(values).reshape(shape), lines[::width]

    def _end_of_numbers(self, count: int) -> None:
        if self.at_number:
            self.fail(f"expected {count} number{'s' * (count != 1)} here, found more")

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
