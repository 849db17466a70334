"""The Redis store: killed, gone, full, forbidden, clustered, and honest about what its server promises."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from redis.crc import key_slot

from optical_memory import OpticalMemory
from optical_memory.errors import (
    ConflictError,
    DuplicateTurnError,
    InputError,
    StoreCorruptError,
    StoreUnavailableError,
)
from optical_memory.stores import index, redis_names, redis_scripts
from optical_memory.stores.redis import RedisStore
from optical_memory.stores.redis_names import Keys
from optical_memory.stores.redis_purging import Purging
from optical_memory.turns import Turn

APPEND_FOREVER = Path(__file__).parent / "append_forever.py"
StartRedis = Callable[..., "RedisServer"]


class RedisServer:
    """What tests use of the server in conftest.py."""

    url: str
    port: int
    folder: Path
    start: Callable[[], None]
    kill: Callable[[], None]


def turn(turn_id: str, text: str = "some words") -> Turn:
    return Turn(id=turn_id, role="user", text=text)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A bare client of the shared server, emptied first."""
    with redis.Redis.from_url(redis_url) as bare:
        bare.flushdb()
        yield bare


# Durability


@pytest.mark.parametrize(
    ("options", "promise", "warned"),
    [
        (("--appendonly", "yes", "--appendfsync", "always"), "when its method returns", False),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "last two seconds", False),
        (("--appendonly", "yes", "--appendfsync", "no"), "had not written yet", False),
        (("--save", "60 100"), "since the last snapshot (save 60 100", False),
        (("--save", ""), "none: a restart of the server loses everything", True),
        (("--appendonly", "yes", "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"), "evicts", True),
    ],
)
def test_durability_names_what_the_server_promises(
    start_redis: StartRedis, caplog: pytest.LogCaptureFixture, options: tuple[str, ...], promise: str, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING), closing(RedisStore(start_redis(*options).url)) as store:
        assert promise in store.durability
        store.append("s", [turn("a")])
        assert store.check() is not warned
    assert [promise in message for message in caplog.messages] == [True] * warned


def test_a_change_of_the_settings_is_seen_by_a_check(start_redis: StartRedis) -> None:
    server = start_redis("--save", "")
    with closing(RedisStore(server.url)) as store, redis.Redis(port=server.port) as bare:
        bare.config_set("appendonly", "yes")
        assert store.check()
        assert "everysec" in store.durability


def test_a_server_that_shows_and_lists_nothing(start_redis: StartRedis, caplog: pytest.LogCaptureFixture) -> None:
    """Without the commands that hosted servers forbid (CONFIG, INFO, KEYS, BGREWRITEAOF, …) all else works."""
    server = start_redis()
    with redis.Redis(port=server.port) as bare:
        bare.execute_command("ACL", "SETUSER", "guest", "on", ">secret", "~*", "+@all", "-@dangerous", "-@admin")
    with closing(RedisStore(f"redis://guest:secret@127.0.0.1:{server.port}")) as store:
        assert "unknown" in store.durability
        store.append("s", [turn("a", "one"), turn("b", "two")])
        assert [found.id for found in store.search("s", "two", 5)] == ["b"]
        assert store.sessions() == ["s"]
        assert caplog.messages == []
        assert store.delete_turns("s", ["a"]) == 1
        assert "until they are rewritten" in caplog.text
        assert store.delete_session("s") == 1


