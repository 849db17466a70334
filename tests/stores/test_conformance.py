"""What every store must do: each sentence of the protocol, held against all of them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optical_memory.errors import (
    ConflictError,
    DuplicateTurnError,
    InputError,
    LimitError,
    StoreUnavailableError,
)
from optical_memory.stores import Head, Store, record
from optical_memory.stores.scoped import SESSION_CHARACTERS, ScopedStore
from optical_memory.turns import ROLES, Part, ToolCall, Turn

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
ANY_NAME = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
ANY_MESSAGE = st.none() | st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4)
ANY_PART = st.builds(
    Part,
    kind=st.sampled_from(["text", "image", "other"]),
    text=ANY_TEXT,
    url=ANY_TEXT,
    width=st.none() | st.integers(1, 9000),
    height=st.none() | st.integers(1, 9000),
    raw=ANY_MESSAGE,
)
ANY_TURN = st.builds(
    Turn,
    id=ANY_NAME,
    role=st.sampled_from(ROLES),
    text=ANY_TEXT,
    name=st.none() | ANY_TEXT,
    parts=st.lists(ANY_PART, max_size=3).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, id=ANY_TEXT, name=ANY_TEXT, arguments=ANY_TEXT), max_size=3).map(tuple),
    tool_call_id=st.none() | ANY_TEXT,
    pin=st.booleans() | st.sampled_from(["tiny", "base"]),
    importance=st.none() | st.floats(0, 1),
    created_at=st.floats(0, 1e11),
    raw=ANY_MESSAGE,
    raw_format=st.none() | ANY_TEXT,
)
many_examples = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def turn(turn_id: str, text: str = "", **fields: Any) -> Turn:
    return Turn(id=turn_id, role="user", text=text or f"text of {turn_id}", **fields)


def some(*turn_ids: str) -> list[Turn]:
    return [turn(turn_id) for turn_id in turn_ids]


def ids(turns: list[Turn]) -> list[str]:
    return [found.id for found in turns]


# Turns


@many_examples
@given(turns=st.lists(ANY_TURN, max_size=5, unique_by=lambda turn: turn.id))
def test_any_turn_comes_back_exactly(store: Store, turns: list[Turn]) -> None:
    session = uuid.uuid4().hex
    returned = store.append(session, turns)
    expected = [replace(turn, seq=seq) for seq, turn in enumerate(turns)]
    assert returned == store.turns(session) == store.get(session, [turn.id for turn in turns]) == expected
    assert [turn.digest for turn in store.turns(session)] == [turn.digest for turn in turns]
    assert store.append(session, turns) == expected


def test_a_pair_of_lone_surrogates_does_not_become_one_character(store: Store) -> None:
    hostile = turn("\ud83d\ude00", "\ud83d\ude00 \x00 \udfff", raw={"\ud800": "\udc00"})
    store.append("s", [hostile, turn("😀", "😀")])
    assert store.turns("s") == [replace(hostile, seq=0), replace(turn("😀", "😀"), seq=1)]
    assert store.get("s", ["\ud83d\ude00"]) == [replace(hostile, seq=0)]


def test_ten_megabytes_in_one_turn(store: Store) -> None:
    large = turn("large", "wide words 宽\x00" * 800_000, raw={"content": "wide words" * 100_000})
    assert len(large.text.encode()) > 10_000_000
    store.append("s", [large])
    assert store.turns("s") == [replace(large, seq=0)]
    assert ids(store.search("s", "wide", 3)) == ["large"]


def test_turns_have_gapless_places_in_the_order_of_arrival(store: Store) -> None:
    assert [found.seq for found in store.append("s", some("b", "a"))] == [0, 1]
    assert [found.seq for found in store.append("s", some("d", "c"))] == [2, 3]
    assert ids(store.turns("s")) == ["b", "a", "d", "c"]
    assert store.count("s") == 4


def test_the_seq_of_what_is_handed_in_does_not_count(store: Store) -> None:
    assert [found.seq for found in store.append("s", [turn("a", seq=7), turn("b", seq=7)])] == [0, 1]


def test_an_empty_append_stores_nothing(store: Store) -> None:
    assert store.append("s", []) == []
    assert store.sessions() == []


def test_same_id_with_equal_content_is_stored_once_and_returned_as_stored(store: Store) -> None:
    [first] = store.append("s", [turn("a", created_at=1.0)])
    again = store.append("s", [turn("b"), turn("a", created_at=2.0), turn("b", created_at=3.0)])
    assert again == [replace(turn("b"), seq=1), first, replace(turn("b"), seq=1)]
    assert store.turns("s") == [first, again[0]]


@pytest.mark.parametrize("batch", [["new", "taken"], ["new", "new"]])
def test_same_id_with_other_content_stores_nothing_of_the_call(store: Store, batch: list[str]) -> None:
    store.append("s", [turn("taken")])
    with pytest.raises(DuplicateTurnError, match=batch[-1]):
        store.append("s", [turn(batch[0]), turn(batch[1], "something else"), turn("last")])
    assert ids(store.turns("s")) == ["taken"]
    assert store.search("s", "last", 5) == []
    assert store.append("s", [turn("next")])[0].seq == 1


def test_a_refused_append_makes_no_session(store: Store) -> None:
    with pytest.raises(DuplicateTurnError):
        store.append("s", [turn("a"), turn("a", "something else")])
    assert store.sessions() == []


def test_the_same_id_in_two_sessions_is_two_turns(store: Store) -> None:
    store.append("s", [turn("a", "one")])
    store.append("t", [turn("a", "two")])
    assert [store.turns(session)[0].text for session in ("s", "t")] == ["one", "two"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, [0, 1, 3, 4]),
        ({"after": 0}, [1, 3, 4]),
        ({"after": -5}, [0, 1, 3, 4]),
        ({"after": 1, "before": 4}, [3]),
        ({"before": 3}, [0, 1]),
        ({"before": 0}, []),
        ({"before": -1}, []),
        ({"after": 4}, []),
        ({"after": 3, "before": 3}, []),
        ({"limit": 3}, [0, 1, 3]),
        ({"after": 0, "limit": 2}, [1, 3]),
        ({"limit": 0}, []),
        ({"limit": -1}, []),
        ({"after": 10**30}, []),
        ({"before": 10**30, "limit": 10**30}, [0, 1, 3, 4]),
    ],
)
def test_turns_between_places(store: Store, bounds: dict[str, int], expected: list[int]) -> None:
    store.append("s", some("a", "b", "c", "d", "e"))
    store.delete_turns("s", ["c"])
    assert [found.seq for found in store.turns("s", **bounds)] == expected


def test_a_long_session_is_read_whole(store: Store) -> None:
    names = [f"turn {number}" for number in range(12_000)]
    store.append("s", some(*names[:6_000]))
    store.append("s", some(*names[6_000:]))
    assert ids(store.turns("s")) == names
    assert store.count("s") == 12_000
    assert ids(store.get("s", list(reversed(names)))) == names
    assert store.delete_turns("s", names[1:-1]) == 11_998
    assert ids(store.turns("s", limit=2)) == [names[0], names[-1]]


def test_get_returns_what_exists_in_the_sessions_order(store: Store) -> None:
    store.append("s", some("b", "a", "c"))
    store.append("t", some("z"))
    assert ids(store.get("s", ["c", "z", "b", "c", "none"])) == ["b", "c"]
    assert store.get("s", []) == store.get("none", ["a"]) == []


def test_what_is_not_there_is_empty(store: Store) -> None:
    assert store.turns("s") == store.get("s", ["a"]) == store.search("s", "a", 5) == store.blob_keys("s") == []
    assert (
        store.count("s") == store.delete_turns("s", ["a"]) == store.delete_session("s") == store.delete_blobs("s") == 0
    )
    assert store.load_state("s") is store.get_blob("s", "a") is None
    assert store.forgotten("s") == {}
    assert store.sessions() == []


# Forgetting


def test_a_forgotten_turn_is_gone_but_its_id_and_place_stay_taken(store: Store) -> None:
    store.append("s", [turn("a"), turn("b", "the secret"), turn("c")])
    assert store.delete_turns("s", ["b", "none", "b"]) == 1
    assert store.delete_turns("s", ["b"]) == 0
    assert ids(store.turns("s")) == ids(store.get("s", ["a", "b", "c"])) == ["a", "c"]
    assert store.count("s") == 2
    assert store.search("s", "secret", 5) == []
    assert store.forgotten("s") == {1: "b"}
    for text in ("the secret", "something else"):
        with pytest.raises(DuplicateTurnError, match="forgotten"):
            store.append("s", [turn("x"), turn("b", text)])
    assert store.append("s", [turn("d")])[0].seq == 3


def test_places_of_the_last_turns_are_not_given_again(store: Store) -> None:
    store.append("s", some("a", "b"))
    assert store.delete_turns("s", ["b", "a"]) == 2
    assert store.forgotten("s") == {0: "a", 1: "b"}
    assert store.sessions() == ["s"]
    assert store.append("s", some("c"))[0].seq == 2


def test_a_deleted_session_leaves_nothing_and_its_name_begins_anew(store: Store) -> None:
    store.append("s", some("a", "b", "c"))
    store.append("t", [turn("a", "another tenant")])
    store.delete_turns("s", ["a"])
    store.save_state("s", b"plan", expected=0)
    store.put_blobs("s", {"page": b"png"})
    assert store.search("s", "text", 5)
    assert store.delete_session("s") == 2
    assert store.sessions() == ["t"]
    assert store.turns("s") == store.search("s", "text", 5) == store.blob_keys("s") == []
    assert store.load_state("s") is None
    assert store.forgotten("s") == {}
    assert store.append("s", [turn("a", "begins anew")])[0].seq == 0
    assert ids(store.search("s", "anew", 5)) == ["a"]
    assert store.search("s", "text", 5) == []
    assert store.save_state("s", b"plan", expected=0).version == 1
    assert store.turns("t")[0].text == "another tenant"


# The head


NO_SESSION = Head(birth="", length=0, version=0, forgotten=0)


def test_the_head_says_where_a_session_stands(open_store_again: Callable[[], Store]) -> None:
    store, other = open_store_again(), open_store_again()
    assert store.head("s") == NO_SESSION
    store.append("s", some("a", "b", "c"))
    birth = store.head("s").birth
    assert len(birth) >= 16
    assert store.head("s") == other.head("s") == Head(birth=birth, length=3, version=0, forgotten=0)
    store.save_state("s", b"plan", expected=0)
    store.save_state("s", b"plan", expected=1)
    store.put_blobs("s", {"page": b"png"})
    store.append("s", some("a", "d"))
    other.delete_turns("s", ["b", "d", "none"])
    other.delete_turns("s", ["b"])
    assert store.head("s") == other.head("s") == Head(birth=birth, length=4, version=2, forgotten=2)
    store.delete_session("s")
    assert store.head("s") == other.head("s") == NO_SESSION


def test_reading_makes_no_session(store: Store) -> None:
    store.turns("s")
    store.delete_turns("s", ["a"])
    store.delete_blobs("s")
    assert store.head("s") == NO_SESSION
    assert store.sessions() == []


@pytest.mark.parametrize(
    "make",
    [
        lambda store, session: store.append(session, some("a")),
        lambda store, session: store.save_state(session, b"plan", expected=0),
        lambda store, session: store.put_blobs(session, {"page": b"png"}),
    ],
)
def test_every_life_of_a_session_has_a_birth_of_its_own(store: Store, make: Callable[[Store, str], object]) -> None:
    births = set()
    for session in ("s", "s", "s", "t"):
        store.delete_session(session)
        make(store, session)
        births.add(store.head(session).birth)
    assert len(births) == 4
    assert "" not in births


def test_a_state_is_saved_only_in_the_life_it_was_made_for(store: Store) -> None:
    with pytest.raises(ConflictError):
        store.save_state("s", b"plan", expected=0, birth="0" * 32)
    assert store.head("s") == NO_SESSION
    assert store.sessions() == []
    assert store.save_state("s", b"first", expected=0, birth="").version == 1
    first = store.head("s").birth
    for wrong in ("", first.upper() + "0", "0" * 32, "ü\ud800", "%d" * 600):
        with pytest.raises(ConflictError, match="not the one it was"):
            store.save_state("s", b"plan", expected=1, birth=wrong)
    assert store.save_state("s", b"second", expected=1, birth=first).version == 2
    with pytest.raises(ConflictError, match="version 2"):
        store.save_state("s", b"plan", expected=1, birth=first)
    store.delete_session("s")
    store.append("s", some("a"))
    store.save_state("s", b"another life", expected=0)
    store.save_state("s", b"another life", expected=1)
    with pytest.raises(ConflictError, match="not the one it was"):
        store.save_state("s", b"third", expected=2, birth=first)
    state = store.load_state("s")
    assert state is not None
    assert (state.version, state.data) == (2, b"another life")


# State, blobs, sessions


def test_state_is_replaced_only_at_the_expected_version(store: Store) -> None:
    assert store.save_state("s", b"", expected=0).version == 1
    for expected in (0, 2, -1):
        with pytest.raises(ConflictError, match="version 1"):
            store.save_state("s", b"", expected=expected)
    saved = store.save_state("s", bytes(range(256)), expected=1)
    assert saved == store.load_state("s")
    assert (saved.version, saved.data) == (2, bytes(range(256)))
    with pytest.raises(ConflictError):
        store.save_state("none", b"", expected=1)
    assert store.sessions() == ["s"]


def test_blobs(store: Store) -> None:
    blobs = {"page/1": b"\x00\xff", "": b"", "\ud800 📄": b"x" * 100_000}
    store.put_blobs("s", blobs)
    store.put_blobs("s", {"page/1": b"newer"})
    store.put_blobs("t", {"page/1": b"other session"})
    store.put_blobs("u", {})
    assert store.get_blob("s", "page/1") == b"newer"
    assert store.get_blob("s", "") == b""
    assert store.get_blob("s", "\ud800 📄") == b"x" * 100_000
    assert store.get_blob("s", "none") is None
    assert store.blob_keys("s") == sorted(blobs)
    assert store.delete_blobs("s", ["page/1", "none"]) == 1
    assert store.delete_blobs("s", []) == 0
    assert store.delete_blobs("s") == 2
    assert store.blob_keys("s") == []
    assert store.get_blob("t", "page/1") == b"other session"
    assert store.sessions() == ["s", "t"]


NAMES = [
    "a",
    "a}b",
    "{a}",
    "}{",
    "a b",
    "a:b",
    "%7B",
    "été",
    "\x00",
    "\ud83d\ude00",
    "😀",
    "\ud800",
    "x" * 512,
    "😀" * 512,
]


def _names_for(store: Store) -> list[str]:
    longest = SESSION_CHARACTERS if isinstance(store, ScopedStore) else 512
    return [name[:longest] for name in NAMES]


def test_session_ids_are_any_text(store: Store) -> None:
    names = _names_for(store)
    for number, name in enumerate(names):
        store.append(name, [turn("a", f"turn {number}")])
        store.save_state(name, name.encode("utf-8", "surrogatepass"), expected=0)
    assert store.sessions() == sorted(names)
    for number, name in enumerate(names):
        assert [found.text for found in store.turns(name)] == [f"turn {number}"]
        assert ids(store.search(name, f"turn {number}", 5)) == ["a"]
    assert [store.delete_session(name) for name in names] == [1] * len(names)
    assert store.sessions() == []


def test_sessions_in_pages(store: Store) -> None:
    names = sorted(
        {*_names_for(store), *(f"page {number:03}" for number in range(40)), "\U0010ffff", "\U0010ffffa", "z"}
    )
    for name in names:
        store.put_blobs(name, {"a": b""})
    for prefix in ("", "page", "page 01", "\ud83d", "\U0010ffff", "none", *names):
        wanted = [name for name in names if name.startswith(prefix)]
        assert store.sessions(prefix) == store.sessions(prefix, limit=1_000) == wanted
        for size in (1, 7):
            paged: list[str] = []
            while page := store.sessions(prefix, after=paged[-1] if paged else "", limit=size):
                assert len(page) <= size
                paged += page
            assert paged == wanted
    for after in ("page 02", "page 0200", "\x00", "\ud83e", *names):
        assert store.sessions(after=after) == [name for name in names if name > after]
        assert store.sessions("page", after) == [name for name in names if name.startswith("page") and name > after]
    assert store.sessions(limit=0) == store.sessions(limit=-1) == []
    store.delete_session("page 001")
    assert store.sessions("page", limit=2) == ["page 000", "page 002"]
    with pytest.raises(LimitError):
        store.sessions("x" * 513)
    with pytest.raises(InputError):
        store.sessions(after=None)  # type: ignore[arg-type]


# Limits and misuse


def test_limits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "TURN_BYTES", 1_000)
    monkeypatch.setattr(record, "BATCH_BYTES", 3_000)
    monkeypatch.setattr(record, "BATCH_TURNS", 10)
    monkeypatch.setattr(record, "VALUE_BYTES", 1_000)
    store.append("s", [turn("fits", "x" * 900)])
    store.put_blobs("s", {"fits": b"x" * 1_000})
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    refused: list[Callable[[], object]] = [
        lambda: store.append("s", [turn("a"), turn("b", "é" * 600)]),
        lambda: store.append("s", [turn(str(number), "x" * 900) for number in range(4)]),
        lambda: store.append("s", some(*"abcdefghijk")),
        lambda: store.append("s", [turn("a" * 513)]),
        lambda: store.append("s", [turn("a", raw={"deep": deep})]),
        lambda: store.append("s" * 513, some("a")),
        lambda: store.save_state("s", b"x" * 1_001, expected=0),
        lambda: store.put_blobs("s", {"a": b"", "b": b"x" * 1_001}),
        lambda: store.put_blobs("s", {"a" * 513: b""}),
    ]
    for call in refused:
        with pytest.raises(LimitError):
            call()
    assert ids(store.turns("s")) == store.blob_keys("s") == ["fits"]
    assert store.sessions() == ["s"]


@pytest.mark.parametrize("raw", [{"value": b"bytes"}, {"value": {1, 2}}, {1: "one", "two": 2}, {"value": 10**5000}])
def test_what_json_cannot_hold_is_refused(store: Store, raw: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="JSON"):
        store.append("s", [turn("a"), turn("b", raw=raw)])
    assert store.sessions() == []


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_session_id_is_text(store: Store, name: Any) -> None:
    calls = (store.turns, store.head, store.count, store.load_state, store.blob_keys, store.forgotten)
    for call in (*calls, store.delete_session):
        with pytest.raises(InputError, match="session id"):
            call(name)
    with pytest.raises(InputError, match="session id"):
        store.append(name, some("a"))


def test_a_closed_store_says_so(store: Store) -> None:
    store.append("s", some("a"))
    store.close()
    store.close()
    calls = (store.turns, store.head, store.count, store.load_state, store.blob_keys, store.forgotten)
    for call in (*calls, store.delete_session):
        with pytest.raises(StoreUnavailableError, match="closed"):
            call("s")
    for search in (store.search, store.search):
        with pytest.raises(StoreUnavailableError, match="closed"):
            search("s", "a", 5)
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.append("s", some("b"))
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.sessions()


def test_durability_is_named(store: Store) -> None:
    assert len(store.durability) > 10


# Threads and replicas


def _together(work: Callable[[int], None], count: int) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_replicas_and_threads_append_to_one_session(open_store_again: Callable[[], Store]) -> None:
    replicas = [open_store_again() for _ in range(3)]

    def append(number: int) -> None:
        for step in range(20):
            pair = some(f"{number}-{step}-call", f"{number}-{step}-result")
            [call, result] = replicas[number % 3].append("s", [*pair, turn(f"shared {step}")])[:2]
            assert result.seq == call.seq + 1

    _together(append, 6)
    stored = replicas[0].turns("s")
    assert [found.seq for found in stored] == list(range(6 * 20 * 2 + 20))
    for number in range(6):
        own = [found.id for found in stored if found.id.startswith(f"{number}-")]
        assert own == [f"{number}-{step}-{kind}" for step in range(20) for kind in ("call", "result")]
    assert all(replica.turns("s") == stored for replica in replicas)


def test_only_one_of_many_saves_the_next_state(open_store_again: Callable[[], Store]) -> None:
    replicas = [open_store_again() for _ in range(4)]
    won: list[int] = []

    def save(number: int) -> None:
        try:
            replicas[number].save_state("s", b"the same data", expected=0)
        except ConflictError:
            return
        won.append(number)

    _together(save, 4)
    assert len(won) == 1
    state = replicas[0].load_state("s")
    assert state is not None
    assert state.version == 1


def test_a_replica_sees_what_another_did(open_store_again: Callable[[], Store]) -> None:
    one, two = open_store_again(), open_store_again()
    one.append("s", [turn("a", "a flight to Oslo"), turn("b", "a hotel in Bergen")])
    assert ids(two.search("s", "Oslo", 5)) == ["a"]
    one.append("s", [turn("c", "Oslo again")])
    assert sorted(ids(two.search("s", "Oslo", 5))) == ["a", "c"]
    one.delete_turns("s", ["a"])
    assert ids(two.search("s", "Oslo", 5)) == ["c"]
    one.delete_session("s")
    one.append("s", [turn("x", "begins anew in Bergen")])
    assert two.search("s", "Oslo", 5) == []
    assert ids(two.search("s", "Bergen", 5)) == ["x"]
    assert two.sessions() == ["s"]
    assert two.append("s", some("y"))[0].seq == 1
    two.delete_session("s")
    one.append("s", some("z"))
    assert one.sessions() == two.sessions() == ["s"]


def test_an_append_that_expects_a_head_is_refused_once_it_moved(store: Store) -> None:
    empty = store.head("s")
    first = store.append("s", [turn("a")], expected=empty)
    with pytest.raises(ConflictError):
        store.append("s", [turn("b")], expected=empty)
    grown = store.head("s")
    store.save_state("s", b"state", expected=0)
    with pytest.raises(ConflictError):
        store.append("s", [turn("b")], expected=grown)
    second = store.append("s", [turn("b")], expected=store.head("s"))
    assert store.turns("s") == [*first, *second]
    store.delete_turns("s", ["a"])
    store.append("s", [turn("c")], expected=store.head("s"))
    assert store.count("s") == 2
