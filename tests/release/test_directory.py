"""A release is what it was, or says which file is not."""

import builtins
import json
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from seqrl_jax import cli
from seqrl_jax.release import MANIFEST, ReleaseError, bibtex, checked, citation, release
from seqrl_jax.results import store

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks" / "results" / "gymnax"


@pytest.fixture(scope="module")
def sections(records, in_sections):
    """Of a few records."""
    return in_sections(records[:4])


@pytest.fixture
def made(sections, tmp_path):
    return release(sections, tmp_path / "made"), tmp_path / "made"


def test_what_is_released_is_read_back_whatever_the_order(records, in_sections, made, tmp_path):
    first, directory = made
    records = records[:4]
    again, damage = store.read(directory)
    by_cell = lambda records: sorted(records, key=lambda record: (record.track, record.method, record.task))
    assert again == by_cell(records) and not damage
    assert release(in_sections(records[::-1]), tmp_path / "other").name == first.name == checked(directory).name
    assert release(in_sections(records[1:]), tmp_path / "fewer").name != first.name
    assert release(in_sections(records), tmp_path / "by", ["Ada"]).name != first.name


def rewritten(directory, **fields):
    """Its manifest with other fields."""
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps(manifest | fields))


def resized(directory, name):
    """Its manifest with a wrong size of a file, whose hash is right."""
    files = json.loads((directory / MANIFEST).read_text())["files"]
    rewritten(directory, files=files | {name: {**files[name], "bytes": files[name]["bytes"] + 1}})


