"""Results of the language-model track: one JSON file for each method and task, all seeds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqrl_jax.bench.results import ResultsError, as_record, check_place, file_name, read_json
from seqrl_jax.files import write_whole

KIND, FORMAT = "alignment", 1
PerSeed = list[float | None]


@dataclass(frozen=True, kw_only=True)
class AlignmentCell:
    """One method on one task, N seeds. Rewards are gold, KL in nats to the reference of the same seed.

    reward, kl, regret: [N], None for a failed seed; regret is `frontier(kl) - reward`. kl_standard_errors: [N], 0 where
    the KL is exact. shortfall: [N] `beta log Z - (reward - beta kl)` at the method's own beta, None where pi* is not
    what the method would end at. reference_reward, best_reward: [N], of pi_0 and of the best completions.
    frontier: of the first seed, pairs (KL, reward). config: hyperparameters. fingerprint: of the task's rewards.
    """

    suite: str
    task: str
    method: str
    config: dict[str, Any]
    fingerprint: str
    seeds: list[int]
    reward: PerSeed
    kl: PerSeed
    kl_standard_errors: PerSeed
    regret: PerSeed
    shortfall: PerSeed | None
    beta: float | None
    reference_reward: list[float]
    best_reward: list[float]
    frontier: list[list[float]]
    compile_seconds: float
    run_seconds: float
    versions: dict[str, str]
    device: str
    commit: str | None
    created: str
    kind: str = KIND
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name in ("reward", "kl", "kl_standard_errors", "regret", "reference_reward", "best_reward"):
            values = getattr(self, name)
            if not (isinstance(values, list) and len(values) == len(self.seeds)):
                raise ResultsError(f"{name}: must have {len(self.seeds)} entries, one for each seed")
            if not all(value is None or isinstance(value, int | float) for value in values):
                raise ResultsError(f"{name}: must hold numbers or null")
        for name in ("task", "method", "suite", "fingerprint", "created", "device"):
            if not isinstance(getattr(self, name), str):
                raise ResultsError(f"{name}: must be a string")

    @property
    def failed(self) -> int:
        """How many seeds failed."""
        return sum(value is None for value in self.reward)


def write_alignment(directory: Path, cell: AlignmentCell) -> Path:
    """Write a cell whole or not at all, and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(cell.method, cell.task)
    write_whole(path, json.dumps(asdict(cell), allow_nan=False, indent=1).encode())
    return path


def read_alignment(directory: Path) -> tuple[list[AlignmentCell], list[str]]:
    """Every cell of this kind in a directory, and a message for each file that was meant as one and is damaged."""
    cells, damage = [], []
    for path in sorted(directory.glob("*.json")):
        try:
            told = read_json(path)
            if isinstance(told, dict) and told.get("kind") == KIND:
                cell = as_record(AlignmentCell, told, FORMAT)
                check_place(path, cell.method, cell.task)
                cells.append(cell)
        except (OSError, ValueError, RecursionError) as error:
            damage.append(f"{path.name}: {error}")
    return cells, damage


def holds_alignment(directory: Path) -> bool:
    """Whether a directory holds results of this kind."""
    return directory.is_dir() and bool(read_alignment(directory)[0])
