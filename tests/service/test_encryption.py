"""Encryption at rest, through real stores: what lies on disk, rotation, damage, and keys that are gone."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optical_memory import OpticalMemory
from optical_memory.cli import app
from optical_memory.errors import InputError, KeyLostError, StoreCorruptError
from optical_memory.service.encryption import EncryptingCodec, TenantKeys
from optical_memory.service.master import LocalMasterKey, new_master_key, parse_master_keys, read_master_keys
from optical_memory.service.records import Records, open_records
from optical_memory.stores import Store, open_store
from optical_memory.stores.scoped import ScopedStore
from optical_memory.turns import Turn

SECRET = "the launch code is QX7TT2-BORA"
MASTER = LocalMasterKey([b"m" * 32])
Replica = Callable[..., tuple[Store, TenantKeys, Records]]


@pytest.fixture
def replica(store_url: str) -> Iterator[Replica]:
    """Return a function that opens the same store as another replica would."""
    with ExitStack() as opened:

        def open_one(master: LocalMasterKey = MASTER, cache_seconds: float = 0.0) -> tuple[Store, TenantKeys, Records]:
            records = open_records(store_url)
            opened.callback(records.close)
            keys = TenantKeys(records, master, cache_seconds=cache_seconds)
            store = open_store(store_url, codec=EncryptingCodec(keys))
            opened.callback(store.close)
            return store, keys, records

        yield open_one


def turn(number: int, text: str = SECRET) -> Turn:
    return Turn(id=f"t{number}", role="user", text=f"{text} {number}", created_at=1.0)


def test_a_whole_memory_works_and_nothing_readable_is_stored(replica: Replica, tmp_path: Path) -> None:
    store, _, _ = replica()
    scoped = ScopedStore(store, "acme")
    settings = {"profile": "mini", "renderer": "dense", "budget": 2_000}
    with OpticalMemory("s", store=scoped, **settings) as memory:  # type: ignore[arg-type]
        memory.add_turns(turn(number, f"{SECRET} " + "and so on " * 40) for number in range(40))
        before = memory.messages()
        assert memory.context().pages and memory.recall("launch code", k=3)
    again, _, _ = replica()
    with OpticalMemory("s", store=ScopedStore(again, "acme"), **settings) as memory:  # type: ignore[arg-type]
        assert memory.messages() == before
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert b"QX7TT2" not in data and b"launch" not in data and b"\x89PNG\r\n\x1a\n" not in data, file


def test_values_are_read_after_rotation_also_by_a_replica_that_knew_only_the_old_key(replica: Replica) -> None:
    store, keys, _ = replica(cache_seconds=60.0)
    other, _, _ = replica(cache_seconds=60.0)
    one, two = ScopedStore(store, "acme"), ScopedStore(other, "acme")
    one.append("s", [turn(0)])
    assert [found.text for found in two.turns("s")] == [f"{SECRET} 0"]
    assert keys.rotate("acme") == 1
    one.append("s", [turn(1)])
    assert [found.text for found in two.turns("s")] == [f"{SECRET} 0", f"{SECRET} 1"]
    assert one.append("s", [turn(0)])[0].seq == 0, "equal content is known again under new keys"


def test_the_master_key_rotates_and_the_old_one_can_go(replica: Replica) -> None:
    store, _, _ = replica()
    for tenant in ("acme", "other"):
        ScopedStore(store, tenant).append("s", [turn(0)])
    new = b"n" * 32
    both, keys, _ = replica(LocalMasterKey([new, b"m" * 32]))
    assert ScopedStore(both, "acme").turns("s")
    assert keys.rewrap() == 2 and keys.rewrap() == 0
    only_new, _, _ = replica(LocalMasterKey([new]))
    assert ScopedStore(only_new, "other").turns("s")
    without, _, _ = replica(LocalMasterKey([b"x" * 32]))
    with pytest.raises(KeyLostError, match="not at hand"):
        ScopedStore(without, "acme").turns("s")


def test_destroying_a_tenants_keys_destroys_its_data_alone_and_for_ever(replica: Replica) -> None:
    store, keys, records = replica()
    other, _, _ = replica()
    for tenant in ("acme", "other"):
        ScopedStore(store, tenant).append("s", [turn(0)])
    assert ScopedStore(other, "acme").turns("s")
    wrapped = records.get("data-key/acme")
    when = keys.destroy("acme")
    assert keys.destroy("acme") == when == keys.destroyed_at("acme")
    assert wrapped != records.get("data-key/acme")
    for each in (store, other):
        with pytest.raises(KeyLostError, match="destroyed"):
            ScopedStore(each, "acme").turns("s")
        with pytest.raises(KeyLostError, match="destroyed"):
            ScopedStore(each, "acme").append("new", [turn(0)])
        assert ScopedStore(each, "other").turns("s")


def test_a_record_that_vanished_is_named_and_not_replaced_by_reading(replica: Replica) -> None:
    store, _, records = replica()
    ScopedStore(store, "acme").append("s", [turn(0)])
    assert records.swap("data-key/acme", b"{}", expected=records.get("data-key/acme"))
    fresh, _, _ = replica()
    with pytest.raises(StoreCorruptError, match="data keys of 'acme'"):
        ScopedStore(fresh, "acme").turns("s")
    with pytest.raises(KeyLostError, match="not in the store"):
        TenantKeys(open_records("memory://"), MASTER).cipher("acme", 0)


def test_what_was_changed_or_moved_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    records = open_records(url)
    store = open_store(url, codec=EncryptingCodec(TenantKeys(records, MASTER)))
    one, two = ScopedStore(store, "acme"), ScopedStore(store, "other")
    one.append("s", [turn(0)])
    two.append("s", [turn(0)])
    with sqlite3.connect(tmp_path / "memory.db") as db:
        bodies = dict(db.execute("SELECT sessions.id, body FROM turns JOIN sessions ON session = number"))
        query = "UPDATE turns SET body = ? WHERE session = (SELECT number FROM sessions WHERE id = ?)"
        db.execute(query, (bodies[b"acme/s"], b"other/s"))
    with pytest.raises(StoreCorruptError, match="'t0' of session 'other/s' is damaged"):
        two.turns("s")
    body = bytearray(bodies[b"acme/s"])
    body[-1] ^= 1
    with sqlite3.connect(tmp_path / "memory.db") as db:
        db.execute(query, (bytes(body), b"acme/s"))
    with pytest.raises(StoreCorruptError, match="'t0' of session 'acme/s' is damaged"):
        one.turns("s")
    store.close()
    records.close()


def test_a_wrapped_key_of_another_tenant_opens_nothing() -> None:
    wrapped = MASTER.wrap(b"k" * 32, b"one")
    assert MASTER.unwrap(wrapped, b"one") == b"k" * 32
    with pytest.raises(KeyLostError, match="another tenant"):
        MASTER.unwrap(wrapped, b"two")
    for cut in (b"", wrapped[:8], wrapped[:-1]):
        with pytest.raises(KeyLostError):
            MASTER.unwrap(cut, b"one")


def test_master_keys_come_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(f"# newest first\n{new_master_key()}\n{base64.b64encode(b'm' * 32).decode()}\n")
    file.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_master_keys(file)
    file.chmod(0o600)
    assert read_master_keys(file).unwrap(MASTER.wrap(b"k" * 32, b"c"), b"c") == b"k" * 32
    for text in ("", "c2hvcnQ=", "not base64 !"):
        with pytest.raises(InputError) as told:
            parse_master_keys(text)
        assert not text or text not in str(told.value), "an error does not repeat a key"


def test_the_command_line_rotates_wraps_anew_and_destroys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["keys", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    old, new = run("master").strip(), run("master").strip()
    monkeypatch.setenv("OPTICAL_MEMORY_STORE", url)
    monkeypatch.setenv("OPTICAL_MEMORY_MASTER_KEY", old)
    assert "data key 1" in run("rotate-data", "acme")
    monkeypatch.setenv("OPTICAL_MEMORY_MASTER_KEY", f"{new} {old}")
    assert "1 tenants" in run("rewrap")
    assert "destroyed" in run("destroy", "acme", "--yes")
    failed = CliRunner().invoke(app, ["keys", "rotate-data", "acme"])
    assert isinstance(failed.exception, KeyLostError)
    assert os.environ["OPTICAL_MEMORY_MASTER_KEY"] not in failed.output
