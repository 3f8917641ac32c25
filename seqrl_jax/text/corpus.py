"""A user's data as tokens: read once, checked line by line, and laid out so that a batch is a few slices."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from seqrl_jax.text.examples import Answer, DataError, Example, Form
from seqrl_jax.text.files import data_files, digest, items
from seqrl_jax.text.formats import read_example
from seqrl_jax.text.vocabulary import Vocabulary, begun, ended

Purpose = Literal["texts", "pairs", "labels", "prompts", "scores"]
"""What examples are read for: to say what they say; to prefer what was chosen; the same, or to tell good answers from
bad ones, whichever the data hold; to be answered; or as they are, to be scored."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """N examples with K answers each, in tokens. They lie in unnamed files, which end with the process.

    Attributes:
        vocabulary. form: `pair` or `label` where that is what is learned from.
        tokens: all of them, one after another; own: [same], which of them the model says, each text's `end` among them.
        bounds: [N, K + 2]: an example's prompt, first answer and so on lie between two of these.
        begins: [N], whether it begins a text: a later piece of a long one has the token before it as its prompt.
        lengths: [N] tokens of the longest text, with the `end` that begins it; prompts: [N] the same of the prompt.
        topics: [N] uint64, equal where two examples must not stand on both sides of a split. good: [N] labels.
        duplicates: how many examples stand in the data before. skipped: bad lines that were left out. disliked: answers
        labelled bad that were left out, as imitation has no use for them. unread: how often a field stood there that
        nobody reads. other_files: of a directory, left out. digest: of all files.
    """

    vocabulary: Vocabulary
    form: Form
    tokens: np.ndarray
    own: np.ndarray
    bounds: np.ndarray
    begins: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray
    topics: np.ndarray
    good: np.ndarray
    duplicates: int
    skipped: int
    disliked: int
    unread: Mapping[str, int]
    other_files: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def answers(self) -> int:
        """K."""
        return self.bounds.shape[1] - 2

    @property
    def whole(self) -> Part:
        """All of its examples."""
        return Part(self, np.arange(len(self)))

    def remarks(self, path: Path) -> list[str]:
        """A line for whatever of the data at a path is not read as it stands."""
        said = []
        if self.other_files:
            said.append(f"{path}: files that are not read: {', '.join(self.other_files)}")
        if self.unread:
            counts = ", ".join(f"{name} ({count} times)" for name, count in sorted(self.unread.items()))
            said.append(f"{path}: fields that are not read: {counts}")
        if self.skipped:
            said.append(f"{path}: {self.skipped} bad lines are left out")
        if self.disliked:
            said.append(f"{path}: {self.disliked} answers that are labelled bad are left out: these would be imitated")
        if self.duplicates:
            said.append(f"{path}: {self.duplicates} of {len(self)} examples stand there before")
        return said

    def prompt(self, index: int) -> np.ndarray:
        """Its tokens, without the `end` that begins a text."""
        return self.tokens[self.bounds[index, 0] : self.bounds[index, 1]]

    def answer(self, index: int, answer: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of an example's answer, its `end` among them, and which of them the model says."""
        place = slice(*self.bounds[index, answer + 1 : answer + 3])
        return self.tokens[place], self.own[place]

    def spelled(self, index: int, answer: int) -> bytes:
        """What the model says in an answer."""
        tokens, own = self.answer(index, answer)
        return self.vocabulary.spelled(tokens[:-1][own[:-1]] if tokens[-1] == self.vocabulary.end else tokens[own])


