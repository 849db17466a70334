"""Following a caller's own list: the visible history equals it, nothing is deleted, branches come back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optical_memory import OpticalMemory
from optical_memory.errors import DuplicateTurnError, InputError, NotFoundError
from optical_memory.stores import MemoryStore
from optical_memory.turns import Turn

SETTINGS: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 2_000}


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text} | more


def visible(memory: OpticalMemory) -> list[str]:
    """Return the texts of the visible turns, in order."""
    hidden = {turn.id for turn in memory.superseded()}
    return [turn.text for turn in memory.store.turns(memory.session) if turn.id not in hidden]


def shown(memory: OpticalMemory) -> str:
    """Return every word that the model gets, on pages too."""
    pieces = memory.context().pieces()
    return "\n".join(piece.text + (piece.page.text if piece.page else "") for piece in pieces)


def test_a_list_that_grows_adds_what_is_new() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        messages = [user("one"), {"role": "assistant", "content": "two"}]
        assert [turn.text for turn in memory.follow(messages).added] == ["one", "two"]
        messages.append(user("three"))
        assert [turn.text for turn in memory.follow(messages).added] == ["three"]
        assert memory.follow(messages).added == ()
        assert memory.messages() == messages


def test_an_edit_a_rewind_and_a_branch_that_comes_back() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        long = [user(f"message {number}") for number in range(6)]
        memory.follow(long)
        edited = [*long[:3], user("another way"), user("and on")]
        followed = memory.follow(edited)
        assert (len(followed.added), followed.superseded, followed.returned) == (2, 3, 0)
        assert memory.messages() == edited
        assert [turn.text for turn in memory.superseded()] == ["message 3", "message 4", "message 5"]
        rewound = memory.follow(long[:2])
        assert (rewound.added, rewound.superseded) == ((), 3)
        assert memory.messages() == long[:2]
        back = memory.follow([*long, user("further")])
        assert (len(back.added), back.returned) == (1, 4)
        assert memory.messages() == [*long, user("further")]
        assert memory.store.count(memory.session) == 9


def test_superseded_turns_are_recalled_only_when_asked_for() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        (old,) = memory.follow([user("the colour is vermilion")]).added
        (new,) = memory.follow([user("the colour is cerulean")]).added
        assert memory.recall("colour") == [new]
        assert sorted(memory.recall("colour", superseded=True), key=lambda turn: turn.seq) == [old, new]
        assert memory.recall(turn_id=old.id) == [old]
        assert memory.stats()["superseded_turns"] == 1


def test_turns_added_after_a_rewind_follow_it() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow([user("one"), user("two"), user("three")])
        memory.follow([user("one")])
        memory.add("user", "four")
        assert visible(memory) == ["one", "four"]
        assert memory.messages() == [user("one"), user("four")]


LISTS = st.lists(st.lists(st.sampled_from("abc"), max_size=7), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LISTS, st.data())
def test_any_sequence_of_lists_is_followed(lists: list[list[str]], data: st.DataObject) -> None:
    store = MemoryStore()
    one, other = (OpticalMemory("s", store=store, **SETTINGS) for _ in range(2))
    said: list[str] = []
    for texts in lists:
        memory = data.draw(st.sampled_from([one, other, OpticalMemory("s", store=store, **SETTINGS)]))
        memory.follow([user(text) for text in texts])
        said.extend(texts)
        assert visible(memory) == texts
        assert [message["content"] for message in memory.messages()] == texts
        assert visible(one) == visible(other) == texts
    kept = [turn.text for turn in store.turns("s")]
    assert set(kept) == set(said) and len(kept) <= len(said)


def test_a_long_history_is_rewound_behind_its_pages(airline_sessions: list[dict[str, Any]]) -> None:
    airline_messages = [message for session in airline_sessions[:4] for message in session["messages"][1:]]
    messages = [user(f"{number}: {message.get('content') or '-'}") for number, message in enumerate(airline_messages)]
    with OpticalMemory(**SETTINGS) as memory:
        for end in range(5, len(messages), 5):
            memory.follow(messages[:end])
            assert memory.context().tokens <= 2_000
        assert memory.context().epoch > 2
        cut = len(messages) // 3
        branch = [*messages[:cut], user("From here on all is different: zanzibar.")]
        memory.follow(branch)
        text = shown(memory)
        assert "zanzibar" in text
        for number in range(cut, len(messages)):
            assert f"\n{number}: " not in text and f"user: {number}: " not in text
        with OpticalMemory(**SETTINGS) as fresh:
            fresh.follow(branch)
            assert fresh.context().text_tokens == memory.context().text_tokens


def test_it_works_after_a_restart_and_with_messages_that_are_objects(tmp_path: Path) -> None:
    from openai.types.chat import ChatCompletionMessage

    store = f"sqlite:///{tmp_path / 'memory.db'}"
    messages: list[Any] = [user("hello"), ChatCompletionMessage(role="assistant", content="good day")]
    with OpticalMemory("s", store=store, **SETTINGS) as memory:
        memory.follow(messages)
    with OpticalMemory("s", store=store, **SETTINGS) as memory:
        assert memory.follow(messages).added == ()
        assert memory.follow([*messages, user("more")]).added[0].seq == 2


def test_formats_may_change_between_lists_and_be_mixed_in_one() -> None:
    chat = [
        user("what is the time?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow(chat)
        anthropic = memory.messages("anthropic")
        assert memory.follow(anthropic, format="anthropic").added == ()
        mixed = [chat[0], anthropic[1], chat[2], user("thanks")]
        assert [turn.text for turn in memory.follow(mixed).added] == ["thanks"]


def test_marks_for_a_prompt_cache_change_nothing() -> None:
    def block(text: str, **more: Any) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "text", "text": text} | more]}

    mark = {"cache_control": {"type": "ephemeral"}}
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow([block("one", **mark)], format="anthropic")
        followed = memory.follow([block("one"), block("two", **mark)], format="anthropic")
        assert [turn.text for turn in followed.added] == ["two"] and not followed.superseded


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_forgotten_turn_that_is_followed_again_does_not_come_back(
    tmp_path: Path, ids: bool, restart: bool, place: int
) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    messages = [user(f"message {n} vermilion" if n == place else f"message {n}") for n in range(4)]
    if ids:
        messages = [message | {"id": f"m{n}"} for n, message in enumerate(messages)]
    memory = OpticalMemory("s", store=store, **SETTINGS)
    added = memory.follow(messages).added
    memory.forget(turn_id=added[place].id)
    if restart:
        memory.close()
        memory = OpticalMemory("s", store=store, **SETTINGS)
    if restart and not ids and place == 3:
        memory.close()
        return  # nothing is left that could tell it from a new message
    followed = memory.follow([*messages, user("new")])
    assert [turn.text for turn in followed.added] == ["new"] and followed.forgotten == 1
    assert "vermilion" not in json.dumps(memory.messages())
    assert memory.follow([*messages, user("new")]).added == ()
    without = [*messages[:place], *messages[place + 1 :], user("new")]
    assert memory.follow(without).added == ()
    assert memory.recall("vermilion") == []
    memory.close()


def test_a_new_message_where_a_turn_was_forgotten_is_kept() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        added = memory.follow([user("one"), user("secret")]).added
        memory.forget(turn_id=added[1].id)
        assert [turn.text for turn in memory.follow([user("one"), user("two")]).added] == ["two"]


def test_an_id_given_to_two_messages_is_an_error_and_stores_nothing() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        with pytest.raises(DuplicateTurnError):
            memory.follow([user("one", id="x"), user("two", id="x")])
        with pytest.raises(InputError):
            memory.follow("not a list")
        with pytest.raises(InputError):
            memory.follow([user("one"), 7])
        assert memory.store.count(memory.session) == 0
        assert len(memory.follow([user("one", id="x"), user("one", id="x")]).added) == 2


def test_an_edited_message_keeps_its_id_and_gets_a_place_of_its_own() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow([user("one", id="x")])
        (edited,) = memory.follow([user("two", id="x")]).added
        assert edited.id != "x" and edited.text == "two"
        assert memory.follow([user("two", id="x")]).added == ()


def test_two_processes_on_different_branches_do_not_mix(redis_url: str) -> None:
    """Each sees its own list after each follow, whatever the other does in between; at the end one of both is left."""
    branches = {name: [user("start"), user(f"branch {name}")] for name in ("a", "b")}
    failures: list[str] = []

    def run(name: str) -> None:
        with OpticalMemory("two", store=redis_url, **SETTINGS) as memory:
            messages = branches[name]
            for number in range(12):
                messages.append(user(f"{name}{number}"))
                memory.follow(messages)
            if not {turn.text for turn in memory.store.turns("two")} >= {m["content"] for m in messages}:
                failures.append(name)

    threads = [threading.Thread(target=run, args=(name,)) for name in branches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with OpticalMemory("two", store=redis_url, **SETTINGS) as memory:
        assert visible(memory) in [[m["content"] for m in messages] for messages in branches.values()]
        for messages in branches.values():
            memory.follow(messages)
            assert visible(memory) == [message["content"] for message in messages]


def test_the_store_is_not_read_where_nothing_changed() -> None:
    reads = 0

    class Counting(MemoryStore):
        def turns(self, *args: Any, **kwargs: Any) -> list[Turn]:
            nonlocal reads
            reads += 1
            return super().turns(*args, **kwargs)

    with OpticalMemory(store=Counting(), **SETTINGS) as memory:
        messages = [user(f"message {number}") for number in range(3_000)]
        memory.follow(messages)
        before = reads
        memory.follow([dict(message) for message in messages])
        assert reads == before
        memory.follow([*messages, user("new")])
        memory.follow([*messages[:-1], user("regenerated")])
        assert reads - before <= 6


def test_an_unknown_turn_is_not_found_after_following() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow([user("one")])
        with pytest.raises(NotFoundError):
            memory.recall(turn_id="nothing")
