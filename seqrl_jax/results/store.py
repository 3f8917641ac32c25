"""A result is one JSON file per cell of the table: one agent on one task, all seeds.

Files are written whole or not at all, and read with tolerance: a file that cannot be trusted is named and skipped,
so that its cell runs again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar

from seqrl_jax.files import write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")
FORMAT = 1
CERTIFIED = ("random", "memoryless_deterministic", "memoryless_stochastic", "history", "state")
EXACT_GAP = 1e-6
SLUG_LENGTH = 60


class ResultsError(ValueError):
    """A result that cannot be: the message names the file or the field."""


class Certificate(TypedDict):
    """A certified value of a task: it lies in [lower, upper]; method says how each end was proved."""

    lower: float
    upper: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One agent on one task, N seeds, E evaluations during training.

    Numpy arrays and scalars are taken and kept as plain lists and numbers; NaN and infinities become None.

    suite: name of the suite that asked for the cell. task, agent: spec strings (`tmaze:length=10`, `ppo`).
    marked_wrong: in the table on purpose though the theory says that it fails.
    memoryless: the final policy is a stationary pi(a given o), so it is bounded by `memoryless_stochastic`.
    fingerprint: of the task's arrays. certified: the five names of `CERTIFIED`, in units of return.
    config: hyperparameters, JSON values. seeds: [N] distinct.
    steps: [E] environment steps at each evaluation, increasing.
    curve: [E, N] value J of the current policy, None once a seed has failed.
    scores: [N] final J, None for a failed seed. standard_errors: [N] of `scores`, 0 where J is exact.
    evaluation: how J of `scores` was found, "exact" or "M episodes" (M for each seed).
    claims: [N] what the agent's own value function says of its final policy at the start of an episode, None where it
        has none.
    warnings: what a reader of the scores should know, a sentence each.
    compile_seconds, run_seconds: wall time of the row, the compiled program that this cell shared.
    row: number of cells in that program. versions: package -> version. commit: git hash or None.
    created: ISO 8601 time.

    Raises: ResultsError, naming the field, if types or lengths do not fit.
    """

    suite: str
    task: str
    agent: str
    marked_wrong: bool
    memoryless: bool
    fingerprint: str
    certified: dict[str, Certificate]
    config: dict[str, Any]
    seeds: list[int]
    steps: list[int]
    curve: list[list[float | None]]
    scores: list[float | None]
    standard_errors: list[float | None]
    evaluation: str
    compile_seconds: float
    run_seconds: float
    row: int
    versions: dict[str, str]
    device: str
    commit: str | None
    created: str
    claims: list[float | None] | None = None
    warnings: Sequence[str] = ()
    kind: str = "agent"
    format: int = FORMAT

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name)))
        _check(self)

    @property
    def episodes(self) -> int | None:
        """Simulated episodes behind each score; None where J is exact."""
        return None if self.evaluation == "exact" else int(self.evaluation.split()[0])

    @property
    def finished(self) -> list[float]:
        """The scores of the seeds that did not fail."""
        return [score for score in self.scores if score is not None]

    @property
    def failed(self) -> int:
        """How many seeds failed."""
        return len(self.scores) - len(self.finished)


def file_name(agent: str, task: str) -> str:
    """The name of a cell's file: readable, and distinct for distinct specs on every file system.

    The digest keeps apart what the readable part cannot: upper and lower case, escaped and cut names.
    """
    digest = hashlib.sha256(json.dumps([agent, task]).encode()).hexdigest()[:16]
    return f"{_slug(agent)}--{_slug(task)}--{digest}.json"


def cell_path(directory: str | os.PathLike[str], cell: Cell) -> Path:
    """Where `cell` is kept in `directory`."""
    return Path(directory) / file_name(cell.agent, cell.task)


def write_cell(directory: str | os.PathLike[str], cell: Cell) -> Path:
    """Write a cell so that a crash at any moment leaves the old file or the new one, and return its path.

    The directory is made if it is missing.
    """
    path = cell_path(directory, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(cell), allow_nan=False, indent=1).encode())
    return path


def read_cells(directory: str | os.PathLike[str]) -> tuple[list[Cell], list[str]]:
    """Every cell in the `*.json` files of a directory (not of its subdirectories), in the order of their names.

    Returns: (cells, damage), where damage holds one message `file name: reason` for each file that was skipped.
    Raises: ResultsError if there is no such directory.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ResultsError(f"there is no results directory {directory}")
    cells, damage = [], []
    for path in sorted(directory.glob("*.json")):
        try:
            cells.append(_read_cell(path))
        except (OSError, ValueError, RecursionError) as error:
            damage.append(f"{path.name}: {error}")
    return cells, damage


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=]+", "_", spec)[:SLUG_LENGTH].lstrip(".") or "_"


def _read_cell(path: Path) -> Cell:
    cell = as_record(Cell, read_json(path), FORMAT)
    check_place(path, cell.agent, cell.task)
    return cell


def read_json(path: Path) -> Any:
    """What a file says, by the letter of JSON: without NaN and infinities. Raises: ResultsError; OSError."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:
        raise ResultsError(f"not JSON ({error})") from error


