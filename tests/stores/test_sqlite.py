"""The SQLite store: killed, full, read-only, damaged, locked, migrated, and with every trace of the past removed."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.errors import (
    InputError,
    OpticalMemoryError,
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
)
from optical_memory.stores import SqliteStore, database, record, rows
from optical_memory.turns import ToolCall, Turn

APPEND_FOREVER = Path(__file__).parent / "append_forever.py"


def turn(turn_id: str, text: str) -> Turn:
    return Turn(id=turn_id, role="user", text=text)


def numbered(count: int, text: str = "some words in turn") -> list[Turn]:
    return [turn(f"turn {number}", f"{text} {number}") for number in range(count)]


@contextmanager
def appending(url: str, name: str, session: str = "s") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(APPEND_FOREVER), url, session, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


# Killed


def test_killing_the_process_loses_nothing_acknowledged_and_halves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(1)
    acknowledged: list[str] = []
    for attempt in range(8):
        with appending(f"sqlite:///{path}", f"run{attempt}") as process:
            assert process.stdout is not None
            told = [process.stdout.readline().strip() for _ in range(chance.randint(5, 15))]
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            acknowledged += [*told, *process.stdout.read().split()]
        with closing(SqliteStore(path)) as store:
            stored = store.turns("s")
        assert [found.seq for found in stored] == list(range(len(stored)))
        calls = [found.id.removesuffix("-call") for found in stored[::2]]
        assert [found.id.removesuffix("-result") for found in stored[1::2]] == calls
        assert set(acknowledged) <= set(calls)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        raw.execute("INSERT INTO words(words) VALUES ('integrity-check')")
    assert len(acknowledged) > 30


def test_two_processes_append_to_one_session(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with appending(f"sqlite:///{path}", "a") as one, appending(f"sqlite:///{path}", "b") as two:
        assert one.stdout is not None
        assert two.stdout is not None
        told = [process.readline().strip() for _ in range(40) for process in (one.stdout, two.stdout)]
    with closing(SqliteStore(path)) as store:
        stored = store.turns("s")
    assert [found.seq for found in stored] == list(range(len(stored)))
    calls = [found.id.removesuffix("-call") for found in stored[::2]]
    assert [found.id.removesuffix("-result") for found in stored[1::2]] == calls
    assert set(told) <= set(calls)


def _open_and_append(path: str, number: int) -> None:
    with closing(SqliteStore(path)) as store:
        store.append("s", [turn(f"first of {number}", "hello")])


def test_many_processes_create_one_database_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open_and_append, args=(str(path), number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    with closing(SqliteStore(path)) as store:
        assert store.count("s") == 6


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of other tests
def test_a_store_does_not_survive_a_fork(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "store.db")) as store:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store.count("s")
            except StoreUnavailableError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            assert "fork" in answer.read()
        os.waitpid(child, 0)


# Full, read-only, locked, not there


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    kept: list[str] = []
    with closing(SqliteStore(small_disk / "store.db")) as store:
        with pytest.raises(StoreUnavailableError, match="full"):
            for number in range(10_000):
                store.append("s", [turn(str(number), "words " * 1_000)])
                kept.append(str(number))
        assert [found.id for found in store.turns("s")] == kept
        with pytest.raises(StoreUnavailableError):
            store.append("s", [turn("another", "words " * 1_000)])
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    with closing(SqliteStore(small_disk / "store.db")) as store:
        assert [found.id for found in store.turns("s")] == kept
        assert store.append("s", [turn("another", "now there is room")])[0].seq == len(kept)


def test_a_disk_quota(tmp_path: Path) -> None:
    """A limit on the size of files, as quotas set it, in a process of its own."""
    limited = f"""
