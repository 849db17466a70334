"""Sessions as files, and their copies from store to store."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optical_memory.errors import (
    ConflictError,
    DuplicateTurnError,
    InputError,
    OpticalMemoryError,
    StoreCorruptError,
    StoreUnavailableError,
)
from optical_memory.stores import MemoryStore, SqliteStore, Store, open_store, transfer
from optical_memory.stores import export as archive
from optical_memory.stores.export import export_session, load_session, session_in
from optical_memory.stores.transfer import copy_session
from optical_memory.turns import Part, ToolCall, Turn

SESSION = "a session/été \ud83d\ude00"
TURNS = [
    Turn(id="0", role="system", text="You are helpful."),
    Turn(
        id="1", role="user", text="\ud83d\ude00 \x00 宽 </script>", raw={"content": ["\udfff", 1.5, None]}, pin="tiny"
    ),
    Turn(id="2", role="user", text="zzsecret"),
    Turn(
        id="3",
        role="assistant",
        tool_calls=(ToolCall(id="c", name="search", arguments='{"q": "Oslo"}'),),
        created_at=1.25,
        importance=0.5,
    ),
    Turn(id="4", role="tool", text="a flight", tool_call_id="c", parts=(Part(kind="image", url="data:,", width=3),)),
    Turn(id="5", role="user", text="zzsecret again"),
    Turn(id="6", role="user", text="the last, zzsecret too"),
]
FORGOTTEN = {2: "2", 5: "5", 6: "6"}


def filled(store: Store) -> Store:
    store.append(SESSION, TURNS)
    store.append("another", [Turn(id="x", role="user", text="not exported")])
    store.delete_turns(SESSION, list(FORGOTTEN.values()))
    store.save_state(SESSION, b"old plan", expected=0)
    store.save_state(SESSION, bytes(range(256)), expected=1)
    store.put_blobs(SESSION, BLOBS)
    return store


BLOBS = {"page \ud800": b"\x00png", "": b""}


def kept(state: bytes, length: int) -> bytes:
    assert length == len(TURNS)
    return state


def assert_same(store: Store, session: str = SESSION, blobs: dict[str, bytes] = BLOBS) -> None:
    assert store.turns(session) == [replace(turn, seq=seq) for seq, turn in enumerate(TURNS) if seq not in FORGOTTEN]
    assert store.forgotten(session) == FORGOTTEN
    state = store.load_state(session)
    assert state is not None
    assert state.data == bytes(range(256))
    assert {key: store.get_blob(session, key) for key in store.blob_keys(session)} == blobs
    assert [turn.id for turn in store.search(session, "oslo", 5)] == ["3"]
    assert store.search(session, "zzsecret", 5) == []
    with pytest.raises(DuplicateTurnError, match="forgotten"):
        store.append(session, [Turn(id="5", role="user", text="zzsecret again")])
    assert store.append(session, [Turn(id="new", role="user")])[0].seq == 7


@pytest.fixture
def source() -> Iterator[Store]:
    store = filled(MemoryStore())
    yield store
    store.close()


@pytest.fixture
def target() -> Iterator[Store]:
    store = MemoryStore()
    yield store
    store.close()


def test_a_session_goes_through_a_file_without_loss(source: Store, target: Store, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_text("replaced")
    assert export_session(source, SESSION, path, state=bytes(range(256))) == path
    assert b"zzsecret" not in path.read_bytes()
    assert b"not exported" not in path.read_bytes()
    assert load_session(path, target, state=kept) == SESSION
    assert target.sessions() == [SESSION]
    assert_same(target, blobs={})
    assert os.listdir(tmp_path) == ["session.jsonl"]


def test_exports_are_the_same_to_the_byte(source: Store, target: Store, tmp_path: Path) -> None:
    export_session(source, SESSION, tmp_path / "one")
    load_session(tmp_path / "one", target)
    export_session(target, SESSION, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_session_is_copied_between_all_kinds_of_stores(source: Store, redis_url: str, tmp_path: Path) -> None:
    previous = source
    for url in (f"sqlite:///{tmp_path}/store.db", redis_url, "memory://"):
        following = open_store(url)
        following.delete_session(SESSION)
        copy_session(previous, following, SESSION)
        if previous is not source:
            previous.close()
        previous = following
    assert_same(previous)
    previous.close()


def test_a_long_session_with_many_gaps(target: Store, tmp_path: Path) -> None:
    store = MemoryStore()
    store.append("s", [Turn(id=str(number), role="user", text=f"turn {number}") for number in range(3_000)])
    gone = [str(number) for number in random.Random(1).sample(range(3_000), 1_000)]
    store.delete_turns("s", gone)
    export_session(store, "s", tmp_path / "file")
    load_session(tmp_path / "file", target)
    assert target.turns("s") == store.turns("s")
    assert target.forgotten("s") == store.forgotten("s")
    store.close()


def test_an_empty_session(target: Store, tmp_path: Path) -> None:
    export_session(target, "none", tmp_path / "file")
    assert load_session(tmp_path / "file", target) == "none"
    assert target.sessions() == []


def test_a_session_that_is_there_already_is_not_touched(source: Store, target: Store, tmp_path: Path) -> None:
    export_session(source, SESSION, tmp_path / "file")
    target.append(SESSION, [Turn(id="mine", role="user")])
    with pytest.raises(InputError, match="already"):
        load_session(tmp_path / "file", target)
    with pytest.raises(InputError, match="already"):
        copy_session(source, target, SESSION)
    assert [turn.id for turn in target.turns(SESSION)] == ["mine"]


def test_every_changed_lost_or_added_byte_is_noticed(source: Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    export_session(source, SESSION, path)
    sound = path.read_bytes()
    chance = random.Random(1)
    damages = [sound[:cut] for cut in chance.sample(range(len(sound)), 40)]
    damages += [
        sound + b"\n",
        sound + sound,
        sound[1:],
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff" * 1000,
        sound[:-2] + b"\n",
    ]
    for place in chance.sample(range(len(sound)), 200):
        damages.append(sound[:place] + bytes([sound[place] ^ 1 << chance.randrange(8)]) + sound[place + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        target = MemoryStore()
        with pytest.raises(StoreCorruptError):
            load_session(path, target)
        assert target.sessions() == []
        target.close()


def sealed(lines: list[Any]) -> bytes:
    """Return lines with a right checksum, as a hostile writer would."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    end = {"lines": len(lines), "sha256": archive.hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


