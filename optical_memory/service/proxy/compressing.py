"""From a request to what leaves in its place: the session found, followed, weighed by the gate, and composed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from optical_memory import errors
from optical_memory.asynchronous import AsyncOpticalMemory
from optical_memory.budget import Price, Profile, count_tokens
from optical_memory.memory import OpticalMemory
from optical_memory.service.engine import Engine
from optical_memory.service.proxy import gate, recalling
from optical_memory.service.proxy.body import Body, Item, parse_body
from optical_memory.service.proxy.compose import Pasts, answers_in, compose, leading
from optical_memory.service.proxy.limits import wrong_with
from optical_memory.service.proxy.markers import unmarked
from optical_memory.service.proxy.models import Models
from optical_memory.service.proxy.report import Report
from optical_memory.service.proxy.sessions import Lineage, Lineages, named
from optical_memory.service.proxy.shapes import Shape, Target
from optical_memory.service.settings import ServiceSettings

_log = logging.getLogger(__name__)
MOST_COURSES = 10_000
MOST_SENT = 64
"""Lists kept as they left, so that a count of tokens counts what would leave."""
BEGUN = "proxy/begun"
"""Blob of a session whose requests leave compressed: another replica goes on with that."""
BYTES_A_TOKEN = 3
Key = tuple[str, str, str]
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (errors.BudgetError, "budget"),
    (errors.LimitError, "limit"),
    (errors.InputError, "not-understood"),
    (errors.KeyLostError, "key-lost"),
    (errors.StoreError, "store"),
    (errors.RenderError, "drawing"),
    (errors.ConflictError, "conflict"),
)
"""Why a request passes on as it came where compression failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that may be compressed, as it was understood."""

    tenant: str
    shape: Shape
    body: Body
    profile: Profile
    session: str
    lineage: Lineage | None
    streams: bool
    items: tuple[Item, ...]
    extra: Mapping[str, str]
    """Fields that change with the list, as texts."""

    @property
    def key(self) -> Key:
        """The view of the session: tenant, session, and the profile whose pages it has."""
        return self.tenant, self.session, self.profile.base or self.profile.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What leaves. ``body`` None: what came. ``asked`` and ``raws`` where the recall tool is in the request."""

    report: Report
    body: bytes | None = None
    key: Key | None = None
    asked: Asked | None = None
    raws: tuple[str, ...] = ()
    texts: Mapping[str, str] | None = None
    memory: AsyncOpticalMemory | None = None


def passed(reason: str = "", session: str = "") -> Made:
    """Return that the original goes."""
    return Made(report=Report(reason=reason, session=session))


