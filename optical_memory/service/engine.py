"""What an app works with: the store, keys, threads, and the memories that are open, one for each view of a session."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from optical_memory.asynchronous import AsyncOpticalMemory, on_worker
from optical_memory.compression import Compressor
from optical_memory.endpoint import Endpoint
from optical_memory.memory import OpticalMemory
from optical_memory.renderers import ChromiumRenderer, get_renderer
from optical_memory.renderers.base import Renderer
from optical_memory.renderers.processes import ProcessRenderer
from optical_memory.service import tracing
from optical_memory.service.appending import Appending
from optical_memory.service.encryption import EncryptingCodec, TenantKeys
from optical_memory.service.fidelity import Fidelity
from optical_memory.service.keys import Keyring
from optical_memory.service.metered import Metered, MeteredStore
from optical_memory.service.metrics import Metrics
from optical_memory.service.proxy.switch import Switch
from optical_memory.service.quotas import CLOSED_SECONDS, Quotas
from optical_memory.service.rates import Rates, parse_rates
from optical_memory.service.reading import Deferring, WaitsError, at_once
from optical_memory.service.records import open_records
from optical_memory.service.settings import ServiceSettings
from optical_memory.service.storing import append_all
from optical_memory.service.tally import ClosedError
from optical_memory.stores import open_store
from optical_memory.stores.appends import Append, Appended
from optical_memory.stores.redis_url import with_default
from optical_memory.stores.scoped import scoped_id

MOST_TENANTS = 256
"""Most tenants whose compressors and stores are kept."""
MOST_ASKING = 8
"""Most questions at a time."""
MOST_IMPORTS = 2
"""Most imports at a time: each is held in memory whole."""
STORE_RETRIES = 1
"""How often what Redis did not answer is sent again before the answer is 503: clients try again themselves."""
PAGE_THREADS = 32
"""Most requests for contexts at a time: most of them wait for a process that draws."""
PARSE_THREADS = 2
"""Most large bodies that are taken apart at a time."""
COMPRESSED_LISTS = 4
"""Lists that a tenant's compressor keeps."""
TEND_SECONDS = 10.0
"""How often the engine says that it lives and looks for what is left over, such as counts in doubt."""
CLOSED_WAIT_SECONDS = 0.02
"""How often an append looks whether its tenant's count is made by now."""
T = TypeVar("T")


