"""A site written into a directory of its own, which it replaces as a whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from seqrl_jax import __version__
from seqrl_jax.figures import COLOURS, printable
from seqrl_jax.files import whole_directory
from seqrl_jax.naming import base
from seqrl_jax.report import words
from seqrl_jax.report.overall import STATISTICS
from seqrl_jax.report.site import charts
from seqrl_jax.report.site.archive import RECORDS, ROWS, record_scripts, row_scripts, script
from seqrl_jax.report.site.audited import NOTHING, Audited
from seqrl_jax.report.site.board import cells, names
from seqrl_jax.report.site.links import links, page, sheet_page
from seqrl_jax.report.site.overoptimised import NOT_MEASURED, Overoptimised, shown
from seqrl_jax.report.site.sheet import Sheet, records
from seqrl_jax.report.site.subjects import Subject, agent_context, task_context
from seqrl_jax.report.site.tables import position, table_context
from seqrl_jax.results.coverage import coverage
from seqrl_jax.tracks.suites import shipped

INDEX, OVEROPTIMISATION = "index.html", "overoptimisation.html"
STATIC = ("site.css", "rows.js", "site.js")
FOLDERS = ("data", "records", "tables", "tasks", "agents", "pictures")
TOP = frozenset({INDEX, "record.html", OVEROPTIMISATION, *FOLDERS, *STATIC})
"""What a site has at its top; whatever else stands there is somebody's."""
SHOWN = 50
"""Rows of the leaderboard at a time, and where no script runs."""
LISTED = 100
"""Errors, warnings and skipped files in a notice; `seqrl check` prints all."""


class SiteError(ValueError):
    """A site that cannot be written where it was asked for."""


def write_site(
    made: Sequence[Sheet],
    directory: str | os.PathLike[str],
    skipped: Sequence[str] = (),
    command: str | None = None,
    keep_current: bool = False,
    audited: Audited = NOTHING,
    overoptimised: Overoptimised = NOT_MEASURED,
) -> Path:
    """Write a site whose first page is `index.html`, and return the path of that.

    Args:
        skipped: a line for each file or track that is not shown. command: the command line, as the site's origin.
        keep_current: leave a site alone that this version has made of the same records. audited: what stands beside
        the scores of agents that were audited. overoptimised: what has a page of its own, where there is any.
    Raises: SiteError where the directory holds anything but a site; OSError.
    """
    directory = Path(directory)
    mark = _mark(made, skipped, audited, overoptimised)
    if keep_current and _made_of(directory) == mark:
        return directory / INDEX
    if foreign := _foreign(directory):
        raise SiteError(f"{directory} holds other files than a site ({foreign}); give an empty or a new directory")
    # What a link names is replaced, and not the link.
    with whole_directory(Path(os.path.realpath(directory)), replace=True) as unfinished:
        for path, content in _files(made, skipped, command, audited, overoptimised, mark):
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content)
    return directory / INDEX


