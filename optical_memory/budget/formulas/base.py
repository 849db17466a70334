"""What every rule for the price of an image has in common, and the arithmetic that rules share. Sizes in px."""

from __future__ import annotations

from typing import Protocol

from optical_memory.errors import InputError


class Formula(Protocol):
    """Prices images of any size as they are sent, the provider's own downscaling included."""

    @property
    def most(self) -> int:
        """The dearest that any image without a setting can be: what an image of unknown size is counted as."""

    @property
    def unit(self) -> int:
        """Height in px by which a lower image is cheaper; 0: pages are not cropped for this model."""
        return 0

    @property
    def is_flat(self) -> bool:
        """Whether an image costs the same whatever its size."""
        return False

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that the provider takes with an image."""
        return ()

    def is_whole(self, width: int, height: int) -> bool:
        """Whether the model sees an image of this size as it is, and not scaled down. True where no rule says so."""
        return True

    def most_for(self, detail: str | None) -> int:
        """Return the dearest that any image can be with this setting; None is the provider's default."""
        check_detail(self, detail)
        return self.most

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the tokens of one image. ``detail`` is one of the settings; None is the provider's default."""


def rows(columns: int, count: int) -> int:
    """Return the tokens of a grid with a newline at the end of each of ``count`` rows."""
    return count * (columns + 1)


def ceil_div(size: int, unit: int) -> int:
    """Return how many units cover the size."""
    return -(-size // unit)


def fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Scale down, shape kept, until the long side is at most ``side`` px."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def check_detail(formula: Formula, detail: str | None) -> None:
    """Refuse a setting that the model does not have. Errors: InputError."""
    if detail is not None and detail not in formula.settings:
        have = ", ".join(repr(name) for name in formula.settings) or "none"
        raise InputError(f"unknown image setting {detail!r}; this model has {have}")
