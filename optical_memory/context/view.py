"""One session as one target model sees it: in step with the store, with a past that changes only at an epoch.

The cost of a call grows with what is new, not with the history: turns are fetched after the last one seen and counted
once. What is decided by numbers alone is in :mod:`optical_memory.context.plan`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from optical_memory import wording
from optical_memory.budget import Profile, count_message, count_tokens
from optical_memory.budget.calibration import Calibration
from optical_memory.context.base import Context, Piece
from optical_memory.context.epoch import Entry, Epoch, Totals
from optical_memory.context.events import EpochStarted, Events, Sealed
from optical_memory.context.gallery import Gallery
from optical_memory.context.lineage import Lineage, Ranges, clipped, common, within
from optical_memory.context.notes import Notes
from optical_memory.context.plan import SHARES, Limits, Sizes
from optical_memory.context.sealing import Sealer, run_of
from optical_memory.context.shelf import PAST, Shelf
from optical_memory.context.state import SessionState
from optical_memory.context.tail import Tail, turn_piece
from optical_memory.errors import BudgetError, ConflictError, LostPageError, StoreUnavailableError
from optical_memory.policies.base import Plan, Policy
from optical_memory.policies.limits import PIXEL_BYTES, within_limits
from optical_memory.renderers.base import Layout, Page, Renderer, Tier
from optical_memory.stores.base import Head, Store
from optical_memory.turns import Turn

BATCH_TURNS = 4_096
"""Turns fetched at a time while a long history is taken in."""
ATTEMPTS = 32
"""Times that an epoch is planned anew because another process was faster."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a view depends on: other settings, other epochs of the same session.

    ``stepwise`` decides after each turn whether an epoch begins, so that a context depends on the turns alone and
    not on when it was asked for.
    """

    profile: Profile
    budget: int
    policy: Policy
    renderer: Renderer
    stepwise: bool = False

    @property
    def name(self) -> str:
        """Name the view (hex)."""
        profile = self.profile
        key = repr((profile.name, profile.grid, profile.tiers, self.budget, self.policy, self.renderer.key))
        return hashlib.sha256(key.encode()).hexdigest()[:16]


class SessionView:
    """Syncs with the store, plans epochs and saves them, and gives the context. Not for threads: its owner locks."""

    def __init__(
        self, store: Store, session: str, settings: Settings, *, clock: Callable[[], float], events: Events
    ) -> None:
        """Nothing is read until the first :meth:`build`."""
        self.store, self.session, self.settings = store, session, settings
        self.profile = settings.profile
        self.name = settings.name
        self.clock, self.events = clock, events
        self.sealer = Sealer(settings.profile, settings.renderer)
        self.gallery = Gallery(store, session, settings.renderer, self.name, events, self._is_current)
        self.shelf = Shelf(store, session, self.sealer, self.gallery)
        self.state = SessionState()
        self.head = Head(birth="", length=0, version=0, forgotten=0)
        self.reserved = 0
        self.sent_tokens = 0
        self.calibration = Calibration()
        self._shared: tuple[Lineage, Mapping[int, str]] = (self.state.lineage, {})
        self._stale = False
        self._reset(Epoch())

    @property
    def epoch(self) -> Epoch:
        """The past as it stands."""
        return self._epoch

    def build(self, reserve: int = 0) -> Context:
        """Return the context of the session as the store has it now, within the budget less ``reserve`` tokens.

        Raises BudgetError where none fits.
        """
        self.reserved = reserve
        self.sync()
        for _ in range(ATTEMPTS):
            try:
                if self.sizes().fits():
                    return self._context()
                self._advance()
            except ConflictError:
                self.sync()
            except LostPageError:
                self._reset(Epoch(number=self._epoch.number + 1))
                self.sync()
        raise ConflictError(f"session {self.session!r} changed {ATTEMPTS} times while an epoch was planned")

    def peek(self) -> Context:
        """Return the context as it stands, without starting an epoch: it may cost more than the budget."""
        self.sync(read_only=True)
        return self._context()

    # -- in step with the store ----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the session's head and, where it changed, the state that its views share."""
        self.head = self.store.head(self.session)
        if (self.head.birth, self.head.version) == (self.state.birth, self.state.version):
            return
        if self.head.birth != self.state.birth:  # another life: nothing of this one may be shown
            self.gallery.clear()
            self._reset(Epoch())
        self.state = SessionState.load(self.head.birth, self.store.load_state(self.session))
        self._stale = True

    def sync(self, *, read_only: bool = False) -> None:
        """Take in what other processes and this one have stored since the last call."""
        self.refresh()
        if self._stale:
            self._adopt()
        for first, last in clipped(self.path(), self._seen + 1, self.head.length):
            place = first - 1
            while turns := self.store.turns(self.session, after=place, before=last + 1, limit=BATCH_TURNS):
                self._take_in(turns, read_only)
                place = turns[-1].seq

    def _is_current(self) -> bool:
        """Whether the store still has the state that this view knows."""
        head = self.store.head(self.session)
        return (head.birth, head.version) == (self.state.birth, self.state.version)

    def path(self) -> Ranges:
        """Return the places of the visible path."""
        return self.state.lineage.path(self.head.length)

    def _adopt(self) -> None:
        """Go on from the epoch that the store has, without what is not on the visible path any more."""
        epoch = self.state.epochs.get(self.name, Epoch())
        if self.name in self.state.unproven and not self._is_true(epoch):
            _log.warning("the past of %r that came in a file is not what its turns say: planned anew", self.session)
            epoch = Epoch()
        if epoch.sealed != clipped(self.path(), 0, epoch.sealed_through):
            epoch = epoch.cut(common(epoch.sealed, self.path()), self.count)
        shared = (self.state.lineage, self.state.doomed)
        if epoch != self._epoch or shared != self._shared:
            self._reset(epoch)
        self._shared = shared
        self._stale = False

    def _is_true(self, epoch: Epoch) -> bool:
        from optical_memory.context.verifying import is_true  # seldom needed

        return is_true(epoch, self.path(), self.sealer, self.shelf)

    def _take_in(self, turns: Sequence[Turn], read_only: bool) -> None:
        for turn in turns:
            if turn.seq not in self.state.doomed:
                self._tail.append(turn)
            self._seen = turn.seq
            if self.settings.stepwise and not read_only:
                self._settle()
        far = SHARES.far_over * self.settings.budget
        if not read_only and len(turns) == BATCH_TURNS and self._tail.tokens > far:
            self._advance()

    def _settle(self) -> None:
        """Start an epoch where one is due; where even the least does not fit now, a later turn may mend it."""
        try:
            for _ in range(ATTEMPTS):
                if self.sizes().fits():
                    return
                self._advance()
        except BudgetError:
            return

    def _reset(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._seen = epoch.sealed_through
        self._tail: Tail = Tail(self.sealer, self._arrival, Limits.of(self.settings.budget, self.profile))
        system = self.store.get(self.session, epoch.instructions) if epoch.instructions else []
        self._instructions = tuple(turn for turn in system if within(epoch.sealed, turn.seq))
        self._system = tuple(turn_piece(turn, count_message(turn, self.profile)) for turn in self._instructions)
        self.shelf.keep_only(epoch.entries)
        self._past: tuple[Piece, ...] | None = None

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def _system_tokens(self) -> int:
        return sum(piece.tokens for piece in self._system)

    @property
    def _header_tokens(self) -> int:
        return count_tokens(wording.HEADER, self.profile) + self.profile.message_tokens

    def _past_tokens(self) -> int:
        return 0 if self._epoch.is_empty else self._header_tokens + self._epoch.tokens

    def count(self, text: str) -> int:
        """Return what a text costs the target model, in tokens."""
        return count_tokens(text, self.profile)

    def sizes(self) -> Sizes:
        """Return what the view holds now, for the arithmetic of plans."""
        return Sizes(
            budget=max(min(self.settings.budget, self.calibration.room(self.settings.budget)) - self.reserved, 1),
            profile=self.profile,
            system=self._system_tokens,
            past=self._past_tokens(),
            tail=self._tail.tokens,
            groups=self._tail.groups,
            totals=self._epoch.totals,
            tail_turns=sum(len(group.turns) for group in self._tail.groups),
            gist_tokens=self.sealer.gist_tokens,
        )

    # -- a new epoch ---------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Seal the oldest groups, plan the past anew and store it. Raises BudgetError, ConflictError."""
        sizes = self.sizes()
        count = sizes.groups_to_seal()
        groups = self._tail.groups[:count]
        turns = [turn for group in groups for turn in group.turns]
        instructions = _distinct([*self._instructions, *(turn for turn in turns if turn.is_instruction)])
        system = sum(count_message(turn, self.profile) for turn in instructions)
        tail = sizes.tail - sum(group.tokens for group in groups)
        _check_least(system, tail, self.reserved, self.settings.budget)
        totals = Totals(
            turns=self._epoch.totals.turns + len(turns),
            text_tokens=self._epoch.totals.text_tokens + sum(group.text_tokens for group in groups),
            shown_tokens=self._epoch.totals.shown_tokens + sum(group.tokens for group in groups),
        )
        fresh = self.sealer.seal(turns, totals) if turns else []
        self.shelf.put(fresh)
        entries = [*self._epoch.entries, *(sealed.entry for sealed in fresh)]
        room = sizes.room_for_past(system, tail)
        notes = self._noted(turns, room)
        plan, notes = self._plan_with(notes, entries, room)
        planned = self._apply(plan, entries)
        epoch = self._epoch.next(
            sealed=clipped(self.path(), 0, turns[-1].seq if turns else self._epoch.sealed_through),
            entries=tuple(planned),
            instructions=tuple(turn.id for turn in instructions),
            totals=totals,
            archived_pages=self._epoch.archived_pages + len(plan.archived),
            notes=notes,
            bare=room < self._header_tokens,
        )
        self._save(epoch)
        self._tail.drop_first(count)
        self._instructions = instructions
        self._system = tuple(turn_piece(turn, count_message(turn, self.profile)) for turn in instructions)
        self.shelf.keep_only(planned)
        self._past = None
        self._tell(turns, [sealed.entry.id for sealed in fresh], plan)

    def _noted(self, turns: Sequence[Turn], room: int) -> Notes:
        """Return the notes with the words of a user among ``turns``, within their share of the past's ``room``."""
        said = [run_of(turn) for turn in turns if turn.role == "user" and turn.pin is False]
        pinned = sum(min(entry.costs.values()) for entry in self._epoch.entries if entry.floor is not None)
        free = room - self._header_tokens - pinned
        share = max(self.settings.budget * SHARES.words, SHARES.words_least)
        most = int(min(share, free * SHARES.words_of_past))
        notes = self._epoch.notes.with_words(said, max(most, 0), self.count)
        values = int(min(self.settings.budget * SHARES.values, (free - notes.words.tokens) * SHARES.values_of_past))
        return notes.with_values([t for t in turns if not t.is_instruction], max(values, 0), self.count)

    def _plan_with(self, notes: Notes, entries: Sequence[Entry], room: int) -> tuple[Plan, Notes]:
        """Plan the past, and keep a gist in text of pages for which not even one gist page has room."""
        reserved = min(notes.gist.tokens, (room - self._header_tokens) // 2)
        plan = self._plan(entries, room - notes.words.tokens - notes.ledger.tokens - reserved)
        gone = set(plan.archived)
        runs = [run for entry in entries if entry.id in gone for run in self.shelf.runs(entry)]
        if not runs and not notes.gist.runs:
            return plan, notes
        left = room - self._header_tokens - notes.words.tokens - notes.ledger.tokens - plan.tokens
        most = self.settings.budget * SHARES.text_gist
        return plan, notes.with_gist(runs, max(int(min(left, most)), 0), self.count)

    def _plan(self, entries: Sequence[Entry], room: int) -> Plan:
        """Plan the past within ``room`` tokens, its header included, and half of what a request may hold."""
        infos = [entry.info(fresh=place >= len(self._epoch.entries)) for place, entry in enumerate(entries)]
        gist_tokens = self.sealer.gist_tokens
        budget = max(room - self._header_tokens, 0) if entries else room
        plan = self.settings.policy.plan(infos, now=self.clock(), budget=budget, gist_tokens=gist_tokens)
        tiers = (*self.profile.tiers, self.profile.gist)
        return within_limits(
            plan,
            infos,
            images=int(self.profile.max_images * SHARES.past_images),
            size=int(self.profile.max_request_bytes * SHARES.past_images),
            bytes_of={tier.name: int(tier.width * tier.height * PIXEL_BYTES) for tier in tiers},
            gist_tokens=gist_tokens,
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
        """Store the epoch; where the store cannot be written it holds in this process. Raises ConflictError."""
        state = self.state.with_epoch(self.name, epoch)
        try:
            self.commit(state)
            self.gallery.sweep(self.state)
        except StoreUnavailableError as error:
            _log.warning("epoch %d of %r is not stored: %s", epoch.number, self.session, error)
            self.state = state
        self._epoch = epoch

    def commit(self, state: SessionState) -> None:
        """Store a state in place of the one that was read. Raises ConflictError, StoreUnavailableError."""
        saved = self.store.save_state(self.session, state.pack(), expected=self.state.version, birth=self.state.birth)
        self._stale = self._stale or state.lineage != self.state.lineage or state.doomed != self.state.doomed
        self.state = replace(state, version=saved.version)

    def _tell(self, turns: Sequence[Turn], pages: Sequence[str], plan: Plan) -> None:
        if turns:
            first, last = turns[0].seq, turns[-1].seq
            self.events.tell(
                Sealed(session=self.session, turns=len(turns), pages=tuple(pages), first_seq=first, last_seq=last)
            )
        merged = sum(map(len, plan.merges))
        self.events.tell(
            EpochStarted(
                session=self.session,
                number=self._epoch.number,
                tokens=self._past_tokens(),
                merged=merged,
                archived=len(plan.archived),
            )
        )

    # -- what the model sees -------------------------------------------------------------------------------------

    def _arrival(self, layout: Layout, tier: Tier) -> Page:
        return self.gallery.page(layout, tier, gist=False, facts=self.sealer.facts(layout.text))

    def turns_on(self, page_id: str, line: int | None) -> list[Turn]:
        """Return the exact turns on a page, or on one line of it; see :meth:`Shelf.turns_on`."""
        arrivals = [piece.page for piece in self._tail.pieces if piece.page is not None]
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

    def forget_pages(self, page_ids: Sequence[str]) -> None:
        """Let go of all pixels and layouts; the pages named are never drawn again, not even for who holds one."""
        for piece in (*(self._past or ()), *self._tail.pieces):
            if piece.page is not None:
                piece.page.cached.clear()
                piece.page.cached_url.clear()
        self.gallery.forget(page_ids)
        self.shelf.keep_only(())

    def adopt(self, epoch: Epoch) -> None:
        """Go on from this epoch, and read the tail again."""
        self._reset(epoch)

    def _context(self) -> Context:
        if self._past is None:  # a new epoch
            past = [self.shelf.piece(entry) for entry in self._epoch.entries]
            header = Piece(kind="header", message=PAST, text=wording.HEADER, tokens=self._header_tokens)
            notes = [
                Piece(kind="record", message=PAST, text=note.text, tokens=note.tokens, turn_ids=note.turn_ids)
                for note in (self._epoch.notes.words, self._epoch.notes.gist)
                if note.runs
            ]
            ledger = self._epoch.notes.ledger
            if ledger.tokens:
                past.append(Piece(kind="record", message=PAST, text=ledger.shown, tokens=ledger.tokens))
            self._past = (*self._system, *(() if self._epoch.is_empty else (header, *notes, *past)))
        latest = self._tail.pieces
        places = {turn.id: turn.seq for turn in self._tail.turns}
        arrivals = [(piece.page, places[piece.turn_ids[0]]) for piece in latest if piece.page is not None]
        self.gallery.admit((piece.page for piece in self._past if piece.page is not None), arrivals)
        return Context(
            past=self._past,
            latest=latest,
            recent=self._tail.turns,
            tokens=sum(piece.tokens for piece in self._past) + self._tail.tokens,
            text_tokens=self._epoch.totals.text_tokens + self._tail.text_tokens,
            budget=self.settings.budget,
            reserved=self.reserved,
            epoch=self._epoch.number,
            archived_pages=self._epoch.archived_pages,
        )


def _distinct(instructions: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return instructions without those that say again what one before them says: a script that was started anew."""
    first: dict[str, Turn] = {}
    for turn in instructions:
        first.setdefault(turn.digest, turn)
    return tuple(first.values())


def _check_least(system: int, tail: int, reserved: int, budget: int) -> None:
    needed = system + tail + reserved
    if needed > budget:
        tools = f", the tools ({reserved:,})" if reserved else ""
        raise BudgetError(
            f"the system prompt ({system:,} tokens){tools} and the newest turn with its tool results "
            f"({tail:,}) need {needed:,} tokens, more than the budget of {budget:,}; "
            f"raise the budget to at least {needed:,}",
            needed=needed,
            budget=budget,
        )
