"""The tables of docs/exact.md."""

from __future__ import annotations

from recorded import measurement

from seqrl_jax.report.words import NONE, figures


def finite_table() -> str:
    """How tightly files are solved over ten steps."""
    return _table("pomdps_cpu.json")


def infinite_table() -> str:
    """How tightly they are solved without a horizon."""
    return _table("pomdps_infinite_cpu.json")


def _table(name: str) -> str:
    measured = measurement(name)
    lines = ["| file | S | A | O | history value | gap of it | seconds | peak, MB |", "|---|" + "---:|" * 7]
    for row in measured["rows"]:
        if "error" in row:
            lines.append(f"| `{row['file']}` | | | | {row['error']} | | | |")
            continue
        ends = dict.fromkeys([figures(row["lower"]), figures(row["upper"])])
        value = next(iter(ends)) if len(ends) == 1 else f"[{', '.join(ends)}]"
        gap = NONE if row["relative_gap"] is None else f"{max(0.0, row['relative_gap']):.1e}"
        size = f"{row['states']:,} | {row['actions']} | {row['observations']}"
        spent = f"{row['seconds']:.1f} | {row['peak_bytes'] / 1e6:,.0f}"
        lines.append(f"| `{row['file']}` | {size} | {value} | {gap} | {spent} |")
    budget = f"horizon {measured['horizon']}, {measured['seconds']:g} s for the history value"
    return "\n".join([*lines, "", f"`{measured['command']}`: {budget}, on {measured['device']}."])
