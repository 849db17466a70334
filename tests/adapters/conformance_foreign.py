"""What every adapter must do where the memory fails, and with what it does not know or did not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from driver import (
    PROFILE,
    Chat,
    Driver,
    MakeDriver,
    calls_of_the_model,
    check_pairs,
    line_of,
    sent,
    spoken,
    stored,
    words,
)
from redis_server import RedisServer

from optical_memory.budget import count_tokens, get_profile
from optical_memory.errors import BudgetError, OpticalMemoryError, StoreUnavailableError

BOTH = pytest.mark.parametrize("on_failure", ["raise", "send everything"])
STRANGE = " ".join(f"ultramarine-{number}" for number in range(90))
SUMMARY: Chat = {"role": "user", "content": "Summary of what was said: a member asked about a flight."}


def causes(error: BaseException | None) -> set[type[BaseException]]:
    """Return the classes of an error and of all that led to it; frameworks make circles of them."""
    found: dict[int, BaseException] = {}
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in found:
            found[id(one)] = one
            waiting += [one.__cause__, one.__context__]
    return {type(one) for one in found.values()}


async def check_failure(
    driver: Driver, history: list[Chat], cause: type[OpticalMemoryError], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """See that the memory's failure is what ``on_failure`` says: an error, or the full history and a warning."""
    if driver.settings["on_failure"] == "raise":
        with pytest.raises(driver.error, match=says) as caught:
            await sent(driver, "t", history)
        assert cause in causes(caught.value)
    else:
        call = await sent(driver, "t", history)
        assert driver.chat(call.got) == driver.chat(call.given)
        assert "whole history" in caplog.text


@BOTH
async def test_a_budget_that_is_too_small_is_an_error_or_the_full_history(
    on_failure: str,
    make_driver: MakeDriver,
    memory_settings: dict[str, Any],
    airline_sessions: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = list(calls_of_the_model(spoken(airline_sessions[0])))[-1]
    driver = make_driver(**{**memory_settings, "budget": 8}, on_failure=on_failure)
    await check_failure(driver, history, BudgetError, "budget", caplog)
    driver.close()


@BOTH
async def test_a_store_that_is_down_is_an_error_or_the_full_history(
    on_failure: str,
    make_driver: MakeDriver,
    memory_settings: dict[str, Any],
    airline_sessions: list[dict[str, Any]],
    start_redis: Callable[..., RedisServer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And when the server is back, the next call goes on as if nothing had been."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    histories = list(calls_of_the_model(spoken(airline_sessions[0])))
    driver = make_driver(**{**memory_settings, "store": server.url}, on_failure=on_failure)
    await sent(driver, "t", histories[-3])
    server.kill()
    await check_failure(driver, histories[-2], StoreUnavailableError, str(server.port), caplog)
    server.start()
    call = await sent(driver, "t", histories[-1])
    check_pairs(driver.chat(call.got))
    assert driver.recount(call.got) <= driver.settings["budget"]
    assert stored(driver) == driver.turns(histories[-1])
    driver.close()


async def test_kinds_that_the_adapter_does_not_know_pass_and_are_counted(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    driver = make_driver(**memory_settings)
    history = list(calls_of_the_model(spoken(airline_sessions[0])))
    assert [message["role"] for message in history[1]] == ["user", "assistant", "user"]
    short, long = driver.objects(history[1]), driver.objects(history[-1])
    await driver.send("plain", [short[0], short[2]])
    strange = driver.strange(STRANGE)
    got = await driver.send("t", [short[0], strange, short[2]])
    assert any(one is strange if driver.identity else one == strange for one in got)
    more = driver.memory("t").peek().tokens - driver.memory("plain").peek().tokens
    assert more >= count_tokens(STRANGE, get_profile(PROFILE)), "it was not counted"
    await driver.send("t", [long[0], strange, *long[2:]])
    assert driver.memory("t").peek().tokens <= driver.settings["budget"]
    driver.close()


async def test_a_summary_of_the_frameworks_own_is_followed(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    """The framework, or its user, has put a summary in the place of old messages before our hook is called."""
    driver = make_driver(**memory_settings)
    histories = list(calls_of_the_model(spoken(airline_sessions[0])))
    whole, later = histories[-2], histories[-1]
    await sent(driver, "t", whole)
    count = stored(driver)
    cut = next(place for place in range(len(whole) // 2, len(whole)) if whole[place]["role"] == "user")
    text = words(driver.chat((await sent(driver, "t", [SUMMARY, *whole[cut:]])).got))
    gone = line_of(whole[0])
    assert SUMMARY["content"] in text and gone not in text
    assert not any(gone in turn.text for turn in driver.memory("t").recall(gone))
    call = await sent(driver, "t", [SUMMARY, *later[cut:]])
    check_pairs(driver.chat(call.got))
    assert SUMMARY["content"] in words(driver.chat(call.got))
    kept = [*whole, SUMMARY, *later[len(whole) :]]
    assert count < stored(driver) <= driver.turns(kept) + driver.turns(whole[cut:])
    driver.close()