class Engine:
    """Everything behind the routes. Its own methods are called on the event loop; work is done on its threads.

    Stores have threads of their own, and so have reads of what stands: neither an append nor such a read waits for
    pages that are planned or drawn.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        master = settings.master()
        url = with_default(settings.store, timeout=settings.store_seconds, retries=STORE_RETRIES)
        self.records = open_records(url)
        self.keyring = Keyring(self.records, cache_seconds=settings.key_cache_seconds)
        of_key, of_tenant = parse_rates(settings.key_rates), parse_rates(settings.tenant_rates)
        self.rates = Rates(self.records, of_key=of_key, of_tenant=of_tenant)
        self.switch = Switch(self.records, settings.proxy or "off", seconds=settings.key_cache_seconds)
        self.tenant_keys = None if master is None else TenantKeys(self.records, master)
        self.codec = None if self.tenant_keys is None else EncryptingCodec(self.tenant_keys)
        self.store = open_store(url, codec=self.codec)
        renderer = renderer_of(settings)
        if settings.otel:
            self.store, renderer = tracing.TracedStore(self.store), tracing.TracedRenderer(renderer)
        self.renderer: Renderer = Deferring(renderer)
        self.endpoint = Endpoint(settings.ask_url, model=settings.ask_model or "") if settings.ask_url else None
        self._quick = ThreadPoolExecutor(settings.threads, thread_name_prefix="optical-memory-store")
        self._reading = ThreadPoolExecutor(settings.threads, thread_name_prefix="optical-memory-read")
        self._parsing = ThreadPoolExecutor(PARSE_THREADS, thread_name_prefix="optical-memory-parse")
        self._slow = ThreadPoolExecutor(PAGE_THREADS, thread_name_prefix="optical-memory-pages")
        self._asking = ThreadPoolExecutor(MOST_ASKING, thread_name_prefix="optical-memory-ask")
        self.quotas = Quotas(self.records, self.store, default=settings.quota, cache_seconds=settings.key_cache_seconds)
        self._metered = Metered(append_all(self.store, self.records), self.store, self.quotas)
        self.appending = Appending(self._metered)
        self.importing = asyncio.Semaphore(MOST_IMPORTS)
        self._memories: OrderedDict[tuple[str, str, str, int], AsyncOpticalMemory] = OrderedDict()
        self._compressors: OrderedDict[str, Compressor] = OrderedDict()
        self.fidelity = Fidelity(self.records)
        self.on_let_go: list[Callable[[str, str], object]] = []

    def scoped(self, tenant: str) -> MeteredStore:
        """Return a tenant's part of the store, in which it keeps no more than its quota."""
        return MeteredStore(self.store, tenant, self.quotas)

    async def quick(self, work: Callable[[], T]) -> T:
        """Do work of stores and records on a thread."""
        return await on_worker(work, self._quick)

    async def slow(self, work: Callable[[], T]) -> T:
        """Do work that plans or draws on a thread."""
        return await on_worker(work, self._slow)

    async def parse(self, work: Callable[[], T]) -> T:
        """Take a large body apart on a thread, so that the event loop goes on."""
        return await on_worker(work, self._parsing)

    async def read(self, memory: AsyncOpticalMemory, work: Callable[[OpticalMemory], T]) -> T:
        """Read from a memory: at once where nothing is to be planned or drawn, else where such work is done.

        ``work`` may be begun twice, so it changes nothing before it has what it reads.
        """
        if memory.is_open:
            try:
                return await memory.use(at_once(work), threads=self._reading)
            except WaitsError:
                pass  # it takes longer
        return await memory.use(work)

    async def ask(self, work: Callable[[], T]) -> T:
        """Do work that waits for a model, on threads of its own."""
        return await on_worker(work, self._asking)

    async def append(self, append: Append) -> Appended:
        """Do one append together with others that wait; while its tenant's usage is counted anew, it waits apart."""
        deadline = time.monotonic() + CLOSED_SECONDS
        while True:
            try:
                return await self.appending.add(append)
            except ClosedError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(CLOSED_WAIT_SECONDS)

    async def tend(self) -> None:
        """See to what is left over, again and again, until cancelled."""
        while True:
            await asyncio.sleep(TEND_SECONDS)
            await self.slow(self.quotas.heal)

    def apart(self, tenant: str, session: str, profile: str, budget: int) -> OpticalMemory:
        """Return a memory of a view that no other request waits for."""
        return OpticalMemory(
            session,
            store=self.scoped(tenant),
            profile=profile,
            budget=budget,
            renderer=self.renderer,
            keep_epochs=self.settings.epochs_kept,
        )

    def memory(self, tenant: str, session: str, profile: str, budget: int) -> AsyncOpticalMemory:
        """Return the memory of one view of a session; the one used longest ago is let go."""
        view = (tenant, session, profile, budget)
        found = self._memories.get(view)
        if found is None:
            found = AsyncOpticalMemory(
                session,
                threads=self._slow,
                store=self.scoped(tenant),
                profile=profile,
                budget=budget,
                renderer=self.renderer,
                on_event=self.metrics.saw,
                keep_epochs=self.settings.epochs_kept,
            )
            self._memories[view] = found
        self._memories.move_to_end(view)
        while len(self._memories) > self.settings.open_memories:
            self._memories.popitem(last=False)
        return found

    def let_go(self, tenant: str, session: str) -> None:
        """Keep nothing of a session in this process's memory, from which something was deleted."""
        for view in [view for view in self._memories if view[:2] == (tenant, session)]:
            del self._memories[view]
        self._metered.forget(scoped_id(tenant, session))
        for let_go in self.on_let_go:
            let_go(tenant, session)

    def budgets(self, tenant: str, session: str) -> set[int]:
        """Return the budgets of the memories of a session that are open here."""
        return {view[3] for view in self._memories if view[:2] == (tenant, session)}

    def compressor(self, tenant: str) -> Compressor:
        """Return a tenant's own compressor: what one tenant sent before makes nothing faster for another."""
        found = self._compressors.setdefault(tenant, Compressor(most=COMPRESSED_LISTS))
        self._compressors.move_to_end(tenant)
        while len(self._compressors) > MOST_TENANTS:
            self._compressors.popitem(last=False)
        return found

    def close(self) -> None:
        """End the threads once their work is done, then release store, records and renderer."""
        self.quotas.stop()
        self._asking.shutdown()
        self._slow.shutdown()
        self._reading.shutdown()
        self._parsing.shutdown()
        self._quick.shutdown()
        self.appending.close()
        self.renderer.close()
        self.quotas.close()
        self.store.close()
        self.records.close()
        if self.endpoint is not None:
            self.endpoint.close()


def renderer_of(settings: ServiceSettings) -> Renderer:
    """Return what draws pages: in processes of its own, unless the settings say on threads."""
    name = settings.renderer or ("chromium" if ChromiumRenderer.available() else "dense")
    if not settings.draw_processes:
        return get_renderer(name)
    return ProcessRenderer(name, processes=settings.draw_processes, seconds=settings.draw_seconds)
