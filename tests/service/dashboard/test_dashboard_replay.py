"""The replay gives the contexts that there were, says what stayed of each, follows branches, and writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conversation import airline

from optical_memory import OpticalMemory
from optical_memory.budget import get_profile
from optical_memory.context.base import Context
from optical_memory.renderers import get_renderer
from optical_memory.service.dashboard import replay as replays
from optical_memory.service.dashboard.costs import costs_data
from optical_memory.service.dashboard.replay import Replay, Setting
from optical_memory.service.dashboard.shown import change_data, context_data, epoch_in
from optical_memory.service.dashboard.watched import Watched, Watching

BUDGET = 3_000
RENDERER = get_renderer("dense")
SETTING = Setting(profile=get_profile("mini"), budget=BUDGET, renderer=RENDERER)


def remembering(path: Path) -> OpticalMemory:
    return OpticalMemory("s", store=f"sqlite:///{path / 'memory.db'}", profile="mini", budget=BUDGET, renderer=RENDERER)


def lived(memory: OpticalMemory, turns: int) -> list[Context]:
    """Take real turns in as an agent does that asks after each."""
    seen = []
    for message in airline(turns):
        memory.extend([message])
        seen.append(memory.context())
    return seen


def replayed(memory: OpticalMemory, setting: Setting = SETTING) -> Replay:
    watched = Watched(memory.store, "s", setting)
    replay = watched.replay(watched.known())
    while not replay.advance():
        pass
    return replay


def said(context: Context) -> list[Any]:
    """All that a model sees of a context, pixels by the id and tier that they follow from."""
    pages = [(piece.page.id, piece.page.tier, piece.page.size) if piece.page else None for piece in context.pieces()]
    return [context.tokens, context.epoch, [piece.text for piece in context.pieces()], pages]


def test_every_age_is_what_the_model_saw_then(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        seen = lived(memory, 160)
        replay = replayed(memory)
        assert seen[-1].epoch >= 3 and replay.turns == len(seen)
        assert replay.figures.tokens == [context.tokens for context in seen]
        for turns in (1, 2, 50, 99, 131, 160):
            again = replay.at(turns).peek()
            assert said(again) == said(seen[turns - 1])
            assert [page.png for page in again.pages] == [page.png for page in seen[turns - 1].pages]


def test_what_is_kept_of_a_request_is_what_stays_of_its_bytes(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        requests = []
        for message in airline(120):
            memory.extend([message])
            requests.append(memory.messages("openai"))
        figures = replayed(memory).figures
        grown = 0
        for before in range(len(requests) - 1):
            same = json.dumps(requests[before]) == json.dumps(requests[before + 1][: len(requests[before])])
            assert same == (figures.kept[before + 1] == figures.tokens[before])
            grown += same
        assert 0 < grown < len(requests) - 1, "some only grew, some began an epoch"
        assert all(kept < tokens for kept, tokens in zip(figures.kept, figures.tokens, strict=True))


def test_a_replay_goes_on_where_it_stopped_and_follows_the_visible_path(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 60)
        watched = Watched(memory.store, "s", SETTING)
        first = watched.replay(watched.known())
        while not first.advance():
            pass
        assert first.turns == 60
        memory.extend([{"role": "user", "content": "and one more"}])
        assert watched.replay(watched.known()) is first and first.advance() and first.turns == 61
        messages = list(airline(40))
        memory.follow([*messages, {"role": "user", "content": "another way from here"}], format="openai")
        known = watched.known()
        other = watched.replay(known)
        while not other.advance():
            pass
        assert other is not first and other.turns == 41 == known.turns
        assert other.at(41).peek().recent[-1].text == "another way from here"
        assert other.figures.seq == sorted(other.figures.seq) and other.figures.seq[-1] == 61


def test_what_was_forgotten_is_in_no_replay(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 80)
        watching = Watching()
        watched = watching.of("acme", memory.store, "s", SETTING)
        first = watched.replay(watched.known())
        while not first.advance():
            pass
        gone = next(turn for turn in memory.turns()[10:] if turn.role == "user" and len(turn.text) > 20)
        memory.forget(turn_id=gone.id)
        second = watched.replay(watched.known())
        while not second.advance():
            pass
        assert second is not first and second.turns == 79 == watched.known().turns
        for turns in (11, 20, 40, 79):
            assert gone.text not in json.dumps(context_data(second.at(turns).peek()))
        watching.let_go("acme", "s")
        assert watching.of("acme", memory.store, "s", SETTING) is not watched


def test_looking_writes_nothing(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 100)  # closed then: what it keeps for a restart is written by now
    with remembering(tmp_path) as memory:
        before = memory.store.head("s"), memory.store.load_state("s"), memory.store.blob_keys("s")
        replay = replayed(memory)
        other = Watched(memory.store, "s", Setting(profile=get_profile("gpt-5"), budget=4_000, renderer=RENDERER))
        now = other.now(other.known())
        assert now is not None and [page.png for page in now.context().pages]
        assert [page.png for page in replay.at(90).peek().pages]
        assert before == (memory.store.head("s"), memory.store.load_state("s"), memory.store.blob_keys("s"))


def test_now_is_what_the_store_has(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        for message in airline(150):
            memory.extend([message])  # asked once, at the end: other epochs than after each turn
        context = memory.context()
        watched = Watched(memory.store, "s", SETTING)
        now = watched.now(watched.known())
        assert now is not None and said(now.context()) == said(context)
        assert Watching().views(watched.known(), RENDERER, [BUDGET]) == [("mini", BUDGET)]


def test_a_change_names_what_an_epoch_did(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 200)
        roomy = replace(SETTING, budget=3 * BUDGET)  # a small past may merge at once whatever it adds
        views = [(setting.settings.name, replayed(memory, setting)) for setting in (SETTING, roomy)]
        kinds = set()
        for name, replay, turn in ((*view, turn) for view in views for turn in range(1, view[1].turns)):
            before, after = (epoch_in(replay.state_at(each), name) for each in (turn, turn + 1))
            if before.number == after.number:
                continue
            change = change_data(before, after)
            assert change["number"] == after.number == replay.figures.epoch[turn]
            assert change["tokens"] == [before.tokens, after.tokens]
            known = {entry.id for entry in before.entries}
            assert {each["id"] for each in change["added"] + change["merged"]} == {
                entry.id for entry in after.entries if entry.id not in known
            }
            merged = [page["id"] for gist in change["merged"] for page in gist["pages"]]
            assert set(merged) <= known
            kinds |= {kind for kind in ("added", "moved", "merged") if change[kind]}
            kinds |= {"sealed"} if change["sealed"] else set()
        assert {"sealed", "added"} <= kinds and kinds & {"moved", "merged"}


def test_costs_are_of_the_replayed_requests(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 150)
        figures = replayed(memory).figures
        profile = get_profile("gpt-5")
        costs = costs_data(figures, profile, BUDGET)
        full, _, bill = costs["bills"]
        assert figures.system[:2] == [1, 0], "the policy comes first, and is no request of its own"
        read = sum(figures.kept[2:])
        written = sum(figures.tokens[1:]) - read
        price = profile.price
        assert bill["dollars"] == pytest.approx((read * price.cached + written * max(price.written, price.fresh)) / 1e6)
        assert full["most"] == figures.text[-1] and bill["most"] == max(figures.tokens)
        assert costs["curves"]["memory"][-1] == pytest.approx(bill["dollars"])
        assert costs["curves"]["full_text"][-1] == pytest.approx(full["dollars"])


def test_a_replay_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with remembering(tmp_path) as memory:
        lived(memory, 50)
        monkeypatch.setattr(replays, "MOST_TURNS", 30)
        replay = replayed(memory)
        assert replay.turns == 30 and "30 turns" in replay.stopped
        monkeypatch.setattr(replays, "MOST_TURNS", 1_000)
        monkeypatch.setattr(replays, "MOST_BYTES", 1)
        assert 0 < replayed(memory).turns < 50


def test_turns_that_fit_no_budget_are_shown_as_over_it(tmp_path: Path) -> None:
    with remembering(tmp_path) as memory:
        memory.extend([{"role": "system", "content": "a rule " * 3_000}, {"role": "user", "content": "Hello"}])
        replay = replayed(memory)
        assert replay.figures.over == [1, 1] and replay.figures.system == [1, 0]
        assert not replay.at(2).peek().fits
        assert costs_data(replay.figures, get_profile("gpt-5"), BUDGET)["requests"] == 0
