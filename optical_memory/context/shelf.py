"""The shelf: what the entries of the past show. Laid out once; after a restart, again from the exact turns."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence

from optical_memory import wording
from optical_memory.budget import Profile
from optical_memory.context.base import Piece
from optical_memory.context.epoch import Entry, Epoch, Sealed
from optical_memory.context.gallery import Gallery
from optical_memory.context.lineage import Ranges
from optical_memory.context.sealing import Sealer, beside
from optical_memory.context.shapes import tier_on
from optical_memory.errors import InputError, LostPageError, NotFoundError, StoreUnavailableError
from optical_memory.renderers.base import Layout, Page, Tier
from optical_memory.renderers.layout import Run
from optical_memory.stores.base import Store
from optical_memory.turns import Turn

PAST = "past"
"""Name of the message that carries the past."""
_log = logging.getLogger(__name__)


class Shelf:
    """Layouts and pages of one session's entries."""

    def __init__(self, store: Store, session: str, sealer: Sealer, gallery: Gallery) -> None:
        """Entries are looked up in the store when they are first asked for."""
        self._store, self._session = store, session
        self.sealer, self._gallery = sealer, gallery
        self._known: dict[str, Sealed] = {}

    @property
    def profile(self) -> Profile:
        """The target model."""
        return self.sealer.profile

    def put(self, sealed: Sequence[Sealed]) -> None:
        """Take in what was just sealed, and note in the store where it came from."""
        self.learn(sealed)
        try:
            if notes := self.notes(sealed):
                self._store.put_blobs(self._session, notes)
        except StoreUnavailableError as error:
            _log.warning("pages of %r are found by id only while they are shown: %s", self._session, error)

    def learn(self, sealed: Iterable[Sealed]) -> None:
        """Take in what was sealed."""
        self._known |= {item.entry.id: item for item in sealed}

    def notes(self, sealed: Iterable[Sealed]) -> dict[str, bytes]:
        """Return the blobs that say where pages came from; lines of a gist are found while it is shown."""
        leaves = [item.entry for item in sealed if not item.entry.level]
        return {
            _note(entry.id): json.dumps({"segment": entry.segment, "skip": entry.skip}).encode() for entry in leaves
        }

    def copy(self) -> Shelf:
        """Return a shelf with the same on it, for another thread."""
        shelf = Shelf(self._store, self._session, self.sealer, self._gallery)
        shelf._known = dict(self._known)
        return shelf

    def keep_only(self, entries: Iterable[Entry]) -> None:
        """Let go of everything but these entries."""
        keep = {entry.id for entry in entries}
        self._known = {key: value for key, value in self._known.items() if key in keep}

    def runs(self, entry: Entry) -> list[Run]:
        """Return what a gist may say of an entry: what one that is a gist says, else what is told of its turns.

        A process that plans may wait for it, so it waits for no such process.
        """
        return [Run(**run) for run in entry.runs] if entry.level else list(self.sealed(entry, here=True).told)

    def sealed(self, entry: Entry, *, here: bool = False) -> Sealed:
        """Return an entry with its layout, which is made ``here``, or by another process where there is one for it."""
        if entry.id not in self._known and entry.level:
            runs = tuple(Run(**run) for run in entry.account or entry.runs)
            layout = self.sealer.gists.relay(runs)
            if layout.id != entry.id:
                raise LostPageError(f"gist {entry.id!r} was laid out otherwise")
            self._known[entry.id] = Sealed(entry=entry, runs=runs, layout=layout)
        elif entry.id not in self._known:
            turns = self.turns_at(entry.segment)
            for item in self._seal(turns, entry.skip, beside(turns, self.turns_at), here=here):
                self._known.setdefault(item.entry.id, item)
            if entry.id not in self._known:
                raise LostPageError(f"page {entry.id!r} is not in its segment any more")
        return self._known[entry.id]

    def piece(self, entry: Entry) -> Piece:
        """Return an entry as the model sees it."""
        sealed = self.sealed(entry)
        if entry.tier == "text" or sealed.layout is None:
            text = sealed.text if sealed.layout is None else sealed.layout.text  # of a turn on several pages, its part
            text = f"{wording.record_label(entry.id)}\n{text}"
            return Piece(kind="record", message=PAST, text=text, tokens=entry.tokens, turn_ids=sealed.turn_ids)
        page = self.page(entry, self.profile.tier(entry.tier))
        return Piece(
            kind="page",
            message=PAST,
            text=wording.page_label(page.id, excerpt=entry.level > 0, told=bool(entry.account)),
            tokens=entry.tokens,
            page=page,
            turn_ids=page.turn_ids,
            detail=self.profile.detail.get(page.tier),
        )

    def pieces(self, epoch: Epoch, header_tokens: int) -> tuple[Piece, ...]:
        """Return a past as the model sees it: its header, its notes, its entries, its exact values."""
        if epoch.is_empty:
            return ()
        notes = epoch.notes
        header = Piece(kind="header", message=PAST, text=wording.HEADER, tokens=header_tokens)
        said = [
            Piece(kind="record", message=PAST, text=note.text, tokens=note.tokens, turn_ids=note.turn_ids)
            for note in (notes.words, notes.gist)
            if note.runs
        ]
        entries = [self.piece(entry) for entry in epoch.entries]
        values = Piece(kind="record", message=PAST, text=notes.ledger.shown, tokens=notes.ledger.tokens)
        return (header, *said, *entries, *([values] if notes.ledger.tokens else []))

    def page(self, entry: Entry, tier: Tier) -> Page:
        """Return an entry's page at any tier. Raises NotFoundError for a record that has no page."""
        layout = self.sealed(entry).layout
        if layout is None:
            raise NotFoundError(f"{entry.id[: wording.ID_LENGTH]!r} is a record of text, not a page")
        tier = tier_on(self.profile, tier, layout.grid)
        return self._gallery.page(layout, tier, gist=entry.level > 0)

    def by_tier(self, entries: Sequence[Entry], count: int | None) -> dict[str, list[Page]]:
        """Return the newest ``count`` pages of whole turns at every tier, and gist pages as they are."""
        pages = [entry for entry in entries if entry.floor != "text" and self.sealed(entry).layout is not None]
        pages = pages if count is None else pages[max(len(pages) - count, 0) :]
        tiers = {tier.name: [self.page(e, tier) for e in pages if not e.level] for tier in self.profile.tiers}
        tiers["gist"] = [self.page(entry, self.profile.gist) for entry in pages if entry.level]
        return {name: found for name, found in tiers.items() if found}

    def turns_on(self, page_id: str, line: int | None, entries: Sequence[Entry], pages: Sequence[Page]) -> list[Turn]:
        """Return the exact turns on a page, or on one line of it (from 1), also of pages no longer shown.

        ``pages`` are further pages, which have no entry. Errors: NotFoundError, InputError for a line below 1.
        """
        if line is not None and line < 1:
            raise InputError(f"lines are counted from 1, not {line!r}")
        layout = self._find(page_id.strip(), entries, pages)
        if layout is None:
            raise NotFoundError(f"no page {page_id!r} in session {self._session!r}")
        spans = layout.spans
        if line is not None:
            spans = tuple(span for span in spans if span.first_row <= line - 1 <= span.last_row)
            if not spans:
                raise NotFoundError(f"page {page_id!r} has no text on line {line}")
        return self._store.get(self._session, list(dict.fromkeys(span.turn_id for span in spans)))

    def _find(self, page_id: str, entries: Sequence[Entry], pages: Sequence[Page]) -> Layout | None:
        if len(page_id) < wording.ID_LENGTH:
            return None
        for page in pages:
            if page.id.startswith(page_id):
                return page.layout
        for entry in entries:
            if entry.id.startswith(page_id):
                return self.sealed(entry).layout
        note = self._store.get_blob(self._session, _note(page_id))
        data = None if note is None else json.loads(note)
        if not isinstance(data, dict):  # none, or of a page that was laid out otherwise
            return None
        segment: Ranges = tuple((first, last) for first, last in data["segment"])
        for item in self._seal(self.turns_at(segment), data["skip"]):
            if item.entry.id.startswith(page_id):
                return item.layout
        return None

    def _seal(
        self, turns: Sequence[Turn], skip: int, beside: Sequence[Turn] = (), *, here: bool = False
    ) -> list[Sealed]:
        elsewhere = None if here else getattr(self.sealer.renderer, "elsewhere", None)
        if elsewhere is None:
            return self.sealer.seal(turns, skip=skip, beside=beside)
        from optical_memory.context.elsewhere import sealed

        return sealed(elsewhere, self.sealer.profile, turns, skip, beside)

    def turns_at(self, places: Ranges) -> list[Turn]:
        """Return the exact turns at these places that there are, in order."""
        return [
            turn
            for first, last in places
            for turn in self._store.turns(self._session, after=first - 1, before=last + 1)
        ]


def _note(page_id: str) -> str:
    """Name the blob that says which places a page was sealed with."""
    return f"segment/{page_id[: wording.ID_LENGTH]}"
