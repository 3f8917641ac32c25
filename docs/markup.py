"""reStructuredText of plain text, of docstrings and of tables.

A docstring of this package is plain text: paragraphs, code between single backticks, indented equations, and sections
that begin with `Args:` and the like.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from docutils import nodes
from sphinx import addnodes

EMPHASIS = re.compile(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])")
SPECIAL = re.compile(r"([\\*_|`]|:(?=:))")
CODE = re.compile(r"`([^`\s](?:[^`]*[^`\s])?)`")
SECTION = re.compile(
    r"(Args|Attributes|Carry|Example|Optimum|Optimum \(history\)|Outputs|Picture|Raises|Returns|Seed idea|Sources?)"
    r":+(?=\s|$)"
)
ITEM = re.compile(r"(- |\d\. )")
ALIGNED = re.compile(r"\S {2,}\S")
"""Columns, which only a literal block keeps."""
UNDERLINES = "=-~"


def plain(text: str) -> str:
    """Text in one line: code between backticks, emphasis between asterisks, and nothing else that means anything."""
    pieces = CODE.split(" ".join(text.split()))
    return "".join(_literal(piece) if index % 2 else _escaped(piece) for index, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    pieces = EMPHASIS.split(text)
    escaped = [SPECIAL.sub(r"\\\1", piece) for piece in pieces]
    return "".join(rf"\ *{piece}*\ " if index % 2 else piece for index, piece in enumerate(escaped))


def _literal(code: str) -> str:
    """Code, whatever stands beside it."""
    return rf"\ ``{code}``\ "


def title(text: str, level: int = 0) -> list[str]:
    """A heading; text is markup."""
    return [text, UNDERLINES[level] * max(3, len(text)), ""]


def prose(text: str) -> list[str]:
    """Plain text: blocks with a blank line between them."""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", text.expandtabs().strip("\n")):
        lines += _block(block.splitlines())
    return lines


def literal(lines: Iterable[str], language: str = "text") -> list[str]:
    """Lines as they are."""
    return [f".. code-block:: {language}", "", *(f"   {line}" for line in lines), ""]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto") -> list[str]:
    """A table; entries are markup."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (heads, *rows):
        lines += [f"   {'* ' if index == 0 else '  '}- {entry}" for index, entry in enumerate(row)]
    return [*lines, ""]


def process_docstring(app: object, what: str, name: str, object_: object, options: object, lines: list[str]) -> None:
    """The hook of autodoc: a docstring, in place."""
    lines[:] = prose("\n".join(lines))


def skip_member(app: object, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """The hook of autodoc: the fields of a NamedTuple, which its docstring tells of, are left out."""
    return True if (getattr(member, "__doc__", None) or "").startswith("Alias for field number") else None


def unlink_short_names(app: object, page: nodes.document) -> None:
    """The hook of Sphinx: only whole names are linked in signatures, for several modules have a `Method` or `Steps`."""
    for reference in list(page.findall(addnodes.pending_xref)):
        if reference["refdomain"] == "py" and not reference["reftarget"].startswith("seqrl_jax."):
            reference.replace_self(reference.children)


def _block(block: Sequence[str]) -> list[str]:
    if not any(block):
        return []
    if all(line.startswith(" ") for line in block) or any(ALIGNED.search(line) for line in block):
        return literal(textwrap.dedent("\n".join(block)).splitlines())
    return [line for part in _parts(block) for line in _part(part)]


def _part(lines: Sequence[str]) -> list[str]:
    """A section, an item of a list, or a paragraph."""
    head, text = SECTION.match(lines[0]), "\n".join(lines)
    if item := ITEM.match(lines[0]):
        return [item[0] + plain(text[item.end() :]), ""]
    if head is None:
        return [plain(text), ""]
    named = [f"*{head[1]}:*", ""]
    if head[0] != lines[0]:
        return [f"{named[0]} {plain(text[head.end() :])}", ""]
    return [*named, *(line for entry in _entries(lines[1:]) for line in (f"- {plain(entry)}", ""))]


def _entries(lines: Sequence[str]) -> list[str]:
    """The entries of a section: each begins with the least indentation."""
    outermost = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    entries: list[str] = []
    for line in lines:
        if line[outermost:].startswith(" "):
            entries[-1] += f" {line}"
        else:
            entries.append(line)
    return entries


def _parts(block: Sequence[str]) -> Iterator[list[str]]:
    """The sections and items of a block, and what stands before them."""
    part: list[str] = []
    for line in block:
        if part and (SECTION.match(line) or ITEM.match(line)):
            yield part
            part = []
        part.append(line)
    yield part
