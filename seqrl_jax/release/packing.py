"""Everything that a release holds, made of records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seqrl_jax.release.citation import AUTHORS, Results, citation
from seqrl_jax.release.crate import CRATE, crate
from seqrl_jax.release.croissant import CROISSANT, croissant
from seqrl_jax.release.directory import as_json, require_free, seal
from seqrl_jax.release.every_eval import evaluations
from seqrl_jax.release.methods import NOTHING_TUNED, Tuned, about
from seqrl_jax.release.parquet import as_parquet, require_pyarrow
from seqrl_jax.release.tables import TABLES, as_csv, dictionary
from seqrl_jax.report.sections import Section, newest
from seqrl_jax.results.encoding import to_line
from seqrl_jax.results.manifest import PACKED, Release, ReleaseError
from seqrl_jax.results.record import Record


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records as a release holds them: by track, method and task."""
    return sorted(records, key=lambda record: (record.track, record.method, record.task))


def packed(records: Iterable[Record]) -> bytes:
    """Every record of a release as it is, one a line."""
    return b"".join(to_line(record) + b"\n" for record in in_order(records))


def release(
    sections: Sequence[Section],
    directory: Path,
    authors: Sequence[str] = AUTHORS,
    tuned: Tuned = NOTHING_TUNED,
) -> Release:
    """Write a release of all records of some sections.

    Args: authors: of the results. tuned: what settings were chosen by.
    Raises: ReleaseError if there is nothing to release, or the directory exists or stands in a release; ImportError
        without pyarrow; OSError.
    """
    records = [record for section in sections for record in section.records]
    if not records:
        raise ReleaseError("there are no records to release")
    require_free(directory)
    require_pyarrow()
    ordered = in_order(records)
    created = newest(ordered).created
    files = {
        PACKED: packed(records),
        "README.md": about(sections, tuned).encode(),
        "CITATION.cff": citation(Results(authors, len(records), created)).encode(),
        "dictionary.csv": dictionary(),
        **{f"tables/{table.name}.csv": as_csv(table, sections) for table in TABLES},
        **{f"tables/{table.name}.parquet": as_parquet(table, sections) for table in TABLES},
        **evaluations(sections, authors),
    }
    files[CROISSANT] = as_json(croissant(files, len(records), created, authors))
    files[CRATE] = as_json(crate(files, ordered, created, authors))
    versions = {record.versions.get("seqrl_jax", "unknown") for record in records}
    return seal(files, directory, len(records), created, authors, versions)
