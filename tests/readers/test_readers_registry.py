"""Readers are found by name, those of other packages too."""

import sys
from pathlib import Path

import pytest

from optical_memory.errors import NotFoundError
from optical_memory.readers import load_reader, reader_names


def test_built_in_names() -> None:
    assert {"mini", "rapidocr", "deepseek-ocr", "deepseek-ocr-2", "got-ocr2", "endpoint"} <= set(reader_names())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match=r"no reader 'telepathy'; there are .*rapidocr"):
        load_reader("telepathy")


def test_other_packages_join_through_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parrot_reader.py").write_text(
        "from optical_memory.readers import Reading\n"
        "class Parrot:\n"
        "    name = 'parrot'\n"
        "    def __init__(self, word): self.word = word\n"
        "    def read(self, page): return Reading(text=self.word, seconds=0.0)\n"
    )
    info = tmp_path / "parrot_reader-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[optical_memory.readers]\nparrot = parrot_reader:Parrot\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "parrot" in reader_names()
    assert load_reader("parrot", word="hello").read(b"").text == "hello"