@dataclass(frozen=True, eq=False)
class Part:
    """Some examples of a corpus: those at `indices`."""

    corpus: Corpus
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def topics(self) -> np.ndarray:
        """[n]"""
        return self.corpus.topics[self.indices]

    @property
    def rotated(self) -> Part:
        """The same with the next example in the place of each, and the first in that of the last."""
        return Part(self.corpus, np.roll(self.indices, -1))

    def some(self, most: int) -> Part:
        """At most so many of them, the same ones always, from all over it."""
        order = np.random.default_rng(0).permutation(len(self))
        return Part(self.corpus, self.indices[np.sort(order[:most])])

    def truncated(self, context: int) -> int:
        """How many a model that reads so many tokens does not see whole."""
        return int((self.corpus.lengths[self.indices] > context + 1).sum())

    def alike(self, context: int) -> int:
        """How many of its pairs differ only in what a model that reads so many tokens does not see."""
        if self.corpus.answers < 2:
            return 0
        long = self.indices[self.corpus.lengths[self.indices] > context + 1]
        # A cut answer stands behind one token of its prompt.
        seen = lambda index, answer: self.corpus.answer(index, answer)[0][:context]
        return sum(np.array_equal(seen(index, 0), seen(index, 1)) for index in long)

    def truncated_prompts(self, context: int, length: int) -> int:
        """How many prompts it does not see whole where answers have room for so many tokens."""
        return int((self.corpus.prompts[self.indices] > context - length).sum())


def scan(
    path: str | os.PathLike[str], purpose: Purpose, vocabulary: Vocabulary, context: int, skip_bad: bool = False
) -> Corpus:
    """Read the data at a path.

    Args: context: a text to learn from without a prompt that is longer is read in pieces of so many tokens, each
        predicted behind the one before it. skip_bad: count bad lines instead of refusing them.
    Raises: DataError, naming the first bad line, or the file where it holds no example. OSError. ImportError.
    """
    path = Path(path)
    files, others = data_files(path)
    layout = _Layout(vocabulary)
    seen, unread, form = set[bytes](), Counter[str](), None
    duplicates = skipped = disliked = 0
    for file in files:
        for item in items(file):
            try:
                example, ignored = read_example(item.read(), vocabulary.chat)
                # What imitation leaves out is no bad line.
                if purpose == "texts" and example.form == "label" and not example.good:
                    disliked += 1
                    continue
                example = _read_for(purpose, example)
                if form not in (None, example.form):
                    raise DataError(f"a {example.form}, where those before it are {form}s")
                layout.add(example, context if purpose == "texts" else None)
            except DataError as error:
                if not skip_bad:
                    raise DataError(f"{file}, {item.place}: {error}") from None
                skipped += 1
                continue
            form = example.form
            unread.update(ignored)
            mark = hashlib.blake2b(repr(example).encode(), digest_size=16).digest()
            duplicates += mark in seen
            seen.add(mark)
    if form is None:
        left_out = f" among {skipped + disliked} that were left out" if skipped + disliked else ""
        raise DataError(f"{path}: no example{left_out}")
    return layout.corpus(
        form=form,
        duplicates=duplicates,
        skipped=skipped,
        disliked=disliked,
        unread=dict(unread),
        other_files=tuple(file.name for file in others),
        digest=digest(files),
    )


def _read_for(purpose: Purpose, example: Example) -> Example:
    """An example as it is read for a purpose. Raises: DataError where it does not serve."""
    if purpose in ("pairs", "labels"):
        wanted = ("pair",) if purpose == "pairs" else ("pair", "label")
        if example.form not in wanted:
            labelled = "" if purpose == "pairs" else ", or a completion and its label"
            raise DataError(f"a preference needs chosen and rejected{labelled}")
        return example
    if purpose == "scores" and example.answers:
        return example if example.form == "pair" else example._replace(form="text")
    if purpose == "prompts":
        if example.form == "text":
            raise DataError("a text has no prompt that could be answered")
        earlier = "".join(example.answers[0][:-1]) if example.answers else ""
        prompt = example.next_prompt or example.prompt + earlier
        if not prompt:
            raise DataError("an empty prompt asks for nothing")
        return example._replace(form="prompt", prompt=prompt, answers=((),))
    if not example.answers:
        raise DataError(f"a prompt without a completion has nothing to {'score' if purpose == 'scores' else 'learn'}")
    return example._replace(form="text", answers=example.answers[:1], good=True)


