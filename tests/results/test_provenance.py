import json
import subprocess
import sys
from pathlib import Path

import pytest

from seqrl_jax.results import provenance

ROOT = Path(provenance.__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/local/bin/seqrl", "run", "quick", "--seeds", "3"], "seqrl run quick --seeds 3"),
        (["/x/seqrl", "run", "--out", "/home/ann/results/new"], "seqrl run --out new"),
        (["/x/seqrl", "run", "--out=~/secret/new"], "seqrl run --out=new"),
        (["/x/seqrl", "solve", "gymnax:/home/ann/a.POMDP,b=/c/d"], "seqrl solve gymnax:a.POMDP,b=d"),
        (["/x/seqrl", "solve", "tmaze:length=10,p=1/2"], "seqrl solve tmaze:length=10,p=1/2"),
        (["/x/seqrl", "x", "https://example.org/a"], "seqrl x https://example.org/a"),
        (["/elsewhere/script.py", "a b"], "python script.py 'a b'"),
        (["/x/seqrl", "run", "--out", "r\udcff"], r"seqrl run --out 'r\udcff'"),
        ([str(ROOT / "benchmarks/latent.py"), "runs/a"], "python benchmarks/latent.py runs/a"),
    ],
)
def test_a_command_shows_no_folder_of_one_machine(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", words)
    assert provenance.command() == expected


def test_the_module_is_the_same_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "seqrl_jax" / "__main__.py"), "list"])
    assert provenance.command() == "seqrl list"
    monkeypatch.setattr(sys, "argv", ["/x/other/__main__.py", "list"])
    assert provenance.command() == "python __main__.py list"


def test_a_path_below_the_working_directory_stays_relative(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["seqrl", "run", f"--out={tmp_path}/runs/a"])
    assert provenance.command() == "seqrl run --out=runs/a"


def test_a_measurement_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/seqrl", "throughput"])
    provenance.write_measurement(tmp_path / "a.json", {"rows": [1, 2]})
    reported = json.loads((tmp_path / "a.json").read_text())
    assert reported["rows"] == [1, 2] and reported["command"] == "seqrl throughput"
    assert {"jax", "numpy", "python"} <= set(reported["versions"]) and reported["device"]


def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    expected = head.stdout.strip() if head.returncode == 0 else ""
    assert (provenance.commit() or "").rstrip("+") == expected


def test_a_package_that_is_installed_in_another_checkout_is_not_of_its_commit(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "somebody's project"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    installed = tmp_path / ".venv" / "seqrl_jax" / "results" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.commit() is None
    subprocess.run([*git, "add", "-f", str(installed)], cwd=tmp_path, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert provenance.commit() == head.stdout.strip() + "+", "once it is part of the project, it is"