HEADER = {"format": archive.FORMAT, "version": 1, "session": "s"}


@pytest.mark.parametrize(
    "lines",
    [
        [HEADER, {"turn": {"id": "a", "role": "wizard"}}],
        [HEADER, {"turn": {"id": "a", "role": "user", "other": 1}}],
        [HEADER, {"turn": {"id": "a", "role": "user", "seq": 5}}],
        [HEADER, {"turn": 7}],
        [HEADER, {"forgotten": {"seq": "0", "id": "a"}}],
        [HEADER, {"state": "not base64!"}],
        [HEADER, {"turn": {"id": "first", "role": "user", "seq": 1}}],
        [HEADER, {"turn": {"id": "a", "role": "user", "seq": 1}}, {"forgotten": {"seq": 2, "id": "a"}}],
        [HEADER, {"forgotten": {"seq": 1, "id": "a"}}, {"forgotten": {"seq": 1, "id": "b"}}],
        [HEADER, {"state": ""}, {"state": ""}],
        [HEADER, {"state": "A" * (5 << 20)}],
        [HEADER, {"unknown": 1}],
        [HEADER, HEADER],
        [HEADER, 7],
        [{**HEADER, "session": ""}],
        [{**HEADER, "session": "s" * 513}],
        [{**HEADER, "format": "another"}],
        [{**HEADER, "version": 2}],
    ],
)
def test_a_wrong_entry_is_refused_and_nothing_stays(target: Store, tmp_path: Path, lines: list[Any]) -> None:
    path = tmp_path / "file"
    good = {"turn": {"id": "first", "role": "user", "seq": 0}}
    path.write_bytes(sealed([*lines[:1], good, *lines[1:]]))
    with pytest.raises(OpticalMemoryError):
        load_session(path, target)
    assert target.sessions() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"text": 7},
        {"name": ["x"]},
        {"pin": 7},
        {"importance": "high"},
        {"importance": float("nan")},
        {"created_at": "now"},
        {"created_at": 1e300},
        {"created_at": float("inf")},
        {"created_at": -1},
        {"created_at": 10**400},
        {"seq": True},
        {"raw": [1]},
        {"raw": "x"},
        {"raw_format": 7},
        {"tool_call_id": {}},
        {"tool_calls": [{"id": "c", "name": "f", "arguments": {}}]},
        {"tool_calls": [7]},
        {"tool_calls": {"id": 1}},
        {"parts": [{"kind": "image", "width": "wide"}]},
        {"parts": [{"kind": "image", "width": 1 << 40}]},
        {"parts": [{"kind": "spell"}]},
        {"parts": [{"kind": "text", "text": 7}]},
        {"parts": "text"},
    ],
)
def test_a_turn_with_a_field_of_another_type_is_refused(target: Store, tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "file"
    path.write_bytes(sealed([HEADER, {"turn": {"id": "a", "role": "user", "seq": 0} | fields}]))
    with pytest.raises(OpticalMemoryError):
        load_session(path, target)
    assert target.sessions() == []


def test_a_session_is_loaded_under_another_id(source: Store, target: Store, tmp_path: Path) -> None:
    path = export_session(source, SESSION, tmp_path / "file")
    assert session_in(path) == SESSION
    assert load_session(path, target, session="copy") == "copy"
    assert load_session(path, target, session="another copy") == "another copy"
    assert target.sessions() == ["another copy", "copy"]
    assert target.turns("copy") == target.turns("another copy") == source.turns(SESSION)
    with pytest.raises(InputError, match="already"):
        load_session(path, target, session="copy")


def test_turns_on_their_way_out_are_written_as_forgotten(source: Store, target: Store, tmp_path: Path) -> None:
    path = export_session(source, SESSION, tmp_path / "file", leave_out={"1"})
    assert b"</script>" not in path.read_bytes()
    load_session(path, target)
    assert target.forgotten(SESSION) == {1: "1"} | FORGOTTEN


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [101, 5_000, 2_000_000])
def test_deep_nesting_is_refused(target: Store, tmp_path: Path, depth: int) -> None:
    line = f'{{"turn": {{"id": "a", "role": "user", "seq": 0, "raw": {{"a": {_nested(depth)}}}}}}}\n'.encode()
    body = json.dumps(HEADER).encode() + b"\n" + line
    end = {"lines": 2, "sha256": archive.hashlib.sha256(body).hexdigest()}
    (tmp_path / "file").write_bytes(body + json.dumps(end).encode() + b"\n")
    with pytest.raises(OpticalMemoryError):
        load_session(tmp_path / "file", target)
    assert target.sessions() == []


