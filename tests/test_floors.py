"""Imports point down the floors, in a package without circles: lazy imports and those for types alone count too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import optical_memory

ROOT = Path(optical_memory.__file__).parent
FLOORS = (
    {"errors", "registry", "turns", "wording"},
    {"budget", "formats", "policies", "renderers", "stores"},
    {"context", "endpoint", "excerpt", "facts", "model", "pages", "readers", "recall"},
    {"asking", "asynchronous", "compression", "intake", "lookup", "memory", "pool"},
    {"adapters", "batch", "cli", "client", "report", "service", "training"},
)
"""Rooms (packages and modules directly under ``optical_memory``), lowest floor first."""
ONLY = {
    "budget": {"errors", "renderers", "turns"},
    "policies": {"budget", "errors", "registry", "renderers"},
    "renderers": {"errors", "registry"},
    "stores": {"errors", "registry", "turns"},
}
"""What these rooms may know of, and nothing else: policies are pure, renderers know no policy, stores know no page."""


def _modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    named = {}
    for path in ROOT.rglob("*.py"):
        parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = _modules()
TO_COME = re.compile(rf"{ROOT.name}(\.\w+)+:\w+")


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each module of ours that a module imports, wherever it does, with the line.

    ``from package import name`` names the submodule where there is one. A text "package.module:attribute" is an import
    to come, as registries have them.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and TO_COME.fullmatch(node.value):
            names = [node.value.partition(":")[0]]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name in MODULES)


IMPORTS = {name: sorted(set(imported(ast.parse(path.read_text("utf-8"))))) for name, path in MODULES.items()}


def room(module: str) -> str:
    """Return the room that a module lies in; "" for the package itself."""
    return (module + "..").split(".")[1]


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in MODULES} - {""}
    assert rooms == set().union(*FLOORS), "give a new room its floor, here and in docs/architecture.md"


def test_imports_point_down() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for module, targets in IMPORTS.items():
        for target, line in targets:
            if "" in (room(module), room(target)):
                assert not room(module), f"{module}:{line} imports the package itself"
                continue
            assert floor[room(target)] <= floor[room(module)], f"{module}:{line} imports {target}, which is above it"


@pytest.mark.parametrize("name", ONLY)
def test_some_rooms_know_little(name: str) -> None:
    found = {room(target) for module, targets in IMPORTS.items() if room(module) == name for target, _ in targets}
    assert found - {name} <= ONLY[name]


def test_there_is_no_circle() -> None:
    among_modules = {module: {target for target, _ in targets} - {module} for module, targets in IMPORTS.items()}
    among_rooms: dict[str, set[str]] = {}
    for module, targets in among_modules.items():
        known = among_rooms.setdefault(room(module), set())
        known |= {room(target) for target in targets} - {room(module), ""}
    for graph in (among_rooms, among_modules):
        assert circle(graph) == []


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def test_lazy_imports_and_packages_are_found() -> None:
    """The test itself sees what it must: it would not hold anything if it saw too little."""
    source = (
        "def f():\n    from optical_memory import context, errors\n    import optical_memory.model.ocr\n"
        "STORES = {'sqlite': 'optical_memory.stores.sqlite:SqliteStore'}\n"
        "from optical_memory.turns import Turn\n"
    )
    found = {name for name, _ in imported(ast.parse(source))}
    assert found == {
        "optical_memory.context",
        "optical_memory.errors",
        "optical_memory.model.ocr",
        "optical_memory.stores.sqlite",
        "optical_memory.turns",
    }
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not circle({"a": {"b"}, "b": set()})
