"""Tokenizers of others' models, from the files beside their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.strict_json import read_object
from seqrl_jax.text.chat import PLAIN, Chat, Template, plain
from seqrl_jax.text.vocabulary import TOKENIZER, TOKENIZER_CONFIG, Bytes, Vocabulary

WORDS, MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
SPECIAL, CHAT_TEMPLATE = "special_tokens_map.json", "chat_template.jinja"
BESIDE = (TOKENIZER, TOKENIZER_CONFIG, WORDS, MERGES, SPECIAL, ADDED, CHAT_TEMPLATE)
"""Files that belong to a tokenizer and go with its model."""
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
"""Of a token that was added to others."""


class Tokenizer:
    """A tokenizer of the library `tokenizers`, from files beside a model, which are read as `transformers` does."""

    def __init__(self, directory: Path, end: int) -> None:
        """Raises: ImportError, with the command that installs it, without `tokenizers`; ValueError for bad files, and
        for a tokenizer that puts a space before what it reads."""
        library = _tokenizers()
        self._files = {name: (directory / name).read_bytes() for name in BESIDE if (directory / name).exists()}
        config = _object(directory / TOKENIZER_CONFIG)
        try:
            if TOKENIZER in self._files:
                self._tokenizer = library.Tokenizer.from_str(self._files[TOKENIZER].decode())
            else:
                merges = library.models.BPE.from_file(str(directory / WORDS), str(directory / MERGES))
                self._tokenizer = library.Tokenizer(merges)
                self._tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
                self._tokenizer.decoder = library.decoders.ByteLevel()
            self._add(library, {word: (number, {}) for word, number in _object(directory / ADDED).items()})
            described = config.get("added_tokens_decoder", {})
            self._add(library, {token["content"]: (int(number), token) for number, token in described.items()})
            if (word := self._tokenizer.id_to_token(end)) is not None:
                self._tokenizer.add_special_tokens([word])
        # The library raises bare exceptions.
        except Exception as error:
            raise ValueError(f"{directory}: its tokenizer cannot be read ({error})") from error
        steps = json.loads(self._tokenizer.to_str())
        if config.get("add_prefix_space") or _puts_a_space([steps["normalizer"], steps["pre_tokenizer"]]):
            # An answer, which stands behind a prompt, is read by itself.
            raise ValueError(f"{directory}: its tokenizer puts a space before whatever it reads (add_prefix_space)")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.end = end
        self.chat = self._chat(directory)

    @property
    def size(self) -> int:
        # Numbers may leave others out, and a model needs a row for the largest.
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    def encode(self, text: str) -> np.ndarray:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def spelled(self, tokens: np.ndarray) -> bytes:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False).encode()

    def files(self) -> Mapping[str, bytes]:
        return self._files

    def _chat(self, directory: Path) -> Chat:
        source = chat_template(directory)
        if source is None:
            return plain
        end = self._tokenizer.id_to_token(self.end)
        words = {
            "bos_token": end,
            "eos_token": end,
            **_object(directory / SPECIAL),
            **_object(directory / TOKENIZER_CONFIG),
        }
        spelled = {name: word.get("content") if isinstance(word, dict) else word for name, word in words.items()}
        given = {name: word for name, word in spelled.items() if name.endswith("_token") and isinstance(word, str)}
        try:
            return Template(source, given)
        except ValueError as error:
            raise ValueError(f"{directory}: {error}") from None

    def _add(self, library: Any, added: Mapping[str, tuple[int, Mapping[str, Any]]]) -> None:
        """Tokens that stand beside the tokenizer's own, {what one spells: its number and flags}.

        Raises: ValueError where a number is not free, or leaves others out.
        """
        have = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        for word, (number, flags) in sorted(added.items(), key=lambda item: item[1][0]):
            if word not in have:
                token = library.AddedToken(word, **{name: flags[name] for name in FLAGS if name in flags})
                self._tokenizer.add_tokens([token])
            if (given := self._tokenizer.token_to_id(word)) != number:
                raise ValueError(f"the added token {word!r} is {number}, and {given} beside the others")


def chat_template(directory: Path) -> str | None:
    """The source of the chat template of a model's directory, which stands in a file of its own or in the tokenizer's
    configuration. Raises: ValueError where that has several, none of them called default."""
    if (directory / CHAT_TEMPLATE).exists():
        return (directory / CHAT_TEMPLATE).read_text(encoding="utf-8", errors="replace")
    source = _object(directory / TOKENIZER_CONFIG).get("chat_template")
    if isinstance(source, list):
        named = {each.get("name"): each.get("template") for each in source if isinstance(each, dict)}
        source = named.get("default", named)
    if source is None or isinstance(source, str):
        return source
    raise ValueError(f"{directory / TOKENIZER_CONFIG}: chat_template is no text, and has none that is called default")


def vocabulary_of(directory: Path, tokens: int, end: Any) -> Vocabulary:
    """That of a model's directory. tokens: of the model. end: the end token that its configuration names.

    Raises: ValueError where there is none, or where model and tokenizer do not belong together; ImportError.
    """
    byte = Bytes()
    own = directory / TOKENIZER
    ours = not own.exists() or own.read_bytes() == byte.files()[TOKENIZER]
    if tokens == byte.size and end in (None, byte.end) and ours and chat_template(directory) in (None, PLAIN):
        return byte
    if not own.exists() and not ((directory / WORDS).exists() and (directory / MERGES).exists()):
        raise ValueError(f"{directory}: {tokens} tokens and no tokenizer ({TOKENIZER}, or {WORDS} and {MERGES})")
    if not isinstance(end, int) or not 0 <= end < tokens:
        raise ValueError(f"{directory}: eos_token_id is {end!r}, expected one of the {tokens} tokens")
    vocabulary = Tokenizer(directory, end)
    if vocabulary.size > tokens:
        raise ValueError(f"{directory}: a tokenizer of {vocabulary.size} tokens beside a model of {tokens}")
    return vocabulary


def _object(path: Path) -> dict[str, Any]:
    """What a JSON file holds, nothing if it is not there."""
    return read_object(path) if path.exists() else {}


def _puts_a_space(step: Any) -> bool:
    """Whether a step of a tokenizer, or one within it, puts a space before what it reads."""
    if isinstance(step, list):
        return any(map(_puts_a_space, step))
    if not isinstance(step, dict):
        return False
    before = step.get("add_prefix_space") or step.get("prepend_scheme") in ("always", "first")
    return bool(before) or step.get("type") == "Prepend" or any(map(_puts_a_space, step.values()))


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for this model\'s tokenizer: pip install "seqrl_jax[tokenizers]"') from error
    return tokenizers
