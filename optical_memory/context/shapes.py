"""The shape of a page that its text does not fill: cropped where a lower image is cheaper, else in larger cells.

Where a model's price goes by size, blank rows at the end are not sent. Where every image costs the same, the text is
laid out in the largest cells in which it still fits on the page, and so is easier to read. Where an image has to be of
one of a few sizes (DeepSeek-OCR, the mini), a page stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from optical_memory import wording
from optical_memory.budget import Profile
from optical_memory.policies.ladder import is_read, legible_tiers, scripts_of
from optical_memory.renderers.base import Grid, Layout, Renderer, Tier
from optical_memory.renderers.layout import Run, cropped, lay_out, used_rows

LARGER = (3.0, 2.5, 2.0, 1.75, 1.5, 1.25)
"""Sizes of a cell over that of the profile's grid: where all images cost the same, and for gists in wide scripts."""
OPEN_BELOW = 0.9
"""A page of which a smaller share of the rows holds text goes on with what is sealed next."""

BLANK_AT_MOST = 2.0
"""A page costs at most this many times what its rows would at the price of a full page at its sharpest."""

LayOut = Callable[[Sequence[Run], Grid], list[Layout]]


class Typesetter:
    """Lays out runs on pages for one target model and one renderer."""

    def __init__(self, profile: Profile, renderer: Renderer) -> None:
        """Take the profile's grids and what the renderer can draw; its key is part of the pages' ids."""
        self.profile = profile
        self.renderer = renderer
        self.tiers = legible_tiers(profile)

    def readable(self, layouts: Sequence[Layout]) -> list[Tier]:
        """Return the tiers at which the target model reads the scripts of these pages, sharpest first."""
        scripts = [(layout.grid, scripts_of(layout.text)) for layout in layouts]
        return [tier for tier in self.tiers if all(is_read(self.profile, tier, grid, every) for grid, every in scripts)]

    def affordable(self, layout: Layout, *, pinned: bool) -> list[Tier]:
        """Return the tiers of a page that the target model reads, sharpest first, without those that its rows waste.

        A page of few rows costs as much as a full one where images have to be of one of a few sizes. One that is
        ``pinned`` keeps all; so does one whose price follows its shape.
        """
        tiers = [tier_on(self.profile, tier, layout.grid) for tier in self.readable([layout])]
        if pinned or self.profile.formula.unit or self.profile.formula.is_flat:
            return tiers
        most = BLANK_AT_MOST * used_rows(layout) / layout.grid.rows * max((tier.tokens for tier in tiers), default=0)
        return [tier for tier in tiers if tier.tokens <= most] or tiers[-1:]

    def gist_grid(self, runs: Sequence[Run]) -> Grid:
        """Return the grid of a gist of these runs: the profile's, in cells so large that their scripts are read."""
        grid, gist = self.profile.gist_grid, self.profile.gist
        scripts = scripts_of("\n".join(run.text for run in runs))
        for factor in LARGER[::-1]:
            if is_read(self.profile, gist, grid, scripts):
                break
            grid = larger_cells(self.profile.gist_grid, factor)
        return grid

    def fitted(self, runs: Sequence[Run], grid: Grid) -> list[Layout]:
        """Lay runs out on pages, the last one in the shape that its text needs."""
        return self.in_shape(self.lay_out(runs, grid), runs)

    def in_shape(self, layouts: Sequence[Layout], runs: Sequence[Run]) -> list[Layout]:
        """Return the layouts of runs with the last one in the shape that its text needs."""
        return fitted(layouts, runs, self.profile, self.lay_out, self.renderer.key)

    def lay_out(self, runs: Sequence[Run], grid: Grid) -> list[Layout]:
        """Lay runs out on pages of one grid."""
        return lay_out(runs, grid, renderer_key=self.renderer.key, repertoire=self.renderer.repertoire)


def fitted(
    layouts: Sequence[Layout], runs: Sequence[Run], profile: Profile, lay_out: LayOut, renderer_key: str
) -> list[Layout]:
    """Return the layouts of ``runs`` with the last one in the shape that its text needs."""
    if not layouts:
        return []
    *full, last = layouts
    unit, rows = profile.formula.unit, used_rows(last)
    if unit:
        height = -(-rows * last.grid.cell_height // unit) * unit
        return [*full, cropped(last, rows, height, renderer_key)] if height < last.grid.height else [*layouts]
    if profile.formula.is_flat:
        return [*full, _larger(last, runs, lay_out)]
    return [*layouts]


def tier_on(profile: Profile, tier: Tier, grid: Grid) -> Tier:
    """Return what a tier is on a page of this grid: its size and its price."""
    whole = profile.gist_grid if tier.name == profile.gist.name else profile.grid
    if grid.height == whole.height:
        return tier
    unit = max(profile.formula.unit, 1)
    height = min(-(-tier.height * grid.height // (whole.height * unit)) * unit, tier.height, grid.height)
    tokens = profile.image_tokens(tier.width, height, profile.detail.get(tier.name))
    return replace(tier, height=height, tokens=tokens)


def larger_cells(grid: Grid, factor: float) -> Grid:
    """Return a page of the same size whose cells have ``factor`` times the sides, in half pixels across."""
    width, height = round(2 * factor * grid.cell_width) / 2, round(factor * grid.cell_height)
    return replace(grid, cell_width=width, cell_height=height)


def is_open(layout: Layout, whole: Grid) -> bool:
    """Whether a page has so much room left that it goes on with what is sealed next."""
    cells = used_rows(layout) * layout.grid.cell_height
    if layout.grid.cell_height != whole.cell_height:  # in larger cells: the text needs less of the profile's
        return True
    return cells < OPEN_BELOW * whole.rows * whole.cell_height


def _larger(layout: Layout, runs: Sequence[Run], lay_out: LayOut) -> Layout:
    """Return the page in the largest cells in which its text fits."""
    first = next(place for place, run in enumerate(runs) if run.turn_id == layout.turn_ids[0])
    rest = [replace(runs[first], skip=layout.skipped), *runs[first + 1 :]]
    for factor in LARGER:
        pages = lay_out(rest, larger_cells(layout.grid, factor))
        if len(pages) == 1:
            return pages[0]
    return layout


def bounded(run: Run, characters: int) -> Run:
    """Return the run with at most ``characters`` of its text: its beginning and its end, the gap counted."""
    gap = len(run.text) - characters
    if gap <= 0:
        return run
    head, tail = characters * 3 // 4, characters // 4
    return replace(run, text=f"{run.text[:head]}\n{wording.left_out(gap)}\n{run.text[-tail:]}")
