"""The map and the other documents name what is there: files, folders, functions, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAPS = [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md"]
FOLDERS = ("optical_memory", "tests", "benchmarks", "docs", "scripts")
FILES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
TO_WRITE = re.compile(r"NAME|PROVIDER|mine")
"""In the names of files that a reader is to write."""
NAMED = re.compile(r"`([\w./-]+(?:\.py|\.md|\.toml|/))(?:: ([\w.]+))?`")
PATH = re.compile(r"\b(?:tests|optical_memory|benchmarks|docs|scripts|examples|LICENSES)/[\w./-]+\.\w+")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def found(path: str) -> list[Path]:
    """Return the files and folders whose path ends so."""
    whole = ROOT / path
    return [whole] if whole.exists() else [each for each in FILES if each.as_posix().endswith(f"/{path.rstrip('/')}")]


@pytest.mark.parametrize("document", MAPS, ids=lambda path: path.name)
def test_files_and_functions_that_a_map_names_are_there(document: Path) -> None:
    named = [(path, name) for path, name in NAMED.findall(document.read_text("utf-8")) if not TO_WRITE.search(path)]
    assert len(named) >= 8
    for path, name in named:
        places = found(path)
        assert places, f"{document.name} names {path!r}"
        for part in name.split(".") if name else ():
            wanted = re.compile(rf"(def|class) {part}\b")
            assert any(wanted.search(place.read_text("utf-8")) for place in places), f"{path!r} has no {name!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text("utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_are_there(document: Path) -> None:
    paths = {path for path in PATH.findall(document.read_text("utf-8")) if not TO_WRITE.search(path)}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_map_names_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    rooms = {path.stem for path in (ROOT / "optical_memory").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__", "examples"}
    floors = text.partition("## What may import what")[2].partition("\n## ")[0]
    assert [room for room in sorted(rooms) if f"`{room}`" not in floors] == [], "give the room its floor"
    table = text.partition("## The rooms")[2].partition("\n## ")[0]
    assert [room for room in sorted(rooms) if f"`{room}/`" not in table and f"`{room}.py`" not in table] == []