class _Layout:
    """Examples as they are laid out."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokens, self._own = _Growing(np.int32), _Growing(np.bool_)
        self._bounds, self._lengths, self._prompts = list[list[int]](), list[int](), list[int]()
        self._topics, self._good, self._begins = list[int](), list[bool](), list[bool]()

    def add(self, example: Example, pieces: int | None) -> None:
        """pieces: the most tokens of a text without a prompt, which is laid out in several where it has more.

        Raises: DataError, before anything is laid out, for a pair of which a vocabulary that merges what it does not
        know makes the same tokens.
        """
        prompt = begun(self._vocabulary, example.prompt)
        answers = [self._encoded(answer, begins=not example.prompt) for answer in example.answers]
        if example.form == "pair" and np.array_equal(answers[0][0], answers[1][0]):
            raise DataError("chosen and rejected are equal in tokens")
        if pieces is not None and not example.prompt and len(answers[0][0]) > pieces:
            tokens, own = answers[0]
            for begin in range(0, len(tokens), pieces):
                piece, before = slice(begin, begin + pieces), tokens[max(0, begin - 1) : begin]
                self._put(example, before, [(tokens[piece], own[piece])], begins=begin == 0)
        else:
            self._put(example, prompt, answers)

    def _put(
        self, example: Example, prompt: np.ndarray, answers: list[tuple[np.ndarray, np.ndarray]], begins: bool = True
    ) -> None:
        bounds = [self._tokens.length, self._tokens.put(prompt)]
        self._own.put(np.zeros(len(prompt), bool))
        for tokens, own in answers:
            bounds.append(self._tokens.put(tokens))
            self._own.put(own)
        self._bounds.append(bounds)
        self._begins.append(begins)
        self._prompts.append(begins + len(prompt))
        self._lengths.append(self._prompts[-1] + max(len(tokens) for tokens, _ in answers))
        self._topics.append(topic_number(example.topic))
        self._good.append(example.good)

    def _encoded(self, answer: Answer, begins: bool) -> tuple[np.ndarray, np.ndarray]:
        """An answer's tokens and its end, and which of them the model says: every second part, beginning with the
        first. An answer that is to be drawn has no parts and no end. begins: whether it begins a text."""
        if not answer:
            return np.zeros(0, np.int32), np.zeros(0, bool)
        vocabulary = self._vocabulary
        parts = [*map(vocabulary.encode, answer[:-1]), ended(vocabulary, answer[-1])]
        own = np.concatenate([np.full(len(part), number % 2 == 0) for number, part in enumerate(parts)])
        tokens = np.concatenate(parts)
        says_begin = begins and len(tokens) > 1 and tokens[0] == vocabulary.end
        return tokens[int(says_begin) :], own[int(says_begin) :]

    def corpus(
        self,
        form: Form,
        duplicates: int,
        skipped: int,
        disliked: int,
        unread: Mapping[str, int],
        other_files: tuple[str, ...],
        digest: str,
    ) -> Corpus:
        return Corpus(
            vocabulary=self._vocabulary,
            form=form,
            tokens=self._tokens.whole(),
            own=self._own.whole(),
            bounds=np.array(self._bounds),
            begins=np.array(self._begins),
            lengths=np.array(self._lengths),
            prompts=np.array(self._prompts),
            topics=np.array(self._topics, np.uint64),
            good=np.array(self._good),
            duplicates=duplicates,
            skipped=skipped,
            disliked=disliked,
            unread=unread,
            other_files=other_files,
            digest=digest,
        )


class _Growing:
    """An array in an unnamed file, so that data larger than the memory can be read."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = dtype
        # It lives as long as the array that is read from it.
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.length = 0

    def put(self, values: np.ndarray) -> int:
        """Add values behind the others. Returns: the length then."""
        self._file.write(values.astype(self._dtype).tobytes())
        self.length += len(values)
        return self.length

    def whole(self) -> np.ndarray:
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r") if self.length else np.zeros(0, self._dtype)


def topic_number(topic: str) -> int:
    """A hash, evenly spread over 64 bits and the same everywhere."""
    return int.from_bytes(hashlib.blake2b(topic.encode(), digest_size=8).digest(), "little")


def in_parts(part: Part, size: int) -> Iterator[np.ndarray]:
    """The indices of a part, so many at once."""
    return (part.indices[begin : begin + size] for begin in range(0, len(part), size))
