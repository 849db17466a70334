"""Sealing: turns become pages, pages become gists. Deterministic, so that any process seals alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial

from optical_memory import wording
from optical_memory.budget import Profile, count_message, count_tokens
from optical_memory.context.epoch import NOTHING, Entry, Totals
from optical_memory.context.lineage import Ranges, clipped, ranges_of
from optical_memory.context.shapes import LARGER, fitted, is_open, larger_cells, tier_on
from optical_memory.policies.ladder import is_read, legible_tiers, scripts_of, tier_costs
from optical_memory.renderers.base import Grid, Layout, Renderer, Tier
from optical_memory.renderers.layout import Run, lay_out, used_rows
from optical_memory.turns import INSTRUCTION_ROLES, Turn, groups, transcript

FACTS_TOKENS = 40
"""Most tokens of the facts beside one page of a large result that is no part of the past yet."""
LABEL_TOKENS = 32
"""Upper bound of a label (:func:`optical_memory.wording.page_label` without facts), in tokens, whatever its digits."""
NEAR = 32
"""Turns before and behind a segment among which the calls and results of its turns are looked for."""
SHORT, MOST_COUNTED, MOST_PAGED, MOST_GISTS = 160, 2_048, 32, 4
"""Characters of texts whose cost is kept, and how many; pages and gists that are kept for when they are made again."""
MAX_TURN_PAGES = 64
"""Most pages that one turn is laid out on; of a longer one the beginning and the end are shown."""
IMPORTANCE: Mapping[str, float] = {"system": 1.0, "developer": 1.0, "user": 0.8, "assistant": 0.5, "tool": 0.3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An entry with what is drawn for it. ``layout`` is None for an entry that can only be text.

    ``told`` is what a gist may say of its turns.
    """

    entry: Entry
    runs: tuple[Run, ...]
    layout: Layout | None
    told: tuple[Run, ...] = ()

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns on it, in order."""
        return tuple(dict.fromkeys(run.turn_id for run in self.runs))

    @property
    def text(self) -> str:
        """The entry as a text record."""
        return "\n".join(f"{run.header} {run.text}" for run in self.runs)


class Sealer:
    """Seals turns for one target model and one renderer."""

    def __init__(self, profile: Profile, renderer: Renderer) -> None:
        """Pages are laid out on the profile's grid with what the renderer can draw; its key is part of their ids."""
        self.profile = profile
        self.renderer = renderer
        self.tiers = legible_tiers(profile)
        self._costs = lru_cache(MOST_COUNTED)(partial(count_tokens, profile=profile))
        self._paged: dict[str, int] = {}
        self._gists: dict[tuple[Run, ...], tuple[Sequence[Run], Layout]] = {}
        self.header_tokens = count_tokens(wording.HEADER, profile) + profile.message_tokens

    def count(self, text: str) -> int:
        """Return what a text costs the target model, in tokens; of short texts it is known from the last time."""
        return self._costs(text) if len(text) <= SHORT else count_tokens(text, self.profile)

    def forget(self) -> None:
        """Let go of all texts."""
        self._costs.cache_clear()
        self._gists = {}

    def seal(
        self, turns: Sequence[Turn], totals: Totals = NOTHING, *, skip: int = 0, beside: Sequence[Turn] = ()
    ) -> list[Sealed]:
        """Seal a segment (whole groups of turns). Pinned groups stand alone; instructions are left out.

        ``totals`` are the sums over all turns up to the segment's end. The first ``skip`` characters that pages show of
        the first turn stand on pages before. ``beside`` are calls and results of these turns in other segments.
        """
        from optical_memory.context.telling import told  # its expressions take long to compile: not before an epoch

        segment = ranges_of([turn.seq for turn in turns])
        out: list[Sealed] = []
        run: list[Turn] = []
        for group in groups(turns):
            floor = next((turn.pin for turn in group if turn.pin is not False), None)
            if floor is None:
                run.extend(group)
                continue
            out += self._pages(run, segment, 0 if out else skip)
            out += self._pages(group, segment, floor="text" if floor is True else str(floor))
            run = []
        out += self._pages(run, segment, 0 if out else skip)
        if out and (layout := out[-1].layout) is not None and out[-1].entry.floor is None:
            if is_open(layout, self.profile.grid):
                out[-1] = replace(out[-1], entry=replace(out[-1].entry, open_at=layout.skipped))
        said = {run.turn_id: run for run in told(turns, [*beside, *turns])}
        return [
            replace(
                item,
                entry=replace(item.entry, totals=totals, skip=skip),
                told=tuple(said[turn_id] for turn_id in item.turn_ids if turn_id in said),
            )
            for item in out
        ]

    def reopened(self, entry: Entry, turns: Sequence[Turn], before: Sequence[Entry]) -> list[Entry]:
        """Return the entries ``before`` an open page as they are without it; ``turns`` are those on the page.

        What is left of its segment ends with the turn that the page goes on with.
        """
        last = entry.first_seq - (entry.open_at == 0)
        gone = sum(count_message(turn, self.profile) for turn in turns)
        totals = Totals(
            turns=entry.totals.turns - len(turns),
            text_tokens=max(entry.totals.text_tokens - gone, 0),
            shown_tokens=max(entry.totals.shown_tokens - gone, 0),
        )
        return [
            replace(other, segment=clipped(other.segment, 0, last), totals=totals)
            if not other.level and (other.segment, other.skip) == (entry.segment, entry.skip)
            else other
            for other in before
        ]

    def gist(self, runs: Sequence[Run], covered: Sequence[Entry]) -> Sealed:
        """Make one gist page of the next level from what is told of the entries it replaces (oldest first)."""
        most = self.profile.grid.capacity * len(covered) * 2
        once = {(run.turn_id, run.text): bounded(run, most) for run in runs}  # a turn may be on several pages
        return self.gist_of(*self.one_page(list(once.values())), covered)

    def gist_of(self, kept: Sequence[Run], layout: Layout, covered: Sequence[Entry]) -> Sealed:
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
        from optical_memory.excerpt import excerpt

        own = [Run(**run) for run in gist.entry.runs]
        grid = self._gist_grid([*account, *own])
        while len(layouts := self._lay_out(account, grid)) > 1:
            account = account[:-1]
        if not account:
            return gist
        left = (grid.rows - used_rows(layouts[0])) * grid.columns
        for share in (0.95, 0.85, 0.7, 0.5, 0.25, 0.0):
            shown = [*account, *(excerpt(own, int(left * share), columns=grid.columns) if own else ())]
            if len(self._lay_out(shown, self._gist_grid(shown))) == 1:
                break
        layout = self.relay(shown)
        told = tuple(asdict(run) for run in shown)
        entry = replace(gist.entry, id=layout.id, costs={"gist": self._gist_cost(layout, told=True)}, account=told)
        return replace(gist, entry=entry, runs=tuple(shown), layout=layout)

    def _gist_cost(self, layout: Layout, *, told: bool = False) -> int:
        label = wording.page_label(layout.id, excerpt=True, told=told)
        return tier_on(self.profile, self.profile.gist, layout.grid).tokens + self.count(label)

    @property
    def gist_tokens(self) -> int:
        """Most tokens that one gist page can cost."""
        return self.profile.gist.tokens + LABEL_TOKENS

    def relay(self, runs: Sequence[Run]) -> Layout:
        """Lay out the kept text of a gist again."""
        return self._fitted(runs, self._gist_grid(runs))[0]

    def _readable(self, layouts: Sequence[Layout]) -> list[Tier]:
        """Return the tiers at which the target model reads the scripts of these pages, sharpest first."""
        scripts = [(layout.grid, scripts_of(layout.text)) for layout in layouts]
        return [tier for tier in self.tiers if all(is_read(self.profile, tier, grid, every) for grid, every in scripts)]

    def _gist_grid(self, runs: Sequence[Run]) -> Grid:
        """Return the grid of a gist of these runs: the profile's, in cells so large that their scripts are read."""
        grid, gist = self.profile.gist_grid, self.profile.gist
        scripts = scripts_of("\n".join(run.text for run in runs))
        for factor in LARGER[::-1]:
            if is_read(self.profile, gist, grid, scripts):
                break
            grid = larger_cells(self.profile.gist_grid, factor)
        return grid

    def _fitted(self, runs: Sequence[Run], grid: Grid) -> list[Layout]:
        """Lay runs out on pages, the last one in the shape that its text needs."""
        return self._in_shape(self._lay_out(runs, grid), runs)

    def _in_shape(self, layouts: Sequence[Layout], runs: Sequence[Run]) -> list[Layout]:
        return fitted(layouts, runs, self.profile, self._lay_out, self.renderer.key)

    def _lay_out(self, runs: Sequence[Run], grid: Grid) -> list[Layout]:
        return lay_out(runs, grid, renderer_key=self.renderer.key, repertoire=self.renderer.repertoire)

    def one_page(self, runs: Sequence[Run]) -> tuple[Sequence[Run], Layout]:
        """Excerpt runs until they fit on one gist page; each try asks for less, as row ends cost cells too."""
        key = tuple(runs)
        known = self._gists.get(key) or self._one_page(runs)
        self._gists = {**dict([*self._gists.items()][1 - MOST_GISTS :]), key: known}
        return known

    def _one_page(self, runs: Sequence[Run]) -> tuple[Sequence[Run], Layout]:
        from optical_memory.context.filling import bare, filled
        from optical_memory.excerpt import excerpt  # its expressions take long to compile: not before the first gist

        told, runs = runs, [bare(run) for run in runs]
        grid = self._gist_grid(runs)
        for share in (0.95, 0.9, 0.85, 0.75, 0.5, 0.25):
            kept = excerpt(runs, int(grid.capacity * share), columns=grid.columns) if runs else runs
            if self._is_one_page(kept):
                break
        kept = filled(kept, told, self._is_one_page)
        return kept, self._in_shape(self._lay_out(kept, self._gist_grid(kept)), kept)[0]

    def _is_one_page(self, runs: Sequence[Run]) -> bool:
        return len(self._lay_out(runs, self._gist_grid(runs))) <= 1

    def arrival(
        self, turn: Turn, cost: int, limit_tokens: int, limit_images: int, share_tokens: int
    ) -> list[tuple[Layout, Tier]]:
        """Lay out a large turn for showing at once: the sharpest tier that costs at most ``limit_tokens``.

        Where even the smallest tier costs more, or there would be more pages than ``limit_images``, an excerpt of it is
        shown. Empty where one page costs more than ``share_tokens``, and where whole pages would cost no less than
        ``cost``, the turn as text: what only cropped pages show for less is worth more as text while it is new.
        """
        from optical_memory.excerpt import excerpt

        run = bounded(run_of(turn), self.profile.grid.capacity * MAX_TURN_PAGES)
        layouts = self._fitted([run], self.profile.grid)
        tiers = self._readable(layouts)
        for tier in tiers:
            shown = [(layout, tier_on(self.profile, tier, layout.grid)) for layout in layouts]
            if len(layouts) <= limit_images and sum(own.tokens for _, own in shown) <= limit_tokens:
                return shown if len(layouts) * tier.tokens < cost else []
        if not tiers or tiers[-1].tokens > share_tokens:
            return []
        smallest = tiers[-1]
        fitting = min(max(limit_tokens // smallest.tokens, 1), limit_images)
        for share in (0.9, 0.6, 0.3):  # rows of tables take cells that hold no text
            kept = excerpt([run], int(self.profile.grid.capacity * fitting * share))
            layouts = self._fitted(kept, self.profile.grid)
            if len(layouts) <= fitting:
                break
        shown = [(layout, tier_on(self.profile, smallest, layout.grid)) for layout in layouts[:fitting]]
        return shown if len(shown) * smallest.tokens < cost else []

    def _pages(self, turns: Iterable[Turn], segment: Ranges, skip: int = 0, floor: str | None = None) -> list[Sealed]:
        turns = [turn for turn in turns if turn.role not in INSTRUCTION_ROLES]
        if not turns:
            return []
        grid = self.profile.grid
        runs = [bounded(run_of(turn), grid.capacity * MAX_TURN_PAGES) for turn in turns]
        if floor == "text":
            return [self._text_entry(turns, runs, segment, floor)]
        by_id = {turn.id: (turn, run) for turn, run in zip(turns, runs, strict=True)}
        out = []
        for layout in self._fitted([replace(runs[0], skip=skip), *runs[1:]], grid):
            on_page = [by_id[turn_id] for turn_id in layout.turn_ids]
            page_turns, page_runs = [turn for turn, _ in on_page], tuple(run for _, run in on_page)
            text_tokens = self._page_tokens(layout)
            tiers = [tier_on(self.profile, tier, layout.grid) for tier in self._readable([layout])]
            label = self.count(wording.page_label(layout.id, excerpt=False))
            costs = tier_costs(tiers, text_tokens, label)
            if not costs:
                costs = {"text": text_tokens + LABEL_TOKENS}
            entry = _entry(layout.id, page_turns, segment, costs, text_tokens, floor=floor)
            out.append(Sealed(entry=entry, runs=page_runs, layout=layout))
        return out

    def _page_tokens(self, layout: Layout) -> int:
        """Return what the text of a page costs; of the pages counted last it is known."""
        known = self._paged.get(layout.id)
        if known is None:
            known = count_tokens(layout.text, self.profile)
            self._paged = {**dict([*self._paged.items()][1 - MOST_PAGED :]), layout.id: known}
        return known

    def _text_entry(self, turns: list[Turn], runs: list[Run], segment: Ranges, floor: str) -> Sealed:
        frame = repr([(run.place, run.role, run.header, run.text) for run in runs])
        digest = hashlib.sha256(frame.encode("utf-8", "surrogatepass")).hexdigest()
        text_tokens = sum(count_tokens(f"{run.header} {run.text}\n", self.profile) for run in runs)
        entry = _entry(digest, turns, segment, {"text": text_tokens + LABEL_TOKENS}, text_tokens, floor=floor)
        return Sealed(entry=entry, runs=tuple(runs), layout=None)

    def facts(self, text: str) -> str:
        """Return the line of facts that travels beside a page of a large result with this text."""
        from optical_memory.facts import extract, facts_line  # as long to compile: not before the first page

        return facts_line(extract(text), FACTS_TOKENS, lambda part: count_tokens(part, self.profile))


def beside(turns: Sequence[Turn], turns_at: Callable[[Ranges], list[Turn]]) -> list[Turn]:
    """Return the calls of results, and the results of calls, that stand shortly before and behind these turns."""
    calls = {call.id for turn in turns for call in turn.tool_calls}
    results = {turn.tool_call_id for turn in turns if turn.role == "tool"}
    out: list[Turn] = []
    if results - calls:
        before = turns_at(((max(turns[0].seq - NEAR, 0), turns[0].seq - 1),))
        out += [turn for turn in before if any(call.id in results for call in turn.tool_calls)]
    if calls - results:
        behind = turns_at(((turns[-1].seq + 1, turns[-1].seq + NEAR),))
        out += [turn for turn in behind if turn.role == "tool" and turn.tool_call_id in calls]
    return out


def run_of(turn: Turn) -> Run:
    """Return what a page shows of a turn."""
    header, body = transcript(turn, plain=True)
    return Run(
        turn_id=turn.id, role=turn.role, text=body, header=f"{header}:", place=turn.seq if turn.seq >= 0 else None
    )


def bounded(run: Run, characters: int) -> Run:
    """Return the run with at most ``characters`` of its text: its beginning and its end, the gap counted."""
    gap = len(run.text) - characters
    if gap <= 0:
        return run
    head, tail = characters * 3 // 4, characters // 4
    return replace(run, text=f"{run.text[:head]}\n{wording.left_out(gap)}\n{run.text[-tail:]}")


def _entry(
    page_id: str,
    turns: Sequence[Turn],
    segment: Ranges,
    costs: Mapping[str, int],
    text_tokens: int,
    *,
    floor: str | None = None,
) -> Entry:
    weights = [len(turn.text) + 1 for turn in turns]
    judged = [IMPORTANCE[turn.role] if turn.importance is None else turn.importance for turn in turns]
    return Entry(
        id=page_id,
        level=0,
        tier=next(iter(costs)),
        costs=costs,
        first_seq=turns[0].seq,
        last_seq=turns[-1].seq,
        segment=segment,
        last_at=turns[-1].created_at,
        text_tokens=text_tokens,
        importance=sum(w * i for w, i in zip(weights, judged, strict=True)) / sum(weights),
        floor=floor,
    )
