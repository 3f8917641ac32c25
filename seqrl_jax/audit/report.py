"""The audit as console tables and as a picture of bias against lambda."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqrl_jax.audit.audit import VALID, Audit, Row, summary_rows
from seqrl_jax.figures import COLOURS, NONE, new_figure, png, printable
from seqrl_jax.results.provenance import write_measurement

if TYPE_CHECKING:
    from rich.console import RenderableType


def as_json(result: Audit) -> dict[str, Any]:
    """The audit's rows for machines: `rows` are those of the gradients, of the language track's tasks last."""
    parts = asdict(result)
    rows = [*parts.pop("gradients"), *parts.pop("language")]
    return {"rows": rows, **parts, "summary": summary_rows(result)}


def console_audit(result: Audit) -> RenderableType:
    """One table for each kind of rows, and the summary last."""
    from rich.console import Group
    from rich.text import Text

    title = lambda text: Text(f"\n{text}", style="bold")
    language = (
        title("Aligning a language model: relative bias of estimates (standard deviation of one answer's, relative)"),
        _grid(
            result.language, "estimator", "task", lambda r: f"{bias_in_words(r['relative_bias'])} ({_short(r['std'])})"
        ),
    )
    whole_returns = (
        title("Where methods end that learn from whole returns, with unlimited data: 0 the logs, 1 the best policy"),
        _by_task(result.whole_returns, "method", lambda r: _short(r["attains"])),
    )
    if result.language and not result.gradients:
        return Group(*language)
    return Group(
        title("Estimates of the policy gradient: relative bias (standard deviation of one episode's, relative)"),
        _by_task(result.gradients, "estimator", lambda r: f"{bias_in_words(r['relative_bias'])} ({_short(r['std'])})"),
        title("Where actor-critic with GAE(lambda) on V(o) ends, from the uniform policy; the best memoryless value"),
        _by_task(_with_best(result.ends), "lambda", lambda r: _short(r["value"])),
        title("What value-based methods claim / earn on data of the uniform policy"),
        _by_task(
            [{**r, "who": f"{r['method']}, {r['setting']}"} for r in result.claims],
            "who",
            lambda r: f"{_short(r['claims'])} / {_short(r['earns'])}",
        ),
        title("The same action again: chance that the try ends the episode, as the naive model believes / as it is"),
        _by_task(
            [
                {"task": row["task"], "try": number + 1, "action": row["action"], "pair": pair}
                for row in result.retries
                for number, pair in enumerate(zip(row["believed"], row["true"], strict=True))
            ],
            "try",
            lambda r: f"{_short(r['pair'][0])} / {_short(r['pair'][1])}",
        ),
        title("Old data, by steps of the gradient since: effective share of the episodes, bias of clipping at 1.2"),
        _by_task(result.old_data, "lag", lambda r: f"{r['effective_share']:.2f}, {_short(r['clipping_bias'])}"),
        title("Policy gradients with rewards compared within groups of 3 that begin alike: relative bias"),
        _by_task(result.groups, "baseline", lambda r: bias_in_words(r["relative_bias"])),
        title("Luck: its share of the variance of logged returns"),
        _by_task([{**r, "what": "share"} for r in result.luck], "what", lambda r: f"{r['share']:.0%}"),
        *(whole_returns if result.whole_returns else ()),
        *(language if result.language else ()),
        title("Summary: method, fully observed, partially observed (the worst task)"),
        _summary(result),
    )


def write_audit(result: Audit, directory: Path) -> list[Path]:
    """Write `audit.json` and `bias_over_lambda.png`, and return their paths. The directory is made if it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    record, picture = directory / "audit.json", directory / "bias_over_lambda.png"
    write_measurement(record, json.loads(json.dumps(as_json(result))))
    picture.write_bytes(bias_picture(result))
    return [record, picture]


def bias_picture(result: Audit, dpi: int = 130) -> bytes:
    """PNG: the relative bias of actor-critic's gradient against lambda, one line per task."""
    figure = new_figure(1, 1, 1.2)
    axes = figure.add_subplot()
    for number, (task, rows) in enumerate(_grouped(result.gradients).items()):
        points = sorted((_lambda(row["estimator"]), row["relative_bias"]) for row in rows if _on_observation(row))
        points = [(lambda_, 100 * bias) for lambda_, bias in points if bias is not None]
        if points:
            dash = ("solid", "dashed")[number // len(COLOURS) % 2]
            axes.plot(*zip(*points, strict=True), color=COLOURS[number % len(COLOURS)], linestyle=dash, label=task)
    axes.set_xlabel("lambda")
    axes.set_ylabel("relative bias of the gradient, %")
    axes.set_ylim(bottom=0)
    legend = figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return png(figure, dpi)


def _on_observation(row: Row) -> bool:
    return row["estimator"] == "a2c_obs" or row["estimator"].startswith("gae:")


def _lambda(estimator: str) -> float:
    return 0.0 if estimator == "a2c_obs" else float(estimator.partition("=")[2])


def _grouped(rows: Sequence[Row], by: str = "task") -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return groups


def _with_best(ends: Sequence[Row]) -> list[Row]:
    bests = {row["task"]: row["best"] for row in ends}
    return [*ends, *({"task": task, "lambda": "best", "value": best} for task, best in bests.items())]


def _by_task(rows: Sequence[Row], column: str, entry: Callable[[Row], str]) -> RenderableType:
    """Tasks down, the values of one field across."""
    return _grid(rows, "task", column, entry)


def _grid(rows: Sequence[Row], down: str, across: str, entry: Callable[[Row], str]) -> RenderableType:
    """The values of one field down, those of another across."""
    from rich.table import Table

    columns = list(dict.fromkeys(row[across] for row in rows))
    table = Table(box=None, pad_edge=False)
    table.add_column(down)
    for name in columns:
        table.add_column(printable(str(name)), justify="right")
    for label, group in _grouped(rows, down).items():
        entries = {row[across]: entry(row) for row in group}
        table.add_row(printable(label), *(entries.get(name, NONE) for name in columns))
    return table


def _summary(result: Audit) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("method", "observed", "partially observed", "the number is"):
        table.add_column(name)
    for row in summary_rows(result):
        percent = row["unit"].startswith("relative")
        texts = [_word(row[setting], percent) for setting in ("observed", "partially observed")]
        table.add_row(row["method"], *texts, row["unit"])
    return table


def _word(entry: Row | None, percent: bool) -> str:
    if entry is None:
        return NONE
    if entry["word"] == "valid":
        return f"valid (0 on {entry['tasks']} tasks)"
    number = f"{entry['number']:.0%}" if percent else f"{entry['number']:+.3g}"
    return f"wrong by {number} (on {entry['wrong_tasks']} of {entry['tasks']} tasks)"


def bias_in_words(value: float | None) -> str:
    """`valid`, or the relative bias in percent; a dash where it is not defined."""
    if value is None:
        return NONE
    return "valid" if value <= VALID else f"{value:.1%}"


def _short(value: float | None) -> str:
    return NONE if value is None else f"{value + 0.0:.3g}"
