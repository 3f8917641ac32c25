"""Write the JSON Schema of a record to `docs/record.schema.json`, or check it: `python -m seqrl_jax.results.schema`."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path

import msgspec

from seqrl_jax.files import write_whole
from seqrl_jax.results.record import Record

PUBLISHED = Path(__file__).parents[2] / "docs" / "record.schema.json"


def schema() -> str:
    """JSON Schema (draft 2020-12) of the file of one record."""
    generated = msgspec.json.schema(Record)
    for part in generated["$defs"].values():
        # Python 3.13 takes the indentation out of docstrings, 3.12 leaves it.
        part["description"] = inspect.cleandoc(part["description"])
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A record of seqrl_jax"}
    return json.dumps({**described, **generated}, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """0, or 1 if what was published is not what the code says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing: exit with 1 if the file is out of date")
    if not parser.parse_args().check:
        write_whole(PUBLISHED, schema().encode())
        return 0
    if PUBLISHED.is_file() and PUBLISHED.read_text(encoding="utf-8") == schema():
        return 0
    print(f"{PUBLISHED.name} is not the schema of Record; what is published is frozen: a change is a new version")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
