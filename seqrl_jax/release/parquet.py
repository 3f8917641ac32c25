"""Tables as Parquet, with their types."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from seqrl_jax.release.tables import Table
from seqrl_jax.report.sections import Section


def as_parquet(table: Table, sections: Sequence[Section]) -> bytes:
    """The table, its meaning and that of its columns in the file's metadata. Raises: ImportError without pyarrow."""
    pyarrow = require_pyarrow()
    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
    }
    fields = [
        pyarrow.field(column.name, types[column.kind], metadata={"description": column.about})
        for column in table.columns
    ]
    lines = list(table.lines(sections))
    entries = [
        pyarrow.array([line[index] for line in lines], type=field.type, from_pandas=False)
        for index, field in enumerate(fields)
    ]
    schema = pyarrow.schema(fields, metadata={"description": f"a line: {table.about}"})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(entries, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def require_pyarrow() -> Any:
    """The library. Raises: ImportError that names the extra it comes with."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for Parquet: pip install "seqrl_jax[columns]"') from error
    return pyarrow
