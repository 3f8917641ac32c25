"""Everything that a release holds, made of records alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from seqrl_jax.release.citation import AUTHORS, citation
from seqrl_jax.release.crate import CRATE, crate
from seqrl_jax.release.croissant import CROISSANT, croissant
from seqrl_jax.release.directory import Release, ReleaseError, as_json, refuse_existing, seal
from seqrl_jax.release.every_eval import evaluations
from seqrl_jax.release.methods import about
from seqrl_jax.release.parquet import as_parquet, require_pyarrow
from seqrl_jax.release.tables import TABLES, as_csv, dictionary
from seqrl_jax.report.sections import Section
from seqrl_jax.results.encoding import to_line
from seqrl_jax.results.store import PACKED


def release(
    sections: Sequence[Section],
    directory: Path,
    authors: Sequence[str] = AUTHORS,
    tuning_seeds: Collection[int] = (),
) -> Release:
    """Write a release of all records of some sections.

    Args: authors: of the results. tuning_seeds: on which settings were chosen; no record has one of them.
    Raises: ReleaseError if there is nothing to release, or the directory exists; ImportError without pyarrow; OSError.
    """
    records = [record for section in sections for record in section.records]
    if not records:
        raise ReleaseError("there are no records to release")
    refuse_existing(directory)
    require_pyarrow()
    created = max(record.created for record in records)
    ordered = sorted(records, key=lambda record: (record.track, record.method, record.task))
    files = {
        PACKED: b"".join(to_line(record) + b"\n" for record in ordered),
        "README.md": about(sections, tuning_seeds).encode(),
        "CITATION.cff": citation().encode(),
        "dictionary.csv": dictionary(),
        **{f"tables/{table.name}.csv": as_csv(table, sections) for table in TABLES},
        **{f"tables/{table.name}.parquet": as_parquet(table, sections) for table in TABLES},
        **evaluations(sections, authors),
    }
    files[CROISSANT] = as_json(croissant(files, len(records), created, authors))
    files[CRATE] = as_json(crate(files, ordered, created, authors))
    return seal(files, directory, len(records), created, authors)
