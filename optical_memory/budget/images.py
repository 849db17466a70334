"""What one image costs in a model's sequence. Sizes in px, costs in tokens."""

from __future__ import annotations

from optical_memory.budget.formulas.base import Formula
from optical_memory.errors import InputError


def image_tokens(formula: Formula, width: int, height: int, detail: str | None = None) -> int:
    """Return what an image of ``width`` × ``height`` px costs, in tokens of the sequence.

    ``detail`` is the setting that a provider takes with an image ("low", "gundam", "media_resolution_high"); None
    is the provider's default. Raises InputError for a side below 1 px or a setting that the model does not have.
    """
    if width < 1 or height < 1:
        raise InputError(f"an image has at least 1 px a side, not {width!r} × {height!r}")
    return formula.tokens(width, height, detail)
