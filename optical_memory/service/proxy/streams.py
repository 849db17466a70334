"""Answers on their way back: passed on as they come, watched without being held, ended where either side goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import httpx
from starlette.types import Receive, Send

from optical_memory.service.proxy.chains import ENDS
from optical_memory.service.proxy.report import Usage
from optical_memory.service.proxy.upstream import Headers
from optical_memory.service.proxy.usage import events_of, most, usage_of

MOST_WATCHED = 1 << 20
"""Bytes of an unfinished event that are kept to read its usage."""


class GoneError(Exception):
    """The caller went away."""


class CutError(Exception):
    """The provider broke off in the middle of its answer."""


async def while_there(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do work as long as the caller is there; when it goes, the work is cancelled. Raises GoneError then."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            raise GoneError("the caller went away")
        task.result()
    finally:
        for one in (task, gone):
            if not one.done():
                one.cancel()
        await asyncio.wait({task, gone})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def start(send: Send, status: int, headers: Headers) -> None:
    """Begin an answer."""
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer of which all is known."""
    await start(send, status, [*headers, (b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})


async def forward(response: httpx.Response, send: Send, watch: Watch | None = None) -> None:
    """Pass a body on, bytes as they come. Raises CutError where the provider breaks off."""
    try:
        async for chunk in response.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if watch is not None:
                watch.saw(chunk)
    except httpx.HTTPError as error:
        raise CutError(type(error).__name__) from error
    await send({"type": "http.response.body", "body": b""})


Keep = Callable[[Mapping[str, Any]], Awaitable[None]]


async def forward_kept(response: httpx.Response, send: Send, watch: Watch | None, keep: Keep, *, streams: bool) -> None:
    """Pass a body on as :func:`forward` does, a stream event by event; its whole answer is kept before its end is sent.

    So the next request may name it as soon as the caller has it. Raises CutError.
    """
    rest = b""
    try:
        async for chunk in response.aiter_raw():
            rest += chunk
            ready, mark, rest = rest.rpartition(b"\n\n") if streams else (b"", b"", rest)
            if mark:
                await _kept(ready, keep)
                await send({"type": "http.response.body", "body": ready + mark, "more_body": True})
            if watch is not None:
                watch.saw(chunk)
    except httpx.HTTPError as error:
        raise CutError(type(error).__name__) from error
    await _kept(rest if streams else b"data:" + rest.replace(b"\n", b" "), keep)
    await send({"type": "http.response.body", "body": rest})


async def _kept(events: bytes, keep: Keep) -> None:
    """Keep the whole answer among events, if it is there."""
    if b'"output"' not in events:
        return
    for event in events_of(events):
        if event.get("type") in ENDS:
            await keep(event["response"])
        elif event.get("object") == "response" and event.get("status") in ("completed", "incomplete"):
            await keep(event)


class Watch:
    """Reads the usage of an answer that passes by; holds nothing back."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._rest = b""
        self.usage: Usage | None = None

    def saw(self, chunk: bytes) -> None:
        """Take in bytes."""
        self._rest += chunk
        if not self._streams:
            self._rest = self._rest[-MOST_WATCHED:]
            return
        whole, found, rest = self._rest.rpartition(b"\n")
        self._rest = rest[-MOST_WATCHED:]
        if found and (b'"usage' in whole):
            for event in events_of(whole):
                self.usage = most(self.usage, usage_of(event))

    def end(self) -> Usage | None:
        """Return the usage, as far as the answer says it."""
        if self._rest and self.usage is None:
            self.usage = next(map(usage_of, events_of(b"data:" + self._rest.replace(b"\n", b" "))), None)
        return self.usage
