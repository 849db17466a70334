"""Sealing: turns become pages, pages become gists. Deterministic, so that any process seals alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

from optical_memory import wording
from optical_memory.budget import Profile, count_message, count_tokens
from optical_memory.context.epoch import NOTHING, Entry, Sealed, Totals
from optical_memory.context.lineage import Ranges, clipped, ranges_of
from optical_memory.context.shapes import Typesetter, bounded, is_open, tier_on
from optical_memory.policies.ladder import tier_costs
from optical_memory.renderers.base import Layout, Renderer, Tier
from optical_memory.renderers.layout import Run
from optical_memory.turns import INSTRUCTION_ROLES, Turn, groups, transcript

if TYPE_CHECKING:
    from optical_memory.context.gists import GistMaker

LABEL_TOKENS = 32
"""Upper bound of a label (:func:`optical_memory.wording.page_label` without facts), in tokens, whatever its digits."""
NEAR = 32
"""Turns before and behind a segment among which the calls and results of its turns are looked for."""
SHORT, MOST_COUNTED, MOST_PAGED = 160, 2_048, 32
"""Characters of texts whose cost is kept, and how many; pages whose cost is kept for when they are made again."""
MAX_TURN_PAGES = 64
"""Most pages that one turn is laid out on; of a longer one the beginning and the end are shown."""
IMPORTANCE: Mapping[str, float] = {"system": 1.0, "developer": 1.0, "user": 0.8, "assistant": 0.5, "tool": 0.3}


class Sealer:
    """Seals turns for one target model and one renderer."""

    def __init__(self, profile: Profile, renderer: Renderer) -> None:
        """Pages are laid out on the profile's grid with what the renderer can draw; its key is part of their ids."""
        self.profile = profile
        self.renderer = renderer
        self._typesetter = Typesetter(profile, renderer)
        self.tiers = self._typesetter.tiers
        self._costs = lru_cache(MOST_COUNTED)(partial(count_tokens, profile=profile))
        self._paged: dict[str, int] = {}
        self.header_tokens = count_tokens(wording.HEADER, profile) + profile.message_tokens

    def count(self, text: str) -> int:
        """Return what a text costs the target model, in tokens; of short texts it is known from the last time."""
        return self._costs(text) if len(text) <= SHORT else count_tokens(text, self.profile)

    @cached_property
    def gists(self) -> GistMaker:
        """Return what makes gists."""
        from optical_memory.context.gists import GistMaker  # takes long to load: not before the first gist

        return GistMaker(self._typesetter, self.count)

    @property
    def gist_tokens(self) -> int:
        """Most tokens that one gist page can cost."""
        return self.profile.gist.tokens + LABEL_TOKENS

    def forget(self) -> None:
        """Let go of all texts."""
        self._costs.cache_clear()
        if "gists" in vars(self):
            self.gists.forget()

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
        totals = replace(
            entry.totals,
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
        layouts = self._typesetter.fitted([run], self.profile.grid)
        tiers = self._typesetter.readable(layouts)
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
            layouts = self._typesetter.fitted(kept, self.profile.grid)
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
        for layout in self._typesetter.fitted([replace(runs[0], skip=skip), *runs[1:]], grid):
            on_page = [by_id[turn_id] for turn_id in layout.turn_ids]
            page_turns, page_runs = [turn for turn, _ in on_page], tuple(run for _, run in on_page)
            text_tokens = self._page_tokens(layout)
            tiers = self._typesetter.affordable(layout, pinned=floor is not None)
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

    def facts(self, text: str, most: int) -> str:
        """Return the line of at most ``most`` tokens of facts beside a page of a large result with this text."""
        from optical_memory.context.mentions import values_on  # slow to compile: not before the first page
        from optical_memory.facts import facts_line

        return facts_line(values_on(text), most, lambda part: count_tokens(part, self.profile))


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
