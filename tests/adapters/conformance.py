"""What every adapter must do, on real transcripts, in the framework's own message objects and its own loop.

A test file brings a :class:`Driver` of its framework as the fixture ``make_driver`` and imports these tests:
``from conformance import *``. Those of what fails and of what is foreign stand in ``conformance_foreign``.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from conformance_foreign import (
    test_a_budget_that_is_too_small_is_an_error_or_the_full_history,
    test_a_store_that_is_down_is_an_error_or_the_full_history,
    test_a_summary_of_the_frameworks_own_is_followed,
    test_kinds_that_the_adapter_does_not_know_pass_and_are_counted,
)
from driver import (
    OK,
    MakeDriver,
    calls_of_the_model,
    check_pairs,
    images,
    line_of,
    sent,
    spoken,
    stored,
    words,
)

from optical_memory.context.events import Event
from optical_memory.turns import open_calls

__all__ = [
    "test_a_budget_that_is_too_small_is_an_error_or_the_full_history",
    "test_a_cancelled_call_leaves_the_memory_consistent",
    "test_a_restart_takes_nothing_in_twice",
    "test_a_session_call_by_call",
    "test_a_store_that_is_down_is_an_error_or_the_full_history",
    "test_a_summary_of_the_frameworks_own_is_followed",
    "test_edits_and_rewinds_are_followed",
    "test_kinds_that_the_adapter_does_not_know_pass_and_are_counted",
    "test_no_work_is_done_on_the_event_loop",
    "test_recall_works_in_the_frameworks_own_loop",
    "test_two_threads_are_not_mixed",
]


async def test_a_session_call_by_call(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    """Pairs whole, order kept, nothing twice, the budget kept, the prefix stable between epochs, history untouched."""
    driver = make_driver(**memory_settings)
    before, epoch, epochs, most = list[str](), -1, set[int](), 0
    kept = 0
    histories = list(calls_of_the_model(spoken(coding_session)))
    for history in histories:
        call = await sent(driver, "t", history)
        written = driver.chat(call.got)
        check_pairs(written)
        assert driver.recount(call.got) <= driver.settings["budget"]
        same = [place for message in call.got for place, one in enumerate(call.given) if one is message]
        assert same == sorted(set(same)), "messages in another order, or twice"
        kept += len(same)
        assert stored(driver) == driver.turns(history)
        now = [json.dumps(message, sort_keys=True) for message in written]
        most = max(most, images(written))
        epochs.add(driver.memory("t").peek().epoch)
        if driver.memory("t").peek().epoch == epoch:
            assert now[: len(before)] == before, "the prefix changed between epochs"
        before, epoch = now, driver.memory("t").peek().epoch
    assert 1 < len(epochs) <= len(histories) / 4
    assert most >= 2 and len(written) < len(history)
    assert kept > len(histories) or not driver.identity, "messages shown as they came are other objects"
    assert line_of(history[-1])[:40] in words(written) or "recall(turn_id=" in words(written[-2:])
    driver.close()


async def test_a_restart_takes_nothing_in_twice(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    history = spoken(airline_sessions[0])
    histories = list(calls_of_the_model(history))
    memory_settings["budget"] = 3_000
    driver = make_driver(**memory_settings)
    for earlier in histories[:-2]:
        last = driver.chat((await sent(driver, "t", earlier)).got)
    count, epoch = stored(driver), driver.memory("t").peek().epoch
    driver.close()
    driver = make_driver(**memory_settings)
    again = driver.chat((await sent(driver, "t", histories[-3])).got)
    assert again == last
    assert stored(driver) == count and driver.memory("t").peek().epoch == epoch
    await sent(driver, "t", histories[-1])
    assert count < stored(driver) <= count + 2 * (len(histories[-1]) - len(histories[-3]))
    driver.close()


async def test_edits_and_rewinds_are_followed(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    driver = make_driver(**memory_settings)
    first, rest = {"role": "user", "content": "My member number is QX7TT2, my dog is called Bruno."}, None
    rest = list(calls_of_the_model(spoken(airline_sessions[0])))[-1]
    whole = [first, {"role": "assistant", "content": "Noted."}, *rest]
    await sent(driver, "t", whole)
    first_count = stored(driver)

    edited = [{**first, "content": "My member number is ZZ9ABC, my cat is called Mia."}, *whole[1:]]
    text = words(driver.chat((await sent(driver, "t", edited)).got))
    assert "Bruno" not in text and driver.memory("t").recall("Bruno dog") == []
    assert any("Mia" in turn.text for turn in driver.memory("t").recall("cat called Mia"))

    short = whole[:1]
    call = await sent(driver, "t", short)
    assert words(driver.chat(call.got)) == first["content"]

    count = stored(driver)
    text = words(driver.chat((await sent(driver, "t", whole)).got))
    assert "Bruno" in text and "Mia" not in text
    assert stored(driver) == count == 2 * first_count, "a branch that came back was stored again"
    driver.close()


async def test_two_threads_are_not_mixed(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    driver = make_driver(**memory_settings)
    marked = {
        name: [{"role": "user", "content": f"The password is {name}-swordfish."}, OK, *spoken(session)]
        for name, session in zip(("alpha", "beta"), airline_sessions, strict=False)
    }
    for one, other in zip(*(calls_of_the_model(history) for history in marked.values()), strict=False):
        for name, history in (("alpha", one), ("beta", other)):
            text = words(driver.chat((await sent(driver, name, history)).got))
            assert {"alpha": "beta", "beta": "alpha"}[name] + "-swordfish" not in text
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        found = " ".join(turn.text for turn in driver.memory(name).recall("password swordfish"))
        assert f"{name}-swordfish" in found and f"{other}-swordfish" not in found
    driver.close()


async def test_no_work_is_done_on_the_event_loop(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    """Where the memory asks for the time, and tells what it did, is where it works."""
    at = set[int]()

    def clock() -> float:
        at.add(threading.get_ident())
        return time.time()

    def heard(event: Event) -> None:
        at.add(threading.get_ident())

    driver = make_driver(**memory_settings, clock=clock, on_event=heard)
    if not driver.asynchronous:
        driver.close()
        pytest.skip("the framework's hook is called synchronously, on the thread that runs the agent")
    history = list(calls_of_the_model(spoken(coding_session)))[20]
    await sent(driver, "t", history)
    assert driver.memory("t").peek().pages
    assert at and threading.get_ident() not in at
    at.clear()
    await driver.recall("t", driver.objects(history), line_of(history[0]))
    assert at and threading.get_ident() not in at
    driver.close()


async def test_a_cancelled_call_leaves_the_memory_consistent(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def clock() -> float:
        entered.set()
        assert go_on.wait(60)
        return time.time()

    driver = make_driver(**memory_settings, clock=clock)
    if not driver.asynchronous:
        driver.close()
        pytest.skip("the framework's hook is called synchronously: there is nothing to cancel")
    histories = list(calls_of_the_model(spoken(coding_session)))
    going = asyncio.create_task(driver.send("t", driver.objects(histories[30])))
    assert await asyncio.to_thread(entered.wait, 60)
    going.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await going
    written = driver.chat((await sent(driver, "t", histories[31])).got)
    check_pairs(written)
    turns = driver.memory("t").store.turns(driver.memory("t").session)
    fresh = make_driver(**{**memory_settings, "store": "memory://"})
    await sent(fresh, "t", histories[31])
    assert [turn.text for turn in turns] == [turn.text for turn in fresh.memory("t").turns()]
    assert open_calls(turns) == {}
    driver.close()
    fresh.close()


async def test_recall_works_in_the_frameworks_own_loop(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    driver = make_driver(**memory_settings)
    history = [
        {"role": "user", "content": "Remember: the vault's code is 7391-KLM-0045."},
        {"role": "assistant", "content": "I will."},
        *list(calls_of_the_model(spoken(coding_session)))[-1],
    ]
    given = driver.objects(history)
    result = await driver.recall("t", given, "What is the vault's code?")
    assert "7391-KLM-0045" in result
    driver.close()