import resource, signal
from optical_memory.errors import StoreUnavailableError
from optical_memory.stores import SqliteStore
from optical_memory.turns import Turn
store = SqliteStore({str(tmp_path / "store.db")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
number = 0
try:
    while True:
        store.append("s", [Turn(id=str(number), role="user", text="words " * 1_000)])
        number += 1
except StoreUnavailableError:
    print(number)
"""
    told = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    with closing(SqliteStore(tmp_path / "store.db")) as store:
        assert store.count("s") == int(told.stdout) > 10


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """Run as a user to whom permissions apply: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("unprivileged")
def test_a_read_only_file_can_be_read_but_not_written(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(3))
    path.chmod(0o444)
    with closing(SqliteStore(path)) as store:
        assert store.count("s") == 3
        for write in (lambda: store.append("s", numbered(4)), lambda: store.delete_turns("s", ["turn 0"])):
            with pytest.raises(StoreUnavailableError, match="read-only"):
                write()


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_read_only_folder_opens_for_reading(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "a folder #1?é%20"
    folder.mkdir()
    path = folder / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(3))
    path.chmod(mode)
    folder.chmod(0o555)
    try:
        with closing(SqliteStore(path)) as store:
            assert [found.id for found in store.search("s", "words", 5)] == ["turn 2", "turn 1", "turn 0"]
            assert store.sessions() == ["s"]
            writes: list[Callable[[], object]] = [
                lambda: store.append("s", numbered(4)),
                lambda: store.save_state("s", b"", expected=0),
                lambda: store.delete_turns("s", ["turn 1"]),
                lambda: store.delete_session("s"),
            ]
            for write in writes:
                with pytest.raises(StoreUnavailableError, match="read-only"):
                    write()
            folder.chmod(0o755)
            path.chmod(0o644)
            with closing(SqliteStore(path)) as other:  # who may write does, meanwhile
                other.append("s", numbered(5))
                assert store.count("s") == 5
            assert store.count("s") == 5
            assert store.append("s", [turn("now", "writable")])[0].seq == 5
        with OpticalMemory("s", store=f"sqlite:///{path}", profile="mini", renderer="dense") as memory:
            assert memory.recall("writable")
    finally:
        folder.chmod(0o755)


@pytest.fixture
def imported() -> None:
    """Import what a context needs while all files can be read."""
    with OpticalMemory(profile="mini", renderer="dense", budget=2_000) as memory:
        for number in range(60):
            memory.add("user", f"Turn {number} is about a crate in the northern hall. " * 4)
        memory.messages()


@pytest.mark.usefixtures("imported", "unprivileged")
def test_a_memory_shows_what_a_read_only_database_holds_and_caches_it_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    settings: dict[str, Any] = {"store": f"sqlite:///{folder}/store.db", "profile": "mini", "renderer": "dense"}
    with OpticalMemory("s", budget=2_000, **settings) as memory:
        for number in range(60):
            memory.add("user", f"Turn {number} is about crate {number * 7 % 31} in the northern hall. " * 4)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        with OpticalMemory("s", budget=2_000, **settings) as memory:
            sent = memory.messages()
            assert memory.context().epoch and memory.context().pages and memory.messages() == sent
            with pytest.raises(StoreUnavailableError, match="read-only"):
                memory.add("user", "one more")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    finally:
        folder.chmod(0o755)
        (folder / "store.db").chmod(0o644)
    with OpticalMemory("s", budget=2_000, **settings) as memory:
        assert memory.messages() == sent


@pytest.mark.usefixtures("unprivileged")
def test_a_read_only_database_of_an_older_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    _make(path, version=1)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoreUnavailableError, match="older version; open it once"):
            SqliteStore(path)
    finally:
        tmp_path.chmod(0o755)
        path.chmod(0o644)
    SqliteStore(path).close()


@pytest.mark.usefixtures("unprivileged")
def test_a_read_only_folder(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(3))
    tmp_path.chmod(0o555)
    try:
        for name in ("store.db", "new.db"):
            with pytest.raises(StoreUnavailableError, match=name):
                SqliteStore(tmp_path / name).append("s", numbered(4))
    finally:
        tmp_path.chmod(0o755)
    with closing(SqliteStore(path)) as store:
        assert store.count("s") == 3


@pytest.mark.parametrize("name", ["no/such/folder.db", ""])
def test_a_path_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreUnavailableError, match="folder"):
        SqliteStore(f"{tmp_path}/{name}")


