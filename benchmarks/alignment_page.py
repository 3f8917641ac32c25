"""The tables of docs/alignment.md."""

from __future__ import annotations

from recorded import measurement

from seqrl_jax.audit.language import names
from seqrl_jax.report.words import NONE

VALID = 1e-6
"""A relative bias below this is rounding."""


def estimators_table() -> str:
    """The exact relative bias of every estimator of the gradient on tasks of one answer, and its noise beside it."""
    measured = measurement("audit/audit.json")
    tasks = names()
    found = {(row["estimator"], row["task"]): row for row in measured["rows"] if row["task"] in tasks}
    lines = [f"| estimator | {' | '.join(f'`{task}`' for task in tasks)} |", "|---|" + "---:|" * len(tasks)]
    for estimator in dict.fromkeys(name for name, _ in found):
        cells = (_cell(found.get((estimator, task))) for task in tasks)
        lines.append(f"| {estimator} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{measured['command']}`, exact, jax {measured['versions']['jax']}."])


def _cell(row: dict[str, float] | None) -> str:
    if row is None:
        return NONE
    if row["relative_bias"] is None:  # There is no gradient to be right about.
        return NONE
    bias = "valid" if row["relative_bias"] < VALID else f"{row['relative_bias']:.1%}"
    return f"{bias} ({row['std']:.3g})"
