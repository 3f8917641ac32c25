"""How the software and a release of its results are cited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from seqrl_jax import __version__
from seqrl_jax.report.words import counted
from seqrl_jax.results.manifest import Release

TITLE = "seqrl_jax: reinforcement learning with sequence models on tasks whose answer is known"
AUTHORS = ("The seqrl_jax developers",)
"""Of the software; of results, unless others are named."""
LICENSE = "Apache-2.0"
ESCAPED = {**{sign: "\\" + sign for sign in "&%$#_"}, "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
"""What LaTeX does not set as it stands, and how it does."""


class Results(NamedTuple):
    """What a release holds, before it has a name. Fields as of `Release`."""

    authors: Sequence[str]
    records: int
    created: str


def citation(results: Results | None = None) -> str:
    """CITATION.cff of this version of the software; with results of other authors, these are what is to be cited."""
    theirs = () if results is None or tuple(results.authors) == AUTHORS else _preferred(results)
    return "\n".join(
        [
            "cff-version: 1.2.0",
            'message: "If you use seqrl_jax, please cite it as below."',
            f'title: "{TITLE}"',
            "type: software",
            f"version: {__version__}",
            f"license: {LICENSE}",
            "authors:",
            *_names(AUTHORS),
            *theirs,
            "",
        ]
    )


def _preferred(results: Results) -> list[str]:
    """Without the name of their release, which is the hash of what this stands in."""
    lines = [
        "type: data",
        f'title: "Results of {counted(results.records, "cell")}, made by seqrl_jax"',
        f"date-released: {results.created[:10]}",
        "authors:",
        *_names(results.authors),
    ]
    return ["preferred-citation:", *(f"  {line}" for line in lines)]


def _names(authors: Sequence[str]) -> list[str]:
    """What JSON writes of a text YAML reads."""
    return [f"  - name: {json.dumps(author, ensure_ascii=False)}" for author in authors]


def bibtex(release: Release) -> str:
    """The entry by which results are cited: with the versions of the software that made them and the release's name."""
    authors = " and ".join(f"{{{_latex(author)}}}" for author in release.authors)
    return (
        f"@misc{{seqrl_jax_{release.name[:8]},\n"
        f"  title = {{{{{_latex(TITLE)}}}}},\n"
        f"  author = {{{authors}}},\n"
        f"  year = {{{release.created[:4]}}},\n"
        f"  version = {{{', '.join(map(_latex, release.versions))}}},\n"
        f"  note = {{Results of {counted(release.records, 'cell')}, release sha256:{release.name}}},\n"
        "}\n"
    )


def kind(author: str) -> str:
    """What schema.org calls an author."""
    return "Organization" if author in AUTHORS else "Person"


def _latex(name: str) -> str:
    """Text as LaTeX sets it, without the braces and backslashes that would end its field."""
    return "".join(ESCAPED.get(sign, sign) for sign in name if sign not in "{}\\")