def test_the_format_is_as_documented(target: Store, tmp_path: Path) -> None:
    blob = {"blob": "k", "data": base64.b64encode(b"pixels, from an older version").decode()}
    turn = {"turn": {"id": "a", "role": "user", "text": "hello", "seq": 0}}
    (tmp_path / "file").write_bytes(
        sealed([HEADER, turn, {"forgotten": {"seq": 1, "id": "b"}}, {"state": "cGxhbg=="}, blob])
    )
    assert load_session(tmp_path / "file", target, state=lambda state, length: state + b" of %d" % length) == "s"
    assert [found.text for found in target.turns("s")] == ["hello"]
    assert target.forgotten("s") == {1: "b"}
    assert target.blob_keys("s") == []
    state = target.load_state("s")
    assert state is not None
    assert state.data == b"plan of 2"


def test_a_newer_version_is_refused(target: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(sealed([{**HEADER, "version": 2}]))
    with pytest.raises(StoreUnavailableError, match="newer"):
        load_session(tmp_path / "file", target)


def test_files_that_cannot_be_used(source: Store, target: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="none"):
        load_session(tmp_path / "none", target)
    for path in (tmp_path / "no/folder", tmp_path):
        with pytest.raises(StoreUnavailableError):
            export_session(source, SESSION, path)
    assert os.listdir(tmp_path) == []


def test_a_failed_export_leaves_the_old_file(source: Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    export_session(source, SESSION, path)
    before = path.read_bytes()
    source.append(SESSION, [Turn(id="more", role="user")])
    source.close()
    with pytest.raises(StoreUnavailableError):
        export_session(source, SESSION, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_no_half_export(source: Store, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system may be mounted here")
    try:
        source.append(SESSION, [Turn(id="large", role="user", text="x" * 200_000)])
        with pytest.raises(StoreUnavailableError, match="space"):
            export_session(source, SESSION, folder / "file")
        assert os.listdir(folder) == []
    finally:
        subprocess.run(["umount", folder], check=True)


class FillsUp(SqliteStore):
    """A store whose database may not grow beyond some pages."""

    def __init__(self, path: Path, pages: int) -> None:
        super().__init__(path)
        with self._database.reading() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_load_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    store.append("s", [Turn(id=str(number), role="user", text="words " * 100) for number in range(1_000)])
    export_session(store, "s", tmp_path / "file")
    store.close()
    small = FillsUp(tmp_path / "store.db", 200)
    with pytest.raises(StoreUnavailableError, match="full"):
        load_session(tmp_path / "file", small)
    assert small.sessions() == []
    small.close()


def test_a_writer_to_the_same_session_is_a_conflict_and_loses_nothing(source: Store, target: Store) -> None:
    def meddling() -> Iterator[transfer.Entry]:
        for number, entry in enumerate(transfer.entries(source, SESSION)):
            if number == 3:
                target.append(SESSION, [Turn(id="theirs", role="user")])
            yield entry

    with pytest.raises(ConflictError):
        transfer.restore(target, SESSION, meddling())
    assert "theirs" in [turn.id for turn in target.turns(SESSION)]


def test_an_export_while_others_write_and_forget(source: Store, target: Store) -> None:
    """The stream of entries stays one that can be restored, whatever happens between its reads."""
    stream = transfer.entries(source, SESSION)
    seen = [next(stream) for _ in range(2)]
    source.append(SESSION, [Turn(id="late", role="user", text="late"), Turn(id="later", role="user")])
    source.delete_turns(SESSION, ["0", "later"])
    transfer.restore(target, SESSION, [*seen, *stream])
    places = {turn.seq for turn in target.turns(SESSION)} | set(target.forgotten(SESSION))
    assert places == set(range(len(places)))
