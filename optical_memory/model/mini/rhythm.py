"""The beat of a page's ink across and down: characters on a grid repeat, whether or not the network can read them.

The ink summed over columns, and over rows, has a line in its spectrum at the width, and the height, of a cell. It
stands out from the spectrum about it even at 2.5 × 4 px, and for scripts that the network does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini.ink import Ink

_POINTS = 8192
"""Frequencies from 0 to 1 per px at which a spectrum is taken."""
_ABOUT = 1.5
"""The background of a frequency is the median from it divided by this to it times this."""
_SHORTEST, _LONGEST = 2.2, 40.0
"""Periods looked for, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beat:
    """The spectrum of ink along one axis and its magnitudes; ``first`` is the px where the ink begins."""

    spectrum: npt.NDArray[np.complex128]
    magnitudes: npt.NDArray[np.float64]
    first: int

    def strength(self, period: float) -> float:
        """Return how far the line at a period (px) stands out from the spectrum about it; noise is about 1 to 3."""
        return self.size(period) / max(self._background(_POINTS / period), 1e-12)

    def size(self, period: float) -> float:
        """Return how large the line at a period (px) is, in px of ink."""
        place = _POINTS / period
        return float(self.magnitudes[max(0, int(place - 3)) : int(place + 4)].max())

    def _background(self, place: float) -> float:
        low, high = int(place / _ABOUT), min(int(place * _ABOUT) + 1, len(self.magnitudes))
        middle = [(high - low - 1) // 2, (high - low) // 2]  # np.median takes five times as long
        return float(np.partition(self.magnitudes[low:high], middle)[middle].mean())

    def middle(self, period: float) -> float:
        """Return where the most ink lies within a period, as a share of it from the page's edge: 0.5 in the middle."""
        value = self.spectrum[round(_POINTS / period)]
        return float((-np.angle(value) / (2 * np.pi) + (self.first + 0.5) / period) % 1)

    def periods(self, least: float, count: int = 3) -> list[float]:
        """Return the strongest periods (px), refined, that stand out by ``least`` or more."""
        size = self.magnitudes
        low, high = int(_POINTS / _LONGEST), int(_POINTS / _SHORTEST)
        here = size[low:high]
        peaks = low + np.flatnonzero((here >= size[low - 1 : high - 1]) & (here > size[low + 1 : high + 1]))
        found: list[float] = []
        for n in peaks[np.argsort(-size[peaks], kind="stable")][: 8 * count].tolist():
            bend = size[n - 1] - 2 * size[n] + size[n + 1]
            period = _POINTS / (n + 0.5 * (size[n - 1] - size[n + 1]) / bend)
            if size[n] >= least * self._background(n) and all(abs(period / other - 1) > 0.05 for other in found):
                found.append(float(period))
        return found[:count]


def beats(ink: Ink) -> tuple[Beat, Beat]:
    """Return the beats across and down of ink (S, S)."""
    return _beat(ink.sum(0, dtype=np.float64)), _beat(ink.sum(1, dtype=np.float64))


def _beat(profile: npt.NDArray[np.float64]) -> Beat:
    inked = np.flatnonzero(profile > 0.02 * profile.max()) if profile.any() else np.zeros(1, np.int64)
    first, last = int(inked[0]), int(inked[-1]) + 1
    part = profile[first:last]
    spectrum = np.fft.rfft((part - part.mean()) * np.hanning(len(part)), _POINTS)
    return Beat(spectrum=spectrum, magnitudes=np.abs(spectrum), first=first)
