"""The language-model track told to people and machines: what each method earns, spends and leaves on the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seqrl_jax.bench.alignment_results import AlignmentCell, PerSeed
from seqrl_jax.bench.statistics import interval, iqm

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ("reward", "kl", "regret", "shortfall")
LEGEND = (
    "gold: expected gold reward. KL: nats to the reference. regret: what the best policy at this KL earns more. "
    "short of J*: beta log Z - (gold - beta KL), where the method's own optimum is known. 95% bootstrap intervals of "
    "the mean over seeds"
)
FAR = 0.1
"""A mean shortfall beyond this, in units of reward, is explained."""
BELOW_ZERO = 1e-3
"""A regret below minus this is a bug: nothing lies above the frontier."""


def alignment_rows(cells: Sequence[AlignmentCell]) -> list[dict[str, Any]]:
    """A row for each cell: {"task", "method", "seeds", "failed", "reward", "kl", "regret", "shortfall"}.

    The last four are {"mean", "iqm", "low", "high"} over the seeds that did not fail, or None.
    """
    return [
        {"task": cell.task, "method": cell.method, "seeds": len(cell.seeds), "failed": cell.failed}
        | {name: summary(getattr(cell, name)) for name in COLUMNS}
        for cell in cells
    ]


def summary(values: PerSeed | None) -> dict[str, float] | None:
    """Mean, interquartile mean and the 95% bootstrap interval of the mean."""
    known = [value for value in values or [] if value is not None]
    if not known:
        return None
    low, high = interval(known)
    return {"mean": sum(known) / len(known), "iqm": float(iqm(known)), "low": low, "high": high}


def alignment_problems(cells: Sequence[AlignmentCell]) -> list[str]:
    """A sentence for every policy that stands above the frontier, which none can."""
    found = []
    for cell in cells:
        for seed, regret, error in zip(cell.seeds, cell.regret, cell.kl_standard_errors, strict=True):
            # The frontier rises by at most the largest reward per nat near 0; five standard errors of KL are let off.
            slack = BELOW_ZERO + 5 * (error or 0.0) * (max(cell.best_reward) - min(cell.reference_reward))
            if regret is not None and regret < -slack:
                found.append(f"{cell.method} on {cell.task}, seed {seed}: {-regret:.2g} above the frontier")
    return found


def caveats(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why methods are further than `FAR` from their own optimum, where that is known."""
    from seqrl_jax import naming
    from seqrl_jax.lm.registry import METHODS

    far = [row for row in rows if row["shortfall"] and row["shortfall"]["mean"] > FAR]
    names = dict.fromkeys(naming.base(row["method"]) for row in far)
    return [f"{name}: {METHODS[name].caveat}" for name in names if name in METHODS and METHODS[name].caveat]


def console_alignment(cells: Sequence[AlignmentCell]) -> RenderableType:
    """One table for each task, methods in the order of the registry."""
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from seqrl_jax.bench.curves import printable

    if not cells:
        return Text("no results yet")
    parts: list[RenderableType] = []
    for task in dict.fromkeys(cell.task for cell in cells):
        mine = [cell for cell in cells if cell.task == task]
        told = f"pi_0 {mine[0].reference_reward[0]:.2f}, best {mine[0].best_reward[0]:.2f}"
        table = Table(
            box=SIMPLE,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            title=printable(f"{task}: gold reward of {told}"),
            title_justify="left",
        )
        table.add_column("method")
        for heading in ("gold", "KL", "regret", "short of J*"):
            table.add_column(heading, justify="right")
        for row in alignment_rows(mine):
            table.add_row(printable(row["method"]), *(reach(row[name], row["failed"]) for name in COLUMNS))
        parts.append(table)
    parts += [Text(f"short of J*, {why}", style="dim") for why in caveats(alignment_rows(cells))]
    parts.append(Text(f"{LEGEND} (±: to its further end)", style="dim"))
    parts += [Text(f"error: {printable(message)}", style="bold red") for message in alignment_problems(cells)]
    return Group(*parts)


def spread(told: dict[str, float] | None, failed: int = 0) -> str:
    """`mean [low, high]`, and how many seeds failed."""
    if told is None:
        return "failed" if failed else ""
    lost = f" !{failed}" if failed else ""
    mean, low, high = (round(told[name], 3) + 0.0 for name in ("mean", "low", "high"))
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]{lost}"


def reach(told: dict[str, float] | None, failed: int = 0) -> str:
    """The same in less room: `mean±` the distance to the further end of the interval."""
    if told is None:
        return "failed" if failed else ""
    lost = f" !{failed}" if failed else ""
    return f"{told['mean'] + 0.0:.3f}±{max(told['high'] - told['mean'], told['mean'] - told['low']):.3f}{lost}"


def in_registry_order(cells: Sequence[AlignmentCell]) -> list[AlignmentCell]:
    """Tasks, then methods, in the order of the registries; what is not in them comes last."""
    from seqrl_jax import naming
    from seqrl_jax.lm.registry import METHODS
    from seqrl_jax.lm.tasks import TASKS

    def place(known: Sequence[str], spec: str) -> tuple[int, str]:
        name = naming.base(spec)
        return (known.index(name) if name in known else len(known)), spec

    return sorted(cells, key=lambda cell: (place(list(TASKS), cell.task), place(list(METHODS), cell.method)))
