"""Several views of one session: each keeps its own past and pixels, and none takes another's away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optical_memory import OpticalMemory
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import Layout, Raster
from optical_memory.stores import MemoryStore


class Counting(DenseRenderer):
    """The dense renderer, which counts what it draws."""

    drawn = 0

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        self.drawn += len(layouts)
        return super().draw(layouts, size=size)


def test_views_keep_each_others_pixels(coding_session: dict[str, Any]) -> None:
    store, renderer = MemoryStore(), Counting()
    settings = [("mini", 4_000), ("mini", 6_000), ("deepseek-ocr", 8_000)]
    views = [OpticalMemory("s", store=store, profile=p, budget=b, renderer=renderer) for p, b in settings]
    for message in coding_session["messages"][:80]:
        views[0].extend([message])
        for view in views:
            view.context()
    sent = [view.messages() for view in views]
    for view in views:
        assert any(key.startswith("arrival/") for key in store.blob_keys("s")) or view.peek().epoch
    for view in views:
        view._view.stop()  # what is stored in the background is stored
    drawn = renderer.drawn
    for (profile, budget), before in zip(settings, sent, strict=True):
        after = OpticalMemory("s", store=store, profile=profile, budget=budget, renderer=renderer, draw_ahead=False)
        assert after.messages() == before
    assert renderer.drawn == drawn, "every page of every view was still in the store"


def test_peek_and_stats_change_nothing(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:6] for message in session["messages"][1:]]
    with OpticalMemory(profile="mini", budget=2_000, renderer="dense") as memory:
        memory.extend(messages[:20])
        epoch = memory.context().epoch
        memory.extend(messages[20:])
        head = memory.store.head("main")
        peeked = memory.peek()
        assert not peeked.fits and peeked.epoch == epoch
        assert memory.stats()["context_tokens"] == peeked.tokens
        assert memory.store.head("main") == head
        assert memory.context().fits and memory.context().epoch > epoch
