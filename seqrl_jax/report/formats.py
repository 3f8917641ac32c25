"""Tables for papers, pages and spreadsheets: Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from seqrl_jax.report.best import best
from seqrl_jax.report.chosen import Fields, chosen_grid
from seqrl_jax.report.console import grids
from seqrl_jax.report.grid import Grid, Line
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import for_machines, rows

MARKED = "In bold: better than every other trained method, by the 95% intervals of paired differences."


@dataclass(frozen=True)
class Markup:
    """How a table is written. escape: text of any origin. bold: escaped text. table: title, header and lines, all
    escaped. needs: what a reader of the source has to know, before the first table."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]
    table: Callable[[str, Sequence[str], Sequence[Sequence[str]]], str]
    needs: str = ""


def written(sections: Sequence[Section], format: str) -> str:
    """Every section's tables in one of `FORMATS`."""
    return FORMATS[format](sections)


def written_rows(table: Sequence[Fields], format: str) -> str:
    """Chosen rows in one of `FORMATS`."""
    if format == CSV:
        return _csv_of(table)
    markup = MARKUPS[format]
    return markup.needs + _table(chosen_grid(table), markup) + "\n"


def _in(markup: Markup) -> Callable[[Sequence[Section]], str]:
    def write(sections: Sequence[Section]) -> str:
        marked = [best(section) for section in sections]
        shown = [grid for section, cells in zip(sections, marked) for grid in grids(section, rows(section), cells)]
        tables = [_table(grid, markup) for grid in shown]
        return markup.needs + "\n\n".join([*tables, *([markup.escape(MARKED)] if any(marked) else [])]) + "\n"

    return write


def _table(grid: Grid, markup: Markup) -> str:
    header = [*map(markup.escape, [grid.corner, *grid.columns])]
    lines = [[markup.escape(line.label), *_entries(line, markup)] for line in grid.lines]
    return markup.table(markup.escape(grid.title), header, lines)


def _entries(line: Line, markup: Markup) -> Iterator[str]:
    for index, entry in enumerate(line.entries):
        text = markup.escape(entry)
        yield markup.bold(text) if index in line.best else text


def _markdown_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    row = lambda entries: f"| {' | '.join(entries)} |"
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([f"**{title}**", "", row(header), rule, *map(row, lines)])


def _latex_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """With the rules of booktabs, made smaller where it is wider than a line."""
    # What ends a row takes a star, and a length in brackets, that the next one begins with.
    guarded = lambda label: "{}" * label.startswith(("[", "*")) + label
    row = lambda entries: " & ".join([guarded(entries[0]), *entries[1:]]) + r" \\"
    top = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{title}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
    ]
    body = [r"\toprule", row(header), r"\midrule", *map(row, lines), r"\bottomrule"]
    return "\n".join([*top, *body, r"\end{tabular}}", r"\end{table}"])


def _html_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{entry}</th>' for entry in header)
    body = [
        f'<tr><th scope="row">{label}</th>{"".join(f"<td>{entry}</td>" for entry in entries)}</tr>'
        for label, *entries in lines
    ]
    parts = ["<table>", f"<caption>{title}</caption>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *body, "</tbody>"]
    return "\n".join([*parts, "</table>"])


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"\textdagger{}",
    "±": r"$\pm$",
    "–": "--",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: "\\" + sign for sign in "#$%&_{}"},
}


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text)


def _csv(sections: Sequence[Section]) -> str:
    """A line for each row of the table as data, see `table.for_machines`; fields within fields by their paths."""
    return _csv_of([for_machines(row) for section in sections for row in rows(section)])


def _csv_of(table: Sequence[Fields]) -> str:
    flat = [_flat(row) for row in table]
    fields = list(dict.fromkeys(chain.from_iterable(flat)))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows(map(line.get, fields) for line in flat)
    return text.getvalue()


def _flat(value: Mapping[str, object], path: str = "") -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, entry in value.items():
        if isinstance(entry, dict):
            fields.update(_flat(entry, f"{path}{name}."))
        else:
            fields[path + name] = "; ".join(entry) if isinstance(entry, list) else entry
    return fields


CSV = "csv"
MARKUPS = {
    "md": Markup(_markdown, "**{}**".format, _markdown_table),
    "latex": Markup(_latex, r"\textbf{{{}}}".format, _latex_table, "% \\usepackage{booktabs, graphicx}\n"),
    "html": Markup(html.escape, "<strong>{}</strong>".format, _html_table),
}
FORMATS: Mapping[str, Callable[[Sequence[Section]], str]] = {
    **{name: _in(markup) for name, markup in MARKUPS.items()},
    CSV: _csv,
}
