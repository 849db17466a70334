"""The Chromium renderer: pages with roles, Markdown, code, East Asian and right-to-left text, and emoji.

Chromium draws ink, black on white. Most pages are put together from glyphs that it drew once (renderers/glyphs.py).
Pages with characters that depend on their neighbours are drawn whole, up to three in one picture: one in its red, one
in its green and one in its blue channel. Taking a picture costs far more than drawing text, so three pages cost little
more than one. The channels are added, never mixed, so a page's pixels do not depend on its neighbours. The ink of
labels and links is coloured afterwards; a page with emoji is drawn alone, in full colour.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from itertools import groupby, islice
from operator import or_
from pathlib import Path

import numpy as np

from optical_memory.errors import BrowserNotFoundError, LimitError, MissingExtraError, RenderError
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.browser import BrowserOptions, borrow, give_back
from optical_memory.renderers.executable import find_executable, version
from optical_memory.renderers.glyphs import CHANNELS, Sheets, blank, common, is_whole, keys_of
from optical_memory.renderers.inked import Inked, finish
from optical_memory.renderers.markup import decorate, mark_up
from optical_memory.renderers.tab import Picture, Pixels
from optical_memory.renderers.tiles import Keys, Tiles
from optical_memory.renderers.visible import Repertoire
from optical_memory.renderers.webfonts import load_faces, style

MAX_SECONDS = 30.0
"""Longest time for a picture of up to three pages, in seconds; a browser's start does not count."""
MAX_CHARACTERS = 200_000
"""Most cells of a page."""
MAX_SIDE = 8192
"""Greatest width and height of a page, in px."""
_TOGETHER = 16
"""Most pages of a stream whose glyphs are looked for together."""
_GLYPHS = 2_000
"""Most glyphs that are drawn before their tiles are cut out."""
_KNOWN: dict[tuple[str, float, int], Tiles] = {}
"""Tiles that any renderer of this process has drawn, by its key and the cell; the same pixels for all."""
_MOST_KNOWN = 16
"""Sizes of cells whose tiles are kept."""


