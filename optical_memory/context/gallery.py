"""The gallery: PNG bytes of pages, drawn once, kept in memory while shown and in the store across restarts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from optical_memory.renderers import png
from optical_memory.renderers.base import Layout, Page, Renderer, Tier
from optical_memory.stores.base import Store

Key = tuple[str, str]


class Gallery:
    """Pages of one session with their pixels. Losing what it keeps costs time only."""

    def __init__(self, store: Store, session: str, renderer: Renderer) -> None:
        """Nothing is drawn until a page's PNG is asked for."""
        self._store, self._session, self._renderer = store, session, renderer
        self._bytes: dict[Key, bytes] = {}
        self._urls: dict[Key, str] = {}
        self._kept: set[Key] = set()

    def page(self, layout: Layout, tier: Tier, *, gist: bool, facts: str) -> Page:
        """Return the page of a layout at a tier."""
        return Page(
            id=layout.id,
            layout=layout,
            tier=tier.name,
            size=(tier.width, tier.height),
            tokens=tier.tokens,
            kind="gist" if gist else "leaf",
            facts=facts,
            source=self.png,
        )

    def png(self, page: Page) -> bytes:
        """Return the PNG of a page."""
        self.load([page])
        return self._bytes[_key(page)]

    def url(self, page: Page) -> str:
        """Return the PNG of a page as a data URL; the same string object while the page is shown."""
        key = _key(page)
        if key not in self._urls:
            self._urls[key] = "data:image/png;base64," + base64.b64encode(self.png(page)).decode()
        return self._urls[key]

    def load(self, pages: Iterable[Page]) -> None:
        """Make the PNGs of pages ready: from memory, else from the store, else drawn together by size."""
        missing: dict[Key, Page] = {}
        for page in pages:
            key = _key(page)
            if key in self._bytes or key in missing:
                continue
            stored = self._store.get_blob(self._session, blob_key(page))
            if stored is None:
                missing[key] = page
            else:
                self._bytes[key] = stored
        for size in dict.fromkeys(page.size for page in missing.values()):
            self._draw([page for page in missing.values() if page.size == size], size)

    def _draw(self, pages: Sequence[Page], size: tuple[int, int]) -> None:
        rasters = self._renderer.draw([page.layout for page in pages], size=size)
        drawn = {blob_key(page): png.encode(raster) for page, raster in zip(pages, rasters, strict=True)}
        self._bytes |= {_key(page): drawn[blob_key(page)] for page in pages}
        self._store.put_blobs(self._session, drawn)

    def keep_only(self, pages: Iterable[Page]) -> None:
        """Forget, here and in the store, the pixels of pages that are shown no more."""
        keep = {_key(page) for page in pages}
        gone = sorted((self._kept | self._bytes.keys()) - keep)
        self._kept = keep
        for key in gone:
            self._bytes.pop(key, None)
            self._urls.pop(key, None)
        if gone:
            self._store.delete_blobs(self._session, [f"png/{page_id}/{tier}" for page_id, tier in gone])

    def clear(self) -> None:
        """Forget every pixel held in memory."""
        self._bytes.clear()
        self._urls.clear()
        self._kept.clear()


def blob_key(page: Page) -> str:
    """Name a page's PNG in the store."""
    return f"png/{page.id}/{page.tier}"


def _key(page: Page) -> Key:
    return (page.id, page.tier)
