"""Many appends in one round trip: each atomic for itself, done once, on a Redis server and a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sealing_codec import SealingCodec

from optical_memory.errors import ConflictError, DuplicateTurnError, LimitError, RepeatError
from optical_memory.stores.appends import Append, Appended, Once
from optical_memory.stores.base import Head
from optical_memory.stores.codec import PLAIN
from optical_memory.stores.redis import RedisStore
from optical_memory.turns import Turn

ABSENT = Head(birth="", length=0, version=0, forgotten=0)


@pytest.fixture(params=["redis", "cluster", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisStore]:
    url = request.getfixturevalue("cluster_url" if request.param == "cluster" else "redis_url")
    codec = SealingCodec(b"k" * 32) if request.param == "sealed" else PLAIN
    opened = RedisStore(url, key_prefix=uuid.uuid4().hex, codec=codec)
    yield opened
    opened.close()


def turn(text: str, **fields: object) -> Turn:
    return replace(Turn(id=uuid.uuid4().hex, role="user", text=text, created_at=5.0), **fields)  # type: ignore[arg-type]


def done(found: Appended | Exception) -> Appended:
    assert isinstance(found, Appended), found
    return found


def test_an_error_of_one_leaves_the_others_alone(store: RedisStore) -> None:
    taken = turn("first", id="t")
    huge = turn("huge", id="x" * 513)
    appends = [
        Append(session="a", turns=[taken]),
        Append(session="a", turns=[turn("never stored"), turn("other", id="t")]),
        Append(session="b", turns=[huge]),
        Append(session="b", turns=[turn("late")], expected=replace(ABSENT, length=9)),
        *(Append(session=f"many-{place % 7}", turns=[turn(str(place))]) for place in range(50)),
        Append(session="a", turns=[turn("second"), taken]),
    ]
    found = store.append_all(appends)
    kinds = [type(one) for one in found]
    assert kinds[:4] == [Appended, DuplicateTurnError, LimitError, ConflictError]
    assert set(kinds[4:]) == {Appended}
    last = done(found[-1])
    assert [one.seq for one in last.turns] == [1, 0] and [one.text for one in last.fresh] == ["second"]
    assert last.head == store.head("a") and last.head.length == 2
    assert [one.text for one in store.turns("many-3")] == [str(place) for place in range(3, 50, 7)]
    assert store.sessions() == ["a", *(f"many-{place}" for place in range(7))]


def test_what_is_sent_again_is_done_once_and_answered_alike(store: RedisStore) -> None:
    once = Once(name="k", digest="d" * 64, seconds=60)
    turns = [turn("one"), turn("two")]
    first = done(store.append_all([Append(session="s", turns=turns, expected=ABSENT, once=once)])[0])
    store.append("s", [turn("three")])
    later = [replace(one, created_at=9.0) for one in turns]
    again = done(store.append_all([Append(session="s", turns=later, expected=ABSENT, once=once)])[0])
    assert (again.turns, again.head, again.fresh, again.replayed) == (first.turns, first.head, (), True)
    other = replace(once, digest="e" * 64)
    assert isinstance(store.append_all([Append(session="s", turns=turns[:1], once=other)])[0], RepeatError)
    apart = done(store.append_all([Append(session="t", turns=turns, once=other)])[0])
    assert not apart.replayed and apart.head.length == 2
    store.delete_session("s")
    gone = done(store.append_all([Append(session="s", turns=turns, once=once)])[0])
    assert gone.replayed and store.sessions() == ["t"]  # a late repetition brings nothing back


def test_the_times_of_turns_that_were_held_are_remembered(store: RedisStore) -> None:
    held = turn("held", created_at=1.0)
    store.append("s", [held])
    once = Once(name="k", digest="d" * 64, seconds=60)
    turns = [replace(held, created_at=7.0), turn("new", created_at=8.0)]
    for _ in range(2):
        found = done(store.append_all([Append(session="s", turns=turns, once=once)])[0])
        assert [one.created_at for one in found.turns] == [1.0, 8.0]


def test_the_largest_batch_is_remembered_too(store: RedisStore) -> None:
    turns = [turn(str(place)) for place in range(10_000)]
    append = Append(session="s", turns=turns, once=Once(name="k", digest="d" * 64, seconds=60))
    assert done(store.append_all([append])[0]).turns == done(store.append_all([append])[0]).turns