class Compressing:
    """Makes what leaves. Keeps how sessions went in this process; what must last lies in the store."""

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self._engine, self._settings = engine, settings
        self.models = Models(settings.proxy_models.split())
        self._lineages = Lineages(engine.records)
        self._courses: OrderedDict[Key, gate.Course] = OrderedDict()
        self._sent: OrderedDict[str, tuple[int, tuple[str, ...]]] = OrderedDict()
        self._pasts = Pasts()
        self._under_way: set[asyncio.Task[Made]] = set()

    async def make(self, tenant: str, target: Target, data: bytes, headers: Mapping[str, str], *, dry: bool) -> Made:
        """Return what leaves for a request. Whatever fails, the original goes, and the report says why."""
        assert target.shape is not None
        if len(data) < self._settings.proxy_from_tokens * BYTES_A_TOKEN:
            return passed("short")
        task = asyncio.create_task(self._make(tenant, target, data, headers, dry))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._settings.proxy_compress_seconds)
        if not done:  # it goes on, so that the next request finds its pages drawn
            return passed("slow")
        return task.result()

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
        session, lineage = named(headers, body), None
        if session is None or target.counts:
            lineage = Lineage.of(tenant, shape.provider, body.items)
        if target.counts:
            return self._counted(body, lineage)
        return Asked(
            tenant=tenant,
            shape=shape,
            body=body,
            profile=profile,
            session=session or (self._lineages.find(lineage) if lineage is not None else ""),
            lineage=lineage,
            streams=target.streams or body.get("stream") is True,
            items=body.items,
            extra={},
        )

    def _counted(self, body: Body, lineage: Lineage | None) -> Made:
        """Return a request for a count of tokens with the beginning of its list as it left before, if it did."""
        for length, end in reversed(list(enumerate(lineage.ends if lineage else (), 1))):
            if end in self._sent:
                raws = [*self._sent[end][1], *(item.raw for item in body.items[length:])]
                return Made(report=Report(done="compressed", reason="counted"), body=body.with_items(raws))
        return passed("not-compressed")

    async def compressed(self, asked: Asked, *, dry: bool) -> Made:
        """Return what leaves for a request that was understood. Raises what memories raise."""
        course = self._courses.get(asked.key, gate.Course())
        if course.refused:
            return passed("refused-before", asked.session)
        if course.waits(len(asked.body.text)):
            return passed("no-profit", asked.session)
        tenant, session, base = asked.key
        memory = self._engine.memory(tenant, session, base, self._settings.proxy_budget)
        made, after = await memory.use(lambda opened: self._weighed(opened, asked, course, dry))
        if after is not None:
            self._courses[asked.key] = after
            self._courses.move_to_end(asked.key)
            while len(self._courses) > MOST_COURSES:
                self._courses.popitem(last=False)
        return replace(made, memory=memory)

    def _weighed(
        self, memory: OpticalMemory, asked: Asked, course: gate.Course, dry: bool
    ) -> tuple[Made, gate.Course | None]:
        lead = leading(asked.items)
        items = asked.items[lead:]
        followed = memory.follow([unmarked(item.value) for item in items], format=asked.shape.format)
        if asked.lineage is not None:
            self._lineages.keep(asked.lineage, asked.session)
        if not course.begun and memory.store.get_blob(memory.session, BEGUN) is not None:
            course = replace(course, begun=True)
        recall = (
            not dry and self._settings.proxy_recall and recalling.can_answer(asked.shape, asked.body, asked.streams)
        )
        beside = self._beside(asked, lead, recall)
        reserve = beside + asked.shape.output_tokens(asked.body) + memory.budget - asked.profile.context_tokens
        context = memory.context(reserve=max(reserve, 0), draw=course.begun)
        sizes = gate.Sizes(beside=beside, text=context.text_tokens, shown=context.tokens)
        price = self._price(asked)
        requests = answers_in(items)
        window = asked.profile.context_tokens - asked.shape.output_tokens(asked.body)
        if not course.begun and not gate.pays(price, sizes, requests=requests, window=window):
            return passed("no-profit", asked.session), course.stays(sizes, len(asked.body.text))
        if sizes.shown >= sizes.text:
            return passed("nothing-to-gain", asked.session), course.stays(sizes, 0)
        context = context if course.begun else memory.context(reserve=max(reserve, 0), draw=True)
        texts = dict(asked.extra) | (recalling.offered(asked.shape, asked.body) if recall else {})
        past = self._pasts.of(asked.key)
        composed = compose(items, followed.places, context, asked.shape.format, recall=recall, past=past)
        raws = (*(item.raw for item in asked.items[:lead]), *composed.raws)
        out = asked.body.with_items(raws, texts)
        if wrong := wrong_with(context, asked.profile, len(out), self._settings.proxy_request_bytes):
            return passed(wrong, asked.session), None
        saved = gate.saved_dollars(price, sizes, course, composed.sent)
        after = course.goes(sizes, composed.sent, saved)
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
            return Made(report=report), replace(after, begun=course.begun)
        if not course.begun or not course.text:
            memory.store.put_blobs(memory.session, {BEGUN: b"1"})
        self._remember(asked, raws)
        made = Made(report=report, body=out, key=asked.key)
        return (replace(made, asked=asked, raws=raws, texts=texts) if recall else made), after

    def _remember(self, asked: Asked, raws: tuple[str, ...]) -> None:
        """Keep a list as it left, for counts of tokens, which only Anthropic's clients ask for."""
        if asked.shape.provider != "anthropic":
            return
        lineage = asked.lineage or Lineage.of(asked.tenant, asked.shape.provider, asked.items)
        self._sent[lineage.ends[-1]] = (len(asked.items), raws)
        while len(self._sent) > MOST_SENT:
            self._sent.popitem(last=False)

    def _beside(self, asked: Asked, lead: int, recall: bool) -> int:
        """Return the tokens beside the conversation: instructions and tools, the recall tool included."""
        texts = [asked.body.raw(name) for name in asked.shape.beside]
        texts += [item.raw for item in asked.items[:lead]]
        texts += [recalling.schema_text(asked.shape)] if recall else []
        return sum(_counted(text, asked.profile.name) for text in texts if text)

    def _price(self, asked: Asked) -> Price:
        price = asked.profile.price
        asks = asked.shape.provider != "anthropic" or '"cache_control"' in asked.body.text
        return price if asks else gate.uncached(price)

    def refuse(self, key: Key) -> None:
        """Compress a session no more in this process: a provider refused what was made of it."""
        self._courses[key] = replace(self._courses.get(key, gate.Course()), refused=True)


def failed(error: Exception) -> Made:
    """Return that the original goes because compression failed; the log says how, without content."""
    reason = next((reason for kind, reason in REASONS if isinstance(error, kind)), "failed")
    if reason == "failed":
        _log.error("compression failed: %s", type(error).__name__, exc_info=error)
    else:
        _log.warning("not compressed: %s", type(error).__name__)
    return passed(reason)


@lru_cache(maxsize=128)
def _counted(text: str, profile: str) -> int:
    return count_tokens(text, profile)
