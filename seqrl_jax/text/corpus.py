"""Texts and preferences of one's own: JSON lines in the community's formats, as bytes, read from disk as needed.

    {"text"}    {"prompt", "completion"}    {"prompt", "chosen", "rejected"}    {"chosen", "rejected"}

In the last form the two share their beginning, which is the prompt. A token is a byte; `END` begins and ends a text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

END = 256
VOCABULARY = 257
SHORTEST = 32
"""Batches are padded to a power of two, at least this, so that few shapes are compiled."""


class DataError(ValueError):
    """A line that is no example: the message names it."""


class Example(NamedTuple):
    """A prompt, and its completions: one, or the chosen and the rejected one."""

    prompt: bytes
    completions: tuple[bytes, ...]


class TokenBatch(NamedTuple):
    """B examples with K completions each.

    tokens: [B, K, T + 1], `END`, the prompt, the completion, `END`, and `END` as padding. mask: [B, K, T], which of
    tokens[..., 1:] belong to the completion, its end among them.
    """

    tokens: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Corpus:
    """The examples of a file. Only the places of its lines are in memory.

    Attributes: path. pairs: whether examples have two completions. starts: [N] bytes from the file's beginning.
    numbers: [N] of the lines, from 1. lengths: [N] tokens of each example's longest text, both `END`s among them.
    prompts: [N] tokens of its prompt, with the beginning `END`.
    skipped: how many bad lines were left out. digest: of the whole file.
    """

    path: Path
    pairs: bool
    starts: np.ndarray
    numbers: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray
    skipped: int
    digest: str

    def __len__(self) -> int:
        return len(self.starts)

    def truncated(self, context: int) -> int:
        """How many examples a model with this context does not see whole."""
        return int((self.lengths > context + 1).sum())

    def truncated_prompts(self, context: int, length: int) -> int:
        """How many prompts it does not see whole when `prompt_batch` leaves room for answers of so many bytes."""
        return int((self.prompts > context - length - 1).sum())

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Example]:
        """The examples at these places."""
        examples = []
        with open(self.path, "rb") as file:
            for index in indices:
                file.seek(int(self.starts[index]))
                examples.append(parse(file.readline(), int(self.numbers[index]), self.pairs))
        return examples


def scan(path: str | os.PathLike[str], pairs: bool, skip_bad: bool = False) -> Corpus:
    """Read a file once, check every line, and remember where the good ones stand. Empty lines do not count.

    Args: pairs: whether each line must hold a preference. skip_bad: count bad lines instead of refusing the file.
    Raises: DataError, naming the first bad line, or the file where it holds no example. OSError.
    """
    path, starts, numbers, lengths, prompts = Path(path), [], [], [], []
    skipped, place, digest = 0, 0, hashlib.sha256()
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    example = parse(line, number, pairs)
                    starts.append(place)
                    numbers.append(number)
                    lengths.append(len(example.prompt) + max(map(len, example.completions)) + 2)
                    prompts.append(len(example.prompt) + 1)
                except DataError as error:
                    if not skip_bad:
                        raise DataError(f"{path}, {error}") from None
                    skipped += 1
            place += len(line)
            digest.update(line)
    if not starts:
        raise DataError(f"{path}: no example{f' among {skipped} bad lines' if skipped else ''}")
    return Corpus(
        path,
        pairs,
        starts=np.array(starts),
        numbers=np.array(numbers),
        lengths=np.array(lengths),
        prompts=np.array(prompts),
        skipped=skipped,
        digest=digest.hexdigest(),
    )


def parse(line: bytes, number: int, pairs: bool) -> Example:
    """One line. Raises: DataError with the line's number."""

    def refuse(why: str) -> DataError:
        return DataError(f"line {number}: {why}")

    try:
        fields = json.loads(line)
    except ValueError as error:
        raise refuse(f"not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise refuse("not an object")

    def text(key: str) -> bytes:
        value = fields[key]
        if not isinstance(value, str):
            raise refuse(f"{key} is not a string")
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise refuse(f"{key} is no valid Unicode") from None

    if "chosen" in fields and "rejected" in fields:
        chosen, rejected = text("chosen"), text("rejected")
        if chosen == rejected:
            raise refuse("chosen and rejected are equal")
        if "prompt" in fields:
            example = Example(text("prompt"), (chosen, rejected))
        else:
            shared = shared_beginning(chosen, rejected)
            example = Example(chosen[:shared], (chosen[shared:], rejected[shared:]))
        example = example if pairs else example._replace(completions=example.completions[:1])
    elif pairs:
        raise refuse("a preference needs chosen and rejected")
    elif "prompt" in fields and "completion" in fields:
        example = Example(text("prompt"), (text("completion"),))
    elif "text" in fields:
        example = Example(b"", (text("text"),))
    else:
        forms = "text; prompt and completion; or chosen and rejected"
        raise refuse(f"expected {forms}, found {', '.join(sorted(fields)) or 'nothing'}")
    if not all(example.completions):
        raise refuse("an empty completion")
    return example


def shared_beginning(one: bytes, other: bytes) -> int:
    """How many bytes two texts share, up to the last space or line break among them: a prompt ends with a word."""
    same = next((place for place, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return max(one.rfind(b" ", 0, same), one.rfind(b"\n", 0, same)) + 1


def token_batch(examples: Sequence[Example], context: int) -> TokenBatch:
    """Examples as arrays, T at most `context`. Long texts lose the left of their prompt, then the right of their
    completion."""
    rows = []
    for example in examples:
        for completion in example.completions:
            said = [*completion, END]
            prompt = _cut([END, *example.prompt], context + 1 - len(said))
            rows.append((prompt, said[: context + 1 - len(prompt)]))
    return _padded(rows, len(examples), context)


def with_answers_of_others(examples: Sequence[Example]) -> list[Example]:
    """The same with two more completions each: those to the next example's prompt, behind one's own."""
    others = [*examples[1:], *examples[:1]]
    return [one._replace(completions=(*one.completions, *other.completions)) for one, other in zip(examples, others)]


def prompt_batch(examples: Sequence[Example], context: int, length: int) -> TokenBatch:
    """Prompts alone, K = 1, with room behind each for an answer of so many bytes and its end; `mask` is that room.

    The last token stays `END`, so that an answer that fills its room is cut, and can still be read to its last byte.
    Long prompts lose their left.
    """
    room = [END] * (length + 1)
    rows = [(_cut([END, *example.prompt], context - len(room)), room) for example in examples]
    return _padded(rows, len(examples), context, spare=1)


def _cut(prompt: list[int], room: int) -> list[int]:
    """The right end of a prompt, at least its beginning token."""
    return prompt[max(0, len(prompt) - room) :] or [END]


def _padded(rows: Sequence[tuple[list[int], list[int]]], examples: int, context: int, spare: int = 0) -> TokenBatch:
    """Prompts and what follows them side by side: T a power of two with `spare` places left over, at most `context`."""
    longest = max(len(prompt) + len(said) - 1 for prompt, said in rows) + spare
    length = min(context, max(SHORTEST, 1 << (longest - 1).bit_length()))
    tokens = np.full((len(rows), length + 1), END, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for row, (prompt, said) in enumerate(rows):
        whole = [*prompt, *said]
        tokens[row, : len(whole)] = whole
        mask[row, len(prompt) - 1 : len(whole) - 1] = True
    return TokenBatch(tokens.reshape(examples, -1, length + 1), mask.reshape(examples, -1, length))


def written(tokens: Any) -> str:
    """Tokens as text, up to their end; what is no UTF-8 is shown as such."""
    values = np.asarray(tokens).tolist()
    spoken = values[: values.index(END)] if END in values else values
    return bytes(spoken).decode(errors="replace")
