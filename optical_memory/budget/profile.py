"""Profiles: what a target model is and what it costs, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from optical_memory.budget.formulas.base import Formula
from optical_memory.budget.images import image_tokens
from optical_memory.errors import NotFoundError
from optical_memory.renderers.base import Grid, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens: input fresh, read from the prompt cache, written to it; output.

    A request of more than ``long_from`` input tokens (0: none) costs ``long_factor`` times as much, all of it.
    ``output`` is 0 where it is not known.
    """

    fresh: float
    cached: float
    written: float
    output: float = 0.0
    long_from: int = 0
    long_factor: float = 1.0

    def at(self, tokens: int) -> Price:
        """Return the price of a request with so many input tokens. Output counts as dear, which few providers ask."""
        if not self.long_from or tokens <= self.long_from:
            return self
        factor = self.long_factor
        return replace(
            self,
            fresh=self.fresh * factor,
            cached=self.cached * factor,
            written=self.written * factor,
            output=self.output * factor,
            long_from=0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A target model: its page grid, its ladder of tiers, its accounting and its limits.

    ``tiers`` are image tiers, sharpest first. ``gist`` is the tier of excerpt pages and ``gist_grid`` their grid
    (fewer, larger characters, so that what is kept stays legible). ``formula`` prices images of any size; ``detail``
    maps a tier to the provider's setting that must be sent with its image. ``legibility`` maps a tier to the share
    of characters that the model reads right on a full page, where measured or published; ``reads`` the same for
    kinds of text ("identifiers", "prose", "code", "chinese"), and ``legibility_source`` says from where.

    Text is counted with the model's own ``tokenizer`` where its package is installed, else in ``encoding``. Where the
    model has another tokenizer that count is an upper estimate: times ``text_factor``, and ``text_weights`` tokens for
    each digit, mark, word, character of a script and so on (budget/estimate.py). ``message_tokens`` is what each
    message and each call adds.

    ``sides`` maps a number of images in a request to the longest side, in px, allowed from that number on.
    ``source`` and ``date`` say where the figures come from. ``base`` is the profile whose ladder a model has (its own
    name for a profile). ``confirmed`` is false where a figure could not be confirmed in public, ``note`` says which,
    and ``assumed`` what was taken for a model that is not known.
    """

    name: str
    grid: Grid
    tiers: tuple[Tier, ...]
    gist: Tier
    gist_grid: Grid
    formula: Formula
    detail: Mapping[str, str] = field(default_factory=dict)
    legibility: Mapping[str, float] = field(default_factory=dict)
    legible_from: float = 0.85
    legibility_source: str = ""
    reads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    encoding: str = "o200k_base"
    text_factor: float = 1.0
    text_weights: Mapping[str, float] = field(default_factory=dict)
    tokenizer: str = ""
    message_tokens: int = 4
    max_images: int
    sides: Mapping[int, int]
    max_request_bytes: int
    context_tokens: int
    price: Price
    source: str
    date: str
    base: str = ""
    confirmed: bool = True
    note: str = ""
    assumed: str = ""

    def image_tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return what an image of this size, in px, costs: a user's own, of any size. Raises InputError."""
        return image_tokens(self.formula, width, height, detail)

    def max_side(self, images: int = 1) -> int:
        """Return the longest side, in px, that an image may have in a request with ``images`` of them."""
        return min(side for count, side in self.sides.items() if count <= max(images, 1))

    def tier(self, name: str) -> Tier:
        """Return the tier of this name, the gist's included. Raises NotFoundError with the names there are."""
        ladder = {tier.name: tier for tier in (*self.tiers, self.gist)}
        if name not in ladder:
            raise NotFoundError(f"profile {self.name!r} has no tier {name!r}; it has {', '.join(ladder)}")
        return ladder[name]