def test_an_impossible_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="path"):
        SqliteStore(f"{tmp_path}/a\0b.db")


def test_a_database_locked_for_too_long(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path, timeout=0.2)) as store, closing(sqlite3.connect(path)) as other:
        store.append("s", numbered(2))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"locked for 0\.2 seconds"):
            store.append("s", [turn("new", "waits in vain")])
        assert store.count("s") == 2
        other.rollback()
        assert store.append("s", [turn("new", "waits no more")])[0].seq == 2


def test_a_write_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with (
        closing(SqliteStore(path, timeout=600)) as store,
        closing(sqlite3.connect(path, check_same_thread=False)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, other.rollback).start()
        assert store.append("s", numbered(1))[0].seq == 0


# Damaged, foreign, newer, older


def test_damage_is_never_silent(tmp_path: Path) -> None:
    """A page's worth of noise, anywhere: every turn read is right, or a StoreError says what is wrong."""
    sound = tmp_path / "sound.db"
    with closing(SqliteStore(sound)) as store:
        store.append("s", numbered(400, "words " * 30))
        expected = {found.id: found for found in store.turns("s")}
    size, chance, noticed = sound.stat().st_size, random.Random(2), 0
    for attempt in range(60):
        path = tmp_path / f"damaged{attempt}.db"
        shutil.copyfile(sound, path)
        with path.open("r+b") as file:
            file.seek(chance.randrange(0, size - 4096))
            file.write(chance.choice([chance.randbytes(4096), bytes(4096), chance.randbytes(3), b"words fork"]))
        try:
            with closing(SqliteStore(path)) as store:
                for found in [*store.turns("s"), *store.get("s", ["turn 7"]), *store.search("s", "words 12", 5)]:
                    assert found == expected[found.id]
                store.append("s", [turn("new", "new words")])
                store.delete_turns("s", ["turn 3"])
        except StoreError:
            noticed += 1
        path.unlink(missing_ok=True)
    assert noticed > 20


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("sessions", "id", ["x'f3'", "7"]),
        ("sessions", "birth", ["7", "'text'"]),
        ("sessions", "forgotten", ["'x'", "x'00'"]),
        ("sessions", "number", ["99"]),
        ("turns", "body", ["7", "'text'", "x''", "x'00'", "1.5", "'=zzzz'", "x'3d30303030'"]),
        ("turns", "id", ["7", "x'ff'", "'text'"]),
        ("turns", "digest", ["7", "'text'"]),
        ("turns", "session", ["-1"]),
        ("states", "version", ["'x'", "x'31'", "1e300"]),
        ("states", "data", ["'text'", "1000000000000", "1.5"]),
        ("blobs", "data", ["'text'", "1000000000000"]),
        ("blobs", "key", ["7", "x'ff'"]),
    ],
)
def test_values_of_another_type_are_damage(tmp_path: Path, table: str, column: str, values: list[str]) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(4))
        store.delete_turns("s", ["turn 1"])
        store.save_state("s", b"plan", expected=0)
        store.put_blobs("s", {"page": b"png"})
    for value in values:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute(f"UPDATE OR IGNORE {table} SET {column} = {value}")
        with closing(SqliteStore(path)) as store:
            calls: list[Callable[[], object]] = [
                lambda: store.head("s"),
                lambda: store.turns("s"),
                lambda: store.get("s", ["turn 2"]),
                lambda: store.search("s", "words", 5),
                lambda: store.forgotten("s"),
                lambda: store.load_state("s"),
                lambda: store.blob_keys("s"),
                lambda: store.get_blob("s", "page"),
                lambda: store.append("s", [turn("turn 2", "some words in turn 2")]),
                lambda: store.append("s", [turn(uuid.uuid4().hex, "words")]),
                lambda: store.save_state("s", b"plan", expected=1),
                lambda: store.delete_turns("s", ["turn 3"]),
                store.sessions,
            ]
            for call in calls:
                with suppress(OpticalMemoryError):
                    call()