class ChromiumRenderer:
    """Draws layouts with a warm Chromium that all renderers of a process share.

    ``executable_path``: the Chromium to use, instead of the first found (see renderers/executable.py). ``tabs``:
    pictures taken at once; default: as many as there are cores, at most 4. ``sandbox``: Chromium's own; default: on,
    except for root, for whom Chromium has none. ``seconds``: longest time for a picture. ``emoji_font``: a colour font
    (such as Noto Colour Emoji) to draw emoji with, which are escapes otherwise; it becomes part of ``key``, because
    pages then depend on that file. Calls from several threads, from event loops and after a fork are safe.

    Errors: BrowserNotFoundError, MissingExtraError, InputError for an emoji font that cannot be read.
    """

    def __init__(
        self,
        executable_path: str | os.PathLike[str] | None = None,
        *,
        tabs: int | None = None,
        sandbox: bool | None = None,
        seconds: float = MAX_SECONDS,
        emoji_font: str | os.PathLike[str] | None = None,
    ) -> None:
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        self._options = BrowserOptions(
            executable=find_executable(executable_path),
            tabs=tabs or min(4, os.cpu_count() or 1),
            sandbox=not is_root if sandbox is None else sandbox,
        )
        self._seconds = seconds
        self._faces = load_faces(None if emoji_font is None else Path(emoji_font))
        self._loaded: dict[Grid, int] = {}
        self._style = functools.lru_cache(maxsize=8)(self._write_style)

    @staticmethod
    def available(executable_path: str | os.PathLike[str] | None = None) -> bool:
        """Whether a Chromium and Playwright are here. Starts nothing."""
        try:
            find_executable(executable_path)
        except (BrowserNotFoundError, MissingExtraError):
            return False
        return True

    @functools.cached_property
    def key(self) -> str:
        """Name, pixel version, version of Chromium, and the emoji font where there is one."""
        emoji = f"-{self._faces.emoji_digest[:12]}" if self._faces.emoji_digest else ""
        return f"chromium-4-{version(self._options.executable)}{emoji}"

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn, for ``lay_out``."""
        return self._faces.repertoire

    @property
    def pid(self) -> int | None:
        """Process id of the running Chromium, None before the first page."""
        return borrow(self._options, self).pid

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts at ``size`` (width, height in px).

        Errors: LimitError, InputError for a character out of the repertoire, RenderTimeoutError, BrowserCrashedError.
        """
        return list(self.stream(layouts, size=size))

    def paint(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
        """Draw layouts as PNG bytes, quicker than by their rasters. Errors: draw's."""
        return [inked.png() for inked in self._stream(layouts, size)]

    async def adraw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts as :meth:`draw` does, without holding up the event loop."""
        browser = borrow(self._options, self)
        works = [
            asyncio.wrap_future(browser.submit(self._picture(group, size)))
            if whole
            else asyncio.to_thread(self._put_together, group, size)
            for whole, group in self._groups(layouts)
        ]
        return [inked.raster() for page in await asyncio.gather(*works) for inked in page]

    def stream(self, layouts: Iterable[Layout], *, size: tuple[int, int]) -> Iterator[Raster]:
        """Draw layouts one after another, a few ahead of the one that is yielded, so that memory stays bounded."""
        return (inked.raster() for inked in self._stream(layouts, size))

    def _stream(self, layouts: Iterable[Layout], size: tuple[int, int]) -> Iterator[Inked]:
        browser = borrow(self._options, self)
        ahead: deque[Future[list[Inked]]] = deque()
        try:
            for whole, group in self._groups(layouts):
                if whole:
                    ahead.append(browser.submit(self._picture(group, size)))
                while ahead and (not whole or len(ahead) > 2 * self._options.tabs):
                    yield from ahead.popleft().result()
                if not whole:
                    yield from self._put_together(group, size)
            while ahead:
                yield from ahead.popleft().result()
        except CancelledError as error:
            raise RenderError("the browser was closed while it drew") from error
        finally:
            for future in ahead:
                future.cancel()

    def close(self) -> None:
        """Let go of the browser; the last renderer to do so ends it. A later draw starts one again."""
        give_back(self._options, self)

    def _groups(self, layouts: Iterable[Layout]) -> Iterator[tuple[bool, list[Layout]]]:
        """Split layouts, in order, into those of one picture, and those on one grid that need none.

        In one picture are up to three on one grid, or one in full colour.
        """

        def kind(layout: Layout) -> tuple[Grid, bool, bool]:
            return layout.grid, is_whole(layout, self._faces), self._faces.has_emoji(layout)

        for (_, whole, is_colour), run in groupby(layouts, kind):
            most = 1 if is_colour else CHANNELS if whole else _TOGETHER
            while group := list(islice(run, most)):
                yield whole, group

    def _put_together(self, layouts: Sequence[Layout], size: tuple[int, int]) -> list[Inked]:
        """Return pages of one grid that are put together from tiles; what was never drawn before is drawn."""
        for layout in layouts:
            _check_limits(layout)
        grid = layouts[0].grid
        decorations = [decorate(layout) for layout in layouts]
        pages = [keys_of(layout, how, self._faces) for layout, how in zip(layouts, decorations, strict=True)]
        home = (self.key, grid.cell_width, grid.cell_height)
        keys = np.concatenate([common(self._faces), *(page.ravel() for page in pages)])
        tiles = (_KNOWN.get(home) or blank(grid)).learn(keys, lambda new: self._drawn(new, grid))
        _KNOWN[home] = tiles
        for oldest in list(_KNOWN)[:-_MOST_KNOWN]:
            _KNOWN.pop(oldest, None)
        full = (grid.width, grid.height)
        return [
            finish(tiles.compose(page, full), how, grid, size) for page, how in zip(pages, decorations, strict=True)
        ]

    def _drawn(self, keys: Keys, grid: Grid) -> Raster:
        """Return the tiles of glyphs that Chromium draws now, some pictures at a time."""
        browser = borrow(self._options, self)
        tiles = []
        for first in range(0, len(keys), _GLYPHS):
            sheets = Sheets(keys[first : first + _GLYPHS], grid, self._faces)
            shots = [self._shot(body, sheets.grid, sheets.fonts, sheets.style) for body in sheets.pictures()]
            tiles.append(sheets.cut([work.result() for work in [browser.submit(shot) for shot in shots]]))
        return np.concatenate(tiles)

    def _write_style(self, grid: Grid, numbers: int) -> str:
        return style(grid, numbers, self._faces.emoji_font)

    async def _picture(self, layouts: Sequence[Layout], size: tuple[int, int]) -> list[Inked]:
        """Draw the layouts of one picture. Runs on the browser's thread; the arithmetic on others."""
        for layout in layouts:
            _check_limits(layout)
        pages = await asyncio.to_thread(lambda: [mark_up(layout, self._faces) for layout in layouts])
        body = "".join(
            f'<div class="p {"all" if page.has_colour else f"p{channel}"}"><div class=t>{page.html}</div></div>'
            for channel, page in enumerate(pages)
        )
        grid = layouts[0].grid
        pixels = await self._shot(body, grid, functools.reduce(or_, (page.faces for page in pages)))
        rasters = [pixels if page.has_colour else pixels[:, :, channel] for channel, page in enumerate(pages)]
        return await asyncio.to_thread(
            lambda: [finish(raster, page.decoration, grid, size) for raster, page in zip(rasters, pages, strict=True)]
        )

    async def _shot(self, body: str, grid: Grid, fonts: int, rules: str = "") -> Pixels:
        """Return the pixels of a picture as large as a grid, with text in its cells. Runs on the browser's thread."""
        fonts |= self._loaded.get(grid, 0)
        self._loaded[grid] = fonts  # fonts that tabs have loaded stay loaded: loading takes far longer than drawing
        css = await asyncio.to_thread(self._style, grid, fonts)
        picture = Picture(style=css + rules, body=body, width=grid.width, height=grid.height)
        return await borrow(self._options, self).shoot(picture, seconds=self._seconds)


def _check_limits(layout: Layout) -> None:
    grid = layout.grid
    if max(grid.width, grid.height) > MAX_SIDE:
        raise LimitError(f"a page of {grid.width} × {grid.height} px; at most {MAX_SIDE} px a side can be drawn")
    characters = layout.cells.size + sum(len(marks) for _, marks in layout.marks)
    if characters > MAX_CHARACTERS:
        raise LimitError(f"a page of {characters:,} characters; at most {MAX_CHARACTERS:,} can be drawn")
