"""The tables of a release as Croissant 1.0 describes data sets: files, record sets, and fields with type and meaning.

Source: Akhtar et al. (2024), "Croissant: A metadata format for ML-ready datasets"; docs.mlcommons.org/croissant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqrl_jax import __version__
from seqrl_jax.release.citation import LICENSE, TITLE, kind
from seqrl_jax.release.directory import Files
from seqrl_jax.release.tables import TABLES, Kind, Table
from seqrl_jax.report.words import counted
from seqrl_jax.results.manifest import sha256

CROISSANT = "croissant.json"
TYPES: dict[Kind, str] = {
    "text": "sc:Text",
    "integer": "sc:Integer",
    "number": "sc:Float",
    "boolean": "sc:Boolean",
}
FORMATS = {"csv": "text/csv", "parquet": "application/x-parquet"}
TERMS = (
    "citeAs column conformsTo:dct equivalentProperty extract field fileProperty fileObject fileSet format includes "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate "
    "separator source subField transform"
)
"""Of the context that the format prescribes; in Croissant's own vocabulary unless another is named."""


def croissant(files: Files, records: int, created: str, authors: Sequence[str]) -> dict[str, Any]:
    """JSON-LD of the tables among some files. created: ISO 8601. authors: of the results."""
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": f"{table.name}.{ending}",
            "name": f"{table.name}.{ending}",
            "description": f"A line: {table.about}.",
            "contentUrl": f"tables/{table.name}.{ending}",
            "contentSize": f"{len(files[f'tables/{table.name}.{ending}'])} B",
            "encodingFormat": encoding,
            "sha256": sha256(files[f"tables/{table.name}.{ending}"]),
        }
        for table in TABLES
        for ending, encoding in FORMATS.items()
    ]
    return {
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "seqrl_jax_results",
        "description": f"Results of {counted(records, 'cell')}. {TITLE}.",
        "version": __version__,
        "license": f"https://spdx.org/licenses/{LICENSE}",
        "datePublished": created,
        "creator": [{"@type": f"sc:{kind(author)}", "name": author} for author in authors],
        "citeAs": f"{', '.join(authors)} ({created[:4]}). {TITLE}. Results of {counted(records, 'cell')}.",
        "isLiveDataset": False,
        "distribution": distribution,
        "recordSet": [_record_set(table) for table in TABLES],
    }


def context() -> dict[str, Any]:
    """The context that the format prescribes."""
    terms = [term.partition(":") for term in TERMS.split()]
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        **{name: f"{vocabulary or 'cr'}:{name}" for name, _, vocabulary in terms},
    }


def _record_set(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": f"A line: {table.about}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{table.name}/{column.name}",
                "name": column.name,
                "description": column.about,
                "dataType": TYPES[column.kind],
                "source": {"fileObject": {"@id": f"{table.name}.parquet"}, "extract": {"column": column.name}},
            }
            for column in table.columns
        ],
    }
