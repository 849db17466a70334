"""What passes through a codec: nothing readable is left below it, and nothing damaged or moved comes back unnoticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from sealing_codec import SealingCodec

from optical_memory.errors import DuplicateTurnError, InputError, StoreCorruptError, StoreUnavailableError
from optical_memory.stores import MemoryStore, Store, open_store
from optical_memory.stores.codec import PLAIN, Codec
from optical_memory.stores.redis_names import Keys
from optical_memory.stores.transfer import copy_session
from optical_memory.turns import Turn

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = "zzsecret"
Opener = Callable[[Codec], Store]


def turn(turn_id: str, text: str = f"the {SECRET} words") -> Turn:
    return Turn(id=turn_id, role="user", text=text, raw={"role": "user", "content": text})


@pytest.fixture(params=["sqlite", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    found: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(found) as client:
        client.flushdb()
    return found


@pytest.fixture
def open_with(url: str) -> Iterator[Opener]:
    opened: list[Store] = []

    def opener(codec: Codec) -> Store:
        opened.append(open_store(url, codec=codec))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


def _stored_bytes(url: str, tmp_path: Path) -> bytes:
    if url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())
    with redis.Redis.from_url(url) as client:
        return b"".join(client.dump(key) for key in client.keys())


def test_nothing_readable_is_stored(open_with: Opener, url: str, tmp_path: Path) -> None:
    sealed, plain = open_with(SealingCodec(OLD)), open_with(PLAIN)
    long = f"{SECRET} and {SECRET}x and more {SECRET}"
    sealed.append("s", [turn("a"), turn("b", long)])
    sealed.save_state("s", SECRET.encode(), expected=0)
    sealed.put_blobs("s", {"page": SECRET.encode()})
    assert [found.id for found in sealed.search("s", SECRET, 5)] == ["b", "a"]
    stored = _stored_bytes(url, tmp_path)
    assert SECRET.encode() not in stored.lower()
    assert bytes.fromhex(turn("a").digest) not in stored
    assert turn("a").digest.encode() not in stored
    plain.append("t", [turn("a")])
    assert SECRET.encode() in _stored_bytes(url, tmp_path)  # the measure would notice


def test_forgetting_is_as_without_a_codec(open_with: Opener) -> None:
    store = open_with(SealingCodec(OLD))
    store.append("s", [turn("a"), turn("b", "plain words")])
    assert [found.id for found in store.search("s", SECRET, 5)] == ["a"]
    assert store.delete_turns("s", ["a"]) == 1
    assert store.search("s", SECRET, 5) == []
    assert [found.id for found in store.turns("s")] == ["b"]
    with pytest.raises(DuplicateTurnError, match="forgotten"):
        store.append("s", [turn("a")])


def test_what_was_sealed_under_an_older_key_is_read_and_known_again_after_a_rotation(open_with: Opener) -> None:
    before = open_with(SealingCodec(OLD))
    stored = before.append("s", [turn("a")])
    before.save_state("s", b"plan", expected=0)
    after = open_with(SealingCodec(OLD, NEW))
    assert after.turns("s") == after.append("s", [turn("a")]) == stored
    after.append("s", [turn("b")])
    after.save_state("s", b"newer plan", expected=1)
    with pytest.raises(DuplicateTurnError):
        after.append("s", [turn("a", "other words")])
    assert before.turns("s", limit=1) == stored
    for read in (lambda: before.get("s", ["b"]), lambda: before.load_state("s")):
        with pytest.raises(StoreCorruptError, match=r"the (turn 'b'|state) of session 's' cannot be decoded"):
            read()


def test_a_store_opened_without_its_codec_says_so(open_with: Opener) -> None:
    open_with(SealingCodec(OLD)).append("s", [turn("a")])
    with pytest.raises(StoreCorruptError, match="at 0 of 's' was stored through a codec"):
        open_with(PLAIN).turns("s")


def test_what_was_stored_plain_goes_to_the_codec_which_may_refuse_it(open_with: Opener) -> None:
    stored = open_with(PLAIN).append("s", [turn("a")])
    with pytest.raises(StoreCorruptError, match="turn 'a' of session 's' cannot be decoded"):
        open_with(SealingCodec(OLD)).turns("s")

    class Lenient(SealingCodec):
        def decode(self, kind: str, session: str, name: str, data: bytes) -> bytes:
            return data if data[8:9] == b" " else super().decode(kind, session, name, data)

    lenient = open_with(Lenient(OLD))
    assert [*stored, *lenient.append("s", [turn("b")])] == lenient.turns("s")


def test_a_codec_without_its_key_for_now_is_no_damage(open_with: Opener) -> None:
    class Locked(SealingCodec):
        def decode(self, kind: str, session: str, name: str, data: bytes) -> bytes:
            raise StoreUnavailableError("the key service does not answer")

    open_with(SealingCodec(OLD)).append("s", [turn("a")])
    with pytest.raises(StoreUnavailableError, match="key service"):
        open_with(Locked(OLD)).turns("s")


def _write(
    url: str, tmp_path: Path, session: str, column: str, change: Callable[[bytes], bytes], place: int = 0
) -> None:
    """Change a stored value behind the store's back."""
    if url.startswith("redis"):
        key = Keys().of(session)[{"body": "turns", "state": "meta", "blob": "blobs"}[column]]
        field = {"body": str(place), "state": "state", "blob": "page"}[column]
        with redis.Redis.from_url(url) as client:
            held = client.hget(key, field)
            assert isinstance(held, bytes)
            client.hset(key, field, change(held))
        return
    query = {
        "body": ("turns", "body", "session = :number AND row & 1048575 = :place"),
        "state": ("states", "data", "session = :number"),
        "blob": ("blobs", "data", "session = :number"),
    }[column]
    table, name, where = query
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as raw:
        [number] = raw.execute("SELECT number FROM sessions WHERE id = ?", (session.encode(),)).fetchone()
        bound = {"number": number, "place": place}
        [held] = raw.execute(f"SELECT {name} FROM {table} WHERE {where}", bound).fetchone()
        raw.execute(f"UPDATE {table} SET {name} = :new WHERE {where}", bound | {"new": change(held)})


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:4], lambda data: b""]
)
@pytest.mark.parametrize(
    ("column", "read", "named"),
    [
        ("body", lambda store: store.turns("s"), "turn"),
        ("state", lambda store: store.load_state("s"), "state"),
        ("blob", lambda store: store.get_blob("s", "page"), "blob 'page'"),
    ],
)
def test_a_changed_value_is_named(
    open_with: Opener,
    url: str,
    tmp_path: Path,
    column: str,
    read: Callable[[Store], object],
    named: str,
    change: Callable[[bytes], bytes],
) -> None:
    store = open_with(SealingCodec(OLD))
    store.append("s", [turn("a")])
    store.save_state("s", b"plan", expected=0)
    store.put_blobs("s", {"page": b"png"})
    _write(url, tmp_path, "s", column, change)
    with pytest.raises(StoreCorruptError, match=named):
        read(store)


