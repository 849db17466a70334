"""Figures for Prometheus: counts and times, by route and never by content, session or tenant."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from optical_memory.context.events import Drawn, EpochStarted, Event, Forgotten, Recalled, Sealed

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one app. Safe for threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("optical_memory_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "optical_memory_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self._refused = Counter(
            "optical_memory_refused", "Requests refused, by status.", ("status",), registry=registry
        )
        self._turns = Counter("optical_memory_turns", "Turns stored.", registry=registry)
        self._events = Counter("optical_memory_events", "What memories did.", ("kind",), registry=registry)
        self._pages = Counter("optical_memory_pages_drawn", "Pages drawn.", registry=registry)
        self._drawing = Counter("optical_memory_drawing_seconds", "Time spent drawing.", registry=registry)
        self._shown = Counter("optical_memory_pages_shown", "Pages of contexts given.", registry=registry)
        self._full = Counter("optical_memory_text_tokens", "Tokens of full histories asked for.", registry=registry)
        self._sent = Counter("optical_memory_context_tokens", "Tokens of contexts given instead.", registry=registry)

    @property
    def registry(self) -> CollectorRegistry:
        """Where parts of the app register figures of their own."""
        return self._registry

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status in (401, 403, 408, 413, 429, 503):
            self._refused.labels(str(status)).inc()

    def stored(self, turns: int) -> None:
        """Count turns that were stored."""
        self._turns.inc(turns)

    def given(self, text_tokens: int, context_tokens: int, pages: int) -> None:
        """Count the tokens of a context and of the history that it stands for, and the pages it shows."""
        self._full.inc(text_tokens)
        self._sent.inc(context_tokens)
        self._shown.inc(pages)

    def saw(self, event: Event) -> None:
        """Count an event of a memory."""
        kinds = {Sealed: "sealed", EpochStarted: "epoch", Drawn: "drawn", Recalled: "recalled", Forgotten: "forgotten"}
        self._events.labels(kinds[type(event)]).inc()
        if isinstance(event, Drawn):
            self._pages.inc(event.pages)
            self._drawing.inc(event.seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus's format, those of all workers of this service added up."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
