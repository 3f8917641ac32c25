"""Texts as tokens, and bytes as the plainest of them.

Every vocabulary has one token, its end, that begins and ends texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from seqrl_jax.text.chat import PLAIN, Chat, plain

END_WORD = "<|endoftext|>"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


class Vocabulary(Protocol):
    """Tokens are 0 ... size - 1; `end` is one of them."""

    @property
    def size(self) -> int: ...

    @property
    def end(self) -> int: ...

    def encode(self, text: str) -> np.ndarray:
        """[n] int32: the tokens of a text. A special token that it spells is that token, as `transformers` has it."""

    def spelled(self, tokens: np.ndarray) -> bytes:
        """What tokens [n] spell, special ones by their names."""

    @property
    def chat(self) -> Chat:
        """How dialogues are written."""

    def files(self) -> Mapping[str, bytes]:
        """What `transformers` needs beside the weights to read and write texts, by file name."""


def written(vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    """Tokens [n] as text, up to their end; what is no UTF-8 is shown as such."""
    ends = np.flatnonzero(tokens == vocabulary.end)
    return vocabulary.spelled(tokens[: ends[0]] if len(ends) else tokens).decode(errors="replace")


def begun(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """[n]: the tokens of what begins a text, without the end token that stands before it, also where it says that."""
    tokens = vocabulary.encode(text)
    return tokens[1:] if len(tokens) and tokens[0] == vocabulary.end else tokens


def ended(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """[n]: the tokens of what ends a text, with its end, once: what says its end and then at most space has said it."""
    tokens = vocabulary.encode(text)
    ends = np.flatnonzero(tokens == vocabulary.end)
    if len(ends) and not vocabulary.spelled(tokens[ends[-1] + 1 :]).strip():
        tokens = tokens[: ends[-1]]
    return np.append(tokens, np.int32(vocabulary.end))


@dataclass(frozen=True)
class Bytes:
    """A token is a byte, and 256 the end, which a text spells `<|endoftext|>`."""

    size: int = field(default=257, init=False)
    end: int = field(default=256, init=False)

    @property
    def chat(self) -> Chat:
        return plain

    def encode(self, text: str) -> np.ndarray:
        first, *others = (np.frombuffer(part.encode(), np.uint8).astype(np.int32) for part in text.split(END_WORD))
        return np.concatenate([first, *(np.append(np.int32(self.end), part) for part in others)])

    def spelled(self, tokens: np.ndarray) -> bytes:
        first, *others = np.split(tokens, np.flatnonzero(tokens == self.end))
        return END_WORD.encode().join(
            part.astype(np.uint8).tobytes() for part in (first, *(part[1:] for part in others))
        )

    def files(self) -> Mapping[str, bytes]:
        return {TOKENIZER: _as_json(_byte_tokenizer()), TOKENIZER_CONFIG: _as_json(_tokenizer_config())}


def byte_characters() -> list[str]:
    """GPT-2's names of the 256 bytes: those that print are themselves, the others stand from U+0100 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(others)) for byte in range(256)]


def _byte_tokenizer() -> dict[str, Any]:
    """The tokenizer file of `Bytes`: byte pairs without merges, and the end in front of what is read."""
    byte = Bytes()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    begin, text = {"SpecialToken": {"id": END_WORD, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    then = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": byte.end, "content": END_WORD, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, text],
            "pair": [begin, text, then],
            "special_tokens": {END_WORD: {"id": END_WORD, "ids": [byte.end], "tokens": [END_WORD]}},
        },
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {**{name: byte for byte, name in enumerate(byte_characters())}, END_WORD: byte.end},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_WORD)
    kind, chat = {"tokenizer_class": "PreTrainedTokenizerFast"}, {"chat_template": PLAIN}
    return {**kind, **ends, "clean_up_tokenization_spaces": False, **chat}


def _as_json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
