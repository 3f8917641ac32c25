"""Each method's scores as Every Eval Ever takes them: schema 0.3.0, paths as in its collection.

There a score stands between the least and the largest that is possible. Here the largest is proved: the least upper end
of the bounds that the method cannot pass. A score that lies above it, by the luck of its episodes or by rounding, is
given as that end, since the true one is no larger; what was measured stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from seqrl_jax.release.directory import as_json
from seqrl_jax.report.sections import Section, newest
from seqrl_jax.report.table import Row, rows
from seqrl_jax.results.bootstrap import CONFIDENCE, Estimate, resamples_of
from seqrl_jax.results.record import Record
from seqrl_jax.tracks.base import Column

SCHEMA = "0.3.0"
DEVELOPER = "seqrl_jax"
LONGEST = 80


def evaluations(sections: Sequence[Section], authors: Sequence[str]) -> dict[str, bytes]:
    """Path -> content: a file for each method of each track, of the cells that have a score."""
    return dict(file for section in sections for file in _files(section, authors))


def _files(section: Section, authors: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    table = {(row.task, row.method): row for row in rows(section) if row.kind == "agent"}
    collection = f"{DEVELOPER}_{section.track.name}"
    for method, records in section.methods.items():
        results = [result for record in records for result in _results(section, record, table[record.task, method])]
        if not results:
            continue
        model = f"{DEVELOPER}/{_component(method)}"
        last = newest(records)
        retrieved = str(int(last.time.timestamp()))
        content = {
            "schema_version": SCHEMA,
            "evaluation_id": f"{collection}/{model}/{retrieved}",
            "evaluation_timestamp": last.created,
            "retrieved_timestamp": retrieved,
            "source_metadata": {
                "source_name": collection,
                "source_type": "evaluation_run",
                "source_organization_name": ", ".join(authors),
                "evaluator_relationship": "first_party",
            },
            "eval_library": {
                "name": "seqrl_jax",
                "version": ", ".join(sorted({record.versions.get("seqrl_jax", "unknown") for record in records})),
            },
            "model_info": {
                "name": method,
                "id": model,
                "developer": DEVELOPER,
                "additional_details": {
                    "deployment_type": "self_deployed",
                    "model_availability": "unknown",
                    "marked_wrong": str(any(record.marked_wrong for record in records)).lower(),
                },
            },
            "evaluation_results": results,
        }
        encoded = as_json(content)
        name = UUID(bytes=hashlib.sha256(encoded).digest()[:16], version=4)
        yield f"data/{collection}/{model}/{name}.json", encoded


def _results(section: Section, record: Record, row: Row) -> Iterator[dict[str, Any]]:
    """Of the score and of every other column that has a better side."""
    for index, column in enumerate(section.track.columns):
        value = row.score if index == 0 else row.metrics.get(column.metric)
        if value is not None and column.better:
            yield _result(record, column, value, is_score=index == 0)


def _result(record: Record, column: Column, value: Estimate, is_score: bool) -> dict[str, Any]:
    finished = record.finished(column.metric)
    possible = _range(record) if is_score else {}
    most = possible.get("max_score", math.inf)
    config = json.dumps(record.config, sort_keys=True, ensure_ascii=False)
    return {
        "evaluation_result_id": f"{record.task}/{column.metric}",
        "evaluation_name": record.task,
        "source_data": {
            "dataset_name": record.task,
            "source_type": "other",
            "additional_details": {"fingerprint": record.task_fingerprint},
        },
        "evaluation_timestamp": record.created,
        "metric_config": {
            "metric_id": f"seqrl_jax.{record.track}.{column.metric}",
            "metric_name": column.label,
            "metric_unit": column.unit,
            "lower_is_better": column.better == "lower",
            **possible,
        },
        "score_details": {
            "score": min(value.value, most),
            "details": {"failed_seeds": str(record.failed), "measured": repr(value.value)},
            "uncertainty": _uncertainty(finished, value, most),
        },
        "generation_config": {
            "additional_details": {"policy": record.policy, "steps": str(record.steps_made), "config": config}
        },
    }


def _range(record: Record) -> dict[str, Any]:
    """The least upper end that is proved; nothing where none is. From below nothing is proved."""
    if not record.bounded_by:
        return {}
    name = min(record.bounded_by, key=lambda name: record.bounds[name].upper)
    proved = {bound: f"[{value.lower!r}, {value.upper!r}]" for bound, value in record.bounds.items()}
    return {
        "score_type": "continuous",
        "min_score": "-Infinity",
        "max_score": record.bounds[name].upper,
        "additional_details": {
            "max_score_is": f"the proved upper end of {name}",
            "max_score_proof": record.bounds[name].method,
            **proved,
        },
    }


def _uncertainty(finished: Sequence[float], value: Estimate, most: float) -> dict[str, Any]:
    """Over seeds; what takes two of them is left out where there is one."""
    if value.low is None or value.high is None:
        return {"num_samples": len(finished)}
    return {
        "confidence_interval": {
            "lower": min(value.low, most),
            "upper": min(value.high, most),
            "confidence_level": CONFIDENCE,
            "method": "bootstrap over seeds, BCa, stretched to Student's quantile",
        },
        "standard_deviation": statistics.stdev(finished),
        "num_samples": len(finished),
        "num_bootstrap_samples": resamples_of(len(finished)),
    }


def _component(method: str) -> str:
    """The method as one part of a path: distinct for distinct methods, and itself where it can be."""
    plain = re.sub(r"[^A-Za-z0-9.=,_-]+", "_", method)[:LONGEST]
    itself = plain == method and plain.strip(".")
    return plain if itself else f"{plain}-{hashlib.sha256(method.encode()).hexdigest()[:8]}"
