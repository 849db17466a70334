"""Calibration: what a provider's own counts say about ours, as a factor with a bound. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optical_memory.budget.drift import Drift

KEPT = 16
"""Requests that are looked back on."""
LEAST, MOST = 0.6, 1.5
"""Bounds of the factor: an estimate is never trusted to be further off than this."""
MARGIN = 1.02
"""What the factor stays above all that was seen."""
FOREIGN = 3.0
"""A request counted so many times more, or less, than ours is taken to be another than the one we counted."""
SPREAD = 1.25
"""The largest request over the smallest from which what is beside ours can be told from the factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Counts of one session for one model: ours, and the provider's for the same request; the newest last.

    It corrects what is decided from now on, never what was sent: a message that stands stays as it is.
    """

    drifts: tuple[Drift, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Calibration:
        """Return the calibration of (ours, theirs) in order, as it is stored."""
        calibration = cls()
        for ours, theirs in pairs:
            calibration = calibration.observe(ours, theirs)
        return calibration

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """What to store."""
        return tuple((drift.ours, drift.theirs) for drift in self.drifts)

    def observe(self, ours: int, theirs: int) -> Calibration:
        """Return the calibration with one more request; one that cannot be the request we counted changes nothing."""
        if ours < 1 or theirs < 1 or not 1 / FOREIGN <= theirs / ours <= FOREIGN:
            return self
        from optical_memory.budget.drift import Drift  # not before a provider's count is known

        return replace(self, drifts=(*self.drifts, Drift(ours=ours, theirs=theirs))[-KEPT:])

    @property
    def factor(self) -> float:
        """What our count is multiplied with: above all that was seen, between 0.6 and 1.5; 1 before anything was."""
        return self._line()[0]

    @property
    def beside(self) -> int:
        """Tokens of a request that are not ours (tools, a system prompt), as far as requests of several sizes tell."""
        return self._line()[1]

    def predict(self, ours: int) -> int:
        """Return an upper estimate of the provider's count of a request that we count as ``ours`` tokens."""
        factor, beside = self._line()
        return math.ceil(ours * factor) + beside

    def room(self, budget: int) -> int:
        """Return the largest count of ours that the provider is expected to count as at most ``budget`` tokens."""
        factor, beside = self._line()
        return max(int((budget - beside) / factor), 0)

    def _line(self) -> tuple[float, int]:
        """Return factor and constant of the line that no pair is above."""
        if not self.drifts:
            return 1.0, 0
        ours = [drift.ours for drift in self.drifts]
        ratios = [drift.theirs / drift.ours for drift in self.drifts]
        factor = max(ratios) * MARGIN
        if len(ours) >= 4 and max(ours) / min(ours) >= SPREAD:
            factor = min(factor, self._slope() * MARGIN)
        if len(ours) < 3:
            factor = max(factor, 1.0)  # one request says little
        factor = min(max(factor, LEAST), MOST)
        return factor, max(0, *(math.ceil(drift.theirs - drift.ours * factor) for drift in self.drifts))

    def _slope(self) -> float:
        """Return the least-squares slope of theirs over ours."""
        count = len(self.drifts)
        mean_ours = sum(drift.ours for drift in self.drifts) / count
        mean_theirs = sum(drift.theirs for drift in self.drifts) / count
        above = sum((drift.ours - mean_ours) * (drift.theirs - mean_theirs) for drift in self.drifts)
        return above / sum((drift.ours - mean_ours) ** 2 for drift in self.drifts)
