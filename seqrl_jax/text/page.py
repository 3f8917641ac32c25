"""A page about a run on texts: its curves, its numbers beside their references, and what it says."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqrl_jax.figures import COLOURS, new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.text.report import LABELS, read_report
from seqrl_jax.text.training import CHECKPOINT, Curve, read_checkpoint

TEMPLATE = "text.html"
TITLES = {
    "loss": "loss, nats",
    "reward": "reward, deviations under pi_0",
    "ended": "share of answers that end",
    "length": "tokens of an answer",
    "log_ratio": "log pi - log pi_0 of an answer, whose mean is the KL",
}
"""Of the metrics of a curve."""


def is_text_run(directory: Path) -> bool:
    """Whether a directory holds a run on texts, finished or not."""
    return read_report(directory) is not None or (directory / CHECKPOINT).is_file()


def write_text_page(directory: Path, path: Path) -> Path:
    """Write the page of a run, which loads nothing else, and return its path. Its directory is made if it is missing.

    Raises: ValueError where a run without a report has no checkpoint that can be read. OSError.
    """
    from jinja2 import Environment, PackageLoader

    report = read_report(directory)
    if report is None:
        metadata = read_checkpoint(directory)
        numbers, curve, method = dict[str, Any](), metadata["curve"], metadata["run"]["method"]
    else:
        numbers, curve, method = report, report["curve"], report["method"]
    environment = Environment(
        loader=PackageLoader("seqrl_jax", "report/templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template(TEMPLATE).render(
        method=method,
        report=report,
        made=curve[-1]["step"] if curve else 0,
        numbers=[(label, numbers[name]) for name, label in LABELS.items() if numbers.get(name)],
        pictures=[
            {"title": title, "png": base64.b64encode(_picture(curve, name, title, numbers)).decode()}
            for name, title in TITLES.items()
            if curve and name in curve[0]
        ],
        samples=list(zip(numbers.get("samples_before", ()), numbers.get("samples_after", ()))),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, html.encode())
    return path


def _picture(curve: Curve, name: str, title: str, numbers: Mapping[str, Any]) -> bytes:
    """PNG of a metric along the steps, with lines at its references."""
    figure = new_figure(1, 1, 0.0)
    axes = figure.add_subplot()
    axes.plot([point["step"] for point in curve], [point[name] for point in curve], color=COLOURS[0], label="training")
    for (label, value), colour in zip(_references(name, numbers), COLOURS[1:]):
        axes.axhline(value, color=colour, linestyle="--", linewidth=1, label=label)
    axes.set_xlabel("steps")
    axes.set_ylabel(title)
    axes.legend(frameon=False, fontsize=8)
    return png(figure, 110)


def _references(name: str, numbers: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    if name == "loss":
        lines = [("held out", (numbers.get("loss") or {}).get("mean")), ("no preference", numbers.get("indifferent"))]
        # Counts are per byte, as is the loss where a token is one.
        if numbers.get("per_byte") == numbers.get("loss"):
            lines += [(LABELS[key].strip(), (numbers.get(key) or {}).get("mean")) for key in ("unigram", "bigram")]
    else:
        judged = {"log_ratio": "kl"}.get(name, name)
        lines = [
            ("held out, before", (numbers.get(f"{judged}_before") or {}).get("mean")),
            ("held out", (numbers.get(judged) or {}).get("mean")),
        ]
    return [(label, value) for label, value in lines if value is not None]
