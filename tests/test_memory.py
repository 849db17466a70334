"""The drop-in object on real transcripts: budget, prefix, pairs, recall, forgetting."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transcripts import Transcripts

from optical_memory import OpticalMemory
from optical_memory.errors import (
    BudgetError,
    DuplicateTurnError,
    InputError,
    NotFoundError,
    StoreCorruptError,
    UnknownRoleError,
)
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import Layout, Raster

SETTINGS: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 16_000}


def images_in(messages: list[dict[str, Any]]) -> list[bytes]:
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def test_short_history_is_all_text() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.add("system", "You are a travel agent.")
        memory.add("user", "Find me a flight to Oslo")
        assert memory.messages() == [
            {"role": "system", "content": "You are a travel agent."},
            {"role": "user", "content": "Find me a flight to Oslo"},
        ]
        assert memory.context().pages == ()
        assert memory.context().tokens == memory.context().text_tokens


def test_empty_history_has_no_messages() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        assert memory.messages() == []
        assert memory.context().tokens == 0


def test_coding_sessions_stay_within_budget_with_a_stable_prefix(transcripts: Transcripts) -> None:
    turns = epochs = 0
    for session in transcripts.coding[:3]:
        with OpticalMemory(session["id"], **SETTINGS) as memory:
            before: list[str] = []
            epoch = 0
            for message in session["messages"]:
                memory.extend([message])
                context = memory.context()
                assert context.tokens <= 16_000
                sent = [json.dumps(m) for m in memory.messages()] if len(context.recent) % 7 == 0 else []
                if sent and before and context.epoch == epoch:
                    assert sent[: len(before)] == before
                if sent:
                    before, epoch = sent, context.epoch
            turns += len(session["messages"])
            epochs += context.epoch
            stored = memory.store.turns(session["id"])
            assert [turn.raw for turn in stored] == session["messages"]
    assert epochs * 20 <= turns


def test_tool_calls_and_results_stay_together(coding_session: dict[str, Any]) -> None:
    with OpticalMemory(**SETTINGS) as memory:
        for message in coding_session["messages"]:
            memory.extend([message])
            waiting: set[str] = set()
            for sent in memory.messages():
                if sent["role"] == "tool":
                    assert sent["tool_call_id"] in waiting
                    waiting.discard(sent["tool_call_id"])
                else:
                    assert sent["role"] == "user" or not waiting
                    waiting = {call["id"] for call in sent.get("tool_calls") or ()}


def test_pages_are_deterministic_pngs_of_their_size(airline_sessions: list[dict[str, Any]]) -> None:
    def fill() -> list[bytes]:
        with OpticalMemory("airline", profile="mini", renderer="dense", budget=4_000) as memory:
            for session in airline_sessions[:6]:
                memory.extend(session["messages"][1:])
                memory.context()
            pages = memory.context().pages
            assert pages
            for page in pages:
                assert Image.open(BytesIO(page.png)).size == page.size
                assert page.tokens > 0 and page.text and page.turn_ids
            assert images_in(memory.messages()) == [page.png for page in pages]
            return [page.png for page in pages]

    assert fill() == fill()


def test_a_history_without_ids_has_the_same_page_ids_each_time(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [{"role": m["role"], "content": m["content"] or ""} for m in airline_sessions[0]["messages"] * 3]
    messages = [message for message in messages if message["role"] in ("system", "user", "assistant")]
    sent, ids = [], []
    for session in ("one", "other"):
        with OpticalMemory(session, profile="mini", budget=6_000, renderer="dense") as memory:
            ids.append([turn.id for turn in memory.extend(messages)])
            assert memory.context().pages
            sent.append(json.dumps(memory.messages()))
    assert not {*ids[0]} & {*ids[1]}
    assert sent[0] == sent[1]


def test_large_results_without_ids_are_sent_alike_each_time(coding_session: dict[str, Any]) -> None:
    """A pointer to a result names its place in the session, and the call it names gives the exact turn."""
    messages = [message for message in coding_session["messages"][:60] if "id" not in message]
    assert len(messages) == 60
    sent = []
    for session in ("one", "other"):
        with OpticalMemory(session, profile="mini", budget=12_000, renderer="dense") as memory:
            turns = memory.extend(messages)
            sent.append([json.dumps(memory.messages(format)) for format in ("openai", "anthropic", "gemini")])
            pointers = re.findall(r"recall\(turn_id='(#[0-9]+)'\)", sent[-1][0])
            assert pointers
            tool = memory.recall_tool()
            for place in pointers:
                (turn,) = memory.recall(turn_id=place)
                assert turn == turns[int(place[1:]) - 1]
                assert turn.role in ("tool", "assistant") and turn.text[:2_000] in tool(turn_id=place)
    assert sent[0] == sent[1]


def test_a_place_is_kept_when_turns_are_forgotten_and_an_id_comes_first(tmp_path: Path) -> None:
    with OpticalMemory(**SETTINGS) as memory:
        first, second, third = (memory.add("user", text) for text in ("first", "second", "third"))
        memory.forget(turn_id=first.id)
        assert memory.recall(turn_id="#2") == [second]
        with pytest.raises(NotFoundError, match="no turn '#1'"):
            memory.recall(turn_id="#1")
        for place in ("#0", "#4", "#-1", "#", "#99999999999999999999"):
            with pytest.raises(NotFoundError):
                memory.recall(turn_id=place)
        path = memory.export(tmp_path / "session.om")
        named = memory.add("user", "fourth", id="#3")
        assert memory.recall(turn_id="#3") == [named]
    with OpticalMemory.load(path, **SETTINGS) as loaded:
        assert loaded.recall(turn_id="#3") == [third]


def test_every_format_carries_the_pages(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=4_000) as memory:
        for session in airline_sessions[:6]:
            memory.extend(session["messages"][1:])
        pages = len(memory.context().pages)
        assert pages
        for format in ("openai", "responses", "anthropic", "gemini", "huggingface"):
            assert json.dumps(memory.messages(format), default=str).count("iVBORw0KGgo") == pages or (
                format == "huggingface"
            )


def test_restart_draws_nothing_again(tmp_path: Path, airline_sessions: list[dict[str, Any]]) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=4_000) as memory:
        for session in airline_sessions[:8]:
            memory.extend(session["messages"][1:])
            memory.messages()
        before = memory.messages()
    counting = Counting()
    options: dict[str, Any] = {"store": store, "profile": "mini", "renderer": counting, "budget": 4_000}
    with OpticalMemory("s", **options, draw_ahead=False) as memory:  # what the next epoch may show is drawn ahead
        assert memory.messages() == before
        assert counting.drawn == 0
        memory.store.delete_blobs("s")
    with OpticalMemory("s", **options, draw_ahead=False) as memory:
        assert images_in(memory.messages()) == images_in(before)
        assert counting.drawn == len(images_in(before))


def test_a_page_is_drawn_once_for_each_tier_however_often_it_is_shown(airline_sessions: list[dict[str, Any]]) -> None:
    counting = Counting()
    with OpticalMemory(profile="mini", renderer=counting, budget=4_000, draw_ahead=False) as memory:
        shown: set[tuple[str, str]] = set()
        for session in airline_sessions[:6]:
            for message in session["messages"][1:]:
                memory.extend([message])
                memory.messages()
                shown.update((page.id, page.tier) for page in memory.context().pages)
        assert len(shown) > 20
        assert counting.drawn == len(shown)


def test_pixels_of_pages_shown_no_more_are_let_go(tmp_path: Path, airline_sessions: list[dict[str, Any]]) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    for half in (airline_sessions[:10], airline_sessions[10:20]):  # the second half in another process, as it were
        with OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=4_000) as memory:
            for session in half:
                for message in session["messages"][1:]:
                    memory.extend([message])
                    memory.context()
                memory.messages()
            memory._view.stop()  # what is stored in the background is stored
            kept = [key.split("/") for key in memory.store.blob_keys("s") if key.startswith(("png/", "arrival/"))]
            assert {tuple(key[-2:]) for key in kept} == {(page.id, page.tier) for page in memory.context().pages}
            assert len(kept) == len(memory.context().pages)
            old = memory.context().pages[0]
            before = bytes(old.png)
            old.cached.clear()
            memory.store.delete_blobs("s", [f"png/{old.id}/{old.tier}"])
            assert old.png == before, "who still holds a page can still see it"


class Counting(DenseRenderer):
    """The dense renderer, which counts what it draws."""

    drawn = 0

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        self.drawn += len(layouts)
        return super().draw(layouts, size=size)


def test_recall_by_question_id_page_and_line(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=4_000) as memory:
        secret = memory.add("user", "The confirmation code is QX7TT2, keep it.")
        for session in airline_sessions[:6]:
            memory.extend(session["messages"][1:])
        assert secret.id in [turn.id for turn in memory.recall("confirmation code QX7TT2")]
        assert memory.recall(turn_id=secret.id) == [secret]
        page = memory.context().pages[-1]
        on_page = memory.recall(page=page.id)
        assert [turn.id for turn in on_page] == list(page.turn_ids)
        span = page.layout.spans[0]
        assert [turn.id for turn in memory.recall(page=page, line=span.first_row + 1)] == [span.turn_id]
        with pytest.raises(NotFoundError, match="no turn 'nope'"):
            memory.recall(turn_id="nope")
        with pytest.raises(NotFoundError, match="no page"):
            memory.recall(page="0123456789abcdef")
        with pytest.raises(InputError):
            memory.recall()


def test_recall_tool_answers_and_never_raises() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.add("user", "My sister's name is Ingrid.")
        tool = memory.recall_tool()
        schema, call = tool
        assert schema["function"]["name"] == "recall"
        assert "Ingrid" in call('{"question": "name of the sister"}')
        assert "could not answer" in tool(turn_id="unknown")
        assert "could not answer" in tool("not json")
        assert tool.schema_for("anthropic")["input_schema"]["type"] == "object"


def test_forget_removes_text_pixels_and_index(tmp_path: Path, airline_sessions: list[dict[str, Any]]) -> None:
    path = tmp_path / "memory.db"
    with OpticalMemory("s", store=f"sqlite:///{path}", profile="mini", renderer="dense", budget=4_000) as memory:
        secret = memory.add("user", "My password is xyzzy-plugh-4711.")
        for session in airline_sessions[:6]:
            memory.extend(session["messages"][1:])
            memory.messages()
        assert any("xyzzy" in page.text for page in memory.context().pages) or memory.context().archived_pages
        showing = {page.id for page in memory.context().pages if secret.id in page.turn_ids}
        receipt = memory.forget(turn_id=secret.id)
        assert receipt.turn_ids == (secret.id,)
        assert receipt.session == "s" and not receipt.everything and receipt.blobs > 0
        assert showing <= {*receipt.pages}
        assert not {*receipt.pages} & {page.id for page in memory.context().pages}
        assert not any("xyzzy" in page.text or "xyzzy" in page.facts for page in memory.context().pages)
        assert memory.recall("xyzzy plugh") == []
        with pytest.raises(NotFoundError):
            memory.recall(turn_id=secret.id)
        assert "xyzzy" not in json.dumps(memory.messages())
        assert memory.context().tokens <= 4_000
    for file in tmp_path.iterdir():
        assert b"xyzzy" not in file.read_bytes()


def test_forgetting_in_redis_leaves_no_key_with_the_words(
    redis_url: str, airline_sessions: list[dict[str, Any]]
) -> None:
    redis = pytest.importorskip("redis")
    with OpticalMemory("forget-me", store=redis_url, profile="mini", renderer="dense", budget=4_000) as memory:
        secret = memory.add("user", "My password is xyzzy-plugh-4711.")
        for session in airline_sessions[:4]:
            memory.extend(session["messages"][1:])
            memory.messages()
        client = redis.Redis.from_url(redis_url)

        def dump() -> bytes:
            keys = [key for key in client.scan_iter() if b"forget-me" in key]
            assert keys
            return b"".join(client.dump(key) for key in keys)

        assert b"xyzzy" in dump()
        receipt = memory.forget(turn_id=secret.id)
        assert receipt.turn_ids == (secret.id,) and receipt.blobs > 0
        assert b"xyzzy" not in dump()
        assert memory.recall("xyzzy plugh") == []
        memory.forget(everything=True)
        assert not [key for key in client.scan_iter() if b"forget-me" in key]
        client.close()


def test_fidelity_reads_the_memorys_own_pages_at_every_tier(airline_sessions: list[dict[str, Any]]) -> None:
    pytest.importorskip("torch")
    with OpticalMemory(profile="mini", renderer="dense", budget=4_000) as memory:
        for session in airline_sessions[:3]:
            memory.extend(session["messages"][1:])
        scores = memory.fidelity("mini", pages=1)
        assert [name for name in scores if name != "gist"] == [tier.name for tier in memory.profile.tiers]
        assert scores["base"].precision > 0.98 > 0.5 > scores["nano"].precision
        assert scores["base"].exact is not None and scores["base"].exact > 0.9
        assert scores["base"].silently_wrong == 0
        assert all(score.seconds > 0 and score.pages == 1 for score in scores.values())


def test_forget_before_and_everything() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.add("user", "old", created_at=datetime(2020, 1, 1, tzinfo=UTC))
        memory.add("user", "new")
        assert len(memory.forget(before=datetime(2021, 1, 1, tzinfo=UTC)).turn_ids) == 1
        assert [message["content"] for message in memory.messages()] == ["new"]
        assert memory.forget(everything=True).everything
        assert memory.messages() == []
        with pytest.raises(InputError, match="say what to forget"):
            memory.forget()


def test_forgetting_a_call_takes_its_result() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        turn = memory.add("assistant", "", tool_calls=[call])
        memory.add("tool", "found", tool_call_id="c1")
        memory.add("user", "thanks")
        assert len(memory.forget(turn_id=turn.id).turn_ids) == 2
        assert memory.messages() == [{"role": "user", "content": "thanks"}]


def test_export_and_load_round_trip(tmp_path: Path, airline_sessions: list[dict[str, Any]]) -> None:
    settings: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 4_000, "clock": lambda: 1e9}
    with OpticalMemory("s", **settings) as memory:
        for session in airline_sessions[:6]:
            memory.extend(session["messages"][1:])
            memory.context()
        before, turns = memory.messages(), memory.store.turns("s")
        assert memory.context().epoch
        path = memory.export(tmp_path / "session.om")
    with OpticalMemory.load(path, **settings) as loaded:
        assert loaded.session == "s"
        assert loaded.store.turns("s") == turns
        assert loaded.messages() == before
    path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    with pytest.raises(StoreCorruptError):
        OpticalMemory.load(path)


def test_pins_stay_text_and_floors_hold(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=6_000) as memory:
        memory.add("user", "PINNED: never book a window seat.", pin=True)
        memory.add("user", "FLOORED: " + "the itinerary of our trip is long. " * 120, pin="base")
        for session in airline_sessions[:10]:
            memory.extend(session["messages"][1:])
            memory.context()
        sent = json.dumps(memory.messages())
        assert "PINNED: never book a window seat." in sent
        floored = [page for page in memory.context().pages if "FLOORED" in page.text]
        assert floored and all(page.tier in ("large", "base") for page in floored)
        with pytest.raises(NotFoundError, match="no tier 'huge'"):
            memory.add("user", "x", pin="huge")


def test_budget_error_says_what_is_needed() -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=100) as memory:
        memory.add("system", "Be kind. " * 50)
        memory.add("user", "Hello " * 100)
        with pytest.raises(BudgetError, match="raise the budget to at least") as caught:
            memory.context()
        needed = caught.value.needed
        turns = memory.store.turns("main")
    with OpticalMemory(profile="mini", renderer="dense", budget=needed) as memory:
        memory.add_turns(turns)
        assert memory.context().tokens <= needed


def test_same_id_twice_is_stored_once() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        first = memory.add("user", "hello", id="a")
        assert memory.add("user", "hello", id="a") == first
        with pytest.raises(DuplicateTurnError):
            memory.add("user", "other", id="a")
        assert len(memory.store.turns("main")) == 1


@pytest.mark.parametrize(
    "settings", [{"budget": 0}, {"budget": -5}, {"budget": "many"}, {"session": ""}, {"profile": "no-model"}]
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((InputError, NotFoundError)):
        OpticalMemory(settings.pop("session", "main"), renderer="dense", **settings)


def test_any_number_of_messages_is_stored_and_an_error_says_what_was() -> None:
    messages = [{"role": "user", "content": f"{number}", "id": f"m{number}"} for number in range(20_001)]
    with OpticalMemory(profile="mini", renderer="dense") as memory:
        assert len(memory.extend(messages)) == memory.store.count("main") == 20_001
        assert [turn.text for turn in memory.extend(messages[-2:])] == ["19999", "20000"], "stored once"
        changed = [*messages[:12_000], {"role": "user", "content": "changed", "id": "m20000"}]
        with pytest.raises(DuplicateTurnError) as caught:
            memory.extend(changed)
        assert caught.value.__notes__ == ["of 12,001 turns the first 10,000 are stored, the others are not"]
        with pytest.raises(DuplicateTurnError) as caught:
            memory.extend([{"role": "user", "content": "new"}, {"role": "user", "content": "changed", "id": "m1"}])
        assert not hasattr(caught.value, "__notes__") and memory.store.count("main") == 20_001


def test_unknown_role_is_refused_and_nothing_is_stored() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        with pytest.raises(UnknownRoleError):
            memory.add("wizard", "hello")  # type: ignore[arg-type]
        with pytest.raises(UnknownRoleError):
            memory.extend([{"role": "user", "content": "fine"}, {"role": "wizard", "content": "not"}])
        assert memory.store.count("main") == 0


def test_two_memories_share_a_session(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with (
        OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=2_000) as anna,
        OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=2_000) as bert,
    ):
        for number in range(60):
            (anna if number % 2 else bert).add("user", f"Message {number}: the red fox jumps over seat {number}A. " * 5)
            assert anna.messages() == bert.messages()
        assert anna.context().epoch > 0


def test_a_new_view_of_a_long_session(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=4_000) as memory:
        for session in airline_sessions[:20]:
            memory.extend(session["messages"][1:])
        with OpticalMemory(store=memory.store, profile="claude", renderer="dense", budget=12_000) as other:
            assert other.context().tokens <= 12_000
        assert memory.context().tokens <= 4_000
