"""The gallery: PNG bytes of pages, drawn once, kept in memory while shown and in the store across restarts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakMethod

from optical_memory.context.epoch import Epoch
from optical_memory.context.events import Drawn, Events
from optical_memory.context.state import SessionState
from optical_memory.errors import NotFoundError, StoreUnavailableError
from optical_memory.renderers import png
from optical_memory.renderers.base import Layout, Page, Renderer, Tier
from optical_memory.stores.base import Store

TOGETHER = 2
"""Pages of a sketch that are drawn together."""
_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What a page's pixels depend on."""

    page_id: str
    tier: str


class Seen(NamedTuple):
    """What pixels are made from: a session's state, and how many of its turns were forgotten then."""

    state: SessionState
    forgotten: int


@dataclass(slots=True)
class Gallery:
    """Pages of one view with their pixels. Losing what it keeps costs time only.

    Only pages that the view shows now (:meth:`admit`) are kept and stored. Any other page can still be drawn, for
    whoever holds it, except one that was forgotten. ``seen`` gives what the view knows of the session: pixels drawn
    while another process forgot something are not stored. Of the epochs of its view the newest ``keep_epochs`` are kept
    beside the pixels (:mod:`optical_memory.context.history`).
    """

    store: Store
    session: str
    renderer: Renderer
    view: str
    events: Events
    seen: Callable[[], Seen]
    keep_epochs: int = 0
    _bytes: dict[Key, bytes] = field(default_factory=dict)
    _homes: dict[Key, str] = field(default_factory=dict)
    _sketched: dict[Key, bytes] = field(default_factory=dict)
    _forgotten: set[str] = field(default_factory=set)
    _watchers: set[WeakMethod[Callable[[str], object]]] = field(default_factory=set)

    def page(self, layout: Layout, tier: Tier, *, gist: bool, facts: str = "") -> Page:
        """Return the page of a layout at a tier. Nothing is drawn until its PNG is asked for."""
        return Page(
            id=layout.id,
            layout=layout,
            tier=tier.name,
            size=(tier.width, tier.height),
            tokens=tier.tokens,
            kind="gist" if gist else "leaf",
            facts=facts,
            source=self._png,
            watch=self._watch,
        )

    def admit(self, past: Iterable[Page], arrivals: Iterable[tuple[Page, int]]) -> None:
        """Keep the pixels of these pages and of no others. ``arrivals`` come with the place of their turn."""
        homes = {key: self.home(key) for key in map(_key, past)}
        for page, place in arrivals:
            homes.setdefault(_key(page), f"arrival/{self.view}/{place}/{page.id}/{page.tier}")
        self._homes = homes
        self._bytes = {key: value for key, value in self._bytes.items() if key in homes}

    def load(self, pages: Iterable[Page]) -> None:
        """Make the PNGs of pages ready: from memory, else from the store, else drawn together by size.

        Raises NotFoundError for a page that was forgotten, RenderError and its kin.
        """
        missing: dict[Key, Page] = {}
        for page in pages:
            self._check(page)
            key = _key(page)
            if not page.cached and (data := self._kept(key)) is not None:
                page.cached.append(data)
            elif not page.cached:
                missing[key] = page
        if missing:
            started = time.perf_counter()
            drawn = self._draw(missing)
            for key, page in missing.items():
                page.cached.append(drawn[key])
            self._keep({key: data for key, data in drawn.items() if key in self._homes})
            self.tell_drawn(len(drawn), time.perf_counter() - started)

    def made_for(self, pages: Iterable[Page], held: Mapping[Key, bytes]) -> tuple[dict[Key, bytes], int]:
        """Make the PNGs of pages ready; return those that this view does not show yet, and how many were drawn.

        Those ``held`` already are not drawn again. Keeps nothing. May run on another thread while the view goes on.
        """
        made: dict[Key, bytes] = {}
        missing: dict[Key, Page] = {}
        pages = list(pages)
        for page in pages:
            self._check(page)
            key = _key(page)
            if (data := self._bytes.get(key)) is not None:
                page.cached.append(data)
            elif (data := held.get(key) or self.store.get_blob(self.session, self.home(key))) is not None:
                made[key] = data
            else:
                missing[key] = page
        made |= self._draw(missing)
        for page in pages:
            if not page.cached:
                page.cached.append(made[_key(page)])
        return made, len(missing)

    def sketch(self, pages: Iterable[Page], stopped: Callable[[], bool]) -> None:
        """Draw pages that will probably be shown soon, the newest first, until ``stopped``; others are let go of.

        May run on another thread while the view goes on.
        """
        wanted = {_key(page): page for page in pages}
        sketched = {key: data for key, data in self._sketched.items() if key in wanted}
        self._sketched = sketched  # what comes after drop_sketches() goes into what is let go of
        missing = [key for key in reversed(wanted) if key not in sketched and key not in self._bytes]
        for start in range(0, len(missing), TOGETHER):
            if stopped():
                return
            sketched |= self._draw({key: wanted[key] for key in missing[start : start + TOGETHER]})

    def drop_sketches(self) -> None:
        """Let go of what was drawn for an epoch that will not begin."""
        self._sketched = {}

    def learn(self, pixels: Mapping[Key, bytes]) -> None:
        """Take in pixels that are stored already; :meth:`admit` says which of them are shown."""
        self._bytes |= pixels

    def tell_drawn(self, pages: int, seconds: float) -> None:
        """Tell observers that pages were drawn."""
        self.events.tell(Drawn(session=self.session, pages=pages, seconds=seconds))

    @staticmethod
    def home(key: Key) -> str:
        """Name the blob that holds a page of the past."""
        return f"png/{key.page_id}/{key.tier}"

    def forget(self, page_ids: Iterable[str]) -> None:
        """Let go of all pixels, never draw these pages again, and tell whoever made something of them."""
        gone = set(page_ids)
        self._forgotten |= gone
        for watcher in list(self._watchers):
            if (forget_page := watcher()) is not None:
                for page_id in gone:
                    forget_page(page_id)
        self._bytes.clear()
        self._homes.clear()
        self.drop_sketches()

    def clear(self) -> None:
        """Let go of all pixels held in memory."""
        self._bytes.clear()
        self._homes.clear()
        self.drop_sketches()

    def sweep(self, state: SessionState) -> None:
        """Delete stored pixels that no view of the session shows any more."""
        shown = {f"png/{entry.id}/{entry.tier}" for epoch in state.epochs.values() for entry in epoch.entries}
        try:
            keys = self.store.blob_keys(self.session)
            gone = [key for key in keys if not self._stays(key, shown, state)] + self._surplus(keys, state)
            if gone:
                self.store.delete_blobs(self.session, gone)
        except StoreUnavailableError as error:
            _log.warning("stored pixels of %r are swept later: %s", self.session, error)

    def _stays(self, key: str, shown: Collection[str], state: SessionState) -> bool:
        kind, _, rest = key.partition("/")
        if kind == "png":
            return key in shown
        if kind != "arrival":
            return True
        view, place = rest.split("/")[:2]
        sealed = state.epochs.get(view, state.epochs.get(self.view))
        return sealed is None or int(place) > sealed.sealed_through

    def remember(self, epoch: Epoch, after: int) -> None:
        """Keep an epoch that was just stored, and began after the turn at the place ``after``, where any are kept."""
        if self.keep_epochs:
            from optical_memory.context.history import key_of, record_of  # only where epochs are kept

            self._put({key_of(self.view, after, epoch.number): record_of(epoch)}, self.seen())

    def _surplus(self, keys: Sequence[str], state: SessionState) -> list[str]:
        if not any(key.startswith("epoch/") for key in keys):
            return []
        from optical_memory.context.history import surplus  # only where epochs are kept

        return surplus(keys, state.epochs, self.view, self.keep_epochs)

    def _check(self, page: Page) -> None:
        if page.id in self._forgotten:
            raise NotFoundError(f"page {page.id[:12]!r} of session {self.session!r} was forgotten")

    def _watch(self, forget_page: Callable[[str], object]) -> None:
        self._watchers = {watcher for watcher in self._watchers if watcher() is not None} | {WeakMethod(forget_page)}

    def _png(self, page: Page) -> bytes:
        self.load([page])
        return page.cached.pop()  # the page puts it back

    def _kept(self, key: Key) -> bytes | None:
        if key not in self._bytes and key in self._homes:
            stored = self.store.get_blob(self.session, self._homes[key])
            if stored is not None:
                self._bytes[key] = stored
        return self._bytes.get(key)

    def _draw(self, pages: Mapping[Key, Page]) -> dict[Key, bytes]:
        """Draw pages, those of one size together, but those that were sketched."""
        sketched = self._sketched
        out = {key: sketched[key] for key in pages if key in sketched}
        pages = {key: page for key, page in pages.items() if key not in out}
        for size in dict.fromkeys(page.size for page in pages.values()):
            alike = {key: page.layout for key, page in pages.items() if page.size == size}
            out |= zip(alike, png.paint(self.renderer, list(alike.values()), size=size), strict=True)
        return out

    def _keep(self, drawn: Mapping[Key, bytes]) -> None:
        self._bytes |= drawn
        self._put({self._homes[key]: data for key, data in drawn.items()}, self.seen())

    def settle(self, pixels: Mapping[Key, bytes], notes: Mapping[str, bytes], seen: Seen) -> None:
        """Store the pixels and notes of a new epoch, and delete pixels that no view shows any more.

        ``seen`` is what the view knew when the epoch began. May run on another thread while the view goes on.
        """
        self.sweep(self.seen().state)
        self._put({**notes, **{self.home(key): data for key, data in pixels.items()}}, seen)

    def _put(self, blobs: Mapping[str, bytes], seen: Seen) -> None:
        try:
            if blobs and self._is_current(seen):
                self.store.put_blobs(self.session, dict(blobs))
                if not self._is_current(seen):
                    self.store.delete_blobs(self.session, list(blobs))
        except StoreUnavailableError as error:
            _log.warning("pages or epochs of %r are not kept: %s", self.session, error)

    def _is_current(self, seen: Seen) -> bool:
        """Whether nothing was forgotten since, nor is being forgotten."""
        head = self.store.head(self.session)
        if (head.birth, head.forgotten) != (seen.state.birth, seen.forgotten):
            return False
        if head.version == seen.state.version:
            return True
        return SessionState.load(head.birth, self.store.load_state(self.session)).doomed == seen.state.doomed


def _key(page: Page) -> Key:
    return Key(page.id, page.tier)
