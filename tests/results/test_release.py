"""A release is what it was, or says which file is not."""

import csv
import json
from pathlib import Path

import pytest

from seqrl_jax import cli
from seqrl_jax.results import store
from seqrl_jax.results.release import MANIFEST, ReleaseError, bibtex, checked, citation, release

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks" / "results" / "gymnax"


@pytest.fixture(scope="module")
def records():
    return store.read(ROOT / "benchmarks" / "results" / "dialogue_longer")[0]


@pytest.fixture
def made(records, tmp_path):
    return release(records, tmp_path / "made"), tmp_path / "made"


def test_what_is_released_is_read_back_whatever_the_order(records, made, tmp_path):
    first, directory = made
    again, damage = store.read(directory)
    by_cell = lambda records: sorted(records, key=lambda record: (record.track, record.method, record.task))
    assert again == by_cell(records) and not damage
    assert release(records[::-1], tmp_path / "other").name == first.name == checked(directory).name
    assert release(records[1:], tmp_path / "fewer").name != first.name


def test_scores_are_every_number_of_every_seed(records, made):
    with open(made[1] / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(values) for record in records for values in record.metrics.values())
    record = records[0]
    mine = [row for row in rows if (row["method"], row["task"]) == (record.method, record.task)]
    scores = [float(row["value"]) for row in mine if row["metric"] == "return"]
    assert scores == record.metrics["return"]


def test_the_page_of_a_release_says_what_a_reviewer_asks(records, made):
    text = (made[1] / "README.md").read_text()
    seeds = sum(len(record.seeds) for record in records)
    for said in (
        f"{seeds} runs",
        "0 failed",
        records[0].device,
        records[0].commit,
        f"jax {records[0].versions['jax']}",
    ):
        assert said in text
    assert all(record.command in text for record in records)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda at: (at / "scores.csv").write_text("none"), "scores.csv is not what was released"),
        (lambda at: (at / "README.md").unlink(), "README.md is missing"),
        (lambda at: (at / "more.txt").write_text("more"), "more.txt is not of this release"),
        (lambda at: (at / MANIFEST).write_text("[]"), "damaged"),
        (lambda at: (at / MANIFEST).unlink(), "is no release"),
    ],
)
def test_a_release_that_was_changed_is_not_cited(made, change, said, capsys):
    directory = made[1]
    change(directory)
    with pytest.raises(ReleaseError, match=said):
        checked(directory)
    assert cli.main(["cite", str(directory)]) == 2
    assert said in capsys.readouterr().err


def test_a_release_is_named_by_its_manifest(made, capsys):
    release, directory = made
    assert cli.main(["cite", str(directory), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["name"] == release.name and output["bibtex"] == bibtex(release)
    assert release.name in bibtex(release) and bibtex(release).count("{") == bibtex(release).count("}")


def test_nothing_is_written_over_or_in_part(records, made, tmp_path, monkeypatch):
    with pytest.raises(ReleaseError, match="never changes"):
        release(records, made[1])
    with pytest.raises(ReleaseError, match="no records"):
        release([], tmp_path / "none")
    monkeypatch.setattr("os.rename", lambda *paths: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        release(records, tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_results_that_are_wrong_are_not_released(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (recorded,) = RECORDED.glob("ppo--gymnax_CartPole*")
    (source / recorded.name).write_bytes(recorded.read_bytes())
    assert cli.main(["release", str(source), "--out", str(out)]) == 0
    assert cli.main(["table", str(out), "--json"]) == 0
    (source / "cut.json").write_text("{")
    assert cli.main(["release", str(source), "--out", str(tmp_path / "second")]) == 2
    assert "is not released: cut.json" in capsys.readouterr().err and not (tmp_path / "second").exists()


def test_the_citation_of_the_repository_is_that_of_releases():
    assert (ROOT / "CITATION.cff").read_text() == citation()
