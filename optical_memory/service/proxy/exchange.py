"""One exchange: what came is compressed or passed on, and the provider's answer goes back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx
from starlette.types import Send

from optical_memory.errors import OpticalMemoryError
from optical_memory.service.engine import Engine
from optical_memory.service.proxy import recalling
from optical_memory.service.proxy.asides import aside_of
from optical_memory.service.proxy.body import Pieces
from optical_memory.service.proxy.compressing import Compressing
from optical_memory.service.proxy.encodings import decoded
from optical_memory.service.proxy.made import Made, failed, passed
from optical_memory.service.proxy.report import Figures, Report, Usage
from optical_memory.service.proxy.shapes import Target, error_body
from optical_memory.service.proxy.speaking import Speaking, events_in
from optical_memory.service.proxy.streams import CutError, Watch, forward, forward_kept, start, whole
from optical_memory.service.proxy.switch import Mode
from optical_memory.service.proxy.upstream import Headers, Sending, Upstream, UpstreamError, passing
from optical_memory.service.proxy.usage import usage_of
from optical_memory.service.settings import ServiceSettings

REFUSALS = (400, 413, 422)
"""Answers after which the original goes instead of what was made of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request as it came: whose it is, where it goes, and what it says."""

    tenant: str
    target: Target
    method: str
    path: bytes
    query: bytes
    headers: Headers
    by_name: Mapping[str, str]
    body: bytes
    started: float
    added: Headers


class Exchange:
    """Serves requests to providers for one app."""

    def __init__(self, engine: Engine, settings: ServiceSettings, upstream: Upstream, figures: Figures) -> None:
        self._engine, self._settings, self._upstream, self._figures = engine, settings, upstream, figures
        self.compressing = Compressing(engine, settings)
        self.switch = engine.switch

    async def serve(self, incoming: Incoming, send: Send) -> None:
        """Answer a request."""
        made = await self._made(incoming)
        provider = incoming.target.provider
        self._figures.did(provider, made.report, time.perf_counter() - incoming.started)
        if made.report.reason in ("failed", "store", "drawing", "conflict", "slow", "key-lost"):
            self._figures.failed(provider, made.report.reason)
        try:
            if made.raws and made.asked is not None and made.asked.streams:
                await self._spoken(incoming, made, send)
            elif made.raws:
                await self._answered(incoming, made, send)
            else:
                await self._forwarded(incoming, made, send)
        except UpstreamError as error:
            self._figures.failed(provider, f"upstream-{error.status}")
            headers = [(b"content-type", b"application/json"), *made.report.headers]
            await whole(send, error.status, headers, error_body(provider, error.status, f"optical_memory: {error}"))
        except CutError:
            self._figures.failed(provider, "upstream-cut")  # the connection is cut: half an answer is no whole one

    async def _made(self, incoming: Incoming) -> Made:
        """Return what leaves in place of a request."""
        if incoming.target.shape is None or incoming.method != "POST":
            return passed("no-conversation")
        try:
            mode = await self._mode(incoming.tenant)
        except OpticalMemoryError as error:
            return failed(error)
        if mode == "off":
            return passed("off")
        if not incoming.by_name.get("content-type", "application/json").startswith("application/json"):
            return passed("content-type")
        encoding = incoming.by_name.get("content-encoding", "").strip().lower()
        data = decoded(incoming.body, encoding, self._settings.proxy_max_body_bytes)
        if data is None:
            return passed("content-encoding")
        return await self.compressing.make(
            incoming.tenant, incoming.target, data, incoming.by_name, dry=mode == "dry-run"
        )

    async def _mode(self, tenant: str) -> Mode:
        found = self.switch.cached(tenant)
        return found if found is not None else await self._engine.quick(lambda: self.switch.read(tenant))

    def _sending(self, incoming: Incoming, body: Pieces | None, *, read: bool = False) -> Sending:
        """Return the request to the provider; one that was made anew has no encoding, nor has an answer to read."""
        read = read or body is not None
        without = [b"content-encoding"] if body is not None else []
        headers = passing(incoming.headers, without=[*without, b"accept-encoding"] if read else without)
        return Sending(
            provider=incoming.target.provider,
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            headers=[*headers, (b"accept-encoding", b"identity")] if read else headers,
            body=(incoming.body,) if body is None else body,
        )

    async def _forwarded(self, incoming: Incoming, made: Made, send: Send) -> None:
        """Send a request and pass the answer on as it comes. What a provider refuses is sent as it came."""
        async with self._upstream.send(self._sending(incoming, made.body, read=made.tracks)) as response:
            if made.body is None or response.status_code not in REFUSALS:
                tracked = made if made.tracks and response.status_code == 200 else None
                await self._passed_on(
                    incoming, made.report, response, send, watched=made.body is not None, made=tracked
                )
                return
        async with self._upstream.send(self._sending(incoming, None)) as response:
            report = self._refused(incoming, made)
            await self._passed_on(incoming, report, response, send, watched=False)

    def _refused(self, incoming: Incoming, made: Made) -> Report:
        self._figures.failed(incoming.target.provider, "refused")
        if made.key is not None:
            self.compressing.refuse(made.key)
        return Report(reason="provider-refused", session=made.report.session)

    async def _passed_on(
        self,
        incoming: Incoming,
        report: Report,
        response: httpx.Response,
        send: Send,
        *,
        watched: bool,
        made: Made | None = None,
    ) -> None:
        """Pass an answer on as it comes; ``made``: keep it for the next request of its chain."""
        headers = _back(response, keep_length=True) + report.headers + incoming.added
        streams = response.headers.get("content-type", "").startswith("text/event-stream")
        watch = Watch(streams=streams) if watched else None
        await start(send, response.status_code, headers)
        if made is not None:
            await forward_kept(response, send, watch, partial(self.compressing.track, made), streams=streams)
        else:
            await forward(response, send, watch)
        if watch is not None and (usage := watch.end()) is not None:
            self._figures.used(incoming.target.provider, usage)

    async def _answered(self, incoming: Incoming, made: Made, send: Send) -> None:
        """Send a request with the recall tool, answer its calls, and give the caller one answer."""
        assert made.asked is not None
        asked, body, raws = made.asked, made.body, list(made.raws)
        shape = asked.shape
        answers: list[dict[str, Any]] = []
        for rounds in range(recalling.ROUNDS + 1):
            async with self._upstream.send(self._sending(incoming, body)) as response:
                answer = await _whole_answer(response) if response.status_code == 200 else None
                if answer is None:
                    if answers:  # the first was good: what follows is the caller's to know
                        made = replace(made, key=None)
                    elif response.status_code in REFUSALS:
                        break
                    await self._passed_on(incoming, made.report, response, send, watched=False)
                    return
            answers.append(answer)
            if (usage := usage_of(answer)) is not None:
                self._figures.used(shape.provider, usage)
            calls = recalling.calls_of(shape, answer)
            if not calls.recall or calls.others or rounds == recalling.ROUNDS:
                await self._one_answer(incoming, made, response, answers, send, calls=calls)
                return
            body = await self._with_results(made, answer, raws, last=rounds + 1 == recalling.ROUNDS)
        async with self._upstream.send(self._sending(incoming, None)) as response:
            await self._passed_on(incoming, self._refused(incoming, made), response, send, watched=False)

    async def _spoken(self, incoming: Incoming, made: Made, send: Send) -> None:
        """Send a request with the recall tool, and give the caller one stream, in which its calls are answered."""
        assert made.asked is not None
        asked, body, raws = made.asked, made.body, list(made.raws)
        speaking = Speaking.of(asked.shape)
        for rounds in range(recalling.ROUNDS + 1):
            speaking.last = rounds == recalling.ROUNDS
            async with self._upstream.send(self._sending(incoming, body)) as response:
                streams = response.headers.get("content-type", "").startswith("text/event-stream")
                if not rounds and response.status_code in REFUSALS:
                    break
                if not rounds and not (streams and response.status_code == 200):
                    await self._passed_on(incoming, made.report, response, send, watched=False)
                    return
                if not (streams and response.status_code == 200):
                    raise CutError(f"{response.status_code} in the middle of a stream")
                if not rounds:
                    await start(send, 200, _back(response, keep_length=False) + made.report.headers + incoming.added)
                await self._told(made, speaking, response, send)
            if not speaking.goes_on:
                self._figures.used(asked.shape.provider, usage_of({"usage": speaking.usage}) or Usage())
                await send({"type": "http.response.body", "body": b""})
                return
            body = await self._with_results(made, speaking.answer, raws, last=rounds + 1 == recalling.ROUNDS)
            speaking.begin()
        async with self._upstream.send(self._sending(incoming, None)) as response:
            await self._passed_on(incoming, self._refused(incoming, made), response, send, watched=False)

    async def _told(self, made: Made, speaking: Speaking, response: httpx.Response, send: Send) -> None:
        """Tell the caller of one of the provider's streams, event by event. Raises CutError where it breaks off."""
        try:
            async for event in events_in(response):
                out = speaking.saw(event)
                if speaking.beside:
                    speaking.beside = False
                    await self._aside(made, speaking.answer)
                if out:
                    await send({"type": "http.response.body", "body": out, "more_body": True})
        except httpx.HTTPError as error:
            raise CutError(type(error).__name__) from error

    async def _aside(self, made: Made, answer: dict[str, Any]) -> int:
        """Look up what an answer asks for beside calls of the caller's; it is kept for the caller's next request."""
        assert made.asked is not None
        shape, calls = made.asked.shape, recalling.calls_of(made.asked.shape, answer).recall
        await self.compressing.keep_aside(made, aside_of(shape, answer, await self._looked_up(made, calls)))
        return len(calls)

    async def _with_results(self, made: Made, answer: dict[str, Any], raws: list[bytes], *, last: bool) -> Pieces:
        """Return the request that goes on after recall calls; ``raws`` grows by them. ``last``: no more may come."""
        assert made.asked is not None
        shape, calls = made.asked.shape, recalling.calls_of(made.asked.shape, answer).recall
        texts = await self._looked_up(made, calls)
        results = [recalling.result_of(shape, *one) for one in zip(calls, texts, strict=True)]
        raws += recalling.continued(shape, answer, results)
        return made.asked.with_items(raws, dict(made.texts or {}) | (recalling.no_more(shape) if last else {}))

    async def _looked_up(self, made: Made, calls: Sequence[dict[str, Any]]) -> list[str]:
        """Return what is found for the recall calls, in their order."""
        assert made.memory is not None and made.asked is not None
        tool, shape = await made.memory.recall_tool(), made.asked.shape
        out = []
        for call in calls:
            asked = recalling.told(shape, call).arguments
            out.append(await self._engine.slow(partial(tool, asked)))
            self._figures.recalled(shape.provider)
        return out

    async def _one_answer(
        self,
        incoming: Incoming,
        made: Made,
        response: httpx.Response,
        answers: list[dict[str, Any]],
        send: Send,
        *,
        calls: recalling.Calls,
    ) -> None:
        """Give the caller the last answer; recall calls beside its own are answered, and kept for its next request."""
        assert made.asked is not None
        shape, said, cut = made.asked.shape, recalling.summed(answers), bool(calls.recall)
        left = recalling.without_recall(shape, said) if cut else said
        answered = sum(len(recalling.calls_of(shape, one).recall) for one in answers[:-1])
        if cut and calls.others:
            answered += await self._aside(made, answers[-1])
        recalls = (b"x-optical-memory-recalls", b"%d" % answered)
        headers = [*_back(response, keep_length=False), *made.report.headers, recalls, *incoming.added]
        if made.tracks:
            await self.compressing.track(made, left, cut=cut)
        data = response.content if len(answers) == 1 and not cut else json.dumps(left).encode()
        await whole(send, response.status_code, headers, data)


async def _whole_answer(response: httpx.Response) -> dict[str, Any]:
    """Return a whole answer. Raises UpstreamError where it breaks off or is none."""
    try:
        data = await response.aread()
    except httpx.HTTPError as error:
        raise UpstreamError(502, f"the answer broke off ({type(error).__name__})") from error
    try:
        said = json.loads(data)
    except ValueError as error:
        raise UpstreamError(502, "the answer is not JSON") from error
    if not isinstance(said, dict):
        raise UpstreamError(502, "the answer is no JSON object")
    return said


def _back(response: httpx.Response, *, keep_length: bool) -> Headers:
    """Return a provider's headers as they go back; the server here says the date itself."""
    headers = passing(response.headers.raw, without=(b"date",))
    length = response.headers.get("content-length")
    return [*headers, (b"content-length", length.encode())] if keep_length and length is not None else headers
