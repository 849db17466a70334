"""The builder: keeps a session's epoch and tail in step with the store, and starts a new epoch when it must.

The cost of a call grows with what is new, not with the history: turns are fetched after the last one seen, counted
once, and the archive changes only at an epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from optical_memory.budget import Profile, count_message, count_tokens
from optical_memory.context.base import HEADER, Block, Context
from optical_memory.context.epoch import Entry, Epoch, Views
from optical_memory.context.gallery import Gallery
from optical_memory.context.sealing import Sealer
from optical_memory.context.shelf import LostEntryError, Shelf
from optical_memory.context.tail import Tail
from optical_memory.errors import BudgetError, ConflictError
from optical_memory.policies.base import PageInfo, Plan, Policy
from optical_memory.policies.epochs import Watermarks, choose_watermarks, tail_room
from optical_memory.policies.limits import PIXEL_BYTES, within_limits
from optical_memory.renderers.base import Layout, Page, Renderer, Tier
from optical_memory.stores.base import Store
from optical_memory.turns import INSTRUCTION_ROLES, Turn

BATCH_TURNS = 4_096
"""Turns fetched and sealed at a time while a long history is taken in."""
INLINE_SHARE = 24
"""A result that costs more than ``budget / INLINE_SHARE`` is shown as page images when it arrives."""
ATTEMPTS = 8
"""Times that an epoch is planned anew because another process was faster."""


class Builder:
    """Builds contexts of one session for one view (target model, budget, policy, renderer)."""

    def __init__(
        self,
        *,
        store: Store,
        session: str,
        profile: Profile,
        budget: int,
        policy: Policy,
        renderer: Renderer,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is read until the first :meth:`build`."""
        self.store, self.session, self.profile, self.budget = store, session, profile, budget
        self.policy, self.clock = policy, clock
        self.sealer = Sealer(profile, renderer)
        self.gallery = Gallery(store, session, renderer)
        self.shelf = Shelf(store, session, self.sealer, self.gallery)
        self.view = _view(profile, budget, policy, renderer)
        self._views = Views()
        self._epoch = Epoch()
        self._seen = -1
        self._tail = self._new_tail()
        self._system: tuple[Turn, ...] = ()
        self._system_tokens = 0
        self._blocks: tuple[Block, ...] | None = None

    @property
    def epoch(self) -> Epoch:
        """The archive as it stands."""
        return self._epoch

    def build(self) -> Context:
        """Return the context of the session as the store has it now. Raises BudgetError where none fits."""
        self.sync()
        for _ in range(ATTEMPTS):
            try:
                if self._fits():
                    return self._context()
                self._advance()
            except ConflictError:
                self.sync()
            except LostEntryError:
                self._reset(Epoch(number=self._epoch.number + 1))
                self.sync()
        raise ConflictError(f"session {self.session!r} changed {ATTEMPTS} times while an epoch was planned")

    def restart(self) -> None:
        """Forget all that is held and read the session anew."""
        self.gallery.clear()
        self._views = Views()
        self._reset(Epoch())

    def replace_epoch(self, epoch: Epoch) -> None:
        """Make ``epoch`` the session's only view, and read the tail again. Raises ConflictError."""
        self._views.epochs.clear()
        self._save(epoch)
        self.gallery.clear()
        self._reset(epoch)

    def sync(self) -> None:
        """Take in what other processes and this one have stored since the last call."""
        state = self.store.load_state(self.session)
        version = state.version if state else 0
        if version != self._views.version:
            self._views = Views.load(state)
            self._reset(self._views.epochs.get(self.view, Epoch()))
        while turns := self.store.turns(self.session, after=self._seen, limit=BATCH_TURNS):
            for turn in turns:
                self._tail.append(turn)
            self._seen = turns[-1].seq
            if len(turns) < BATCH_TURNS:
                break
            self._advance_if_far_over()

    def _reset(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._seen = epoch.sealed_through
        self._tail = self._new_tail()
        self._system = tuple(self.store.get(self.session, epoch.instructions)) if epoch.instructions else ()
        self._system_tokens = sum(count_message(turn, self.profile) for turn in self._system)
        self.shelf.keep_only(epoch.entries)
        self._blocks = None

    def _new_tail(self) -> Tail:
        inline, group = max(self.budget // INLINE_SHARE, 64), max(self.budget // 4, 64)
        return Tail(self.sealer, self._arrival_page, inline, group, self.profile.max_images // 4)

    # -- sizes ---------------------------------------------------------------------------------------------------

    def _header_tokens(self, entries: Sequence[Entry]) -> int:
        return count_tokens(HEADER, self.profile) + self.profile.message_tokens if entries else 0

    def _archive_tokens(self) -> int:
        entries = self._epoch.entries
        return self._header_tokens(entries) + sum(entry.tokens for entry in entries)

    def _tokens(self) -> int:
        return self._system_tokens + self._archive_tokens() + self._tail.tokens

    def _growth(self) -> float:
        """Tokens that a turn has added on average, as it was shown, in the whole session so far."""
        turns = self._epoch.sealed_turns + len(self._tail.turns)
        return max((self._epoch.shown_tokens + self._tail.tokens) / max(turns, 1), 1.0)

    def _watermarks(self) -> Watermarks:
        return choose_watermarks(max(self.budget - self._system_tokens, 2), self.profile.price, self._growth())

    def _tail_room(self, marks: Watermarks) -> int:
        return tail_room(marks, self.budget, growth=self._growth(), gist_tokens=self.sealer.gist_tokens)

    def _fits(self) -> bool:
        """Whether the prefix may stay: nothing is sealed before the budget is full, then at the high watermark."""
        if self._tokens() > self.budget:
            return False
        if self._tail.images > self.profile.max_images // 2 and len(self._tail.groups) > 1:
            return False
        return not self._epoch.entries or len(self._tail.groups) < 2 or self._tail.tokens <= self._watermarks().high

    def _advance_if_far_over(self) -> None:
        if self._tail.tokens > 4 * self.budget:
            self._advance()

    # -- a new epoch ---------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Seal the oldest groups, plan the archive anew and store it. Raises BudgetError, ConflictError."""
        marks = self._watermarks()
        count = self._groups_to_seal(marks.low)
        groups = self._tail.groups[:count]
        turns = [turn for group in groups for turn in group.turns]
        instructions = tuple(turn for turn in turns if turn.role in INSTRUCTION_ROLES)
        system_tokens = self._system_tokens + sum(count_message(turn, self.profile) for turn in instructions)
        tail_tokens = self._tail.tokens - sum(group.tokens for group in groups)
        self._check_least(system_tokens, tail_tokens)
        fresh = self.sealer.seal(turns) if turns else []
        self.shelf.put(fresh)
        entries = [*self._epoch.entries, *(sealed.entry for sealed in fresh)]
        room = self.budget - system_tokens - max(tail_tokens, self._tail_room(marks))
        room = max(room, min(self.budget - system_tokens - tail_tokens, self.budget // 8))
        infos = [entry.info(fresh=position >= len(self._epoch.entries)) for position, entry in enumerate(entries)]
        plan = self.policy.plan(
            infos,
            now=self.clock(),
            budget=max(room - self._header_tokens(entries), 0),
            gist_tokens=self.sealer.gist_tokens,
        )
        plan = self._within_limits(plan, infos)
        planned = self._apply(plan, entries)
        epoch = self._epoch.next(
            sealed_through=turns[-1].seq if turns else self._epoch.sealed_through,
            entries=tuple(planned),
            instructions=(*self._epoch.instructions, *(turn.id for turn in instructions)),
            text_tokens=self._epoch.text_tokens + sum(group.text_tokens for group in groups),
            shown_tokens=self._epoch.shown_tokens + sum(group.tokens for group in groups),
            sealed_turns=self._epoch.sealed_turns + len(turns),
            archived_pages=self._epoch.archived_pages + len(plan.archived),
        )
        self._save(epoch)
        self._tail.drop_first(count)
        self._system, self._system_tokens = (*self._system, *instructions), system_tokens
        self.shelf.keep_only(planned)
        self._blocks = None

    def _within_limits(self, plan: Plan, infos: Sequence[PageInfo]) -> Plan:
        """Leave half of the images and bytes that a request may hold to the archive, the other half to the tail."""
        tiers = (*self.profile.tiers, self.profile.gist)
        return within_limits(
            plan,
            infos,
            images=self.profile.max_images // 2,
            size=self.profile.max_request_bytes // 2,
            bytes_of={tier.name: int(tier.width * tier.height * PIXEL_BYTES) for tier in tiers},
            gist_tokens=self.sealer.gist_tokens,
        )

    def _groups_to_seal(self, low_tokens: int) -> int:
        """Count the oldest groups to seal so that the rest costs at most ``low_tokens``; never the newest one."""
        left, images, count = self._tail.tokens, self._tail.images, 0
        for group in self._tail.groups[:-1]:
            if (left <= low_tokens and images <= self.profile.max_images // 4) or group.open:
                break
            left -= group.tokens
            images -= len(group.pages)
            count += 1
        return count

    def _check_least(self, system_tokens: int, tail_tokens: int) -> None:
        needed = system_tokens + tail_tokens
        if needed > self.budget:
            raise BudgetError(
                f"the system prompt ({system_tokens:,} tokens) and the newest turn with its tool results "
                f"({tail_tokens:,}) need {needed:,} tokens, more than the budget of {self.budget:,}; "
                f"raise the budget to at least {needed:,}",
                needed=needed,
                budget=self.budget,
            )

    def _apply(self, plan: Plan, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries of the next epoch, gists made."""
        by_id = {entry.id: entry for entry in entries}
        first_of = {ids[0]: ids for ids in plan.merges}
        gone = {page_id for ids in plan.merges for page_id in ids} | set(plan.archived)
        out: list[Entry] = []
        for entry in entries:
            if entry.id in first_of:
                covered = [by_id[page_id] for page_id in first_of[entry.id]]
                gist = self.sealer.gist([run for part in covered for run in self.shelf.runs(part)], covered)
                self.shelf.put([gist])
                out.append(gist.entry)
            elif entry.id not in gone:
                out.append(replace(entry, tier=plan.tiers[entry.id]))
        return out

    def _save(self, epoch: Epoch) -> None:
        data = self._views.with_epoch(self.view, epoch)
        state = self.store.save_state(self.session, data, expected=self._views.version)
        self._views = Views(state.version, {**self._views.epochs, self.view: epoch})
        self._epoch = epoch

    # -- what the model sees -------------------------------------------------------------------------------------

    def _arrival_page(self, layout: Layout, tier: Tier) -> Page:
        return self.gallery.page(layout, tier, gist=False, facts=self.sealer.facts(layout.text))

    def turns_on(self, page_id: str, line: int | None) -> list[Turn]:
        """Return the exact turns on a page, or on one line of it; see :meth:`Shelf.turns_on`."""
        arrivals = [page for group in self._tail.groups for page in group.pages]
        return self.shelf.turns_on(page_id, line, self._epoch.entries, arrivals)

    def pages_by_tier(self, count: int | None) -> dict[str, list[Page]]:
        """Return the newest ``count`` pages of whole turns at every tier, and gist pages as they are."""
        self.build()
        entries = [entry for entry in self._epoch.entries if entry.floor != "text"]
        entries = [entry for entry in entries if self.shelf.sealed(entry).layout is not None]
        entries = entries if count is None else entries[max(len(entries) - count, 0) :]
        tiers = {tier.name: [self.shelf.page(e, tier) for e in entries if not e.level] for tier in self.profile.tiers}
        tiers["gist"] = [self.shelf.page(entry, self.profile.gist) for entry in entries if entry.level]
        return {name: pages for name, pages in tiers.items() if pages}

    def _context(self) -> Context:
        arrivals = [page for group in self._tail.groups for page in group.pages]
        if self._blocks is None:  # a new epoch
            self._blocks = tuple(self.shelf.block(entry) for entry in self._epoch.entries)
            self.gallery.keep_only([*(block.page for block in self._blocks if block.page), *arrivals])
        return Context(
            system=self._system,
            archive=self._blocks,
            pages=(*(block.page for block in self._blocks if block.page), *arrivals),
            recent=self._tail.turns,
            groups=tuple(self._tail.groups),
            tokens=self._tokens(),
            text_tokens=self._epoch.text_tokens + self._tail.text_tokens,
            budget=self.budget,
            epoch=self._epoch.number,
            archived_pages=self._epoch.archived_pages,
        )


def _view(profile: Profile, budget: int, policy: Policy, renderer: Renderer) -> str:
    """Name the view: other settings, other epochs of the same session."""
    key = repr((profile.name, profile.grid, profile.tiers, budget, policy, renderer.key))
    return hashlib.sha256(key.encode()).hexdigest()[:16]
