"""Imports between packages go in one direction: a package imports only what stands above it in this list."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "seqrl_jax"
LAYERS = (
    {
        "descriptions",
        "estimators",
        "failures",
        "figures",
        "files",
        "garbage",
        "hosts",
        "keys",
        "naming",
        "settings",
        "strict_json",
    },
    {"devices"},
    {"checkpoint", "parts", "results", "tasks"},
    {"exact", "networks"},
    {"agents", "lm"},
    {"dialogue", "throughput"},
    {"audit", "tracks"},
    {"claims", "report", "runs"},
    {"release", "text"},
    {"completion"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
)
VERSION = 0
"""What the package itself holds stands above everything."""
RANK = {name: number for number, layer in enumerate(LAYERS, 1) for name in layer}


def rooms() -> list[str]:
    """The packages and modules that stand directly in the package."""
    return sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())


def imported(module: Path) -> Iterator[str]:
    """The rooms that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("seqrl_jax."))


@pytest.mark.parametrize("room", rooms())
def test_a_package_imports_only_what_stands_above_it(room):
    place = PACKAGE / room
    modules = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    others = {(module.name, other) for module in modules for other in imported(module) if other != room}
    assert not {(module, other) for module, other in others if RANK.get(other, VERSION) >= RANK[room]}


def test_every_package_has_its_layer():
    assert rooms() == sorted(RANK)
