"""Scopes: whatever tenants call their sessions, none reaches or sees another's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.errors import InputError, LimitError, StoreUnavailableError
from optical_memory.stores import Head, MemoryStore
from optical_memory.stores.scoped import SCOPE_CHARACTERS, SESSION_CHARACTERS, ScopedStore, scoped_id, split_id
from optical_memory.turns import Turn

SCOPE = st.text("abAB019_.~-", min_size=1, max_size=4) | st.sampled_from(["a", "a.", "a-", "tenant", "tenant-1"])
HOSTILE = st.sampled_from(
    [
        "/",
        "a/",
        "/a",
        "a/b",
        "../b",
        "b",
        "%2F",
        "a%2Fb",
        "\x00",
        "a\x00b",
        "{a}",
        "a:b",
        "\ud83d",
        "*",
        "tenant/x",
        "~",
    ]
)
SESSION = HOSTILE | st.text(st.characters(exclude_categories=()), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    owners=st.dictionaries(SCOPE, st.sets(SESSION, min_size=1, max_size=4), min_size=2, max_size=4),
    prefix=st.just("") | SESSION,
    after=st.just("") | SESSION,
    stranger=SCOPE,
)
def test_a_scope_holds_its_own_sessions_and_no_others(
    owners: dict[str, set[str]], prefix: str, after: str, stranger: str
) -> None:
    store = MemoryStore()
    scoped = {scope: ScopedStore(store, scope) for scope in {*owners, stranger}}
    for scope, sessions in owners.items():
        for session in sessions:
            scoped[scope].append(session, [Turn(id="t", role="user", text=f"zz{scope} owns {session!r}")])
            scoped[scope].put_blobs(session, {scope: b"png"})
    everyone = {session for sessions in owners.values() for session in sessions}
    for scope, view in scoped.items():
        own = owners.get(scope, set())
        assert view.sessions() == sorted(own)
        wanted = [session for session in sorted(own) if session.startswith(prefix) and session > after]
        assert view.sessions(prefix, after) == wanted
        assert view.sessions(prefix, after, 1) == wanted[:1]
        for session in everyone | {f"{other}/{name}" for other in owners for name in owners[other]}:
            texts = [found.text for found in view.turns(session)]
            assert texts == [f"zz{scope} owns {session!r}"] * (session in own)
            assert view.blob_keys(session) == [scope] * (session in own)
            assert (view.head(session) == Head(birth="", length=0, version=0, forgotten=0)) is (session not in own)
    first, *others = owners
    for session in everyone:
        scoped[first].delete_session(session)
    assert scoped[first].sessions() == []
    for scope in others:
        assert scoped[scope].sessions() == sorted(owners[scope])
    store.close()


@given(scope=SCOPE, session=SESSION)
def test_scope_and_session_come_back_from_the_joined_id(scope: str, session: str) -> None:
    assert split_id(scoped_id(scope, session)) == (scope, session)


@pytest.mark.parametrize(
    "scope", ["", "a/b", "a b", "ä", "a\n", "a\x00", "x" * (SCOPE_CHARACTERS + 1), None, 7, "{a}", "a:b"]
)
def test_what_is_no_scope(scope: Any) -> None:
    with pytest.raises(InputError, match="a scope is"):
        ScopedStore(MemoryStore(), scope)


def test_ids_have_the_same_limit_in_every_scope() -> None:
    store = MemoryStore()
    for scope in ("a", "x" * SCOPE_CHARACTERS):
        view = ScopedStore(store, scope)
        for character in ("a", "😀"):
            longest = character * SESSION_CHARACTERS
            view.append(longest, [Turn(id="t", role="user", text="fits")])
            assert view.sessions(longest) == [longest]
            assert view.sessions(after=longest) == [name for name in view.sessions() if name > longest]
            calls = (view.head, view.turns, view.sessions, view.delete_session, view.load_state)
            for call in calls:
                with pytest.raises(LimitError, match=f"at most ({SESSION_CHARACTERS}|512) characters"):
                    call(longest + "a")  # type: ignore[operator]
    store.close()


def test_closing_a_scope_leaves_the_store_open() -> None:
    store = MemoryStore()
    one, two = ScopedStore(store, "a"), ScopedStore(store, "a")
    one.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        one.sessions()
    two.append("s", [Turn(id="t", role="user", text="still open")])
    assert two.count("s") == 1
    assert two.durability == store.durability
    store.close()
