"""What pages say: natural text with what could be memorised taken out, random characters, identifiers, all scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

SPACE = 32
CONFUSABLE = '0011188800OoQDl1I|iBS5$#A38X69bh&%^"_<=>?7 '
"""Characters that small cells confuse; digits several times."""
KINDS = ("natural", "random", "hex")
"""Kinds of text that evaluation tells apart."""

_SHARES = {"chinese": 8, "japanese": 4, "korean": 4}
"""How often the pools of these scripts are drawn from, against once for the others."""
_HEXADECIMAL = "0123456789abcdef"


@cache
def _characters(text: str, device: torch.device) -> Tensor:
    """Return code points (n,): made once, because a copy to the GPU waits for all that is queued there."""
    return torch.tensor([ord(character) for character in text], device=device)


def _pick(pool: Tensor, shape: tuple[int, ...]) -> Tensor:
    return pool[torch.randint(0, len(pool), shape, device=pool.device)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Fills cells. ``streams`` are uint16 cells as int32; ``marks`` are the layout's marks; ``pools`` name code points.

    Pools are code points by script: "wide" ones for pairs of cells, "narrow" ones for single cells. "signs" of both
    are strewn over Latin pages.
    """

    streams: dict[str, Tensor]
    marks: Tensor
    wide: Mapping[str, Tensor] = field(default_factory=dict)
    narrow: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the streams are."""
        return self.marks.device

    def natural(self, stream: str, pages: int, cells: int) -> Tensor:
        """(pages, cells) of consecutive text from random even places of a stream."""
        source = self.streams[stream]
        starts = torch.randint(0, (len(source) - cells) // 2, (pages, 1), device=self.device) * 2
        return source[starts + torch.arange(cells, device=self.device)].long()

    def scrambled(self, codes: Tensor, share: float) -> Tensor:
        """Return the same with every digit drawn anew and a share of the Latin letters replaced."""
        shape = tuple(codes.shape)
        small, large, digit = ((codes >= a) & (codes < z) for a, z in ((97, 123), (65, 91), (48, 58)))
        swap = torch.rand(shape, device=self.device) < share
        letters = torch.randint(0, 26, shape, device=self.device)
        codes = torch.where(digit, torch.randint(48, 58, shape, device=self.device), codes)
        codes = torch.where(small & swap, letters + 97, codes)
        return torch.where(large & swap, letters + 65, codes)

    def random(self, pages: int, cells: int) -> Tensor:
        """Return printable ASCII, each character equally likely, with one blank in eight and some marks."""
        codes = torch.randint(33, 127, (pages, cells), device=self.device)
        chance = torch.rand(pages, cells, device=self.device)
        codes = torch.where(chance < 0.12, SPACE, codes)
        return torch.where(chance > 0.97, _pick(self.marks, (pages, cells)), codes)

    def identifiers(self, pages: int, cells: int, length: int = 12) -> Tensor:
        """Return groups of ``length`` hexadecimal digits, blanks between."""
        codes = _pick(_characters(_HEXADECIMAL, self.device), (pages, cells))
        return codes.masked_fill(torch.arange(cells, device=self.device) % (length + 1) == length, SPACE)

    def scripts(self, pages: int, cells: int) -> Tensor:
        """Return runs of random wide and narrow characters of all scripts; runs of one pool, as writing has."""
        pairs = cells // 2
        places = [(pool, 1) for pool in self.wide.values()] + [(pool, 2) for pool in self.narrow.values()]
        shares = [_SHARES.get(name, 1) for name in (*self.wide, *self.narrow)]
        run = self._runs(pages, pairs, sum(shares))
        codes = torch.full((pages, pairs, 2), SPACE, device=self.device)
        first = 0
        for (pool, width), share in zip(places, shares, strict=True):
            drawn = _pick(pool, (pages, pairs, width)).expand(-1, -1, 2)
            codes = torch.where(((run >= first) & (run < first + share))[..., None], drawn, codes)
            first += share
        return codes.flatten(1)

    def _runs(self, pages: int, pairs: int, shares: int) -> Tensor:
        """Return a number below ``shares`` for each pair of cells, constant over runs of some ten pairs."""
        starts = torch.rand(pages, pairs, device=self.device) < 0.1
        starts[:, 0] = True
        last = torch.where(starts, torch.arange(pairs, device=self.device), 0).cummax(1).values
        return torch.randint(0, shares, (pages, pairs), device=self.device).gather(1, last)

    def with_signs(self, codes: Tensor) -> Tensor:
        """Return cells (pages, cells) with signs and letters beyond ASCII: one pair in 16 on a third of the pages."""
        pools = [pool for name, pool in (*self.wide.items(), *self.narrow.items()) if name in ("signs", "latin")]
        pages, pairs = codes.shape[0], codes.shape[1] // 2
        chosen = torch.rand(pages, 1, device=self.device) < 0.33
        here = chosen & (torch.rand(pages, pairs, device=self.device) < 1 / 16)
        which = torch.randint(0, max(1, len(pools)), (pages, pairs), device=self.device)
        codes = codes.view(pages, pairs, 2)
        for number, pool in enumerate(pools):
            drawn = _pick(pool, (pages, pairs, 1)).expand(-1, -1, 2)
            codes = torch.where((here & (which == number))[..., None], drawn, codes)
        return codes.flatten(1)

    def mixture(self, pages: int, cells: int) -> Tensor:
        """Latin pages for training: 28 % natural, 24 % half scrambled, 32 % random, 16 % identifiers."""
        natural = self.natural("latin", pages, cells)
        kind = torch.rand(pages, 1, device=self.device)
        light = self.scrambled(natural, 0.0)
        heavy = self.scrambled(natural, 0.5)
        codes = torch.where(kind < 0.28, light, heavy)
        codes = self.with_signs(torch.where(kind > 0.52, self.random(pages, cells), codes))
        return torch.where(kind > 0.84, self.identifiers(pages, cells), codes)

    def confusable(self, pages: int, cells: int) -> Tensor:
        """Return the Latin mixture with half of its characters drawn from those that are taken for one another."""
        codes = self.mixture(pages, cells)
        pool = torch.cat([_characters(CONFUSABLE, self.device), self.marks])
        return torch.where(torch.rand(codes.shape, device=self.device) < 0.5, _pick(pool, tuple(codes.shape)), codes)

    def script_mixture(self, pages: int, cells: int) -> Tensor:
        """Pages of all scripts for training: natural, and runs of random characters by pool."""
        natural = self.natural("wide", pages, cells)
        kind = torch.rand(pages, 1, device=self.device)
        return torch.where(kind < 0.35, natural, self.scripts(pages, cells))

    def of_kind(self, kind: str, pages: int, cells: int) -> Tensor:
        """Text of one kind for evaluation: "natural", "natural wide", "random", "hex", "scripts", or one script."""
        if kind.startswith("natural"):
            return self.natural("evaluation-wide" if kind.endswith("wide") else "evaluation", pages, cells)
        if kind in self.wide:
            return _pick(self.wide[kind], (pages, cells // 2, 1)).expand(-1, -1, 2).flatten(1)
        if kind in self.narrow:
            return _pick(self.narrow[kind], (pages, cells))
        if kind == "scripts":
            return self.scripts(pages, cells)
        return self.random(pages, cells) if kind == "random" else self.identifiers(pages, cells)


def with_blanks(codes: Tensor) -> Tensor:
    """Return some pages (B, rows, columns) as turns leave them: rows that end early, and pages filled in part."""
    b, rows, columns = codes.shape
    device = codes.device
    chance = torch.rand(b, 1, 1, device=device)
    ends = torch.randint(0, columns // 2 + 1, (b, rows, 1), device=device) * 2
    short = torch.rand(b, rows, 1, device=device) < torch.where(chance < 0.15, 0.9, 0.1)
    codes = codes.masked_fill(short & (torch.arange(columns, device=device) >= ends), SPACE)
    filled = (torch.rand(b, 1, 1, device=device) ** 2 * rows).long() + 1  # few rows more often than many
    partly = torch.rand(b, 1, 1, device=device) < 0.25
    return codes.masked_fill(partly & (torch.arange(rows, device=device)[:, None] >= filled), SPACE)
