"""What was done to a request, in headers and figures: losses like gains, and why where nothing was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Done = Literal["compressed", "passed", "dry-run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One request: what was done, why, for which session, its tokens before and after, dollars saved (below 0: lost).

    ``total`` is what the session saved so far, as far as this process saw it.
    """

    done: Done = "passed"
    reason: str = ""
    session: str = ""
    before: int = 0
    after: int = 0
    saved: float = 0.0
    total: float = 0.0
    pages: int = 0
    epoch: int = 0

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell it."""
        said = {"": f"{self.done}; reason={self.reason}" if self.reason else self.done}
        if self.session:
            said["-session"] = self.session
        if self.after:
            said |= {"-tokens-before": str(self.before), "-tokens-after": str(self.after)}
            said |= {"-saved-usd": f"{self.saved:+.6f}", "-session-saved-usd": f"{self.total:+.6f}"}
            said |= {"-pages": str(self.pages), "-epoch": str(self.epoch)}
        return [(f"x-optical-memory{name}".encode(), value.encode("latin-1")) for name, value in said.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counted them: fresh input, read from its cache, written to it, output."""

    fresh: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0


class Figures:
    """The proxy's part of the metrics: by provider, never by content, session or tenant. Safe for threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "optical_memory_proxy"
        self._requests = Counter(
            f"{name}_requests", "Requests to providers.", ("provider", "done", "reason"), registry=registry
        )
        self._tokens = Counter(
            f"{name}_tokens", "Tokens of compressed requests.", ("provider", "when"), registry=registry
        )
        self._gained = Counter(f"{name}_saved_usd", "Dollars saved by requests.", ("provider",), registry=registry)
        self._lost = Counter(f"{name}_lost_usd", "Dollars that requests cost more.", ("provider",), registry=registry)
        self._failures = Counter(f"{name}_failures", "What failed.", ("provider", "kind"), registry=registry)
        self._usage = Counter(
            f"{name}_usage_tokens", "Tokens as providers count them.", ("provider", "kind"), registry=registry
        )
        self._recalls = Counter(f"{name}_recalls", "Calls of recall answered.", ("provider",), registry=registry)
        self._seconds = Histogram(
            f"{name}_added_seconds",
            "Time from a request to its sending.",
            ("done",),
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0),
            registry=registry,
        )

    def did(self, provider: str, report: Report, seconds: float) -> None:
        """Count a request that leaves, and the time it was held here."""
        self._requests.labels(provider, report.done, report.reason).inc()
        self._seconds.labels(report.done).observe(seconds)
        if report.done == "compressed":
            self._tokens.labels(provider, "before").inc(report.before)
            self._tokens.labels(provider, "after").inc(report.after)
            (self._gained if report.saved >= 0 else self._lost).labels(provider).inc(abs(report.saved))

    def failed(self, provider: str, kind: str) -> None:
        """Count what failed: a kind of a handful."""
        self._failures.labels(provider, kind).inc()

    def used(self, provider: str, usage: Usage) -> None:
        """Count what the provider says that an answer used."""
        for kind in ("fresh", "cached", "written", "output"):
            self._usage.labels(provider, kind).inc(getattr(usage, kind))

    def recalled(self, provider: str) -> None:
        """Count a call of the recall tool that was answered here."""
        self._recalls.labels(provider).inc()
