"""Results as others can use, check and cite them: one directory that never changes, in formats that other tools read.

records.jsonl            every record as it is, one a line, by track, method and task
tables/NAME.csv          the same as flat tables: cells, scores, curves, bounds, metrics
tables/NAME.parquet      these with their types
dictionary.csv           what each column of each table is
README.md                what it is, in numbers: methods, seeds, budgets, judging, bounds, hardware, costs, commands
CITATION.cff             how the software is cited, and results of other authors
croissant.json           the tables for loaders of data sets: Croissant 1.0
ro-crate-metadata.json   what was run, by whom, on what, with which result: RO-Crate 1.1, Process Run Crate 0.5
data/                    a file for each method, as the collection Every Eval Ever takes it
MANIFEST.json            the SHA-256 of every other file; its own is the release's name

The same records give the same files with the same version of pyarrow, whenever and wherever they are packed.
"""

from seqrl_jax.release.citation import AUTHORS, bibtex, citation
from seqrl_jax.release.directory import refuse_within
from seqrl_jax.release.methods import Tuned
from seqrl_jax.release.packing import packed, release
from seqrl_jax.results.manifest import MANIFEST, Release, ReleaseError, changes, checked, is_release, sha256

__all__ = [
    "AUTHORS",
    "MANIFEST",
    "Release",
    "ReleaseError",
    "Tuned",
    "bibtex",
    "changes",
    "checked",
    "citation",
    "is_release",
    "packed",
    "refuse_within",
    "release",
    "sha256",
]
