"""What other tools read of a release: by the formats' own validators where they are installed, and by what they need.

`pip install "seqrl_jax[validators]"` installs them.
"""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest
from records import made_up

from seqrl_jax.release.crate import PROFILE
from seqrl_jax.release.every_eval import evaluations
from seqrl_jax.release.tables import TABLES
from seqrl_jax.results.record import Bound

EVERY_FILE = "data/*/*/*/*.json"


def read(path):
    return json.loads(path.read_bytes())


def test_croissant_names_every_table_with_its_hash_and_every_column(written):
    described = read(written / "croissant.json")
    assert len(described["distribution"]) == 2 * len(TABLES)
    for file in described["distribution"]:
        content = (written / file["contentUrl"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"] and file["contentSize"] == f"{len(content)} B"
    for told, table in zip(described["recordSet"], TABLES, strict=True):
        assert [field["name"] for field in told["field"]] == [column.name for column in table.columns]
        assert all(field["description"] for field in told["field"])


def test_croissant_loads_with_its_own_library(written):
    library = pytest.importorskip("mlcroissant")
    dataset = library.Dataset(jsonld=str(written / "croissant.json"))
    assert not dataset.metadata.issues.errors
    for table in TABLES:
        with open(written / "tables" / f"{table.name}.csv", newline="") as file:
            assert sum(1 for _ in dataset.records(table.name)) == sum(1 for _ in csv.reader(file)) - 1


def test_the_crate_names_every_file_and_every_run(records, written):
    entities = {entity["@id"]: entity for entity in read(written / "ro-crate-metadata.json")["@graph"]}
    files = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    root = entities["./"]
    assert {part["@id"] for part in root["hasPart"]} == files - {"ro-crate-metadata.json"}
    for name in files - {"ro-crate-metadata.json", "MANIFEST.json"}:
        assert entities[name]["contentSize"] == str((written / name).stat().st_size)
    runs = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert {run["name"] for run in runs} == {record.command for record in records}
    assert {part["@id"] for part in root["mentions"]} == {run["@id"] for run in runs}
    assert [entities[author["@id"]]["name"] for author in root["author"]] == ["Ada", "Bo"]


def test_the_crate_points_at_nothing_that_is_not_in_it(written):
    graph = read(written / "ro-crate-metadata.json")["@graph"]
    inside = {entity["@id"] for entity in graph} | {"https://w3id.org/ro/crate/1.1"}

    def pointers(value):
        if isinstance(value, list):
            return {at for entry in value for at in pointers(entry)}
        if isinstance(value, dict):
            return (
                {value["@id"]} if set(value) == {"@id"} else {at for entry in value.values() for at in pointers(entry)}
            )
        return set()

    assert pointers(graph) <= inside and PROFILE in inside


def test_the_crate_passes_its_own_validator(written, monkeypatch):
    """The context comes from the library's own copy of it, where there is no network."""
    rocrate = pytest.importorskip("rocrate")
    services = pytest.importorskip("rocrate_validator.services")
    requests = pytest.importorskip("requests")
    context = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_bytes()

    def answer(self, request, **_):
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["Content-Type"] = "application/ld+json"
        response._content = context
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    settings = services.ValidationSettings(
        rocrate_uri=str(written), profile_identifier="process-run-crate", no_cache=True
    )
    assert [issue.message for issue in services.validate(settings).get_issues()] == []


def test_every_score_stands_below_a_proved_maximum(records, written):
    by_cell = {(record.track, record.method, record.task): record for record in records}
    met, clipped = set(), 0
    for path in written.glob(EVERY_FILE):
        log = read(path)
        for result in log["evaluation_results"]:
            metric, score = result["metric_config"], result["score_details"]
            if not metric["metric_id"].endswith(".return"):
                continue
            track = metric["metric_id"].split(".")[1]
            record = by_cell[track, log["model_info"]["name"], result["evaluation_name"]]
            values = record.finished("return")
            met.add((track, record.method, record.task))
            assert float(score["details"]["measured"]) == pytest.approx(sum(values) / len(values))
            if record.bounded_by:
                assert metric["max_score"] == min(record.bounds[name].upper for name in record.bounded_by)
                assert score["score"] <= metric["max_score"]
                clipped += score["score"] < float(score["details"]["measured"])
    assert met == by_cell.keys() and clipped, "no score of these lies above its bound by luck"


def test_nothing_is_a_maximum_that_is_not_proved(in_sections):
    (content,) = evaluations(in_sections([made_up(bounded_by=[])]), ["Ada"]).values()
    assert "max_score" not in json.loads(content)["evaluation_results"][0]["metric_config"]


def test_methods_that_a_path_cannot_hold_have_paths_of_their_own(in_sections):
    names = ["ppo:memory=gru", "ppo/memory=gru", "ppo"]
    files = evaluations(in_sections([made_up(method=name) for name in names]), ["Ada"])
    assert len(files) == 3 and "ppo" in {Path(name).parts[-2] for name in files}
    assert all(re.fullmatch(r"data/seqrl_jax_pomdp/seqrl_jax/[\w.=,-]+/[0-9a-f-]{36}\.json", name) for name in files)
    told = [json.loads(content)["model_info"] for content in files.values()]
    assert sorted(model["name"] for model in told) == sorted(names)
    assert all(f"/{model['id']}/" in name for model, name in zip(told, files, strict=True))


def test_the_range_is_the_least_proved_one(in_sections):
    bounds = {**made_up().bounds, "state": Bound(2.0, 2.0, "exact")}
    (content,) = evaluations(in_sections([made_up(bounds=bounds, bounded_by=["state", "history"])]), ["Ada"]).values()
    metric = json.loads(content)["evaluation_results"][0]["metric_config"]
    assert metric["max_score"] == 1.0 and metric["additional_details"]["state"] == "[2.0, 2.0]"


def test_every_eval_ever_takes_the_files(written):
    validator = pytest.importorskip("every_eval_ever.validator.validation_core")
    paths = list(written.glob(EVERY_FILE))
    reports = [
        validator.validate_file(path, repo_path=path.relative_to(written).as_posix(), run_semantic_checks=True)
        for path in paths
    ]
    assert reports and [report.errors for report in reports if not report.valid] == []