CHANGES: list[Callable[[bytearray, random.Random], None]] = [
    lambda data, chance: data.__delitem__(slice(chance.randrange(len(data)), None)),
    lambda data, chance: _flip(data, chance, 1),
    lambda data, chance: _flip(data, chance, 100),
    lambda data, chance: data.__setitem__(slice(at := chance.randrange(len(data) - 4096), at + 4096), bytes(4096)),
    lambda data, chance: data.__setitem__(slice(at := chance.randrange(len(data) - 9), at + 9), chance.randbytes(9)),
]


def _flip(data: bytearray, chance: random.Random, bits: int) -> None:
    for _ in range(bits):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def test_120_damaged_databases_give_errors_of_ours_only(tmp_path: Path, coding_sessions: list[dict[str, Any]]) -> None:
    """Cut off, bits flipped, pages emptied: every call of a store and of a memory on it ends well or in our words."""
    settings: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 2_000, "clock": lambda: 1e9}
    # Ids and times are given, so that the damage strikes the same places each time.
    messages = [message | {"id": f"m{n}"} for n, message in enumerate(coding_sessions[0]["messages"][:40])]
    sound = tmp_path / "sound.db"
    with OpticalMemory("s", store=f"sqlite:///{sound}", **settings) as memory:
        for start in range(0, 40, 10):
            memory.extend(messages[start : start + 10])
            memory.messages()
        memory.forget(turn_id="#3")
    refused = 0
    for number in range(120):
        chance, data = random.Random(number), bytearray(sound.read_bytes())
        CHANGES[number % len(CHANGES)](data, chance)
        path = tmp_path / f"damaged{number}.db"
        path.write_bytes(data)
        refused += _use(path, settings)
        for file in tmp_path.glob(f"damaged{number}.db*"):
            file.unlink()
    assert 60 < refused


def _use(path: Path, settings: dict[str, Any]) -> bool:
    """Call everything, and return whether any call was refused. Errors that are not ours go up."""
    refused = False
    try:
        with OpticalMemory("s", store=f"sqlite:///{path}", **settings) as memory:
            calls: list[Callable[[], object]] = [
                memory.store.sessions,
                lambda: memory.store.turns("s"),
                lambda: memory.store.forgotten("s"),
                lambda: [memory.store.get_blob("s", key) for key in memory.store.blob_keys("s")],
                memory.messages,
                lambda: memory.recall("the file that was changed"),
                lambda: memory.recall(turn_id="#2"),
                lambda: memory.export(path.with_suffix(".om")),
                lambda: memory.add("user", "new words"),
                lambda: memory.forget(turn_id="#5"),
                memory.context,
                lambda: memory.forget(everything=True),
            ]
            for call in calls:
                try:
                    call()
                except OpticalMemoryError:
                    refused = True
    except OpticalMemoryError:
        refused = True
    path.with_suffix(".om").unlink(missing_ok=True)
    return refused


@pytest.mark.parametrize("damage", [b"", b"not a database at all " * 500])
def test_a_file_that_is_no_database(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(50))
    path.write_bytes(damage or path.read_bytes()[:10_000])
    with pytest.raises(StoreCorruptError, match=r"store\.db"), closing(SqliteStore(path)) as store:
        store.turns("s")


