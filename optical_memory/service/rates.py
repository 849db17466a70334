"""Rate limits: requests of a key and of a tenant over several windows, counted in the store for all replicas."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from optical_memory.errors import InputError
from optical_memory.service.keys import Key
from optical_memory.service.problems import Problem
from optical_memory.service.records import Records

_FORM = re.compile(r"([1-9]\d{0,11})/([1-9]\d{0,7})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most so many requests in each window of so many seconds."""

    most: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left in the window that has least left; ``reset_seconds`` until it begins anew."""

    most: int
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell it."""
        figures = {"Limit": self.most, "Remaining": self.remaining, "Reset": self.reset_seconds}
        return {f"RateLimit-{name}": str(value) for name, value in figures.items()}


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Return the rates of a text: "600/60 20000/3600" is 600 in a minute and 20,000 in an hour. Raises InputError."""
    found = [(word, _FORM.fullmatch(word)) for word in text.replace(",", " ").split()]
    for word, form in found:
        if form is None:
            raise InputError(f"a rate is REQUESTS/SECONDS, such as 600/60, not {word!r}")
    return tuple(Rate(most=int(form[1]), seconds=int(form[2])) for _, form in found if form is not None)


class Rates:
    """Counts requests in windows that begin at multiples of their length. ``clock`` is seconds since 1970."""

    def __init__(
        self,
        records: Records,
        *,
        of_key: tuple[Rate, ...],
        of_tenant: tuple[Rate, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records, self._of_key, self._of_tenant, self._clock = records, of_key, of_tenant, clock

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self._of_key or self._of_tenant)

    def take(self, key: Key) -> Allowance:
        """Count a request of a key and its tenant, and return what is left. Raises Problem (429) past a limit."""
        windows = [(f"key/{key.id}", rate) for rate in self._of_key]
        windows += [(f"tenant/{key.tenant}", rate) for rate in self._of_tenant]
        least = min((self._take(who, rate) for who, rate in windows), key=lambda left: left.remaining)
        if least.remaining < 0:
            shown = Allowance(most=least.most, remaining=0, reset_seconds=least.reset_seconds)
            headers = {"Retry-After": str(least.reset_seconds)} | shown.headers
            detail = f"{least.most:,} are allowed in this window; it begins anew in {least.reset_seconds:,} s"
            raise Problem(429, "too many requests", detail, headers)
        return least

    def _take(self, who: str, rate: Rate) -> Allowance:
        now = self._clock()
        window = int(now // rate.seconds)
        name = f"rate/{who}/{rate.seconds}/{window}"
        used = self._records.count(name, 1, seconds=rate.seconds + 60.0)
        left = math.ceil((window + 1) * rate.seconds - now)
        return Allowance(most=rate.most, remaining=rate.most - used, reset_seconds=max(left, 1))