def as_record(kind: type[Record], data: Any, version: int) -> Record:
    """The dataclass whose fields a file holds; unknown entries are left out. Raises: ResultsError."""
    if not isinstance(data, dict) or "format" not in data:
        raise ResultsError("not a result of seqrl_jax")
    if data["format"] != version:
        raise ResultsError(f"format {data['format']!r}, where this version reads {version}")
    required = [field.name for field in fields(kind) if field.default is MISSING]
    if missing := [name for name in required if name not in data]:
        raise ResultsError(f"without {', '.join(missing)}")
    return kind(**{field.name: data[field.name] for field in fields(kind) if field.name in data})


def check_place(path: Path, method: str, task: str) -> None:
    """Refuse a copy of a cell under another name. Raises: ResultsError."""
    if path.name != file_name(method, task):
        raise ResultsError(f"a copy: {method} on {task} belongs in {file_name(method, task)}")


def _refuse_constant(text: str) -> NoReturn:
    raise ResultsError(f"{text} is not a number of JSON")


def _plain(name: str, value: Any) -> Any:
    """`value` as what JSON can hold; numpy is recognised by its `tolist`, so that it need not be imported."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ResultsError(f"{name}: keys must be strings")
        return {key: _plain(name, entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise ResultsError(f"{name}: cannot keep a {type(value).__name__}")


def _check(cell: Cell) -> None:
    for name in ("suite", "task", "agent", "fingerprint", "evaluation", "device", "created", "kind"):
        _require(isinstance(getattr(cell, name), str), name, "must be a string")
    for name in ("marked_wrong", "memoryless"):
        _require(isinstance(getattr(cell, name), bool), name, "must be true or false")
    for name in ("config", "versions", "certified"):
        _require(isinstance(getattr(cell, name), dict), name, "must be an object")
    for name in ("seeds", "steps", "curve", "scores", "standard_errors", "warnings"):
        _require(isinstance(getattr(cell, name), list), name, "must be a list")
    for name in ("compile_seconds", "run_seconds"):
        _require(_is_number(getattr(cell, name)), name, "must be a number")
        _require(getattr(cell, name) >= 0, name, "must not be negative")

    _require(_is_integer(cell.format) and cell.format == FORMAT, "format", f"must be {FORMAT}")
    _require(cell.kind == "agent", "kind", 'must be "agent"')
    _require(cell.commit is None or isinstance(cell.commit, str), "commit", "must be a string or null")
    _require(_is_integer(cell.row) and cell.row >= 1, "row", "must be a positive integer")
    _require(all(isinstance(v, str) for v in cell.versions.values()), "versions", "must hold strings")
    _require(
        re.fullmatch(r"exact|[1-9][0-9]{0,17} episodes", cell.evaluation) is not None,
        "evaluation",
        'must be "exact" or "M episodes"',
    )
    try:
        datetime.fromisoformat(cell.created)
    except ValueError as error:
        raise ResultsError("created: must be an ISO 8601 time") from error

    _require(set(cell.certified) == set(CERTIFIED), "certified", f"must hold {', '.join(CERTIFIED)}")
    for name, value in cell.certified.items():
        _check_certificate(f"certified.{name}", value)

    _require(all(map(_is_integer, cell.seeds)), "seeds", "must be integers")
    _require(0 < len(cell.seeds) == len(set(cell.seeds)), "seeds", "must be distinct, at least one")
    _require(all(map(_is_integer, cell.steps)), "steps", "must be integers")
    increasing = all(a < b for a, b in zip(cell.steps, cell.steps[1:]))
    _require(increasing and all(step >= 0 for step in cell.steps), "steps", "must increase from 0 or more")
    _require(len(cell.curve) == len(cell.steps), "curve", "must have one row for each of the steps")
    for index, row in enumerate(cell.curve):
        _check_per_seed(f"curve[{index}]", row, cell)
    _check_per_seed("scores", cell.scores, cell)
    _check_per_seed("standard_errors", cell.standard_errors, cell)
    _require(all(isinstance(text, str) for text in cell.warnings), "warnings", "must hold strings")
    if cell.claims is not None:
        _check_per_seed("claims", cell.claims, cell)
    errors = [error for error in cell.standard_errors if error is not None]
    _require(all(error >= 0 for error in errors), "standard_errors", "must not be negative")


def _check_certificate(name: str, value: Any) -> None:
    _require(isinstance(value, dict) and set(value) == {"lower", "upper", "method"}, name, "must be a value")
    _require(_is_number(value["lower"]) and _is_number(value["upper"]), name, "must have finite ends")
    _require(isinstance(value["method"], str), name, "must have a method in words")
    slack = EXACT_GAP * max(1.0, abs(value["upper"]))
    _require(value["lower"] <= value["upper"] + slack, name, "has its lower end above its upper end")


def _check_per_seed(name: str, values: Any, cell: Cell) -> None:
    fits = isinstance(values, list) and len(values) == len(cell.seeds)
    _require(fits, name, f"must have {len(cell.seeds)} entries, one for each seed")
    _require(all(v is None or _is_number(v) for v in values), name, "must hold numbers or null")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # An integer too large for a float is no score either.
    return isinstance(value, float) or (_is_integer(value) and abs(value) < 2**1000)


def _require(condition: bool, name: str, problem: str) -> None:
    if not condition:
        raise ResultsError(f"{name}: {problem}")
