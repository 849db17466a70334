"""What a tenant keeps is counted right again after a replica was killed at any point, also while others go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from dying import DyingService
from server import served

from benchmarks.service.load import make_key
from optical_memory.errors import ConflictError, QuotaError, StoreCorruptError, StoreUnavailableError
from optical_memory.service.metered import MeteredStore
from optical_memory.service.quotas import Quota, Quotas
from optical_memory.service.records import Records, open_records
from optical_memory.service.tally import ClosedError, Tally
from optical_memory.service.usage import Survey, Usage
from optical_memory.stores import open_store
from optical_memory.stores.base import Store
from optical_memory.stores.scoped import ScopedStore
from optical_memory.turns import Turn

NAME = "usage/acme"


@contextmanager
def opened(url: str) -> Iterator[tuple[Records, Store]]:
    with closing(open_records(url)) as records, closing(open_store(url)) as store:
        yield records, store


def truth(store: Store) -> Usage:
    return Survey(store, "acme").total()


@pytest.mark.parametrize(
    ("point", "method", "path", "body"),
    [
        ("taken", "POST", "turns", [{"role": "user", "content": "not stored"}] * 3),
        ("appended", "POST", "turns", [{"role": "user", "content": "stored once", "id": "t"}] * 2),
        ("taken", "PUT", "messages", {"messages": [{"role": "user", "content": "not stored either"}]}),
        ("deleted", "POST", "forget", {"turn_id": "#1"}),
        ("deleted session", "DELETE", "", None),
    ],
)
def test_what_a_killed_replica_had_under_way_is_counted_anew(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, method: str, path: str, body: Any
) -> None:
    key, service = make_key(store_url, "acme"), DyingService(store_url, tmp_path / "armed")
    url = f"{service.url}/v1/sessions/s/{path}".rstrip("/")
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        first = [{"role": "user", "content": f"said {n}"} for n in range(4)]
        assert client.post(f"{service.url}/v1/sessions/s/turns", json=first).status_code == 201
        service.arm(point)
        with pytest.raises(httpx.TransportError):
            client.request(method, url, json=body)
        service.dead()
    with served(store=store_url) as living, opened(store_url) as (records, store):
        left = Tally.parse(records.get(NAME), 3)
        assert len(left.under_way) == 1 and living.engine.quotas.usage("acme") != truth(store)
        living.engine.quotas.heal()
        assert Tally.parse(records.get(NAME), 3) == left, "it may be alive: nobody takes its room away"
        monkeypatch.setattr(living.engine.records, "clock", lambda: time.time() + 3_600)
        living.engine.quotas.heal()
        healed = Tally.parse(records.get(NAME), 3)
        assert healed.sums == truth(store).amounts and healed.under_way == ()
        assert [name for name in records.names("replica/") if name.endswith(left.under_way[0].partition(".")[0])] == []


def test_the_count_is_made_while_others_never_pause(store_url: str) -> None:
    """Appends of eight callers follow one another without a gap, so that the recount has to make its moment."""
    with served(store=store_url, quota_turns=1_000_000) as service, opened(store_url) as (records, store):
        stop, statuses = threading.Event(), set[int]()

        def add(place: int) -> None:
            with service.client("acme") as client:
                while not stop.is_set():
                    turn = {"role": "user", "content": "on and on"}
                    statuses.add(client.post(f"/v1/sessions/s{place}/turns", json=turn).status_code)

        threads = [threading.Thread(target=add, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        while len(store.sessions()) < 8:
            time.sleep(0.02)
        assert records.swap("replica/gone", b"1.0", expected=None)
        records.begin(NAME, "gone.1", [1, 500, 5_000], [None] * 3)
        service.engine.quotas.heal()
        healed = Tally.parse(records.get(NAME), 3)
        stop.set()
        for thread in threads:
            thread.join()
        assert "gone.1" not in healed.under_way and statuses == {201}
        assert Tally.parse(records.get(NAME), 3).sums == truth(store).amounts


def test_a_replica_that_was_taken_for_dead_has_what_it_did_counted(store_url: str) -> None:
    """As one that was stopped for longer than its lease: others counted without what it had under way."""
    with opened(store_url) as (records, store):
        own, other = (Quotas(records, store, default=Quota(), cache_seconds=0.0) for _ in range(2))
        ScopedStore(store, "acme").append("s", [Turn(id="a", role="user", text="there")])
        operation = own.begin("acme", Usage(turns=1, bytes=100))
        (lease,) = records.names("replica/")
        held = records.get(lease)
        assert held is not None and records.remove(lease, expected=held)
        other.heal()
        assert other.usage("acme") == truth(store)
        ScopedStore(store, "acme").append("s", [Turn(id="b", role="user", text="and stored after all")])
        own.end("acme", operation, Usage())
        assert own.usage("acme") != truth(store)
        own.heal()
        assert own.usage("acme") == truth(store)


def test_a_recount_ends_with_its_replica_and_changes_nothing(store_url: str) -> None:
    with opened(store_url) as (records, store):
        quotas = Quotas(records, store, default=Quota(), cache_seconds=0.0)
        quotas.end("acme", quotas.begin("acme", Usage(turns=1)), Usage())
        ScopedStore(store, "acme").append("s", [Turn(id="a", role="user", text="not counted yet")])
        before = records.get(NAME)
        quotas.stop()
        with pytest.raises(ConflictError, match="this replica ends"):
            quotas.recount("acme")
        assert records.get(NAME) == before


def test_a_closed_tally_lets_nothing_begin_and_what_is_under_way_end(store_url: str) -> None:
    with opened(store_url) as (records, _):
        none = [None] * 3
        assert records.begin(NAME, "r.1", [1, 2, 3], none) == (True, (1, 2, 3))
        assert records.begin(NAME, "r.1", [1, 2, 3], none) == (True, (1, 2, 3)), "sent again"
        assert records.begin(NAME, "r.2", [0, 9, 0], [None, 10, None]) == (False, (1, 2, 3))
        held = records.get(NAME)
        assert held == b"1 2 3 1 r.1"
        assert records.swap(NAME, held + b" !%d" % int((time.time() + 3_600) * 1_000), expected=held)
        with pytest.raises(ClosedError):
            records.begin(NAME, "r.3", [0, 0, 0], none)
        assert records.end(NAME, "r.1", [0, -1, -9]) == (True, (1, 1, 0))
        assert records.end(NAME, "r.1", [0, -1, -9]) == (False, (1, 1, 0)), "sent again"
        assert Tally.parse(records.get(NAME), 3).under_way == ()
        held = records.get(NAME)
        assert held is not None and records.swap(NAME, b"1 1 0 1 !5", expected=held)
        assert records.begin(NAME, "r.4", [0, 1, 0], none) == (True, (1, 2, 0)), "its time is over"
        assert records.get(NAME) == b"1 2 0 2 r.4"
        assert records.swap("old", b"7 8 9", expected=None), "as it was kept before there were operations"
        assert records.begin("old", "r.5", [1, 0, 0], none) == (True, (8, 8, 9))
        assert records.get("old") == b"8 8 9 1 r.5"
        assert not records.remove("old", expected=b"7 8 9") and records.remove("old", expected=b"8 8 9 1 r.5")
        assert records.get("old") is None and "old" not in records.names("")


@pytest.mark.parametrize("held", [b"1 2", b"1 2 x", b"\xff", b"-1 2 3"])
def test_a_damaged_tally_is_named(held: bytes) -> None:
    with pytest.raises(StoreCorruptError, match="damaged"):
        Tally.parse(held, 3)


def test_room_is_refused_while_another_has_it(store_url: str) -> None:
    with opened(store_url) as (records, store):
        one, two = (Quotas(records, store, default=Quota(turns=3), cache_seconds=0.0) for _ in range(2))
        operation = one.begin("acme", Usage(turns=2))
        with pytest.raises(QuotaError):
            two.begin("acme", Usage(turns=2))
        one.end("acme", operation, Usage(turns=2))
        two.end("acme", two.begin("acme", Usage(turns=3)), Usage(turns=3))
        assert one.usage("acme") == Usage()


def test_a_replica_that_ends_leaves_nothing(store_url: str) -> None:
    with served(store=store_url) as service, service.client("acme") as client:
        client.post("/v1/sessions/s/turns", json={"role": "user", "content": "x"})
        assert service.engine.records.names("replica/")
    with opened(store_url) as (records, _):
        assert records.names("replica/") == []


def test_what_got_no_answer_is_counted_anew_also_where_its_replica_dies(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(store_url) as (records, store):
        own, other = (Quotas(records, store, default=Quota(), cache_seconds=0.0) for _ in range(2))
        real = store.append

        def unanswered(*given: Any, **named: Any) -> None:
            real(*given, **named)
            raise StoreUnavailableError("no answer")

        for session, healing in (("one", own), ("two", other)):
            with monkeypatch.context() as patched, pytest.raises(StoreUnavailableError):
                patched.setattr(store, "append", unanswered)
                # The same turn twice, which is stored once: room is taken for two.
                MeteredStore(store, "acme", own).append(session, [Turn(id="a", role="user", text="x")] * 2)
            assert other.usage("acme") != truth(store)
            (operation,) = Tally.parse(records.get(NAME), 3).under_way
            if healing is other:
                lease = "replica/" + operation.partition(".")[0]
                assert records.swap(lease, b"1.0", expected=records.get(lease))
            healing.heal()
            assert other.usage("acme") == truth(store) and Tally.parse(records.get(NAME), 3).under_way == ()
