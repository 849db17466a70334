"""What the bundled model must reach, beside what was measured: computed from the rows, never written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.mini.score import Row

TEN_TIMES = 42
"""Characters a vision token up to which a page counts as one of at most 10x: of English text, 4.2 are a token."""
Figures = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One thing asked for; ``measured`` is None where no row of this run tells. ``most``: the least is asked for."""

    floor: str
    asked: float
    measured: float | None
    most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.asked if self.most else self.measured >= self.asked

    def __str__(self) -> str:
        """One line of the table."""
        measured = "not measured" if self.measured is None else f"{self.measured:.5g}"
        asked = f"{'≤' if self.most else '≥'} {self.asked:g}"
        return f"{self.floor:58} | {asked:>8} | {measured:>12} | { ({True: 'yes', False: 'NO', None: '-'}[self.met]) }"


def floors(rows: Sequence[Row], found: Figures, said: Figures, times: Mapping[str, float]) -> Iterator[Floor]:
    """Yield every floor with what the rows of a run say of it; where several rows tell, the worst."""
    yield from _of_pages(rows)
    for name, page, kind, asked in (
        ("natural text at 10x", "decoder 8x12", "natural", 0.997),
        ("natural text at 20x (measured at 25x)", "decoder tiny", "natural", 0.98),
        ("random words at 10x", "decoder 8x12", "words", 0.99),
    ):
        yield Floor(floor=f"autoregressive, {name}", asked=asked, measured=_one(said, "decoder", page=page, text=kind))
    for what, name in (("line", "right line"), ("none", "none where it is not there")):
        yield Floor(floor=f"find at 10x: {name}", asked=0.95, measured=_one(found, what, page="find 8x12"))
    loops = sum(row.loops for row in rows) + sum(int(str(row["loops"])) for row in said)
    yield Floor(floor="repetition loops, all pages", asked=0, measured=loops if rows or said else None, most=True)
    yield Floor(floor="seconds: a page at Tiny, 6,528 characters", asked=0.25, measured=times.get("page"), most=True)
    memory = times["all"] * 40 / times["pages"] if times else None
    yield Floor(floor="seconds: a memory of 40 such pages", asked=10, measured=memory, most=True)
    seconds, tokens = (_one(said, what, page="decoder 8x12", text="natural") for what in ("seconds", "text_tokens"))
    decoded = seconds * 640 / tokens if seconds and tokens else None
    yield Floor(floor="seconds: 640 text tokens by the decoder", asked=6, measured=decoded, most=True)


def _of_pages(rows: Sequence[Row]) -> Iterator[Floor]:
    def least(kind: str, *pages: str) -> float | None:
        return min((row.precision for row in rows if row.page in pages and kind in ("", row.text)), default=None)

    ten = [
        row.page
        for row in rows
        if row.text == "natural" and row.group in ("tier", "cell") and row.characters <= TEN_TIMES * row.tokens
    ]
    for name, pages, natural, random in (
        (f"up to 10x ({', '.join(ten)})", ten, 0.999, 0.999),
        ("about 25x (tier tiny)", ["tier tiny"], 0.999, 0.997),
        ("about 40x (cell 4x6)", ["cell 4x6"], 0.95, 0.85),
    ):
        yield Floor(floor=f"parallel, {name}: natural", asked=natural, measured=least("natural", *pages))
        yield Floor(floor=f"parallel, {name}: random", asked=random, measured=least("random", *pages))
    tiny = [row.identifiers for row in rows if row.page == "tier tiny" and row.identifiers is not None]
    yield Floor(floor="12-digit identifiers exact, tier tiny", asked=0.995, measured=min(tiny, default=None))
    for size, asked in (("16 px", 0.995), ("12.8 px", 0.95)):
        name = f"chinese {size}"
        yield Floor(floor=f"frequent Chinese characters, {size}", asked=asked, measured=least("", name))
    for name, groups in (("any tier", ("tier",)), ("any page of all rows", None)):
        silent = [row.silent for row in rows if row.silent is not None and (groups is None or row.group in groups)]
        yield Floor(
            floor=f"identifiers silently wrong, {name}", asked=0.001, measured=max(silent, default=None), most=True
        )
    fonts = [row.page for row in rows if row.group == "font"]
    yield Floor(floor="fonts not trained on, 8x12: natural", asked=0.97, measured=least("natural", *fonts))
    yield Floor(floor="fonts not trained on, 8x12: random", asked=0.97, measured=least("random", *fonts))
    for damage in ("shift 1", "shift 2", "shift 3", "noise 0.1", "JPEG 50", "dark"):
        for kind in ("natural", "random"):
            yield Floor(floor=f"8x12, {damage}: {kind}", asked=0.995, measured=least(kind, f"8x12, {damage}"))
    for name, page, asked in (("10x", "chromium 8x12", 0.997), ("25x", "chromium tiny", 0.99)):
        for kind in ("natural", "random"):
            yield Floor(floor=f"Chromium, {name} ({page}): {kind}", asked=asked, measured=least(kind, page))


def _one(figures: Figures, what: str, **where: str) -> float | None:
    """Return a figure of the row that fits."""
    fitting = (row[what] for row in figures if all(row[key] == value for key, value in where.items()))
    value = next(fitting, None)
    return None if value is None else float(str(value))
