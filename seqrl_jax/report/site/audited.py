"""What an audit found, beside scores: by how much an agent's estimate of the policy gradient is wrong on a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seqrl_jax.audit.report import bias_in_words
from seqrl_jax.report.words import NONE
from seqrl_jax.results.manifest import PACKED
from seqrl_jax.results.provenance import read_measurement

AUDIT = "audit.json"


@dataclass(frozen=True)
class Audited:
    """bias: (task, agent) -> the bias of its estimate, relative to the gradient's length; None where that is 0.
    command: what made the audit."""

    bias: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    command: str = ""

    def verdict(self, task: str, agent: str) -> str:
        """`valid`, the bias in percent, or a dash where nothing is known."""
        bias = self.bias.get((task, agent))
        return NONE if bias is None else bias_in_words(bias)


NOTHING = Audited()


def is_audit(directory: Path) -> bool:
    """Whether a directory holds what `seqrl audit --out` writes and no results, beside which it would be damage."""
    return (directory / AUDIT).is_file() and not (
        (directory / PACKED).exists() or any(path.name != AUDIT for path in directory.glob("*.json"))
    )


def read_audit(directory: Path) -> Audited:
    """The rows of an audit's gradients. Raises: ValueError, naming the file, if it holds no such rows; OSError."""
    path = directory / AUDIT
    measured = read_measurement(path)
    try:
        bias = {
            (str(row["task"]), str(row["estimator"])): None
            if row["relative_bias"] is None
            else float(row["relative_bias"])
            for row in measured["rows"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no rows of task, estimator and relative_bias") from error
    return Audited(bias, str(measured.get("command") or "unknown"))
