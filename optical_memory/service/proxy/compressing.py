"""From a request to what leaves in its place: the session found, followed, weighed by the gate, and composed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from optical_memory import errors
from optical_memory.budget import Price, count_tokens
from optical_memory.memory import OpticalMemory
from optical_memory.service.engine import Engine
from optical_memory.service.proxy import gate, recalling
from optical_memory.service.proxy.asides import Aside, keep, kept, placed, put_back
from optical_memory.service.proxy.body import parse_body
from optical_memory.service.proxy.chains import Chain, Chains, follow_answer, items_of
from optical_memory.service.proxy.compose import Pasts, answers_in, compose, leading
from optical_memory.service.proxy.counting import Counts
from optical_memory.service.proxy.limits import wrong_with
from optical_memory.service.proxy.made import Asked, Key, Made, failed, passed, tracks
from optical_memory.service.proxy.markers import unmarked
from optical_memory.service.proxy.models import Models
from optical_memory.service.proxy.report import Report
from optical_memory.service.proxy.sessions import Lineage, Lineages, named
from optical_memory.service.proxy.shapes import RESPONSES, Target
from optical_memory.service.proxy.speaking import can_speak
from optical_memory.service.settings import ServiceSettings

_log = logging.getLogger(__name__)
MOST_COURSES = 10_000
BEGUN = "proxy/begun"
"""Blob of a session whose requests leave compressed: another replica goes on with that."""
BYTES_A_TOKEN = 3
QUICKLY = 1 << 20
"""Bytes of a body that may be looked through on the event loop."""


class Compressing:
    """Makes what leaves. Keeps how sessions went in this process; what must last lies in the store."""

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self._engine, self._settings = engine, settings
        self.models = Models(settings.proxy_models.split())
        self._lineages = Lineages(engine.records)
        self._courses: OrderedDict[Key, gate.Course] = OrderedDict()
        self._counts = Counts()
        self._pasts = Pasts()
        engine.on_let_go.append(self.let_go)
        self._chains = Chains(engine.records)
        self._under_way: set[asyncio.Task[Made]] = set()

    async def make(self, tenant: str, target: Target, data: bytes, headers: Mapping[str, str], *, dry: bool) -> Made:
        """Return what leaves for a request. Whatever fails, the original goes, and the report says why."""
        assert target.shape is not None
        if len(data) < self._least and target.shape is not RESPONSES:
            return passed("short")
        if not target.model and len(data) <= QUICKLY and (why := self.models.why_none(data)):
            return passed(why)
        task = asyncio.create_task(self._make(tenant, target, data, headers, dry))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._settings.proxy_compress_seconds)
        if not done:  # it goes on, so that the next request finds its pages drawn
            return passed("slow")
        return task.result()

    @property
    def _least(self) -> int:
        return self._settings.proxy_from_tokens * BYTES_A_TOKEN

    def _ended(self, task: asyncio.Task[Made]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()

    async def _make(self, tenant: str, target: Target, data: bytes, headers: Mapping[str, str], dry: bool) -> Made:
        try:
            found = await self._engine.slow(lambda: self._understood(tenant, target, data, headers))
            return found if isinstance(found, Made) else await self.compressed(found, dry=dry)
        except Exception as error:
            return failed(error)

    def _understood(self, tenant: str, target: Target, data: bytes, headers: Mapping[str, str]) -> Asked | Made:
        shape = target.shape
        assert shape is not None
        body = parse_body(data, shape.key)
        model = target.model or body.get("model")
        profile, why = self.models.profile(model if isinstance(model, str) else "")
        if profile is None:
            return passed(why)
        if not body.items:
            return passed("no-messages")
        asked = Asked(
            tenant=tenant,
            shape=shape,
            body=body,
            profile=profile,
            session=named(headers, body) or "",
            lineage=None,
            streams=target.streams or body.get("stream") is True,
            items=body.items,
        )
        if target.counts:
            return self._counts.counted(asked, self._engine.scoped(tenant))
        before = body.get("previous_response_id") if shape is RESPONSES else None
        if before is not None:
            chain = self._chains.find(tenant, str(before))
            found = None if chain is None else replace(asked, session=chain.session, chain=chain)
            return found or passed("response-unknown")
        if asked.session:
            return asked
        if shape is RESPONSES and len(data) < self._least:
            return replace(asked, session=f"responses-{uuid.uuid4().hex}")
        lineage = Lineage.of(tenant, shape.provider, body.items)
        return replace(asked, session=self._lineages.find(lineage), lineage=lineage)

    async def compressed(self, asked: Asked, *, dry: bool) -> Made:
        """Return what leaves for a request that was understood. Raises what memories raise."""
        course = self._courses.get(asked.key, gate.Course())
        tenant, session, base = asked.key
        memory = self._engine.memory(tenant, session, base, self._settings.proxy_budget)
        made, after = await memory.use(lambda opened: self._weighed(opened, asked, course, dry))
        if after is not None:
            self._courses[asked.key] = after
            self._courses.move_to_end(asked.key)
            while len(self._courses) > MOST_COURSES:
                self._courses.popitem(last=False)
        return replace(made, memory=memory)

    def _plain(self, asked: Asked, reason: str) -> Made:
        """Return that nothing is compressed; a list that only this proxy knows leaves whole."""
        chain = asked.chain
        body = None
        if chain is not None and (not chain.at_provider or reason == "refused-before"):
            body = asked.with_items([item.sent for item in asked.items], {})
        return replace(passed(reason, asked.session), body=body, asked=asked, tracks=tracks(asked))

    def _weighed(
        self, memory: OpticalMemory, asked: Asked, course: gate.Course, dry: bool
    ) -> tuple[Made, gate.Course | None]:
        """Return what leaves, and how the session stands after it (None: as before)."""
        if asked.chain is not None:
            asked = replace(asked, items=(*items_of(memory, asked.chain), *asked.items))
        if course.refused:
            return self._plain(asked, "refused-before"), None
        if course.waits(asked.characters):
            return self._plain(asked, "no-profit"), None
        if asked.characters < self._least:
            return self._plain(asked, "short"), None
        lead = leading(asked.items)
        items = asked.items[lead:]
        followed = memory.follow([unmarked(item.value) for item in items], format=asked.shape.format)
        if asked.lineage is not None:
            self._lineages.keep(asked.lineage, asked.session)
        if not course.begun and memory.store.get_blob(memory.session, BEGUN) is not None:
            course = replace(course, begun=True)
        recall = not dry and self._settings.proxy_recall and _can_recall(asked)
        beside = self._beside(asked, lead)
        schema = self._count(asked, recalling.schema_text(asked.shape)) if recall else 0
        asides = placed(asked.shape, items, kept(memory.store, memory.session)) if course.begun else {}
        ours = schema + sum(self._count(asked, aside.text) for aside in asides.values())
        reserve = beside + ours + asked.shape.output_tokens(asked.body) + memory.budget - asked.profile.context_tokens
        context = memory.context(reserve=max(reserve, 0), draw=course.begun)
        sizes = gate.Sizes(beside=beside, text=context.text_tokens, shown=context.tokens + ours)
        price = self._price(asked)
        window = asked.profile.context_tokens - asked.shape.output_tokens(asked.body)
        if not course.begun and not gate.pays(price, sizes, requests=answers_in(items), window=window):
            return self._plain(asked, "no-profit"), course.stays(sizes, asked.characters)
        if sizes.shown >= sizes.text:
            return self._plain(asked, "nothing-to-gain"), course.stays(sizes, 0)
        context = context if course.begun else memory.context(reserve=max(reserve, 0), draw=True)
        texts = recalling.offered(asked.shape, asked.body) if recall else {}
        past = self._pasts.of(asked.key)
        composed = compose(items, followed.places, context, asked.shape.format, recall=recall, past=past)
        composed = put_back(composed, asked.shape, asides, lambda text: self._count(asked, text))
        raws = (*(item.sent for item in asked.items[:lead]), *composed.raws)
        out = asked.with_items(raws, texts)
        if wrong := wrong_with(context, asked.profile, sum(map(len, out)), self._settings.proxy_request_bytes):
            return self._plain(asked, wrong), None
        sent = ((hash(recall), schema), *composed.sent)
        saved = gate.saved_dollars(price, sizes, course, sent)
        after = course.goes(sizes, sent, saved)
        report = Report(
            done="dry-run" if dry else "compressed",
            session=asked.session,
            before=sizes.before,
            after=sizes.after,
            saved=saved,
            total=after.saved,
            pages=composed.images,
            epoch=context.epoch,
        )
        if dry:
            return replace(self._plain(asked, ""), report=report), replace(after, begun=course.begun)
        if not course.begun or not course.text:
            memory.store.put_blobs(memory.session, {BEGUN: b"1"})
        if asked.shape.provider == "anthropic":  # only its clients ask for counts
            self._counts.keep(asked, raws, memory.store.head(memory.session))
        made = Made(report=report, body=out, key=asked.key, asked=asked, tracks=tracks(asked))
        return (replace(made, raws=raws, texts=texts) if recall else made), after

    def let_go(self, tenant: str, session: str) -> None:
        """Keep nothing in this process's memory of a session from which something was deleted."""
        self._counts.let_go(tenant, session)
        self._pasts.let_go(lambda key: key[:2] == (tenant, session))

    def _beside(self, asked: Asked, lead: int) -> int:
        """Return the tokens beside the conversation: instructions and tools."""
        texts = [asked.body.raw(name) for name in asked.shape.beside]
        texts += [item.raw for item in asked.items[:lead]]
        return sum(self._count(asked, text) for text in texts if text)

    def _count(self, asked: Asked, text: str) -> int:
        return _counted(text, asked.profile.name)

    def _price(self, asked: Asked) -> Price:
        price = asked.profile.price
        asks = asked.shape.provider != "anthropic" or '"cache_control"' in asked.body.text
        return price if asks else gate.uncached(price)

    async def keep_aside(self, made: Made, aside: Aside) -> None:
        """Keep recall calls that a later request of the session has in their place. Failures are logged."""
        assert made.memory is not None
        try:
            await made.memory.use(lambda opened: keep(opened.store, opened.session, aside))
        except errors.OpticalMemoryError as error:
            _log.warning("a lookup is not kept: %s", type(error).__name__)

    async def track(self, made: Made, answer: Mapping[str, Any], *, cut: bool = False) -> None:
        """Store what the model answered, so that the next request may name it. Failures are logged.

        ``cut``: the provider has the answer with recall calls that are not in it, so it is not to be asked for by name.
        """
        asked, memory, response_id = made.asked, made.memory, answer.get("id")
        if asked is None or memory is None or not isinstance(response_id, str):
            return

        def done(opened: OpticalMemory) -> None:
            tip = follow_answer(opened, asked.items, answer)
            if tip is not None:
                stored = asked.body.get("store") is not False and not cut
                chain = Chain(session=asked.session, tip=tip, at_provider=stored)
                self._chains.keep(asked.tenant, response_id, chain)

        try:
            await memory.use(done)
        except errors.OpticalMemoryError as error:
            _log.warning("a response is not kept: %s", type(error).__name__)

    def refuse(self, key: Key) -> None:
        """Compress a session no more in this process: a provider refused what was made of it."""
        self._courses[key] = replace(self._courses.get(key, gate.Course()), refused=True)


def _can_recall(asked: Asked) -> bool:
    return recalling.can_answer(asked.shape, asked.body) and (not asked.streams or can_speak(asked.shape, asked.body))


@lru_cache(maxsize=128)
def _counted(text: str, profile: str) -> int:
    return count_tokens(text, profile)
