"""What was run, by whom, on what and with which result, as a Process Run Crate 0.5, a profile of RO-Crate 1.1.

Source: w3id.org/ro/crate/1.1 and w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqrl_jax.release.citation import LICENSE, TITLE, kind
from seqrl_jax.release.directory import Files
from seqrl_jax.report.sections import newest
from seqrl_jax.report.words import counted
from seqrl_jax.results.manifest import MANIFEST, PACKED
from seqrl_jax.results.record import Record

CRATE = "ro-crate-metadata.json"
RO_CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
FORMATS = {
    "jsonl": "application/jsonl",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "md": "text/markdown",
    "cff": "application/yaml",
}
Entity = Mapping[str, Any]


def crate(files: Files, records: Sequence[Record], created: str, authors: Sequence[str]) -> dict[str, Any]:
    """JSON-LD of a release: its files, and an action for every command that made some of its cells on one machine.

    Args: files: all but this one and the manifest. created: when the last record was made. authors: of the results.
    """
    runs: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        version = record.versions.get("seqrl_jax", "unknown")
        runs.setdefault((record.command or "unknown", record.device, version), []).append(record)
    people = [f"#author-{index}" for index in range(1, len(authors) + 1)]
    actions = [_action(number, *run, cells, people) for number, (run, cells) in enumerate(sorted(runs.items()), 1)]
    license_ = f"https://spdx.org/licenses/{LICENSE}"
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of seqrl_jax: {counted(len(records), 'cell')}",
        "description": f"{TITLE}. {counted(len(records), 'record')}, flat tables of them, and what made them.",
        "datePublished": created,
        "license": _to(license_),
        "author": _one_or_all(people),
        "publisher": _to(people[0]),
        "conformsTo": _to(PROFILE),
        "hasPart": _one_or_all(sorted([*files, MANIFEST])),
        "mentions": _one_or_all([action["@id"] for action in actions]),
    }
    entities: list[Entity] = [
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "about": _to("./"),
            "conformsTo": _to(RO_CRATE),
        },
        root,
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {"@id": license_, "@type": "CreativeWork", "name": LICENSE, "description": f"The license {LICENSE}."},
        *({"@id": at, "@type": kind(author), "name": author} for at, author in zip(people, authors, strict=True)),
        *(_file(name, files.get(name)) for name in sorted([*files, MANIFEST])),
        *(_software(version) for version in sorted({version for _, _, version in runs})),
        *actions,
    ]
    return {"@context": f"{RO_CRATE}/context", "@graph": entities}


def _file(name: str, content: bytes | None) -> Entity:
    size = {} if content is None else {"contentSize": str(len(content))}
    return {"@id": name, "@type": "File", "name": name, "encodingFormat": FORMATS[name.rpartition(".")[2]], **size}


def _software(version: str) -> Entity:
    return {"@id": _program(version), "@type": "SoftwareApplication", "name": TITLE, "softwareVersion": version}


def _action(
    number: int, command: str, device: str, version: str, cells: Sequence[Record], people: Sequence[str]
) -> Entity:
    commits = ", ".join(sorted({record.commit or "unknown" for record in cells}))
    packages = ", ".join(sorted({f"{name} {value}" for record in cells for name, value in record.versions.items()}))
    return {
        "@id": f"#run-{number}",
        "@type": "CreateAction",
        "name": command,
        "description": f"{counted(len(cells), 'cell')} on {device}, commit {commits}, with {packages}.",
        "endTime": newest(cells).created,
        "instrument": _to(_program(version)),
        "agent": _to(people[0]),
        "result": _to(PACKED),
    }


def _program(version: str) -> str:
    return f"#seqrl_jax-{version}"


def _one_or_all(ids: Sequence[str]) -> dict[str, str] | list[dict[str, str]]:
    """As the format writes a property: a value alone where there is one."""
    return [*map(_to, ids)] if len(ids) > 1 else _to(ids[0])


def _to(at: str) -> dict[str, str]:
    return {"@id": at}