def test_a_value_moved_to_another_session_or_turn_is_noticed(open_with: Opener, url: str, tmp_path: Path) -> None:
    store = open_with(SealingCodec(OLD))
    taken: list[bytes] = []

    def take(held: bytes) -> bytes:
        taken.append(held)
        return held

    for session in ("s", "t"):
        store.append(session, [turn("a", f"words of {session}")])
        store.save_state(session, b"plan", expected=0)
        store.put_blobs(session, {"page": b"png"})
    for column in ("body", "state", "blob"):
        _write(url, tmp_path, "s", column, take)
        _write(url, tmp_path, "t", column, lambda held: taken[-1])
    for read in (lambda: store.turns("t"), lambda: store.load_state("t"), lambda: store.get_blob("t", "page")):
        with pytest.raises(StoreCorruptError, match="session 't' cannot be decoded"):
            read()


def test_the_codec_of_a_store_that_is_open_is_its_own(open_with: Opener) -> None:
    with pytest.raises(InputError, match="codec already"):
        open_store(open_with(PLAIN), codec=SealingCodec(OLD))


def test_an_index_in_memory_follows_what_other_processes_do(open_with: Opener) -> None:
    one, two = open_with(SealingCodec(OLD)), open_with(SealingCodec(OLD))
    one.append("s", [turn("a", "a flight to Oslo"), turn("b", "a hotel in Bergen")])
    assert [found.id for found in two.search("s", "Oslo", 5)] == ["a"]
    one.append("s", [turn("c", "Oslo again")])
    one.delete_turns("s", ["a"])
    assert [found.id for found in two.search("s", "Oslo", 5)] == ["c"]
    one.delete_session("s")
    assert two.search("s", "Oslo", 5) == []
    one.append("s", [turn("d", "Bergen again")])
    assert [found.id for found in two.search("s", "Bergen", 5)] == ["d"]


def test_a_copy_into_a_store_with_another_codec_leaves_nothing_of_the_old_one(
    open_with: Opener, url: str, tmp_path: Path
) -> None:
    plain = MemoryStore()
    plain.append("s", [turn("a"), turn("b"), turn("c")])
    plain.delete_turns("s", ["b"])
    plain.save_state("s", SECRET.encode(), expected=0)
    plain.put_blobs("s", {"page": SECRET.encode()})
    between = MemoryStore(codec=SealingCodec(OLD))
    copy_session(plain, between, "s")
    target = open_with(SealingCodec(NEW))
    copy_session(between, target, "s")
    assert target.turns("s") == plain.turns("s")
    assert target.forgotten("s") == plain.forgotten("s")
    assert target.get_blob("s", "page") == SECRET.encode()
    assert target.append("s", [turn("a")]) == plain.get("s", ["a"])
    assert SECRET.encode() not in _stored_bytes(url, tmp_path).lower()
    with pytest.raises(StoreCorruptError):
        open_with(SealingCodec(OLD)).turns("s")
    plain.close()
    between.close()
