"""A fingerprint of the code that a number comes from: it changes when that code does, and not when other code does.

What counts are the package's own modules that the given ones import, transitively, as their source says: nothing is
imported. Imports inside functions count; those under `if TYPE_CHECKING:` do not; a module that is named by a string at
run time is not seen, and neither are files that are not Python. `from package import Name` is followed through
`package/__init__.py` to the module that defines Name, so that what else the package holds does not matter.

Comments, docstrings, formatting, the order of neighbouring imports and the version of Python do not matter either.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

IGNORED = frozenset({"ctx", "type_comment", "type_ignores", "kind"})


def fingerprint(modules: Sequence[str]) -> str:
    """Of the modules with these full names, and of what each imports from its own package.

    Computed once for each process. Raises: ValueError, naming a module that is not there or does not parse.
    """
    return _fingerprint(tuple(sorted(set(modules))))


@functools.cache
def _fingerprint(modules: tuple[str, ...]) -> str:
    packages = {module.partition(".")[0]: _package(module.partition(".")[0]) for module in modules}
    hashes: dict[str, str] = {}
    for name, package in packages.items():
        hashes |= package.hashes(module for module in modules if module.partition(".")[0] == name)
    return _digest(hashes)


@functools.cache
def _package(name: str) -> Package:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is None and spec.submodule_search_locations:
        # A folder without `__init__.py`.
        return Package(name, Path(next(iter(spec.submodule_search_locations))))
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {name}")
    file = Path(spec.origin)
    return Package(name, file.parent if file.name == "__init__.py" else file.with_suffix(""))


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Import:
    """`import module` (name None), or `from module import name`."""

    module: str
    name: str | None
    bound: str


class Package:
    """The source of a package in a folder, or of a module in a file of that name; every file is read once."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._tree = functools.cache(self._parsed)
        self._hash = functools.cache(self._hashed)

    def fingerprint(self, modules: Iterable[str]) -> str:
        """Of modules and what they import. Raises: ValueError, naming a module that is not there or does not parse."""
        return _digest(self.hashes(modules))

    def hashes(self, modules: Iterable[str]) -> dict[str, str]:
        """Of each module that these reach, that of its code."""
        return {module: self._hash(module) for module in self.reached(modules)}

    def reached(self, modules: Iterable[str]) -> set[str]:
        """The modules themselves and what they import from the package, transitively."""
        closure: set[str] = set()
        waiting = list(modules)
        while waiting:
            module = waiting.pop()
            if module not in closure:
                closure.add(module)
                for needed in self._imports(module):
                    waiting += self._definers(needed)
        return closure

    def _definers(self, needed: Import) -> list[str]:
        """The modules that an import needs; none if it is of another package."""
        module, name = needed.module, needed.name
        if module.partition(".")[0] != self.name:
            return []
        if name is None:
            return [module]
        if self._path(f"{module}.{name}") is not None:
            return [f"{module}.{name}"]
        path = self._path(module)
        if path is not None and path.name == "__init__.py":
            bound = [again for again in self._imports(module) if again.bound == name and again.name is not None]
            sources = [source for source in bound if (source.module, source.name) != (module, name)]
            if sources:
                return [definer for source in sources for definer in self._definers(source)]
        return [module]

    def _imports(self, module: str) -> list[Import]:
        path = self._path(module)
        parent = module if path is not None and path.name == "__init__.py" else module.rpartition(".")[0]
        return list(_imports(self._tree(module).body, parent))

    def _path(self, module: str) -> Path | None:
        plain = self.folder.joinpath(*module.split(".")[1:])
        candidates = (plain / "__init__.py", plain.with_suffix(".py"))
        return next((path for path in candidates if path.is_file()), None)

    def _parsed(self, module: str) -> ast.Module:
        path = self._path(module)
        if path is None:
            raise ValueError(f"there is no module {module}")
        try:
            return ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError) as error:
            raise ValueError(f"module {module} cannot be read: {error}") from error

    def _hashed(self, module: str) -> str:
        written: list[str] = []
        _write(self._tree(module), written)
        return hashlib.sha256("".join(written).encode()).hexdigest()


def _imports(body: Iterable[ast.AST], parent: str) -> Iterator[Import]:
    """Every import below some nodes, but for those that only type checkers follow. parent: what a leading dot is."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = parent.split(".")
                module = ".".join([*base[: len(base) - node.level + 1], *filter(None, [module])])
            for alias in node.names:
                yield Import(module, None if alias.name == "*" else alias.name, alias.asname or alias.name)
        elif _is_for_type_checkers(node):
            yield from _imports(node.orelse, parent)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _imports(ast.iter_child_nodes(node), parent)


def _is_for_type_checkers(node: object) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _write(value: object, out: list[str]) -> None:
    """Append a node's type and its fields that hold something, by name: what newer versions of Python add is empty."""
    if isinstance(value, ast.Constant):
        out.append(_constant(value.value))
    elif isinstance(value, ast.AST):
        out.append(f"({type(value).__name__}")
        for name in value._fields:
            part = getattr(value, name, None)
            if part is not None and part != [] and name not in IGNORED:
                out.append(f" {name}:")
                _write(part, out)
        out.append(")")
    elif isinstance(value, list):
        out.append("[")
        for entry in _significant(value):
            _write(entry, out)
        out.append("]")
    else:
        out.append(_constant(value))


def _constant(value: object) -> str:
    # Not repr of a string: what is printable depends on the version of Unicode.
    return json.dumps(value) if isinstance(value, str) else f"<{type(value).__name__} {value!r}>"


def _significant(entries: list[object]) -> Iterator[object]:
    """A list without docstrings and without what type checkers read, with neighbouring imports in order."""
    imports: list[str] = []
    for entry in entries:
        if isinstance(entry, ast.Import | ast.ImportFrom):
            source = f"{entry.level}.{entry.module}" if isinstance(entry, ast.ImportFrom) else ""
            imports += [f"{source} {alias.name} {alias.asname}" for alias in entry.names]
            continue
        yield from sorted(imports)
        imports = []
        if isinstance(entry, ast.Expr) and isinstance(entry.value, ast.Constant) and isinstance(entry.value.value, str):
            continue
        if _is_for_type_checkers(entry):
            yield from _significant(list(entry.orelse))
            continue
        yield entry
    yield from sorted(imports)