def linked(directory, name):
    """Something in it moved away, and a link in its place."""
    (directory / name).symlink_to((directory / name).rename(directory.parent / "elsewhere"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda at: (at / "tables" / "scores.csv").write_text("none"), "tables/scores.csv is not what was released"),
        (lambda at: (at / "README.md").unlink(), "README.md is missing"),
        (lambda at: (at / "more.txt").write_text("more"), "more.txt is not of this release"),
        (lambda at: (at / "data" / "more.json").write_text("{}"), "data/more.json is not of this release"),
        (lambda at: linked(at, "tables/scores.csv"), "tables/scores.csv is a link"),
        (lambda at: linked(at, "tables"), "tables is a link"),
        (lambda at: linked(at, MANIFEST), "MANIFEST.json is a link"),
        (lambda at: (at / "more").symlink_to("nowhere"), "more is a link"),
        (lambda at: (at / "more").mkdir(), "more is not of this release"),
        (lambda at: (at / "data" / "more" / "still").mkdir(parents=True), "data/more is not of this release"),
        (lambda at: ((at / "README.md").unlink(), (at / "README.md").mkdir()), "README.md is not of this release"),
        (lambda at: ((at / "README.md").unlink(), os.mkfifo(at / "README.md")), "README.md is not what was released"),
        (lambda at: (at / MANIFEST).write_text("[]"), "damaged"),
        *(
            (lambda at, said=said: rewritten(at, **said), "damaged")
            for said in (
                {"records": "5"},
                {"records": 5.7},
                {"records": True},
                {"records": 0},
                {"records": 10**400},
                {"created": 17},
                {"created": "yesterday"},
                {"authors": "Ada"},
                {"authors": [1]},
                {"authors": []},
                {"authors": [""]},
                {"versions": []},
                {"versions": {"0.1": 1}},
                {"more": 1},
                {"files": {"README.md": {"sha256": 7, "bytes": 1}}},
                {"files": {"README.md": {"sha256": "f" * 63, "bytes": 1}}},
            )
        ),
        (lambda at: rewritten(at, files=["README.md"]), "damaged"),
        (lambda at: rewritten(at, files={"README.md": "none"}), "damaged"),
        (lambda at: rewritten(at, files={"README.md": {"bytes": 1}}), "damaged"),
        (lambda at: rewritten(at, records=99), "records.jsonl holds 4 records, and MANIFEST.json says 99"),
        (lambda at: resized(at, "README.md"), "README.md is not what was released"),
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


def test_records_that_were_changed_are_not_shown_as_those_of_a_release(made, tmp_path, capsys):
    directory = made[1]
    packed = directory / store.PACKED
    packed.write_bytes(packed.read_bytes().replace(b'"steps_made":', b'"steps_made":1', 1))
    said = f"{directory}: records.jsonl is not what was released"
    for words in (
        ["table", str(directory)],
        ["table", str(directory), "--format", "csv"],
        ["compare", str(directory), str(directory)],
        ["report", str(directory), "--out", str(tmp_path / "site")],
        ["verify", str(directory)],
        ["release", str(directory), "--out", str(tmp_path / "again")],
        ["claims", str(directory)],
        ["claims", str(tmp_path)],
    ):
        assert cli.main(words) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert cli.main(["check", str(directory), "--json"]) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert (first["kind"], first["check"], first["text"]) == ("error", "files", said)


def test_nothing_is_written_into_a_release(made, tmp_path, capsys):
    directory = made[1]
    (tmp_path / "link").symlink_to(directory)
    for words in (
        ["release", str(directory), "--out", "{}/again"],
        ["verify", str(directory), "--out", "{}/attestation.json"],
        ["audit", "tiger", "--out", "{}/audit"],
        ["export", "tiger", "--out", "{}/tiger.npz"],
        ["data", "wordle", "--out", "{}/log.jsonl"],
        ["watch", "tiger", "--gif", "{}/film.gif"],
        ["align", "texts", "--out", "{}/model"],
    ):
        for place in (directory, tmp_path / "link"):
            with pytest.raises(SystemExit, match=r"^2$"):
                cli.main([word.format(place) for word in words])
            assert f"{directory} is a release, which never changes" in capsys.readouterr().err
    checked(directory)


def test_a_link_to_itself_is_one_line(tmp_path, capsys):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for words in (["report", str(RECORDED), "--out", str(loop)], ["report", str(loop)], ["check", str(loop)]):
        assert cli.main(words) == 2
        assert "loop" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["loop"]


def test_a_release_is_named_by_its_manifest(made, capsys):
    release, directory = made
    assert cli.main(["cite", str(directory), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["name"] == release.name and output["bibtex"] == bibtex(release)
    assert release.name in bibtex(release) and bibtex(release).count("{") == bibtex(release).count("}")


def test_the_entry_says_which_version_made_the_results_whichever_is_installed(made, monkeypatch):
    release, directory = made
    made_by = {record.versions["seqrl_jax"] for record in store.read(directory)[0]}
    monkeypatch.setattr(import_module("seqrl_jax.release.citation"), "__version__", "99.0")
    assert set(release.versions) == made_by and f"version = {{{', '.join(sorted(made_by))}}}" in bibtex(release)


@pytest.mark.skipif(None in map(shutil.which, ("pdflatex", "bibtex")), reason="LaTeX is not installed")
def test_latex_sets_the_entry(sections, tmp_path):
    entry = bibtex(release(sections, tmp_path / "by", ["Ada & Co^~", "B_o #1"]))
    (tmp_path / "results.bib").write_text(entry)
    lines = [r"\documentclass{article}", r"\begin{document}", r"\nocite{*}", r"\bibliographystyle{plain}"]
    (tmp_path / "page.tex").write_text("\n".join([*lines, r"\bibliography{results}", r"\end{document}"]))
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page"]
    for command in (latex, ["bibtex", "page"], latex):
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert made.returncode == 0, made.stdout


def test_a_release_of_one_cell_is_of_one(records, in_sections, tmp_path):
    one = release(in_sections(records[:1]), tmp_path / "one")
    assert "Results of 1 cell, release" in bibtex(one)
    described = json.loads((tmp_path / "one" / "croissant.json").read_text())
    assert "Results of 1 cell." in described["description"] and described["citeAs"].endswith("Results of 1 cell.")


def test_authors_are_cited_and_end_no_field_of_the_entry(sections, tmp_path):
    by = release(sections, tmp_path / "by", ["Ada & Co", "B}o\\"])
    assert "author = {{Ada \\& Co} and {Bo}}," in bibtex(by)
    assert checked(tmp_path / "by").authors == ("Ada & Co", "B}o\\")


def test_an_author_has_a_name(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["release", str(RECORDED), "--out", str(tmp_path / "made"), "--author", " "])
    assert "expected a name" in capsys.readouterr().err


def test_nothing_is_written_over_or_in_part(sections, made, tmp_path, monkeypatch):
    with pytest.raises(ReleaseError, match="never changes"):
        release(sections, made[1])
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="exists"):
        release(sections, tmp_path / "file")
    (tmp_path / "file").unlink()
    with pytest.raises(ReleaseError, match="is a release"):
        release(sections, made[1] / "within")
    with pytest.raises(ReleaseError, match="no records"):
        release([], tmp_path / "none")
    monkeypatch.setattr("os.rename", lambda *paths: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        release(sections, tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_without_pyarrow_one_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    really = builtins.__import__

    def imported(name, *rest):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", imported)
    assert cli.main(["release", str(RECORDED), "--out", str(tmp_path / "made")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert 'pip install "seqrl_jax[columns]"' in said[-1] and not (tmp_path / "made").exists()


def test_results_that_are_wrong_are_not_released(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (recorded,) = RECORDED.glob("ppo--gymnax_CartPole*")
    (source / recorded.name).write_bytes(recorded.read_bytes())
    assert cli.main(["release", str(source), "--out", str(out)]) == 0
    assert cli.main(["table", str(out), "--json"]) == 0
    assert cli.main(["report", str(out)]) == 2
    assert "name another place to write to" in capsys.readouterr().err
    for words in (["run", "quick"], ["report", str(source)]):
        for place in (out, out / "within"):
            with pytest.raises(SystemExit, match=r"^2$"):
                cli.main([*words, "--out", str(place)])
            assert "name another place to write to" in capsys.readouterr().err
    assert cli.main(["report", str(out), "--out", str(tmp_path / "site")]) == cli.main(["cite", str(out)]) == 0
    (source / "cut.json").write_text("{")
    assert cli.main(["release", str(source), "--out", str(tmp_path / "second")]) == 2
    assert "is not released: cut.json" in capsys.readouterr().err and not (tmp_path / "second").exists()


def test_the_citation_of_the_repository_is_that_of_releases():
    assert (ROOT / "CITATION.cff").read_text() == citation()


def test_results_of_others_are_cited_as_theirs(sections, made, tmp_path):
    """Read as YAML reads it, as far as lines go."""
    release(sections, tmp_path / "theirs", ['Ada "A." Łovelace', "Bo"])
    lines = (tmp_path / "theirs" / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    own = citation().splitlines()
    assert lines[: len(own)] == own and lines[len(own) : len(own) + 2] == ["preferred-citation:", "  type: data"]
    assert [json.loads(line.partition("name: ")[2]) for line in lines[-2:]] == ['Ada "A." Łovelace', "Bo"]
    assert all(line.startswith("    - name: ") for line in lines[-2:]) and "  authors:" in lines
    (title,) = (line for line in lines if line.startswith("  title: "))
    count = checked(tmp_path / "theirs").records
    assert json.loads(title.partition(": ")[2]) == f"Results of {count} cells, made by seqrl_jax"
    release(sections, tmp_path / "ours")
    assert (tmp_path / "ours" / "CITATION.cff").read_text(encoding="utf-8") == citation()