def test_killing_the_server_loses_nothing_acknowledged(start_redis: StartRedis) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    acknowledged: list[str] = []
    for attempt in range(4):
        command = [sys.executable, str(APPEND_FOREVER), server.url, "s", f"run{attempt}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            told = [process.stdout.readline().strip() for _ in range(15)]
            time.sleep(0.01 * attempt)
            server.kill()
            acknowledged += [*told, *process.stdout.read().split()]
        assert process.returncode != 0
        server.start()
        with closing(RedisStore(server.url)) as store:
            stored = store.turns("s")
        assert [found.seq for found in stored] == list(range(len(stored)))
        calls = [found.id.removesuffix("-call") for found in stored[::2]]
        assert [found.id.removesuffix("-result") for found in stored[1::2]] == calls
        assert set(acknowledged) <= set(calls)
    assert len(acknowledged) > 50


# Gone


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1") as failure:
        RedisStore("redis://anna:secret@127.0.0.1:1/0", timeout=0.5)
    assert "secret" not in str(failure.value)


def test_a_server_that_goes_and_comes_back(start_redis: StartRedis) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    with closing(RedisStore(server.url, timeout=30.0)) as store:
        store.append("s", [turn("a")])
        server.kill()
        calls: list[Callable[[], object]] = [
            lambda: store.append("s", [turn("b")]),
            lambda: store.turns("s"),
            lambda: store.search("s", "words", 5),
            lambda: store.save_state("s", b"", expected=0),
            lambda: store.delete_turns("s", ["a"]),
            store.sessions,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailableError):
                call()
        server.start()
        assert store.append("s", [turn("b")])[0].seq == 1
        assert [found.id for found in store.search("s", "words", 5)] == ["b", "a"]


def test_a_url_that_is_none() -> None:
    with pytest.raises(InputError, match="not a Redis URL"):
        RedisStore("redis://host:port")


class LosingProxy:
    """Stands between a client and its server; swallows the reply of the next request that holds ``lose``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lose: bytes | None = None
        self.lost = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while request := client.recv(1 << 20):
                server.sendall(request)
                reply = server.recv(1 << 20)
                if self.lose and self.lose in request:
                    self.lose = None
                    self.lost += 1
                    return
                client.sendall(reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def losing(url: str) -> Iterator[tuple[RedisStore, LosingProxy]]:
    proxy = LosingProxy(int(url.rpartition(":")[2].partition("/")[0]))
    store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0")
    try:
        yield store, proxy
    finally:
        store.close()
        proxy.close()


@pytest.mark.usefixtures("client")
def test_an_append_whose_reply_was_lost_is_sent_again_and_stored_once(redis_url: str) -> None:
    with losing(redis_url) as (store, proxy):
        proxy.lose = b"reply goes"
        [stored] = store.append("s", [turn("a", "the reply goes astray")])
        assert proxy.lost == 1
        assert stored.seq == 0
        assert store.turns("s") == [stored]
        with pytest.raises(DuplicateTurnError):
            store.append("s", [turn("a", "other")])


@pytest.mark.usefixtures("client")
def test_a_state_whose_reply_was_lost_is_no_conflict_with_itself(redis_url: str) -> None:
    with losing(redis_url) as (store, proxy):
        proxy.lose = b"my plan"
        assert store.save_state("s", b"my plan", expected=0).version == 1
        assert proxy.lost == 1
        with pytest.raises(ConflictError):
            store.save_state("s", b"my plan", expected=0)


# Refused, damaged


def test_a_full_server_refuses_and_keeps_what_it_has(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    kept: list[str] = []
    with closing(RedisStore(server.url)) as store:
        with pytest.raises(StoreUnavailableError, match="memory"):
            for number in range(10_000):
                names = [f"{number} {half}" for half in "ab"]
                store.append("s", [turn(name, "words " * 1_000) for name in names])
                kept += names
        assert [found.id for found in store.turns("s")] == kept
        assert store.delete_turns("s", kept[:100]) == 100
        assert store.append("s", [turn("now there is room")])[0].seq == len(kept)


def test_forgetting_works_on_a_full_server(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory", "6mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")
    with closing(RedisStore(server.url)) as store:
        store.append("s", [turn("a", "zzsecret " * 500), turn("b"), turn("c")])
        store.save_state("s", b"plan with zzsecret", expected=0)
        store.put_blobs("s", {"page": b"zzsecret pixels"})
        store.append("t", [turn("a")])
        with pytest.raises(StoreUnavailableError, match="memory"):
            for number in range(10_000):
                store.put_blobs("filler", {str(number): bytes(10_000)})
    with closing(RedisStore(server.url)) as store:  # one that has not listed the session yet
        birth = store.head("s").birth
        writes: list[Callable[[], object]] = [
            lambda: store.append("s", [turn("d", "words " * 10_000)]),
            lambda: store.save_state("s", b"a larger plan" * 10, expected=1, birth=birth),
            lambda: store.save_state("another", b"x" * 10_000, expected=0),
        ]
        for write in writes:
            with pytest.raises(StoreUnavailableError, match="memory"):
                write()
        assert store.save_state("s", b"plan without it", expected=1, birth=birth).version == 2
        assert store.delete_blobs("s") == 1
        assert store.delete_turns("s", ["a"]) == 1
        assert store.delete_turns("s", ["a"]) == 0
        assert store.forgotten("s") == {0: "a"}
        assert [found.id for found in store.turns("s")] == ["b", "c"]
        assert store.delete_session("t") == 1
        assert store.sessions() == ["filler", "s"]
        assert store.delete_session("filler") == 0
        assert store.append("s", [turn("d")])[0].seq == 3


def test_a_memory_forgets_on_a_full_server_or_says_so_and_can_repeat_it(start_redis: StartRedis) -> None:
    server = start_redis("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    with closing(RedisStore(server.url)) as filler:
        settings: dict[str, Any] = {"store": server.url, "profile": "mini", "renderer": "dense", "budget": 2_000}
        with OpticalMemory("s", **settings) as memory:
            for number in range(30):
                memory.add("user", f"step {number}: " + "zzsecret words " * 60, id=f"turn {number}")
                memory.messages()
            with pytest.raises(StoreUnavailableError):
                for number in range(100_000):
                    filler.put_blobs("filler", {str(number): bytes(5_000)})
            doomed = [f"turn {number}" for number in (0, 7, 29)]
            for turn_id in doomed:
                try:
                    memory.forget(turn_id=turn_id)
                except StoreUnavailableError:
                    filler.delete_blobs("filler")
                    memory.forget(turn_id=turn_id)
            assert filler.get("s", doomed) == []
            shown = str(memory.messages("openai")) + memory.context().explain()
            assert not [number for number in (0, 7, 29) if f"step {number}:" in shown]


def test_a_purge_that_was_cut_off_is_asked_for_by_the_next_to_open(
    start_redis: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_redis("--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0")
    with closing(RedisStore(server.url)) as store:
        store.append("s", [turn("a", "zzsecret words"), turn("b", "plain words")])
    killed = f"""
import os, signal
from optical_memory.stores import redis, redis_server
redis_server.purge = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
redis.RedisStore({server.url!r}).delete_turns("s", ["a"])
"""
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    with closing(RedisStore(server.url)) as store, redis.Redis(port=server.port) as bare:
        assert [found.id for found in store.turns("s")] == ["b"]
        assert bare.zcard("om:unpurged") == 1  # whoever deletes may still be at it
        assert b"zzsecret" in _files(server.folder)
        monkeypatch.setattr(redis_names, "PATIENCE_SECONDS", 0.0)
        with closing(RedisStore(server.url)):
            assert bare.zcard("om:unpurged") == 0
        deadline = time.monotonic() + 120  # a rewrite takes as long as the machine is busy
        while b"zzsecret" in _files(server.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"zzsecret" not in _files(server.folder)


def _files(folder: Path) -> bytes:
    while True:
        try:
            return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        except FileNotFoundError:  # the server put a rewritten file in its place meanwhile
            continue


def test_a_replica_that_is_read_only(start_redis: StartRedis) -> None:
    main = start_redis()
    replica = start_redis("--replicaof", f"127.0.0.1 {main.port}")
    with closing(RedisStore(main.url)) as store:
        store.append("s", [turn("a")])
    with closing(RedisStore(replica.url)) as store:
        with pytest.raises(StoreUnavailableError, match=r"(?i)read.?only"):
            store.append("s", [turn("b")])


def test_a_key_that_is_something_else(redis_url: str, client: redis.Redis) -> None:
    client.set(Keys().of("s")["turns"], "something else")
    with closing(RedisStore(redis_url)) as store:
        for call in (store.count, store.delete_session):
            with pytest.raises(StoreCorruptError, match="no part of a store"):
                call("s")
        with pytest.raises(StoreCorruptError):
            store.append("s", [turn("a")])


def test_a_changed_or_missing_turn_is_noticed(redis_url: str, client: redis.Redis) -> None:
    with closing(RedisStore(redis_url)) as store:
        store.append("s", [turn("a", "the amount is 4711")])
        key = Keys().of("s")["turns"]
        body = client.hget(key, "0")
        assert isinstance(body, bytes)
        client.hset(key, "0", body.replace(b"4711", b"4712"))
        with pytest.raises(StoreCorruptError, match="checksum"):
            store.turns("s")
        client.hdel(key, "0")
        with pytest.raises(StoreCorruptError, match="missing"):
            store.append("s", [turn("a", "the amount is 4711")])


# Keys


@pytest.mark.parametrize("session", ["trip", "a}b", "{a}b", "}{", "{}", "ünï 😀", "%7B", "\ud800"])
def test_the_keys_of_a_session_share_one_slot(session: str) -> None:
    slots = {key_slot(key.encode()) for key in Keys().of(session).values()}
    assert len(slots) == 1
    [tag] = {key[key.index("{") + 1 : key.index("}")] for key in Keys().of(session).values()}
    assert slots == {key_slot(tag.encode())}


def test_sessions_have_keys_of_their_own() -> None:
    names = ["a", "a}", "{a}", "%7Da", "}a", "a:ids", "A"]
    keys = [key for name in names for key in Keys().of(name).values()]
    assert len(set(keys)) == len(keys)


def test_scripts_touch_only_the_keys_they_are_given() -> None:
    """In a cluster a script may use no other; and every key that a call gives belongs to one session."""
    scripts = {name: text for name, text in vars(redis_scripts).items() if name.isupper() and name[0] != "_"}
    assert len(scripts) == 9
    assert not [name for name, text in scripts.items() if "om:" in text]


def test_every_key_of_a_session_is_where_the_slot_says(cluster_url: str) -> None:
    with closing(RedisStore(cluster_url)) as store, redis.Redis.from_url(cluster_url) as bare:
        bare.flushall()
        store.append("a}b", [turn("a"), turn("b")])
        store.save_state("a}b", b"plan", expected=0)
        store.put_blobs("a}b", {"page": b"png"})
        store.delete_turns("a}b", ["a"])
        stored = {key.decode() for key in bare.keys()}
        assert stored - {"om:unpurged"} == {*Keys().of("a}b").values(), "om:names"}  # while the server is busy
        assert len({bare.execute_command("CLUSTER", "KEYSLOT", key) for key in Keys().of("a}b").values()}) == 1


def test_stores_with_different_prefixes_share_a_server_unseen(redis_url: str, client: redis.Redis) -> None:
    with (
        closing(RedisStore(redis_url)) as plain,
        closing(RedisStore(f"{redis_url}?prefix=team%3Aa")) as named,
        closing(RedisStore(redis_url, key_prefix="team:a")) as same,
    ):
        plain.append("s", [turn("a", "one")])
        named.append("s", [turn("a", "two")])
        named.append("t", [turn("a", "three")])
        assert [store.turns("s")[0].text for store in (plain, named, same)] == ["one", "two", "two"]
        assert [store.sessions() for store in (plain, named, same)] == [["s"], ["s", "t"], ["s", "t"]]
        named.delete_session("s")
        assert plain.count("s") == 1
        plain.delete_session("s")
        left = {key.decode().partition("{")[0] for key in client.keys()}
        assert left - {"om:unpurged"} == {"team:a:", "team:a:names"}  # the one left out: while the server is busy


def test_the_other_settings_of_a_url_stay(redis_url: str) -> None:
    with closing(RedisStore(f"{redis_url}?prefix=team&client_name=memory")) as store:
        assert store._client.client_getname() in ("memory", b"memory")


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a b", "x" * 65, None, 7])
def test_what_is_no_prefix(redis_url: str, prefix: object) -> None:
    with pytest.raises(InputError, match="prefix"):
        if prefix is None:
            RedisStore(f"{redis_url}?prefix=a", key_prefix="b")
        else:
            RedisStore(redis_url, key_prefix=prefix)  # type: ignore[arg-type]


def test_sessions_that_an_older_version_listed_are_taken_over(redis_url: str, client: redis.Redis) -> None:
    names = sorted(f"session {number:04}" for number in range(2_500))
    with closing(RedisStore(redis_url)) as store:
        for name in names:
            client.hset(Keys().of(name)["meta"], "birth", b"x")
        client.sadd("om:sessions", *names, "not there")
        store.append("another", [turn("a")])
        assert store.sessions(limit=2) == ["another", "session 0000"]
        assert store.sessions() == ["another", *names]
        assert not client.exists("om:sessions")
        client.sadd("om:sessions", "from an older replica")
        client.hset(Keys().of("from an older replica")["meta"], "birth", b"x")
        assert store.sessions("from") == ["from an older replica"]


def test_a_page_of_sessions_reads_no_more_than_itself(redis_url: str, client: redis.Redis) -> None:
    client.zadd("om:names", {f"{number:06}": 0 for number in range(50_000)})
    pipeline = client.pipeline()
    for number in range(50_000):
        pipeline.hset(Keys().of(f"{number:06}")["meta"], "birth", b"x")
    pipeline.execute()
    with closing(RedisStore(redis_url)) as store:
        before = client.info("stats")["total_net_output_bytes"]
        assert store.sessions(after="040000", limit=10) == [f"{number:06}" for number in range(40_001, 40_011)]
        assert client.info("stats")["total_net_output_bytes"] - before < 20_000


def test_an_expected_append_whose_reply_was_lost_is_no_conflict_with_itself(
    redis_url: str, client: redis.Redis
) -> None:
    with losing(redis_url) as (store, proxy):
        head = store.head("s")
        proxy.lose = b"reply goes"
        [stored] = store.append("s", [turn("a", "the reply goes astray")], expected=head)
        assert proxy.lost == 1
        assert store.turns("s") == [stored]
        with pytest.raises(ConflictError):
            store.append("s", [turn("b")], expected=head)


# Forgotten for real


@pytest.mark.parametrize("options", [("--appendonly", "yes"), ("--save", "3600 1")])
@pytest.mark.parametrize("everything", [False, True])
def test_the_files_of_the_server_are_rewritten_without_what_was_forgotten(
    start_redis: StartRedis, options: tuple[str, ...], everything: bool
) -> None:
    server = start_redis("--rdbcompression", "no", *options)

    with closing(RedisStore(server.url)) as store, redis.Redis(port=server.port) as bare:
        store.append("s", [turn("a", "zzsecret words"), turn("b", "plain words")])
        store.append("t", [turn("b", "plain words")])
        if "--save" in options:
            bare.save()
        assert b"zzsecret" in _files(server.folder)
        assert store.delete_session("s") if everything else store.delete_turns("s", ["a"])
        deadline = time.monotonic() + 120  # a rewrite takes as long as the machine is busy
        while b"zzsecret" in _files(server.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"zzsecret" not in _files(server.folder)
        assert b"plain words" in _files(server.folder)


def test_deletions_while_the_server_writes_its_files_wait_together_for_the_next_time(start_redis: StartRedis) -> None:
    server = start_redis("--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0")
    with closing(RedisStore(server.url)) as store, redis.Redis(port=server.port) as bare:
        for number in range(40):
            store.append(f"s{number}", [turn("a", f"zzsecret {number}")])
        store.append("t", [turn("b", "plain words")])
        bare.config_set(
            "rdb-key-save-delay", 10_000_000
        )  # microseconds for each key: this rewrite ends when it is killed
        for number in range(40):
            assert store.delete_session(f"s{number}") == 1
        assert bare.zcard("om:unpurged") == 39
        bare.config_set("rdb-key-save-delay", 0)
        [writer] = psutil.Process(bare.info()["process_id"]).children()
        writer.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 120
        while bare.zcard("om:unpurged") and time.monotonic() < deadline:
            time.sleep(0.05)
        stats = bare.info("commandstats")["cmdstat_bgrewriteaof"]
        assert stats["calls"] - stats["failed_calls"] == 2
        deadline = time.monotonic() + 120
        while b"zzsecret" in _files(server.folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"zzsecret" not in _files(server.folder)
        assert b"plain words" in _files(server.folder)


def test_what_waits_to_be_purged_and_is_deleted_from_again_is_asked_for_again() -> None:
    asked: list[list[str]] = []
    second = threading.Event()

    def ask(sessions: Sequence[str]) -> list[str]:
        asked.append(list(sessions))
        if len(asked) == 1:
            purging.add(["s"])  # a deletion while the server was asked
        elif len(asked) == 2:
            second.set()
            raise StoreUnavailableError("away")
        return []

    purging = Purging(ask)
    purging.add(["s", "t"])
    assert second.wait(120)
    purging.close(0)
    assert asked == [["s", "t"], ["s"]]


def test_the_index_in_memory_holds_the_sessions_searched_last(redis_url: str, client: redis.Redis) -> None:
    with closing(RedisStore(redis_url)) as store:
        store._mirror = index.Mirror(most_sessions=2)
        for session in "abc":
            store.append(session, [turn("x", f"flight {session}"), turn("y", "zzsecret")])
        for session in "abcab":
            assert [found.text for found in store.search(session, "flight", 5)] == [f"flight {session}"]
        held = store._mirror._sessions
        assert list(held) == ["a", "b"]
        [words] = [mirrored.connection.execute for name, mirrored in held.items() if name == "a"]
        store.delete_turns("a", ["y"])
        store.delete_session("b")
        assert list(held) == ["a"]
        assert words("SELECT text FROM words").fetchall() == [("flight a",)]
        assert store.search("a", "zzsecret", 5) == []
        store.append("a", [turn("z", "another flight")])
        assert len(store.search("a", "flight", 5)) == 2


def test_two_processes_append_to_one_session(redis_url: str, client: redis.Redis) -> None:
    def run(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(APPEND_FOREVER), redis_url, "s", name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with run("a") as one, run("b") as two:
        assert one.stdout is not None
        assert two.stdout is not None
        told = [output.readline().strip() for _ in range(50) for output in (one.stdout, two.stdout)]
        one.kill()
        two.kill()
    with closing(RedisStore(redis_url)) as store:
        stored = store.turns("s")
    assert [found.seq for found in stored] == list(range(len(stored)))
    calls = [found.id.removesuffix("-call") for found in stored[::2]]
    assert [found.id.removesuffix("-result") for found in stored[1::2]] == calls
    assert set(told) <= set(calls)
