"""What is built and installed elsewhere is whole, and runs without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "seqrl_jax"
BUILD = "import setuptools.build_meta as backend, sys; print(getattr(backend, 'build_' + sys.argv[1])(sys.argv[2]))"


def run(*words, cwd, path):
    """Run Python with `path` before all else that it imports from."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """A folder with the build backend that pyproject.toml asks for, from the index or a cache of it."""
    folder = tmp_path_factory.mktemp("backend")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    done = run("-m", "pip", "install", "--quiet", "--target", folder, *wanted, cwd=folder, path=folder)
    if done.returncode:
        pytest.skip("the build backend cannot be installed here")
    return folder


@pytest.fixture(scope="module")
def sdist(backend, tmp_path_factory):
    """The unpacked source distribution, built of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "copy"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in ("seqrl_jax", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "generated"))
    done = run("-c", BUILD, "sdist", folder, cwd=copy, path=backend)
    assert done.returncode == 0, done.stderr
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("seqrl_jax-*/")
    return unpacked


@pytest.fixture(scope="module")
def site(backend, sdist, tmp_path_factory):
    """Where the wheel is installed that is built of the source distribution, without what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run("-c", BUILD, "wheel", folder, cwd=sdist, path=backend)
    assert done.returncode == 0, done.stderr
    wheel = folder / done.stdout.split()[-1]
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder / "site", wheel]
    done = run(*install, cwd=folder, path=backend)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_holds_every_file_of_the_package(site):
    here = {name for name in files(PACKAGE) if "__pycache__" not in name}
    assert {"py.typed", "agents/tuned.json", "lm/tuned.json"} <= here
    assert here == {name for name in files(site / "seqrl_jax") if "__pycache__" not in name}


def test_the_sources_come_with_what_tells_of_them(sdist):
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "docs/record.schema.json"} <= files(sdist)


def test_the_command_runs_without_the_checkout(site, tmp_path):
    seqrl = site / "bin" / "seqrl"
    where = run("-c", "import seqrl_jax; print(seqrl_jax.__file__)", cwd=tmp_path, path=site)
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert "solve" in run("-m", "seqrl_jax", "--help", cwd=tmp_path, path=site).stdout
    listed = run(seqrl, "list", "--json", cwd=tmp_path, path=site)
    assert "quick" in {suite["name"] for suite in json.loads(listed.stdout)["suites"]}, listed.stderr
