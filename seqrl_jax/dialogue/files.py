"""Logs as files: JSON lines, a dialogue a line, or Parquet, a turn a row; both are read back to the letter or refused.

`minari:NAME` in place of a path is a dataset of Minari (see `minari_store`).

What a line holds, and the columns of Parquet (one row for each turn, `dialogue` and `turn` number them):

    game        the spec that the dialogue is of; null of one that is not known, which is taken for that of the game
                that the log is read for
    seed, number    what it was drawn by, where it was drawn
    opening     what the user said first
    turns       for each: `said`, `reward`, `probability` with which the speakers said that, who choose by what was said
                before (those of another spec by another law), `token_probabilities` of its words and its end, and
                `reply` (none behind the last turn)
    terminated, truncated   how it ended: the game was over, or the turns were

Logs of others may leave out seed, number and probabilities. What they say has to be possible in the game.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from seqrl_jax import naming
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log, spelled, symbol_log_probs
from seqrl_jax.dialogue.minari_store import free_place, read_minari, write_minari
from seqrl_jax.dialogue.possible import impossible
from seqrl_jax.dialogue.probabilities import TOLERANCE, contradicted
from seqrl_jax.dialogue.registry import TASK, make_game
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.files import write_whole
from seqrl_jax.strict_json import JSONError, parsed
from seqrl_jax.tasks.pomdp_tokens import PomdpFileError
from seqrl_jax.tasks.registry import FILE
from seqrl_jax.tasks.tabular import TaskError, fingerprint

MINARI = "minari:"


class LogError(ValueError):
    """A log that cannot be: the message names the file and the line."""


class Turn(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """See the module."""

    said: str
    reward: float
    reply: str | None = None
    probability: float | None = None
    token_probabilities: list[float] | None = None


class Dialogue(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """See the module."""

    game: str | None
    opening: str
    turns: list[Turn]
    terminated: bool
    truncated: bool
    seed: int | None = None
    number: int | None = None


def write_log(path: Path, spec: str, game: Game, log: Log, seed: int) -> None:
    """Write a log, as the ending of the path says: .jsonl or .parquet; or `minari:NAME`.

    Raises: ValueError for another ending, or a dataset that cannot be made.
    """
    check_ending(path)
    if name := _dataset(path):
        return write_minari(name, spec, game, log, seed)
    dialogues = _dialogues(spec, game, log, seed)
    if path.suffix == ".parquet":
        return write_whole(path, _parquet(dialogues))
    write_whole(path, b"".join(msgspec.json.encode(each) + b"\n" for each in dialogues))


def check_ending(path: Path) -> None:
    """Raises: ValueError for a path to which no log is written, and for the name of a dataset that is none or is taken;
    ImportError for one without Minari."""
    if name := _dataset(path):
        try:
            free_place(name)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    elif path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{path}: a log is written to a path that ends in .jsonl or .parquet, or to {MINARI}NAME")


def read_log(path: Path, game: Game) -> Log:
    """A log of this game from a file. Probabilities that it does not hold are 0; states are not in files, and 0.

    Raises: LogError, naming the line (or row): not JSON, fields that are missing, unknown or of another type, numbers
        that are not finite, another game or the same with other settings, words that are not the game's, an end that
        is none, what cannot happen in the game, and probabilities that contradict each other.
    """
    dialogues = list(_from_anything(path, game))
    if not dialogues:
        raise LogError(f"{path}: no dialogues")
    horizon, num_a = game.task.horizon, game.task.num_actions
    say, hear = _Names(game.task.actions), _Names(game.task.observations)
    symbols = spelling(game, "token")
    count = len(dialogues)
    log = Log(
        utterance=np.zeros((count, horizon), int),
        reply=np.zeros((count, horizon + 1), int),
        reward=np.zeros((count, horizon)),
        probability=np.zeros((count, horizon, num_a)),
        state=np.zeros((count, horizon + 1), int),
        length=np.array([len(each.turns) for _, each in dialogues]),
        terminated=np.array([each.terminated for _, each in dialogues]),
    )
    words = np.zeros((count, horizon, symbols.said.shape[1]))
    other = cache(lambda spec: _other_game(spec, game))
    for row, (where, each) in enumerate(dialogues):
        if each.game is not None and (why := other(each.game)):
            raise LogError(f"{where}: a dialogue of {naming.shown(each.game)}, {why}")
        _check(where, each, game)
        log.reply[row, 0] = hear.number(where, "opening", each.opening)
        for t, turn in enumerate(each.turns):
            said = say.number(where, f"turn {t}", turn.said)
            log.utterance[row, t], log.reward[row, t] = said, turn.reward
            log.probability[row, t, said] = _probability(turn)
            of_words = turn.token_probabilities or ()
            words[row, t, : len(of_words)] = of_words
            if turn.reply is not None:
                log.reply[row, t + 1] = hear.number(where, f"reply {t}", turn.reply)
    _, speakers = np.unique([each.game or "" for _, each in dialogues], return_inverse=True)
    if fault := impossible(game, log) or contradicted(log, speakers, words, symbols):
        row, why = fault
        raise LogError(f"{dialogues[row][0]}: {why}")
    return log


def _dialogues(spec: str, game: Game, log: Log, seed: int) -> Iterator[Dialogue]:
    symbols = spelling(game, "token")
    words = spelled(log, symbols)
    probabilities = np.exp(symbol_log_probs(log, words, symbols))
    # Of words they follow from the whole law, which a log that was read does not hold.
    whole = np.abs(log.probability.sum(2) - 1) <= TOLERANCE
    for row, length in enumerate(log.length):
        turns = []
        for t in range(length):
            said = log.utterance[row, t]
            own = words.own[row] & (words.turn[row] == t)
            turns.append(
                Turn(
                    said=_text(game.task.actions[said]),
                    reward=float(log.reward[row, t]),
                    reply=_text(game.task.observations[log.reply[row, t + 1]]) if t + 1 < length else None,
                    probability=float(log.probability[row, t, said]) or None,
                    token_probabilities=[float(x) for x in probabilities[row, own]] if whole[row, t] else None,
                )
            )
        ended = bool(log.terminated[row])
        yield Dialogue(spec, _text(game.task.observations[log.reply[row, 0]]), turns, ended, not ended, seed, row)


def _text(name: str) -> str:
    return name.replace("_", " ")


def _dataset(path: Path) -> str | None:
    """The name of a dataset of Minari, where the path is one."""
    text = str(path)
    return text.removeprefix(MINARI) if text.startswith(MINARI) else None


def _from_anything(path: Path, game: Game) -> Iterator[tuple[str, Dialogue]]:
    if name := _dataset(path):
        return _from_minari(path, name, game)
    return _from_lines(path) if path.suffix.lower() == ".jsonl" else _from_parquet(path)


def _from_minari(path: Path, name: str, game: Game) -> Iterator[tuple[str, Dialogue]]:
    try:
        found = list(read_minari(name, game))
    except ValueError as error:
        raise LogError(f"{path}: {error}") from None
    for number, dialogue in found:
        yield _converted(f"{path}, episode {number}", dialogue)


def _from_lines(path: Path) -> Iterator[tuple[str, Dialogue]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            yield _decoded(f"{path}, line {number}", line)


def _decoded(where: str, line: bytes) -> tuple[str, Dialogue]:
    try:
        return _converted(where, parsed(line))
    except JSONError as error:
        raise LogError(f"{where}: {error}") from None


def _converted(where: str, fields: Any) -> tuple[str, Dialogue]:
    try:
        return where, msgspec.convert(fields, Dialogue)
    except msgspec.ValidationError as error:
        raise LogError(f"{where}: {error}") from None


def _check(where: str, dialogue: Dialogue, game: Game) -> None:
    """Raises: LogError."""
    horizon, turns = game.task.horizon, dialogue.turns
    if not turns:
        raise LogError(f"{where}: no turns")
    if len(turns) > horizon:
        raise LogError(f"{where}: {len(turns)} turns, and the game has {horizon} at most")
    if dialogue.terminated == dialogue.truncated:
        raise LogError(f"{where}: a dialogue ends in one way, terminated or truncated")
    if dialogue.truncated and len(turns) < horizon:
        raise LogError(f"{where}: cut after {len(turns)} of {horizon} turns, before the game was over")
    for t, turn in enumerate(turns):
        if not math.isfinite(turn.reward):
            raise LogError(f"{where}: reward of turn {t} is {turn.reward}, no finite number")
        if (turn.reply is None) != (t + 1 == len(turns)):
            raise LogError(f"{where}: turn {t} has {'no' if turn.reply is None else 'a'} reply")
        _check_probabilities(f"{where}: turn {t}", turn)


def _other_game(spec: str, game: Game) -> str | None:
    """Why this does not name the game, or one with other speakers; None where it does. A file of a task may be gone."""
    name = spec.removeprefix(f"{TASK}:")
    if _title(name) != _title(game.task.name):
        return f"not of {game.task.name}"
    file = FILE.fullmatch(name)
    if file and not Path(file["path"]).exists():
        return None
    try:
        named = make_game(spec).task
    except (naming.SpecError, TaskError, PomdpFileError) as error:
        return f"which cannot be made: {error}"
    return None if fingerprint(named) == fingerprint(game.task) else "which has other settings than the game asked for"


def _title(spec: str) -> str:
    """What a game or a task is called without its settings; a task of a file as the file, wherever that lies."""
    file = FILE.fullmatch(spec)
    return Path(file["path"]).stem if file else naming.base(spec)


def _probability(turn: Turn) -> float:
    """Of what was said; 0 where it is unknown."""
    if turn.probability is None and turn.token_probabilities is not None:
        return math.prod(turn.token_probabilities)
    return turn.probability or 0.0


def _check_probabilities(where: str, turn: Turn) -> None:
    for value in [turn.probability, *(turn.token_probabilities or [])]:
        if value is not None and not 0 < value <= 1 + TOLERANCE:
            raise LogError(f"{where} has a probability of {value}, expected one above 0 and at most 1")
    if turn.token_probabilities is None:
        return
    if len(turn.token_probabilities) != len(turn.said.split()) + 1:
        found, due = len(turn.token_probabilities), len(turn.said.split()) + 1
        raise LogError(f"{where} has {found} token probabilities, {due} are due to its words and its end")
    product = math.prod(turn.token_probabilities)
    if turn.probability is not None and abs(product - turn.probability) > TOLERANCE * turn.probability + 1e-9:
        raise LogError(f"{where} is said with probability {turn.probability:.6g}, its words with {product:.6g}")


class _Names:
    """Utterances or replies by what they say."""

    def __init__(self, names: Sequence[str]) -> None:
        self._numbers = {_text(name): number for number, name in enumerate(names)}
        self._words = {word for name in self._numbers for word in name.split()}

    def number(self, where: str, what: str, text: str) -> int:
        """Of one of them. Raises: LogError with the word that nobody says, or the nearest ones."""
        if strange := [word for word in text.split() if word not in self._words]:
            raise LogError(f"{where}: {what} has the word {naming.shown(strange[0])}, which is not of this game")
        try:
            return naming.lookup(what, text, self._numbers)
        except naming.SpecError as error:
            raise LogError(f"{where}: {error}") from None


COLUMNS = ("dialogue", "turn", "said", "reward", "reply", "probability", "token_probabilities")
WHOLE = ("game", "opening", "terminated", "truncated", "seed", "number")


def _parquet(dialogues: Iterable[Dialogue]) -> bytes:
    pyarrow = _pyarrow()
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(dialogues):
        whole = {name: value for name, value in msgspec.structs.asdict(each).items() if name in WHOLE}
        turns = enumerate(json.loads(msgspec.json.encode(each.turns)))
        rows += [{**dict.fromkeys(COLUMNS), "dialogue": number, "turn": t, **turn, **whole} for t, turn in turns]
    types = {
        **dict.fromkeys(("dialogue", "turn", "seed", "number"), pyarrow.int64()),
        **dict.fromkeys(("game", "opening", "said", "reply"), pyarrow.string()),
        **dict.fromkeys(("reward", "probability"), pyarrow.float64()),
        **dict.fromkeys(("terminated", "truncated"), pyarrow.bool_()),
        "token_probabilities": pyarrow.list_(pyarrow.float64()),
    }
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(types)), sink)
    return bytes(sink.getvalue())


def _from_parquet(path: Path) -> Iterator[tuple[str, Dialogue]]:
    pyarrow = _pyarrow()
    try:
        names = pyarrow.parquet.read_schema(path).names
        if twice := [name for name in names if names.count(name) > 1]:
            raise LogError(f"{path}: column {twice[0]!r} stands there twice")
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise LogError(f"{path}: not Parquet ({error})") from None
    grouped: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    for number, row in enumerate(rows):
        if missing := [name for name in ("dialogue", "turn") if name not in row]:
            raise LogError(f"{path}: no column {missing[0]!r}")
        for name in ("dialogue", "turn"):
            if not isinstance(row[name], int):
                raise LogError(f"{path}, row {number}: {name} is {naming.shown(str(row[name]))}, no whole number")
        grouped.setdefault(row["dialogue"], []).append((number, row))
    for parts in grouped.values():
        parts.sort(key=lambda part: part[1]["turn"])
        where, first = f"{path}, row {parts[0][0]}", parts[0][1]
        if [row["turn"] for _, row in parts] != list(range(len(parts))):
            raise LogError(f"{where}: turns of dialogue {first['dialogue']} are missing or stand twice")
        known = {*COLUMNS, *WHOLE}
        if strange := [name for name in first if name not in known]:
            raise LogError(f"{path}: unknown column {strange[0]!r}")
        for number, row in parts:
            if others := [name for name in WHOLE if row.get(name) != first.get(name)]:
                raise LogError(f"{path}, row {number}: {others[0]} is another one than in row {parts[0][0]}")
        inner = [name for name in COLUMNS[2:] if name in first]
        turns = [{name: row[name] for name in inner if row[name] is not None} for _, row in parts]
        whole = {name: first[name] for name in WHOLE if first.get(name) is not None}
        yield _converted(where, {**whole, "turns": turns})


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for Parquet: pip install "seqrl_jax[columns]"') from error
    return pyarrow
