"""What a model reads at each tier of a profile, and in other cells: trials, their price, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optical_memory.budget import Profile, count_tokens
from optical_memory.errors import InputError, ReaderError
from optical_memory.pages import render
from optical_memory.readers.base import Reader
from optical_memory.readers.fidelity import compare
from optical_memory.readers.samples import identifiers, sample
from optical_memory.renderers.base import Grid, Page, Tier

BASIC = ("identifiers", "prose", "code")
"""Kinds of which the worst is the legibility of a tier."""
PROMPT_TOKENS = 100
"""Tokens of the instruction beside each page, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One full page to be read: at a tier, of a kind of text, in cells of so many px as they are sent."""

    tier: str
    kind: str
    cell: str
    page: Page
    detail: str | None
    answer_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was read of the pages of one tier, kind and cell: shares of characters and identifiers, image tokens.

    ``exact`` and ``silently_wrong`` are None where there were no identifiers. ``failed`` says why a page could not be
    read; it counts as not read.
    """

    tier: str
    kind: str
    cell: str
    pages: int
    characters: float
    exact: float | None
    silently_wrong: float | None
    tokens: int
    failed: str = ""


def trials(
    profile: Profile,
    *,
    kinds: Sequence[str] = BASIC,
    tiers: Sequence[str] | None = None,
    cells: Sequence[tuple[float, int]] = (),
    pages: int = 1,
    renderer: str = "dense",
) -> list[Trial]:
    """Return full pages of each kind at each tier, and in each of the other ``cells`` (px) at the sharpest tier.

    ``tiers`` None: all of the profile's, the gist too. Raises NotFoundError for a tier, InputError for a kind or a
    cell that is no size.
    """
    out = list[Trial]()
    for name in tiers if tiers is not None else (*(tier.name for tier in profile.tiers), "gist"):
        tier = profile.tier(name)
        grid = profile.gist_grid if tier == profile.gist else profile.grid
        for kind in kinds:
            out += _trials(profile, name, grid, kind, pages, renderer)
    for width, height in cells:
        if not (2 <= width <= 200 and 2 <= height <= 200):
            raise InputError(f"a cell of {width!r} × {height!r} px; sides are 2 to 200")
        grid = replace(profile.grid, cell_width=width, cell_height=height)
        for kind in kinds:
            out += _trials(replace(profile, grid=grid), profile.tiers[0].name, grid, kind, pages, renderer)
    return out


def _trials(profile: Profile, tier: str, grid: Grid, kind: str, pages: int, renderer: str) -> Iterator[Trial]:
    for number in range(pages):
        text = sample(kind, 2 * grid.capacity, seed=number)
        page = render(text, tier=tier, profile=profile, renderer=renderer)[0]
        yield Trial(
            tier=tier,
            kind=kind,
            cell=_cell(grid, profile.tier(tier)),
            page=page,
            detail=profile.detail.get(tier),
            answer_tokens=count_tokens(page.text, profile),
        )


def price_of(planned: Sequence[Trial], profile: Profile) -> tuple[int, int, float]:
    """Return the tokens that the trials send and, at most, get back, and dollars at the profile's price."""
    sent = sum(trial.page.tokens + PROMPT_TOKENS for trial in planned)
    back = sum(trial.answer_tokens for trial in planned)
    return sent, back, (sent * profile.price.fresh + back * profile.price.output) / 1e6


def measure(
    planned: Sequence[Trial],
    reader_for: Callable[[str | None], Reader],
    *,
    progress: Callable[[Trial], None] | None = None,
) -> list[Result]:
    """Have every page read and return a :class:`Result` for each tier, kind and cell, in their order.

    ``reader_for`` gives a reader that sends the provider's setting it is called with. A page that cannot be read
    (ReaderError) counts as not read, and its result says why.
    """
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in planned:
        groups.setdefault((trial.tier, trial.kind, trial.cell), []).append(trial)
    return [_result(group, reader_for, progress) for group in groups.values()]


def _result(
    group: Sequence[Trial], reader_for: Callable[[str | None], Reader], progress: Callable[[Trial], None] | None
) -> Result:
    compared, failed = [], ""
    for trial in group:
        text = trial.page.text
        try:
            reading = reader_for(trial.detail).read(trial.page).text
        except ReaderError as error:
            reading, failed = "", str(error)
        names = dict.fromkeys(identifiers(text)) if trial.kind == "identifiers" else ()
        compared.append(compare(_bare(text), _bare(reading), tuple(names)))
        if progress is not None:
            progress(trial)
    found = sum(one.identifiers for one in compared)
    return Result(
        tier=group[0].tier,
        kind=group[0].kind,
        cell=group[0].cell,
        pages=len(group),
        characters=1 - sum(one.edits for one in compared) / max(sum(one.length for one in compared), 1),
        exact=sum(one.exact for one in compared) / found if found else None,
        silently_wrong=sum(one.silently_wrong for one in compared) / found if found else None,
        tokens=sum(trial.page.tokens for trial in group),
        failed=failed,
    )


def _bare(text: str) -> str:
    """Leave out white space and its marks: models write the rows of a page as lines, or not."""
    return "".join(text.translate(_MARKS).split())


_MARKS = str.maketrans("\u21b5\u21e5", "  ")


def legibility(results: Sequence[Result], profile: Profile) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return what the results say of the profile's tiers: the worst basic kind of each, and the share of each kind.

    Results in other cells than the profile's, and of pages that could not be read, are left out.
    """
    reads: dict[str, dict[str, float]] = {}
    for result in results:
        if not result.failed and result.cell == cell_at(profile, result.tier):
            reads.setdefault(result.kind, {})[result.tier] = round(max(result.characters, 0.0), 4)
    tiers = dict.fromkeys(tier for kind in BASIC for tier in reads.get(kind, {}))
    worst = {tier: min(reads[kind][tier] for kind in BASIC if tier in reads.get(kind, {})) for tier in tiers}
    return worst, reads


def cell_at(profile: Profile, name: str) -> str:
    """Return the size of the profile's own cells at a tier, in px."""
    tier = profile.tier(name)
    return _cell(profile.gist_grid if tier == profile.gist else profile.grid, tier)


def _cell(grid: Grid, tier: Tier) -> str:
    scale = tier.width / grid.width
    return f"{grid.cell_width * scale:.3g}×{grid.cell_height * scale:.3g}"


def as_toml(
    name: str, *, like: str, worst: Mapping[str, float], reads: Mapping[str, Mapping[str, float]], source: str
) -> str:
    """Return a profile file for ``get_profile``: like another, with the legibility that was measured."""

    def table(values: Mapping[str, float]) -> str:
        return "{ " + ", ".join(f"{json.dumps(key)} = {value}" for key, value in values.items()) + " }"

    lines = [
        f"[{json.dumps(name)}]",
        f"like = {json.dumps(like)}",
        f"legibility = {table(worst)}",
        f"legibility_source = {json.dumps(source, ensure_ascii=False)}",
        *(f"reads.{json.dumps(kind)} = {table(shares)}" for kind, shares in reads.items()),
    ]
    return "\n".join(lines) + "\n"
