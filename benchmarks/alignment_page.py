"""The tables of docs/alignment.md."""

from __future__ import annotations

from typing import Any

from recorded import measurement

from seqrl_jax.audit.language import names
from seqrl_jax.audit.report import bias_in_words
from seqrl_jax.report.words import NONE


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


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["relative_bias"] is None:  # There is no gradient to be right about.
        return NONE
    return f"{bias_in_words(row['relative_bias'])} ({row['std']:.3g})"