def test_a_changed_byte_in_a_turn_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", [turn("a", "the amount is 4711 crowns")])
    path.write_bytes(path.read_bytes().replace(b'"text":"the amount is 4711', b'"text":"the amount is 4712'))
    with closing(SqliteStore(path)) as store, pytest.raises(StoreCorruptError, match="checksum"):
        store.turns("s")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs(x)")
    with pytest.raises(StoreCorruptError, match="another program"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_database_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {len(database.MIGRATIONS) + 1}")
    with pytest.raises(StoreUnavailableError, match="newer optical-memory"):
        SqliteStore(path)


def test_migrations_run_once_each_and_only_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", numbered(3))
    newer = (*database.MIGRATIONS, ("CREATE TABLE extra(x)", "INSERT INTO extra VALUES (1)"))
    monkeypatch.setattr(database, "MIGRATIONS", (*newer, ("CREATE TABLE more(x)", "this is no SQL")))
    with pytest.raises(StoreCorruptError, match="syntax"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('extra', 'more')").fetchone() == (0,)
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    for _ in range(2):
        with closing(SqliteStore(path)) as store:
            assert store.count("s") == 3
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT x FROM extra").fetchall() == [(1,)]
        assert raw.execute("PRAGMA user_version").fetchone() == (len(newer),)


def _make(path: Path, version: int) -> None:
    """Make a database as this version of the schema had it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        for statements in database.MIGRATIONS[:version]:
            for statement in statements:
                raw.execute(statement)
        raw.execute(f"PRAGMA user_version = {version}")


def test_a_database_without_births_is_given_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    _make(path, version=1)
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            "INSERT INTO sessions VALUES (1, x'61'), (2, x'62');"
            f"INSERT INTO turns VALUES ({1 << 36}, 1, 'x', NULL, NULL), ({(1 << 36) + 1}, 1, 'y', 'd', 'b'),"
            f" ({2 << 36}, 2, 'x', NULL, NULL), ({(2 << 36) + 1}, 2, 'y', NULL, NULL);"
            "INSERT INTO states VALUES (2, 7, 'plan')"
        )
    with closing(SqliteStore(path)) as store:
        one, two = store.head("a"), store.head("b")
        assert (one.length, one.version, one.forgotten) == (2, 0, 1)
        assert (two.length, two.version, two.forgotten) == (2, 7, 2)
        assert len({"", one.birth, two.birth}) == 3
    with closing(SqliteStore(path)) as store:
        assert (store.head("a"), store.head("b")) == (one, two)


def test_a_page_of_sessions_is_read_from_an_index(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "store.db")) as store, store._database.reading() as connection:
        for span in (record.span("a", ""), record.span("a", "ab"), record.span("", "")):
            asked: list[str] = []
            connection.set_trace_callback(asked.append)
            rows.sessions(connection, span, 10)
            connection.set_trace_callback(None)
            [plan] = connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
            assert plan[3].startswith("SEARCH sessions USING COVERING INDEX")


def test_settings(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "store.db")) as store, store._database.reading() as connection:
        [journal] = connection.execute("PRAGMA journal_mode").fetchone()
        [synchronous] = connection.execute("PRAGMA synchronous").fetchone()
        [secure] = connection.execute("PRAGMA secure_delete").fetchone()
    assert (journal, synchronous, secure) == ("wal", 2, 1)


# Forgotten for real


def _bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir()).lower()


@pytest.mark.parametrize("everything", [False, True])
def test_no_byte_of_what_was_forgotten_stays_in_the_file_or_its_log(tmp_path: Path, everything: bool) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(3)
    secret = {f"turn {number}" for number in chance.sample(range(3_000), 150)}
    call = ToolCall(id="c", name="zzsecretool", arguments='{"key": "zzsecretargument"}')
    with closing(SqliteStore(path)) as store, closing(SqliteStore(path)) as other:
        for start in range(0, 3_000, 20):  # two sessions by turns, so that pages are split in their middle
            turns = [
                Turn(
                    id=f"turn {number}",
                    role="assistant",
                    text="zzsecret " * 20,
                    name="zzsecretname",
                    tool_calls=(call,),
                )
                if f"turn {number}" in secret
                else turn(f"turn {number}", "plain words " * chance.randint(1, 80))
                for number in range(start, start + 20)
            ]
            store.append(chance.choice(["a", "b"]) if not everything else "a", turns)
        store.save_state("a", b"zzsecret plan", expected=0)
        store.save_state("a", b"plain plan", expected=1)
        store.put_blobs("a", {"page": b"zzsecret pixels" * 1_000, "other": b"plain"})
        assert other.search("a", "zzsecret", 1)
        assert _bytes_on_disk(tmp_path).count(b"zzsecret") > 1_000
        before = len(_bytes_on_disk(tmp_path))
        store.delete_blobs("a", ["page"])
        counts = [store.delete_turns(session, sorted(secret)) for session in "ab"] if not everything else []
        assert sum(counts or [store.delete_session("a") - 2_850]) == 150
        assert b"zzsecret" not in _bytes_on_disk(tmp_path)
        assert len(_bytes_on_disk(tmp_path)) < before
        assert other.search("a", "zzsecret", 1) == []


def test_forgetting_waits_for_a_reader_and_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path, timeout=0.2)) as store, closing(sqlite3.connect(path)) as reader:
        store.append("s", [turn("a", "zzsecret words")])
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM turns").fetchone() == (1,)
        with pytest.raises(StoreUnavailableError, match="deleted"):
            store.delete_turns("s", ["a"])
        assert store.turns("s") == []
        reader.rollback()
        assert store.delete_turns("s", ["a"]) == 0
        assert b"zzsecret" not in _bytes_on_disk(tmp_path)


@pytest.mark.parametrize("call", ["store.delete_turns('s', ['a'])", "store.delete_session('s')"])
def test_a_purge_that_was_cut_off_is_finished_by_the_next_to_open(tmp_path: Path, call: str) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        store.append("s", [turn("a", "zzsecret " * 2_000), turn("b", "plain")])
    killed = f"""
import os, signal
from optical_memory.stores import SqliteStore, database
database.Database.scrub = lambda self: os.kill(os.getpid(), signal.SIGKILL)
store = SqliteStore({str(path)!r})
{call}
"""
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -signal.SIGKILL
    assert b"zzsecret" in _bytes_on_disk(tmp_path)
    with closing(SqliteStore(path)) as store:
        assert b"zzsecret" not in _bytes_on_disk(tmp_path)
        assert store.get("s", ["a"]) == []
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM unpurged").fetchone() == (0,)


def test_a_purge_that_cannot_be_finished_now_is_said_and_left_to_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path, timeout=0.2)) as store, closing(sqlite3.connect(path)) as reader:
        store.append("s", [turn("a", "zzsecret words")])
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM turns").fetchone() == (1,)
        with pytest.raises(StoreUnavailableError, match="deleted"):
            store.delete_turns("s", ["a"])
        with closing(SqliteStore(path, timeout=0.2)) as other:
            assert other.count("s") == 0
        assert "repeat this" in caplog.text
        reader.rollback()
        assert b"zzsecret" in _bytes_on_disk(tmp_path)
        SqliteStore(path).close()
        assert b"zzsecret" not in _bytes_on_disk(tmp_path)


def test_a_write_that_need_not_be_durable_alone_is_seen_at_once_and_the_next_one_syncs(tmp_path: Path) -> None:
    one, other = (database.Database(str(tmp_path / "m.db"), 5.0) for _ in range(2))

    def syncing(opened: database.Database) -> int:
        with opened.reading() as db:
            [found] = db.execute("PRAGMA synchronous").fetchone()
        return int(found)

    with one.writing(durable=False) as db:
        [within] = db.execute("PRAGMA synchronous").fetchone()
        db.execute("INSERT INTO records VALUES (x'01', x'02', NULL)")
    with other.reading() as db:
        assert db.execute("SELECT data FROM records").fetchall() == [(b"\2",)]
    assert (within, syncing(one)) == (1, 2), "sqlite.org/pragma.html#pragma_synchronous: 1 is NORMAL, 2 is FULL"
    with pytest.raises(ZeroDivisionError), one.writing(durable=False):
        raise ZeroDivisionError
    assert syncing(one) == 2
    one.close()
    other.close()