def _files(
    made: Sequence[Sheet],
    skipped: Sequence[str],
    command: str | None,
    audited: Audited,
    overoptimised: Overoptimised,
    mark: str,
) -> Iterator[tuple[str, bytes]]:
    """(path, content) of everything that a site consists of."""
    where, every = links(made), records(made)
    board, named = cells(made, where), names(made, where)
    environment = _environment()

    def rendered(path: str, template: str, **context: Any) -> tuple[str, bytes]:
        root = "../" * path.count("/")
        return path, environment.get_template(f"site/{template}.html").render(root=root, **context).encode()

    yield rendered(
        INDEX,
        "index",
        mark=mark,
        suites=sorted({record.suite for record in every}),
        created=[record.created for record in sorted(every, key=lambda record: record.time)],
        command=command,
        skipped=skipped,
        errors=[line for sheet in made for line in sheet.errors],
        sheets=[(sheet, sheet_page(sheet)) for sheet in made],
        overoptimised=OVEROPTIMISATION if overoptimised.rows else None,
        names=named,
        cells=board[:SHOWN],
        total=len(board),
        whole=all(sheet.section.fits_a_table for sheet in made),
        chunk=ROWS,
        shown_at_once=SHOWN,
    )
    for sheet in made:
        path = sheet_page(sheet)
        context = table_context(sheet, where)
        pictures = [
            (picture, page("pictures", path, str(number)).removesuffix("html") + "png")
            for number, picture in enumerate(context["pictures"])
        ]
        yield from ((address, picture.png) for picture, address in pictures)
        yield rendered(path, "table", **{**context, "pictures": pictures})
    for track in {sheet.section.track.name: sheet.section.track for sheet in made}.values():
        tasks, methods, trusted = track.tasks, track.methods, shipped(track)
        for task in (task for name, task in where.tasks if name == track.name):
            # A task that this package does not name would be made as a file says, which may be anything.
            facts = track.task_facts(task) if task in trusted else {}
            subject = Subject(track, task, tasks.get(base(task)), facts)
            yield rendered(where.tasks[track.name, task], "task", **task_context(made, where, audited, subject))
        for method in (method for name, method in where.agents if name == track.name):
            subject = Subject(track, method, methods.get(base(method)), track.method_facts(method))
            yield rendered(where.agents[track.name, method], "agent", **agent_context(made, where, audited, subject))
    if overoptimised.rows:
        yield rendered(OVEROPTIMISATION, "overoptimisation", overoptimised=overoptimised, kinds=shown(overoptimised))
    yield rendered("record.html", "record", chunk=RECORDS)
    yield "data/names.js", script("names", 0, named._asdict())
    yield from row_scripts(board)
    yield from record_scripts(every)
    static = files("seqrl_jax") / "report" / "static"
    yield from ((name, (static / name).read_bytes()) for name in STATIC)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("seqrl_jax", "report/templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        two=words.two,
        figures=words.figures,
        duration=words.duration,
        shown=printable,
        breakable=_breakable,
        prose=prose,
    )
    environment.globals.update(
        dash=words.NONE,
        two=words.two,
        figures=words.figures,
        counted=words.counted,
        dagger=words.DAGGER,
        wrong_words=words.WRONG,
        coverage=coverage(),
        statistics=list(STATISTICS),
        zero=position(0.0),
        one=position(1.0),
        view=charts,
        palette={colour: number for number, colour in enumerate(COLOURS)},
        version=__version__,
        listed_at_most=LISTED,
    )
    return environment


def prose(text: str) -> Markup:
    """Text of a docstring, escaped; what stands there between backticks is code."""
    shown = str(escape(printable(text)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", shown))


def _breakable(text: str) -> Markup:
    """Text that a line may break after an underscore, a colon and a comma, escaped."""
    shown = str(escape(printable(text)))
    for mark in ("_", ":", ","):
        shown = shown.replace(mark, f"{mark}<wbr>")
    return Markup(shown)


def _mark(made: Sequence[Sheet], skipped: Sequence[str], audited: Audited, overoptimised: Overoptimised) -> str:
    """What a site is made of, as a digest."""
    titles, bias = [sheet.title for sheet in made], list(audited.bias.items())
    parts = [__version__, skipped, titles, records(made), bias, overoptimised]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _made_of(directory: Path) -> str | None:
    """What the site in a directory says that it was made of; None where there is none."""
    try:
        with open(directory / INDEX, encoding="utf-8") as file:
            _, found, rest = file.read(1000).partition('<meta name="made-of" content="')
    except (OSError, ValueError):
        return None
    return rest.partition('"')[0] if found else None


def _foreign(directory: Path) -> str | None:
    """What would be lost with a directory, by name: what a site does not have at its top; anything where it is none."""
    if not directory.exists():
        return None
    if not directory.is_dir():
        return "a file of that name"
    own = TOP if _made_of(directory) is not None else frozenset[str]()
    return min((entry.name for entry in directory.iterdir() if entry.name not in own), default=None)
