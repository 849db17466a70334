"""URLs of stores, and what is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from optical_memory.errors import InputError, NotFoundError
from optical_memory.stores import MemoryStore, SqliteStore, open_store
from optical_memory.stores.redis import RedisStore
from optical_memory.turns import Turn


def test_memory() -> None:
    one, two = open_store("memory://"), open_store("memory://")
    one.append("s", [Turn(id="a", role="user")])
    assert isinstance(one, MemoryStore)
    assert two.sessions() == []
    one.close()
    two.close()


def test_sqlite_relative_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = open_store("sqlite:///a memory #1?.db")
    relative.append("s", [Turn(id="a", role="user")])
    absolute = open_store(f"sqlite:///{tmp_path}/a memory #1?.db")
    assert isinstance(absolute, SqliteStore)
    assert absolute.count("s") == 1
    assert (tmp_path / "a memory #1?.db").is_file()
    relative.close()
    absolute.close()


def test_redis(redis_url: str) -> None:
    store = open_store(redis_url)
    assert isinstance(store, RedisStore)
    store.close()


def test_a_store_is_returned_as_it_is() -> None:
    store = MemoryStore()
    assert open_store(store) is store
    store.close()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("memory.db", "sqlite:///memory.db"),
        ("", "not the URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://memory.db", "sqlite:///relative.db"),
        ("sqlite:///:memory:", "memory://"),
        ("memory://shared", "private"),
        ([], "not a store"),
        (None, "not a store"),
    ],
)
def test_what_names_no_store(wrong: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        open_store(wrong)


def test_a_scheme_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_store.py").write_text(
        "from optical_memory.stores import MemoryStore\n"
        "class TheirStore(MemoryStore):\n"
        "    def __init__(self, url):\n"
        "        super().__init__()\n"
        "        self.url = url\n"
    )
    information = tmp_path / "their_store-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[optical_memory.stores]\ntheirs = their_store:TheirStore\n")
    monkeypatch.syspath_prepend(tmp_path)
    store = open_store("theirs://host/path")
    assert vars(store)["url"] == "theirs://host/path"
    store.close()
    with pytest.raises(NotFoundError, match=r"no store 'others'; there are memory, .*sqlite, theirs"):
        open_store("others://host")


def test_redis_is_imported_only_when_it_is_used() -> None:
    program = """
import sys
sys.modules["redis"] = None
from optical_memory.errors import MissingExtraError
from optical_memory.stores import open_store
open_store("memory://").close()
try:
    open_store("redis://127.0.0.1:6379/0")
except MissingExtraError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'optical-memory[redis]'" in told.stdout
