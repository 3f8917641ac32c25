"""The flat tables of a release hold every number of the records, and the dictionary every column."""

import csv
import io
import json

import pytest

from seqrl_jax.release.tables import TABLES
from seqrl_jax.results import store

parquet = pytest.importorskip("pyarrow.parquet")


def lines(written, name):
    return list(csv.DictReader(io.StringIO((written / "tables" / f"{name}.csv").read_text())))


def of(record, lines):
    return [line for line in lines if (line["method"], line["task"]) == (record.method, record.task)]


def test_every_number_of_every_seed_is_there(records, written):
    scores = lines(written, "scores")
    assert len(scores) == sum(len(values) for record in records for values in record.metrics.values())
    for record in records:
        mine = [line["value"] for line in of(record, scores) if line["metric"] == "return"]
        assert [float(value) if value else None for value in mine] == record.metrics["return"]


def test_every_point_of_every_curve_is_there(records, written):
    curves = lines(written, "curves")
    points = sum(len(row) for record in records for curve in record.curves.values() for row in curve.values)
    assert len(curves) == points > 0
    record = next(record for record in records if record.curves)
    name, curve = next(iter(record.curves.items()))
    mine = [line for line in of(record, curves) if line["curve"] == name]
    assert [float(line["at"]) for line in mine[:: len(record.seeds)]] == curve.at


def test_cells_say_what_they_cost_and_with_which_settings(records, written):
    cells = lines(written, "cells")
    assert len(cells) == len(records)
    for record in records:
        (mine,) = of(record, cells)
        assert json.loads(mine["config"]) == record.config
        assert json.loads(mine["versions"]) == record.versions
        assert float(mine["training_seconds"]) == record.spent.training
        assert mine["marked_wrong"] == str(record.marked_wrong).lower()


def test_bounds_are_those_of_the_record_made_last(records, written):
    """One line of each: a later one may be closer, and the same solver run elsewhere differs by rounding."""
    told = lines(written, "bounds")
    proved = {(line["task"], line["bound"]): line for line in told}
    assert len(told) == len(proved)
    last = {record.task: record for record in sorted(records, key=lambda record: record.time)}
    assert proved.keys() == {(task, name) for task, record in last.items() for name in record.bounds}
    for (task, name), line in proved.items():
        bound = last[task].bounds[name]
        assert (float(line["lower"]), float(line["upper"])) == (bound.lower, bound.upper)
        assert line["method"] == bound.method and line["about"]


def test_each_track_has_one_score_among_its_metrics(records, written):
    metrics = lines(written, "metrics")
    scores = [(line["track"], line["metric"]) for line in metrics if line["score"] == "true"]
    assert sorted(scores) == sorted({(record.track, "return") for record in records})
    assert {(line["track"], line["metric"]) for line in metrics} == {
        (record.track, name) for record in records for name in record.metrics
    }


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_parquet_is_the_same_table_with_types(table, written):
    packed = parquet.read_table(written / "tables" / f"{table.name}.parquet")
    plain = lines(written, table.name)
    assert packed.column_names == list(plain[0]) and packed.num_rows == len(plain)
    kinds = {"text": "string", "integer": "int64", "number": "double", "boolean": "bool"}
    assert [str(kind) for kind in packed.schema.types] == [kinds[column.kind] for column in table.columns]
    text = {"text": str, "integer": str, "number": lambda value: str(float(value)), "boolean": lambda v: str(v).lower()}
    for column in table.columns:
        told = [None if value is None else text[column.kind](value) for value in packed[column.name].to_pylist()]
        said = [line[column.name] for line in plain]
        if column.kind == "number":
            said = [value and str(float(value)) for value in said]
        assert [value or "" for value in told] == said


def test_the_dictionary_is_of_every_column(written):
    told = list(csv.DictReader(io.StringIO((written / "dictionary.csv").read_text())))
    names = [(table.name, name) for table in TABLES for name in lines(written, table.name)[0]]
    assert [(line["table"], line["column"]) for line in told] == names
    assert all(line["meaning"] and line["type"] for line in told)


def test_a_release_reads_as_its_records(records, written):
    again, damage = store.read(written)
    assert not damage and sorted(again, key=repr) == sorted(records, key=repr)
