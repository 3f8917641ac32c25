"""Pages that the package itself writes, into `generated/` beside the pages that stand here: tasks, agents, modules, the
record's schema, decisions, and copies of the pages above this folder. Nothing is solved or trained for them.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markup import literal, plain, prose, table, title

import seqrl_jax
from seqrl_jax.naming import Setting, base
from seqrl_jax.report import words
from seqrl_jax.report.sections import Section, sections
from seqrl_jax.results import store
from seqrl_jax.tracks.base import Entry, Track
from seqrl_jax.tracks.registry import TRACKS

FOLDER = "generated"
COPIED = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
"""Pages above the folder of the documentation."""
NOT_REFERENCED = re.compile(
    r"seqrl_jax\.(cli|commands|completion|__main__|claims|text|report\.site|dialogue\.(games|cooperative))\b"
)
"""Modules that are reached by commands and by names: `seqrl COMMAND --help`, `seqrl list NAME`."""
UNSAID = {
    "Record": {"schema": "the version of this schema", "device": "what it was run on"},
    "Bound": {"lower": "no value lies below it", "upper": "no value lies above it"},
    "Curve": {"at": "the places, increasing", "values": "at each place, of every seed"},
    "Spent": {
        "compilation": "until the program could run",
        "training": "of learning",
        "evaluation": "of judging",
    },
}
"""What the descriptions in the schema leave out; they are published, and stay as they are."""

Pages = Iterator[tuple[str, str]]
"""(path in the folder, text)."""


def write(source: Path) -> None:
    """Write every page, and remove what earlier ones are no more; what has not changed is left alone."""
    folder = source / FOLDER
    written = {folder / path: text for path, text in pages(source)}
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*"):
        if path.is_file() and path not in written:
            path.unlink()


def pages(source: Path) -> Pages:
    """Args: source: the folder of the documentation, in a checkout."""
    for name in COPIED:
        yield name, (source.parent / name).read_text(encoding="utf-8").replace("](docs/", "](../")
    yield from task_pages(recorded(source.parent / "benchmarks" / "results"))
    yield from agent_pages()
    yield from module_pages()
    yield "record.rst", record_page(json.loads((source / "record.schema.json").read_text(encoding="utf-8")))
    yield "decisions.rst", decisions_page(source / "decisions")


def point_to_copies(app: object, page: str, source: list[str]) -> None:
    """The hook of Sphinx: links to the pages above the folder lead to their copies."""
    names = "|".join(map(re.escape, COPIED))
    source[0] = re.sub(rf"\]\((?:\.\./)+({names})", rf"](/{FOLDER}/\1", source[0])


def recorded(directory: Path) -> dict[str, list[Section]]:
    """The sections of every directory of recorded results, by its name."""
    found = {}
    for path in sorted(path for path in directory.iterdir() if path.is_dir()):
        records, _ = store.read(path)
        found[path.name], _ = sections(records, TRACKS)
    return found


def task_pages(results: Mapping[str, Sequence[Section]]) -> Pages:
    """A page for every task, and one that lists them."""
    lines = title("Tasks")
    for track in TRACKS.values():
        lines += [*title(f"``{track.name}``", 1), plain(track.about), ""]
        lines += _listed(f"tasks/{track.name}", track.tasks)
        for name, entry in track.tasks.items():
            yield f"tasks/{track.name}/{name}.rst", task_page(track, name, entry, results)
    yield "tasks.rst", _text(lines)


def task_page(track: Track, name: str, entry: Entry, results: Mapping[str, Sequence[Section]]) -> str:
    """What a task is, what can be set of it, and what is proved of it wherever it was recorded."""
    paragraph, _, picture = entry.detail.partition("\n\n")
    lines = [
        *title(f"``{name}``"),
        f":doc:`Task </{FOLDER}/tasks>` of the track ``{track.name}``: {plain(entry.about)}",
        "",
    ]
    lines += [*prose(paragraph), *(literal(picture.splitlines()) if picture else [])]
    lines += _facts(track.task_facts(name) if name in track.tasks else {})
    lines += [line for proved in _proved(track, name, results) for line in proved]
    lines += [*_settings(name, entry.settings), *title("Run it", 1)]
    return _text([*lines, *literal([f"seqrl list {name}", f"seqrl run --tasks {name} --agents AGENT"], "console")])


def agent_pages() -> Pages:
    """A page for every agent, those of several tracks once, and one that lists them."""
    lines, written = [*title("Agents"), plain(f"{words.WRONG}."), ""], dict[str, tuple[str, Entry]]()
    for track in TRACKS.values():
        own = {name: entry for name, entry in track.methods.items() if written.get(name, ("", None))[1] != entry}
        lines += title(f"``{track.name}``", 1)
        others = dict.fromkeys(written[name][0] for name in track.methods if name not in own)
        lines += [line for other in others for line in (plain(f"The agents of `{other}` that learn."), "")]
        lines += _listed(f"agents/{track.name}", own)
        for name, entry in own.items():
            yield f"agents/{track.name}/{name}.rst", agent_page(track, name, entry)
        written |= {name: (track.name, entry) for name, entry in own.items()}
    yield "agents.rst", _text(lines)


def agent_page(track: Track, name: str, entry: Entry) -> str:
    """What an agent does, what it reads, and what can be set of it."""
    heading = f"``{name}``{words.DAGGER if entry.marked_wrong else ''}"
    lines = [
        *title(heading),
        f":doc:`Agent </{FOLDER}/agents>` of the track ``{track.name}``: {plain(entry.about)}",
        "",
    ]
    lines += [plain(f"{words.WRONG}."), ""] if entry.marked_wrong else []
    lines += [*_facts(track.method_facts(name)), *prose(entry.detail), *_settings(name, entry.settings)]
    command = f"seqrl run --tasks TASK --agents {name}"
    return _text([*lines, *title("Run it", 1), *literal([f"seqrl list {name}", command], "console")])


def module_pages() -> Pages:
    """A page for every package, with its public modules."""
    packages = {"seqrl_jax": list[str]()}
    for found in pkgutil.walk_packages(seqrl_jax.__path__, "seqrl_jax."):
        parent, _, name = found.name.rpartition(".")
        if name.startswith("_") or NOT_REFERENCED.match(found.name):
            continue
        if found.ispkg:
            packages[found.name] = []
        else:
            packages[parent].append(found.name)
    for package, modules in packages.items():
        yield f"api/{package}.rst", _text(_package(package, modules))
    about = "Modules that are called from Python, by package; commands and what is reached by name tell of themselves "
    about += "(``seqrl COMMAND --help``, ``seqrl list NAME``). Shapes are written as ``[T, B, O]``."
    yield "api.rst", _text([*title("Reference"), about, "", *(f"- :doc:`{name} <api/{name}>`" for name in packages)])


def record_page(schema: Mapping[str, Any]) -> str:
    """The schema of a record: each field, its type, and what the schema says of it."""
    lines = title("The record")
    about = "One JSON file for each cell of a table, the same for every track; `docs/record.schema.json` is its schema."
    lines += [plain(about), ""]
    for name, part in schema["$defs"].items():
        fields, described = part["properties"], part.get("description", "")
        meanings = UNSAID.get(name, {}) | _meanings(described, fields)
        lines += [*title(f"``{name}``", 1), *prose(re.split(r"\n\s*\n", described)[0]), ""]
        rows = [[f"``{field}``", plain(_type(of)), plain(meanings[field])] for field, of in fields.items()]
        lines += table(("field", "type", "meaning"), rows, "20 30 50")
    return _text(lines)


def decisions_page(folder: Path) -> str:
    """Every decision by its number."""
    lines = [*title("Decisions"), "Why, where a reader would ask; by number.", ""]
    entries = []
    for path in sorted(folder.glob("[0-9]*.md")):
        heading = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        entries.append(f"- {path.stem[:4]} :doc:`{heading} </decisions/{path.stem}>`")
    return _text([*lines, *entries])


def _package(package: str, modules: Sequence[str]) -> list[str]:
    module = importlib.import_module(package)
    lines = [*title(f"``{package}``"), f".. automodule:: {package}", "   :no-members:", ""]
    if public := getattr(module, "__all__", ()):
        names = (_reference(name, getattr(module, name)) for name in public)
        lines += [f"*From the package:* {', '.join(names)}", ""]
    for name in modules:
        lines += [*title(f"``{name}``", 1), f".. automodule:: {name}", ""]
    return lines


def _reference(name: str, value: Any) -> str:
    """The name of what a package exports, linked to where it is defined, if it says that."""
    where = getattr(value, "__module__", None)
    defined = where is not None and where.startswith("seqrl_jax.") and hasattr(value, "__qualname__")
    return f":py:obj:`{name} <{where}.{name}>`" if defined else f"``{name}``"


def _listed(folder: str, entries: Mapping[str, Entry]) -> list[str]:
    """A table of entries, each with a link to its page."""
    if not entries:
        return []
    rows = [
        [f":doc:`{name} <{folder}/{name}>`{words.DAGGER if entry.marked_wrong else ''}", plain(entry.about)]
        for name, entry in entries.items()
    ]
    return table(("name", "about"), rows, "25 75")


def _facts(facts: Mapping[str, str]) -> list[str]:
    return [line for what, text in facts.items() for line in (f"- *{plain(what)}:* {plain(text)}", "")]


def _settings(name: str, settings: Sequence[Setting]) -> list[str]:
    if not settings:
        return []
    rows = [[f"``{each.key}``", plain(each.domain), plain(each.default)] for each in settings]
    about = plain(f"Set by name: `{name}:{settings[0].key}=VALUE`, several with commas.")
    return [*title("Settings", 1), about, "", *table(("key", "domain", "default"), rows, "25 50 25")]


def _proved(track: Track, name: str, results: Mapping[str, Sequence[Section]]) -> Iterator[list[str]]:
    """A table for each recorded task of this name: what is proved of it, and where that was recorded."""
    found = {
        task: (directory, section.bounds(task))
        for directory, every in reversed(results.items())
        for section in every
        for task in section.tasks
        if section.track.name == track.name and base(task) == name and section.bounds(task)
    }
    if found:
        yield title("What is proved", 1)
    for task, (directory, bounds) in sorted(found.items()):
        rows = [
            [
                plain(words.bound(value)),
                words.figures(bound.lower),
                words.figures(bound.upper),
                plain(track.bounds.get(value, "")),
                plain(bound.method),
            ]
            for value, bound in bounds.items()
        ]
        yield [plain(f"Of `{task}`, recorded in `benchmarks/results/{directory}`:"), ""]
        yield table(("value", "at least", "at most", "of", "how each end was proved"), rows)


def _meanings(described: str, fields: Iterable[str]) -> dict[str, str]:
    """What a description says of fields, as `field, field: what they are.`"""
    names = "|".join(map(re.escape, fields))
    pieces = re.split(rf"(?<!\S)((?:(?:{names}), )*(?:{names})): ", described.partition("\n\nRaises")[0])
    said = zip(pieces[1::2], pieces[2::2], strict=True)
    return {field: meaning.strip().rstrip(";.") for heads, meaning in said for field in heads.split(", ")}


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON type in words, with its limits."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "items" in schema:
        least = ", at least one" if schema.get("minItems") else ""
        return f"list of ({_type(schema['items'])}){least}"
    if "additionalProperties" in schema:
        return f"object: name -> {_type(schema['additionalProperties'])}"
    limits = [f">= {schema['minimum']}"] if "minimum" in schema else []
    limits += ["< 2^63"] if schema.get("maximum") == 2**63 - 1 else []
    limits += ["not empty"] if "minLength" in schema else []
    return ", ".join([schema["type"], *limits])


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"
