"""One session as one target model sees it: in step with the store, with a past that changes only at an epoch.

The cost of a call grows with what is new, not with the history: turns are fetched after the last one seen and counted
once. How an epoch is planned is in :mod:`optical_memory.context.planning`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from optical_memory.budget import count_message
from optical_memory.budget.calibration import Calibration
from optical_memory.context.base import Context, Piece, Settings
from optical_memory.context.epoch import Epoch
from optical_memory.context.events import Events
from optical_memory.context.gallery import Gallery, Seen
from optical_memory.context.lineage import Lineage, Ranges, clipped, common, within
from optical_memory.context.plan import SHARES, Limits, Sizes
from optical_memory.context.sealing import Sealer
from optical_memory.context.shelf import Shelf
from optical_memory.context.state import SessionState
from optical_memory.context.tail import Tail, turn_piece
from optical_memory.errors import BudgetError, ConflictError, LostPageError, StoreUnavailableError
from optical_memory.renderers.base import Layout, Page, Tier
from optical_memory.stores.base import Head, Store
from optical_memory.turns import Turn

if TYPE_CHECKING:
    from optical_memory.context.accounts import Accounts
    from optical_memory.context.ahead import Ahead, Work
    from optical_memory.context.planning import Premises

BATCH_TURNS = 4_096
"""Turns fetched at a time while a long history is taken in."""
ATTEMPTS = 32
"""Times that an epoch is planned anew because another process was faster."""
_log = logging.getLogger(__name__)


class SessionView:
    """Syncs with the store, plans epochs and saves them, and gives the context. Not for threads: its owner locks."""

    def __init__(self, store: Store, session: str, settings: Settings, *, events: Events) -> None:
        """Nothing is read until the first :meth:`build`."""
        self.store, self.session, self.settings = store, session, settings
        self.profile = settings.profile
        self.name = settings.name
        self.events = events
        self.sealer = Sealer(settings.profile, settings.renderer)
        self.gallery = Gallery(store, session, settings.renderer, self.name, events, self._known, settings.keep_epochs)
        self.shelf = Shelf(store, session, self.sealer, self.gallery)
        self.state = SessionState()
        self.head = Head(birth="", length=0, version=0, forgotten=0)
        self.reserved = 0
        self.sent_tokens = 0
        self.calibration = Calibration()
        self._ahead: Ahead | None = None
        self._accounts: Accounts | None = None
        self._shared: tuple[Lineage, Mapping[int, str], int] = (self.state.lineage, {}, 0)
        self._stale = False
        self._limits = Limits.of(settings.budget, settings.profile)
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
                sizes = self.sizes()
                if sizes.fits():
                    self._look_ahead(sizes)
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

    def _known(self) -> Seen:
        return Seen(self.state, self.head.forgotten)

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
        shared = (self.state.lineage, self.state.doomed, self.head.forgotten)
        if self._accounts is not None and shared != self._shared:
            self._accounts.drop()
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
        self._tail: Tail = Tail(self.sealer, self._arrival, self._limits, epoch.totals)
        system = self.store.get(self.session, epoch.instructions) if epoch.instructions else []
        self._show_instructions([turn for turn in system if within(epoch.sealed, turn.seq)])
        self.shelf.keep_only(epoch.entries)
        self.gallery.drop_sketches()
        self._past: tuple[Piece, ...] | None = None

    def _show_instructions(self, turns: Sequence[Turn]) -> None:
        self._instructions, self._system = tuple(turns), tuple[Piece, ...]()
        if turns:
            from optical_memory.context.instructions import standing  # not before one is sealed

            self._system = tuple(turn_piece(turn, count_message(turn, self.profile)) for turn in standing(turns))

    # -- sizes ---------------------------------------------------------------------------------------------------

    def _past_tokens(self) -> int:
        return 0 if self._epoch.is_empty else self.sealer.header_tokens + self._epoch.tokens

    def count(self, text: str) -> int:
        """Return what a text costs the target model, in tokens."""
        return self.sealer.count(text)

    def sizes(self) -> Sizes:
        """Return what the view holds now, for the arithmetic of plans."""
        return Sizes(
            budget=max(min(self.settings.budget, self.calibration.room(self.settings.budget)) - self.reserved, 1),
            profile=self.profile,
            system=sum(piece.tokens for piece in self._system),
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
        from optical_memory.context import elsewhere  # not before the first epoch

        premises = self._premises(self.sizes())
        prepared = None if self._ahead is None else self._ahead.take(premises)
        if self._ahead is None or prepared is None:
            draft = elsewhere.draft(self.settings, self.sealer, self.shelf, premises, self._accounts)
            self.shelf.put([*draft.fresh, *draft.gists])
            self._save(draft.epoch)
            self.gallery.sweep(self.state)
        else:
            draft = prepared.draft
            self.shelf.learn([*draft.fresh, *draft.gists])
            self._save(draft.epoch, prepared.packed if self.state is prepared.before else None)
            self.gallery.learn(prepared.pixels)
            self._ahead.afterwards(partial(self.gallery.settle, prepared.pixels, prepared.notes, self._known()))
        self.gallery.remember(draft.epoch, self._seen)
        self._tail.drop_first(draft.count)
        self._show_instructions(draft.instructions)
        self.shelf.keep_only(draft.epoch.entries)
        self._past = None if prepared is None else (*self._system, *prepared.past)
        for event in draft.events(self.session, self._past_tokens()):
            self.events.tell(event)
        if prepared is not None and prepared.drawn:
            self.gallery.tell_drawn(prepared.drawn, prepared.seconds)

    def _premises(self, sizes: Sizes) -> Premises:
        from optical_memory.context.planning import Premises

        return Premises.of(sizes, self._tail.groups, self.path(), **self._held())

    def _held(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "instructions": self._instructions, "reserved": self.reserved}

    def _look_ahead(self, sizes: Sizes) -> None:
        """Have the next epoch prepared once what it is planned from stands; before that, sketches."""
        if not self.settings.ahead:
            return
        is_known = sizes.basis() is not None
        sketches = 0 if is_known else sizes.sketches()
        if not is_known and not sketches:
            return
        from optical_memory.context.ahead import Ahead

        self._ahead = self._ahead or Ahead()
        if is_known:
            if self.settings.teller is not None and self._accounts is None:
                from optical_memory.context.accounts import Accounts

                self._accounts = Accounts(self.settings.teller, self.shelf.turns_at)
            premises, told = self._premises(sizes), self._accounts is not None and self._accounts.news()
            self._ahead.prepare(premises, lambda: self._work(premises), again=told)
        else:
            self._ahead.sketch(self._epoch, sketches, lambda: self._work(self._early(sizes)))

    def _early(self, sizes: Sizes) -> Premises:
        from optical_memory.context.planning import Premises

        return Premises.early(sizes, self._tail.groups, self.path(), **self._held())

    def _work(self, premises: Premises) -> Work:
        from optical_memory.context.ahead import Work

        return Work(
            premises=premises,
            settings=self.settings,
            shelf=self.shelf.copy(),
            gallery=self.gallery,
            state=self.state,
            view=self.name,
            accounts=self._accounts,
        )

    def stop(self) -> None:
        """Let go of what is prepared in the background, once nothing of it runs any more, and of what a model told."""
        if self._accounts is not None:
            self._accounts.drop()
        if self._ahead is not None:
            self._ahead.close()

    def _save(self, epoch: Epoch, packed: bytes | None = None) -> None:
        """Store the epoch; where the store cannot be written it holds in this process. Raises ConflictError."""
        state = self.state.with_epoch(self.name, epoch)
        try:
            self.commit(state, packed)
        except StoreUnavailableError as error:
            _log.warning("epoch %d of %r is not stored: %s", epoch.number, self.session, error)
            self.state = state
        self._epoch = epoch

    def commit(self, state: SessionState, packed: bytes | None = None) -> None:
        """Store a state, which may be packed already, in place of the one that was read.

        Raises ConflictError, StoreUnavailableError.
        """
        data = state.pack() if packed is None else packed
        saved = self.store.save_state(self.session, data, expected=self.state.version, birth=self.state.birth)
        self._stale = self._stale or state.lineage != self.state.lineage or state.doomed != self.state.doomed
        self.state = replace(state, version=saved.version)

    # -- what the model sees -------------------------------------------------------------------------------------

    def _arrival(self, layout: Layout, tier: Tier) -> Page:
        facts = self.sealer.facts(layout.text, self._limits.label_tokens)
        return self.gallery.page(layout, tier, gist=False, facts=facts)

    def turns_on(self, page_id: str, line: int | None) -> list[Turn]:
        """Return the exact turns on a page, or on one line of it; see :meth:`Shelf.turns_on`."""
        arrivals = [piece.page for piece in self._tail.pieces if piece.page is not None]
        return self.shelf.turns_on(page_id, line, self._epoch.entries, arrivals)

    def pages_by_tier(self, count: int | None) -> dict[str, list[Page]]:
        """Return the newest ``count`` pages of whole turns at every tier, and gist pages as they are."""
        self.build()
        return self.shelf.by_tier(self._epoch.entries, count)

    def forget_pages(self, page_ids: Sequence[str]) -> None:
        """Let go of all pixels and layouts; the pages named are never drawn again, not even for who holds one."""
        for piece in (*(self._past or ()), *self._tail.pieces):
            if piece.page is not None:
                piece.page.cached.clear()
                piece.page.cached_url.clear()
        self.gallery.forget(page_ids)
        self.sealer.forget()
        self.shelf.keep_only(())

    def adopt(self, epoch: Epoch) -> None:
        """Go on from this epoch, and read the tail again."""
        self._reset(epoch)

    def _context(self) -> Context:
        if self._past is None:  # a new epoch
            self._past = (*self._system, *self.shelf.pieces(self._epoch, self.sealer.header_tokens))
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
