"""Gist pages: what is told of the pages that they replace, chosen so that it fits on one page and fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from optical_memory import wording
from optical_memory.context.epoch import Entry, Sealed
from optical_memory.context.filling import bare, filled
from optical_memory.context.shapes import Typesetter, bounded, tier_on
from optical_memory.excerpt import excerpt
from optical_memory.renderers.base import Layout
from optical_memory.renderers.layout import Run, used_rows

MOST_KEPT = 4
"""Gists that are kept for when they are made again."""


class GistMaker:
    """Makes gists for one target model and one renderer."""

    def __init__(self, typesetter: Typesetter, count: Callable[[str], int]) -> None:
        """``count`` says what a text costs the target model, in tokens."""
        self.profile = typesetter.profile
        self._typesetter = typesetter
        self._count = count
        self._made: dict[tuple[Run, ...], tuple[Sequence[Run], Layout]] = {}

    def forget(self) -> None:
        """Let go of all texts."""
        self._made = {}

    def make(self, runs: Sequence[Run], covered: Sequence[Entry]) -> Sealed:
        """Make one gist page of the next level from what is told of the entries it replaces (oldest first)."""
        most = self.profile.grid.capacity * len(covered) * 2
        once = {(run.turn_id, run.text): bounded(run, most) for run in runs}  # a turn may be on several pages
        return self.showing(*self._chosen(list(once.values())), covered)

    def showing(self, kept: Sequence[Run], layout: Layout, covered: Sequence[Entry]) -> Sealed:
        """Return the gist that shows the ``kept`` runs, as they are laid out, in place of the covered entries."""
        first, last = covered[0], covered[-1]
        weight = [max(entry.text_tokens, 1) for entry in covered]
        importance = sum(w * e.importance for w, e in zip(weight, covered, strict=True)) / sum(weight)
        entry = Entry(
            id=layout.id,
            level=max(entry.level for entry in covered) + 1,
            tier="gist",
            costs={"gist": self._gist_cost(layout)},
            first_seq=first.first_seq,
            last_seq=last.last_seq,
            segment=((first.segment[0][0], last.segment[-1][1]),),
            last_at=last.last_at,
            text_tokens=sum(entry.text_tokens for entry in covered),
            importance=importance,
            runs=tuple(asdict(run) for run in kept),
            totals=last.totals,
        )
        return Sealed(entry=entry, runs=tuple(kept), layout=layout)

    def with_account(self, gist: Sealed, account: Sequence[Run]) -> Sealed:
        """Return a gist that shows a model's account, as many of its sentences as fit, and lines of its own below."""
        own = [Run(**run) for run in gist.entry.runs]
        grid = self._typesetter.gist_grid([*account, *own])
        while len(layouts := self._typesetter.lay_out(account, grid)) > 1:
            account = account[:-1]
        if not account:
            return gist
        left = (grid.rows - used_rows(layouts[0])) * grid.columns
        for share in (0.95, 0.85, 0.7, 0.5, 0.25, 0.0):
            shown = [*account, *(excerpt(own, int(left * share), columns=grid.columns) if own else ())]
            if len(self._typesetter.lay_out(shown, self._typesetter.gist_grid(shown))) == 1:
                break
        layout = self.relay(shown)
        told = tuple(asdict(run) for run in shown)
        entry = replace(gist.entry, id=layout.id, costs={"gist": self._gist_cost(layout, told=True)}, account=told)
        return replace(gist, entry=entry, runs=tuple(shown), layout=layout)

    def _gist_cost(self, layout: Layout, *, told: bool = False) -> int:
        label = wording.page_label(layout.id, excerpt=True, told=told)
        return tier_on(self.profile, self.profile.gist, layout.grid).tokens + self._count(label)

    def relay(self, runs: Sequence[Run]) -> Layout:
        """Lay out the kept text of a gist again."""
        return self._typesetter.fitted(runs, self._typesetter.gist_grid(runs))[0]

    def _chosen(self, runs: Sequence[Run]) -> tuple[Sequence[Run], Layout]:
        """Excerpt runs until they fit on one gist page; each try asks for less, as row ends cost cells too."""
        key = tuple(runs)
        known = self._made.get(key) or self._one_page(runs)
        self._made = {**dict([*self._made.items()][1 - MOST_KEPT :]), key: known}
        return known

    def _one_page(self, runs: Sequence[Run]) -> tuple[Sequence[Run], Layout]:
        told, runs = runs, [bare(run) for run in runs]
        grid = self._typesetter.gist_grid(runs)
        for share in (0.95, 0.9, 0.85, 0.75, 0.5, 0.25):
            kept = excerpt(runs, int(grid.capacity * share), columns=grid.columns) if runs else runs
            layouts = self._lay_out(kept)
            if len(layouts) == 1:
                break
        for fuller in filled(kept, told, grid.rows - used_rows(layouts[0]), grid.columns):
            pages = self._lay_out(fuller)
            if len(pages) == 1:
                kept, layouts = fuller, pages
                break
        return kept, self._typesetter.in_shape(layouts, kept)[0]

    def _lay_out(self, runs: Sequence[Run]) -> list[Layout]:
        return self._typesetter.lay_out(runs, self._typesetter.gist_grid(runs))
