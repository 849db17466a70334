"""The epochs that a view had are kept, and every age is shown under the one that stood then: nothing is replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversation import airline

from optical_memory import OpticalMemory
from optical_memory.budget import get_profile
from optical_memory.context.base import Context
from optical_memory.context.history import KIND, epoch_of, kept_of
from optical_memory.errors import StoreCorruptError
from optical_memory.renderers import get_renderer
from optical_memory.service.dashboard.ages import Ages
from optical_memory.service.dashboard.costs import costs_data
from optical_memory.service.dashboard.replay import Setting
from optical_memory.service.dashboard.shown import context_data
from optical_memory.service.dashboard.watched import Watched

BUDGET = 3_000
RENDERER = get_renderer("dense")
SETTING = Setting(profile=get_profile("mini"), budget=BUDGET, renderer=RENDERER)


def keeping(path: Path, keep_epochs: int = 1_000, **given: Any) -> OpticalMemory:
    store = f"sqlite:///{path / 'memory.db'}"
    settings = {"profile": "mini", "budget": BUDGET, "renderer": RENDERER} | given
    return OpticalMemory("s", store=store, keep_epochs=keep_epochs, **settings)


def lived(memory: OpticalMemory, messages: list[dict[str, Any]], step: int, reserve: int = 0) -> dict[int, Context]:
    """Take messages in as an agent does that asks after each ``step``; return what it got, by number of turns."""
    seen = {}
    for start in range(0, len(messages), step):
        memory.extend(messages[start : start + step])
        seen[min(start + step, len(messages))] = memory.context(reserve=reserve)
    return seen


def said(context: Context) -> list[Any]:
    pages = [(piece.page.id, piece.page.tier, piece.page.size) if piece.page else None for piece in context.pieces()]
    return [context.tokens, context.text_tokens, context.epoch, [piece.text for piece in context.pieces()], pages]


def records(memory: OpticalMemory) -> list[str]:
    return [key for key in memory.store.blob_keys("s") if key.startswith(KIND)]


@pytest.mark.parametrize(("step", "reserve", "ahead"), [(1, 0, True), (7, 0, False), (5, 400, True)])
def test_every_age_is_what_the_model_saw_and_nothing_is_replayed(
    tmp_path: Path, step: int, reserve: int, ahead: bool
) -> None:
    with keeping(tmp_path, draw_ahead=ahead) as memory:
        seen = lived(memory, airline(160), step, reserve)
        watched = Watched(memory.store, "s", SETTING)
        known = watched.known()
        first = watched.recorded(known)["from"]
        ages = [turns for turns in seen if turns >= first]
        assert seen[160].epoch >= 3 and len(ages) > len(seen) / 2
        for turns in ages:
            memory_then = watched.at(known, turns)
            assert memory_then is not None and watched.is_recorded(known, turns)
            again = memory_then.peek()
            assert said(again) == said(seen[turns])
            if turns in (ages[0], ages[-1]):
                assert [page.png for page in again.pages] == [page.png for page in seen[turns].pages]
        assert watched.replay(known).turns == 0, "nothing was replayed"
        assert watched.at(known, first - 1) is None and watched.at(known, 161) is None


def test_the_figures_are_those_of_the_requests_that_were(tmp_path: Path) -> None:
    with keeping(tmp_path) as memory:
        seen = lived(memory, airline(160), 4)
        watched = Watched(memory.store, "s", SETTING)
        replay = watched.replay(watched.known())
        while not replay.advance():
            pass
        figures = replay.figures
        for turns, context in seen.items():
            row = (figures.tokens[turns - 1], figures.text[turns - 1], figures.epoch[turns - 1])
            assert row == (context.tokens, context.text_tokens, context.epoch)
            assert not figures.over[turns - 1]
        over = sum(figures.over)
        assert over, "between two requests a context may outgrow its budget"
        assert costs_data(figures, get_profile("gpt-5"), BUDGET)["requests"] == 159 - over
        assert len(replay.saved) <= 1, "but for the ages before the first record nothing was planned"


def test_a_change_is_that_of_the_epoch_that_was(tmp_path: Path) -> None:
    with keeping(tmp_path) as memory:
        seen = lived(memory, airline(160), 5)
        watched = Watched(memory.store, "s", SETTING)
        known = watched.known()
        recorded = watched.recorded(known)
        assert len(recorded["epochs"]) == seen[160].epoch
        for number, began in enumerate(recorded["epochs"], start=1):
            change = watched.change(known, began)
            assert change is not None and (change["number"], change["turn"]) == (number, began)
            assert change["sealed"]["last"] <= began and seen[began].epoch == number
        assert watched.change(known, None) == watched.change(known, 160)


def test_a_branch_is_shown_under_the_epochs_on_its_own_path(tmp_path: Path) -> None:
    with keeping(tmp_path) as memory:
        lived(memory, airline(120), 1)
        branch = [*airline(60), *({"role": "user", "content": f"otherwise {n} " + "and on " * 60} for n in range(40))]
        seen = {}
        for length in range(61, 101):
            memory.follow(branch[:length], format="openai")
            seen[length] = memory.context()
        watched = Watched(memory.store, "s", SETTING)
        known = watched.known()
        assert known.turns == 100 and known.head.length == 160
        for turns, context in seen.items():
            memory_then = watched.at(known, turns)
            assert memory_then is not None
            again, live = said(memory_then.peek()), said(context)
            assert again[0] == live[0] and again[3:] == live[3:]


def test_what_is_forgotten_is_in_no_record(tmp_path: Path) -> None:
    with keeping(tmp_path) as memory:
        lived(memory, airline(120), 1)
        gone = next(turn for turn in memory.turns()[10:] if turn.role == "user" and len(turn.text) > 20)
        assert records(memory)
        memory.forget(turn_id=gone.id)
        assert not records(memory)
        lived(memory, airline(160)[120:], 1)
        assert records(memory), "what comes later is kept"
        watched = Watched(memory.store, "s", SETTING)
        known = watched.known()
        first = watched.recorded(known)["from"]
        assert 119 < first <= known.turns == 159
        assert watched.at(known, 30) is None, "the ages before are replayed"
        for turns in range(first, 160):
            memory_then = watched.at(known, turns)
            assert memory_then is not None and gone.text not in json.dumps(context_data(memory_then.peek()))
        while not watched.replay(known).advance():
            pass
        for turns in (11, 30, first - 1):
            memory_then = watched.at(known, turns)
            assert memory_then is not None and gone.text not in json.dumps(context_data(memory_then.peek()))
        memory.forget(everything=True)
        assert not records(memory)


def test_records_are_bounded_and_the_ages_before_them_are_replayed(tmp_path: Path) -> None:
    with keeping(tmp_path, keep_epochs=3, draw_ahead=False) as memory:  # nothing is swept behind the caller
        seen = lived(memory, airline(160), 1)
        kept = kept_of(records(memory), SETTING.settings.name)
        assert 3 <= len(kept) <= 4 and kept[-1].number == seen[160].epoch, "swept when the next one begins"
        watched = Watched(memory.store, "s", SETTING)
        known = watched.known()
        while not watched.replay(known).advance():
            pass
        for turns in (1, 40, kept[0].after + 1, 160):
            memory_then = watched.at(known, turns)
            assert memory_then is not None and said(memory_then.peek()) == said(seen[turns])
        began = watched.recorded(known)["from"]
        change = watched.change(known, began)
        assert change is not None and change["number"] == kept[0].number, "the epoch before it was replayed"


def test_none_is_kept_unless_asked_for(tmp_path: Path) -> None:
    with keeping(tmp_path, keep_epochs=0) as memory:
        lived(memory, airline(100), 1)
        assert not records(memory)
        with keeping(tmp_path, keep_epochs=5, budget=BUDGET + 1) as other:
            assert other.context().epoch and len(records(other)) == 1
        memory.extend(airline(160)[100:])
        memory.context()
        assert len(records(memory)) == 1, "another view's record stays"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    with keeping(tmp_path) as memory:
        lived(memory, airline(100), 1)
        key = records(memory)[-1]
        held = memory.store.get_blob("s", key)
        assert held is not None and epoch_of(held) and not epoch_of(held).notes.ledger.values
        for damaged in (b"", held[:-20], b"x" + held):
            with pytest.raises(StoreCorruptError, match="record of an epoch"):
                epoch_of(damaged)


def test_turns_are_numbered_along_the_visible_path_without_forgotten_ones() -> None:
    ages = Ages(path=((0, 4), (8, 11)), gone=(0, 3, 9))
    places = [1, 2, 4, 8, 10, 11]
    assert ages.turns == 6 and [ages.place(turn) for turn in range(1, 7)] == places
    assert [ages.turn(place) for place in places] == [1, 2, 3, 4, 5, 6]
    assert ages.turn(7) == 3 and ages.turn(9) == 4 and ages.turn(100) == 6
    with pytest.raises(IndexError):
        ages.place(7)
