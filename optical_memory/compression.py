"""Compression without a session: a list of messages in, a request out, equal bytes for equal lists everywhere.

A list is taken in turn by turn, and an epoch begins where one is due after a turn. So what comes out depends on the
list alone: a list that grew begins with the bytes that it gave before, as long as no epoch fell in between.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from optical_memory.budget import Profile, get_profile
from optical_memory.context.following import Before
from optical_memory.formats import to_turns
from optical_memory.formats.checked import copied
from optical_memory.memory import OpticalMemory
from optical_memory.policies import get_policy
from optical_memory.policies.base import Policy
from optical_memory.renderers import default_renderer, get_renderer
from optical_memory.renderers.base import Renderer

MOST_LISTS = 32
"""Lists whose memories a compressor keeps; a longer version of one of them costs only what is new."""


class Compressor:
    """Compresses lists of messages, and keeps the lists it saw, each with its memory. Safe for threads.

    ``most`` lists are kept, the one used longest ago goes first. Each holds its messages in this process's memory.
    """

    def __init__(self, *, most: int = MOST_LISTS) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, OpticalMemory] = OrderedDict()
        self._renderers: dict[str | None, Renderer] = {}
        self._lock = threading.Lock()

    def compress(
        self,
        messages: Sequence[Any],
        *,
        format: str = "openai",
        profile: str | Profile = "deepseek-ocr",
        budget: int = 8_000,
        policy: str | Policy | None = None,
        renderer: str | Renderer | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Return the request for a list of messages; see :func:`compress`."""
        given = list(messages)
        settings: dict[str, Any] = {
            "profile": get_profile(profile),
            "budget": budget,
            "policy": get_policy(policy),
            "renderer": self._renderer(renderer),
        }
        keys = list(_chain(given, repr((settings, format, list(tools)))))
        known, memory = self._taken(keys)
        if memory is None:
            memory = OpticalMemory("compressed", clock=_now, stepwise=True, **settings)
        first = memory.store.head(memory.session).length
        turns = to_turns(given[known:], format, before=Before(memory.store, memory.session, first - 1))
        memory.add_turns(
            replace(turn, id=f"turn-{place}", created_at=1.0 + place) for place, turn in enumerate(turns, first)
        )
        request = memory.request(format, tools=tools)
        with self._lock:
            self._kept[keys[-1]] = memory
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)[1].close()
        return request

    def _taken(self, keys: Sequence[bytes]) -> tuple[int, OpticalMemory | None]:
        """Take out the memory of the longest beginning that is known."""
        with self._lock:
            known = next((place for place in range(len(keys) - 1, 0, -1) if keys[place] in self._kept), 0)
            return known, self._kept.pop(keys[known], None)

    def _renderer(self, renderer: str | Renderer | None) -> Renderer:
        if renderer is not None and not isinstance(renderer, str):
            return renderer
        with self._lock:
            if renderer not in self._renderers:
                self._renderers[renderer] = default_renderer() if renderer is None else get_renderer(renderer)
            return self._renderers[renderer]


def compress(messages: Sequence[Any], **settings: Any) -> dict[str, Any]:
    """Return the request that says what ``messages`` say within a budget; see :meth:`OpticalMemory.request`.

    Equal arguments give equal bytes in every process; a list that grew begins with the bytes it gave before, except
    where an epoch fell in between. Lists seen before are kept within a bound, so that a longer one costs what is new.

    Args:
        messages: the whole history, in ``format``.
        settings: ``format``, ``profile``, ``budget`` (tokens), ``policy``, ``renderer``, ``tools``, as for
            :class:`OpticalMemory` and its ``request``.

    Errors: as for :meth:`OpticalMemory.extend` and :meth:`OpticalMemory.request`.

    """
    return _compressor().compress(messages, **settings)


@cache
def _compressor() -> Compressor:
    """Return the compressor of this process."""
    return Compressor()


def _now() -> float:
    """Return a time that does not pass: ages count turns, not seconds."""
    return 1e9


def _chain(messages: Sequence[Any], seed: str) -> Iterator[bytes]:
    """Yield a hash for each beginning of the list, the empty one first."""
    digest = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=16)
    yield digest.digest()
    for message in messages:
        data = message if isinstance(message, Mapping) else copied(message)
        digest.update(json.dumps(data, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
        yield digest.copy().digest()
