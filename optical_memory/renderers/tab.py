"""One tab of Chromium: it shows a picture and returns its pixels, and makes sure that they are that picture's."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import itertools
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import deflate
import numpy as np
import numpy.typing as npt
from PIL import Image

from optical_memory.errors import StaleError

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, Route
    from playwright.async_api import Page as PlaywrightPage

T = TypeVar("T")

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

PICTURES_PER_TAB = 200
"""Pictures after which a tab is closed and another opened, so that the browser's memory stays bounded."""
STAMP_HEIGHT = 2
_MAX_SHOTS = 5
_FILTER_UP = 2  # PNG specification, 9.2: each byte is what it is more than the one above it
_STYLE = f"""
html,body{{margin:0;background:#000}}main{{display:block;position:relative;overflow:hidden;isolation:isolate}}
.stamp{{position:absolute;left:0;bottom:0;width:100%;height:{STAMP_HEIGHT}px;mix-blend-mode:plus-lighter}}
"""
_FONTS_LOADED = "Promise.all([...document.fonts].map(face => face.load())).then(() => null)"


class CrashedTabError(StaleError):
    """The process that draws a tab ended, as when the kernel is short of memory and picks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Markup to show at ``width`` × ``height`` px. ``style`` is CSS, fonts included, which a tab loads only once.

    What is in ``body`` must be positioned absolutely and drawn with ``mix-blend-mode: plus-lighter`` on black.
    """

    style: str
    body: str
    width: int
    height: int

    @property
    def look(self) -> tuple[str, int, int]:
        """What a tab cannot change once it is open."""
        return (self.style, self.width, self.height)


class Tab:
    """A page in a browser context of its own, without scripts, network, files, downloads or permissions.

    It holds one style for its whole life: the policy that allows that style would forbid another.
    """

    def __init__(
        self, context: BrowserContext, cdp: CDPSession, picture: Picture, body: int, crash: asyncio.Future[None]
    ) -> None:
        self._context = context
        self._crash = crash
        self._cdp = cdp
        self._look = picture.look
        self._body = body
        self._stamps = itertools.count(1)
        self._pictures = 0

    @classmethod
    async def open(cls, browser: Browser, picture: Picture) -> Tab:
        """Open a tab for pictures that look like this one, and load the fonts. Errors: Playwright's."""
        context = await browser.new_context(
            java_script_enabled=False,
            offline=True,
            accept_downloads=False,
            service_workers="block",
            permissions=[],
            locale="en-US",
            color_scheme="light",
            reduced_motion="reduce",
            viewport={"width": picture.width, "height": picture.height + STAMP_HEIGHT},
        )
        await context.route("**/*", _abort)
        page = await context.new_page()
        crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def crashed(_: PlaywrightPage) -> None:
            if not crash.done():
                crash.set_result(None)

        page.on("crash", crashed)
        return await _unless(crash, cls._opened(context, page, picture, crash))

    @classmethod
    async def _opened(
        cls, context: BrowserContext, page: PlaywrightPage, picture: Picture, crash: asyncio.Future[None]
    ) -> Tab:
        cdp = await context.new_cdp_session(page)
        frame = (await cdp.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        await cdp.send("Page.setDocumentContent", {"frameId": frame, "html": _document(picture)})
        await page.evaluate(_FONTS_LOADED)
        root = (await cdp.send("DOM.getDocument", {"depth": 0}))["root"]["nodeId"]
        body = (await cdp.send("DOM.querySelector", {"nodeId": root, "selector": "body"}))["nodeId"]
        return cls(context, cdp, picture, body, crash)

    async def close(self) -> None:
        """Close the tab and its context."""
        await self._context.close()

    @property
    def is_worn(self) -> bool:
        """Whether the tab has shown so many pictures that another should take its place."""
        return self._pictures >= PICTURES_PER_TAB

    def suits(self, picture: Picture) -> bool:
        """Whether a picture can be shown here."""
        return self._look == picture.look and not self._crash.done()

    async def shoot(self, picture: Picture) -> Pixels:
        """Show a picture and return its pixels, (height, width, 3).

        A stamp below the picture, another one each time, proves by its colours that the pixels are this picture's and
        that the three channels were kept apart. Errors: StaleError, CrashedTabError, Playwright's.
        """
        return await _unless(self._crash, self._shot(picture))

    async def _shot(self, picture: Picture) -> Pixels:
        self._pictures += 1
        stamp = next(self._stamps)
        color = (stamp >> 16 & 255, stamp >> 8 & 255, stamp & 255)
        marks = "".join(
            f'<table class=stamp bgcolor="#{"00" * channel}{value:02x}{"00" * (2 - channel)}"></table>'
            for channel, value in enumerate(color)
        )
        main = await self._cdp.send("DOM.querySelector", {"nodeId": self._body, "selector": "main"})
        html = f"<main>{picture.body}{marks}</main>"
        await self._cdp.send("DOM.setOuterHTML", {"nodeId": main["nodeId"], "outerHTML": html})
        for _ in range(_MAX_SHOTS):
            pixels = await self._capture()
            is_whole = pixels.shape == (picture.height + STAMP_HEIGHT, picture.width, 3)
            if is_whole and (pixels[picture.height :] == color).all():
                return pixels[: picture.height]
        raise StaleError(f"Chromium showed another picture {_MAX_SHOTS} times, or is older than version 100")

    async def _capture(self) -> Pixels:
        options = {"format": "png", "optimizeForSpeed": True, "fromSurface": True, "captureBeyondViewport": False}
        shot = await self._cdp.send("Page.captureScreenshot", options)
        return await asyncio.to_thread(_pixels, shot["data"])


async def _unless(crash: asyncio.Future[None], work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and stop as soon as the tab's process has ended. Errors: CrashedTabError, the work's."""
    from playwright.async_api import Error as PlaywrightError

    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, crash), return_when=asyncio.FIRST_COMPLETED)
        if not crash.done():
            return await task
    except PlaywrightError:
        if not crash.done():
            raise
    finally:
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise CrashedTabError("the process that drew the page ended")


async def _abort(route: Route) -> None:
    await route.abort()


def _document(picture: Picture) -> str:
    """Return an empty document that may use the picture's style, fonts within it, and nothing else."""
    style = f"{_STYLE}main{{width:{picture.width}px;height:{picture.height + STAMP_HEIGHT}px}}{picture.style}"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; font-src data:; base-uri 'none'; form-action 'none'"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=referrer content=no-referrer>"
        f'<meta http-equiv=Content-Security-Policy content="{policy}"><style>{style}</style><body><main></main>'
    )


def _pixels(data: str) -> Pixels:
    """Decode a PNG given in base64; the form that Chromium writes in a third of Pillow's time."""
    png = binascii.a2b_base64(data)
    width, height, depth, kind = struct.unpack_from(">IIBB", png, 16)
    if (depth, kind) == (8, 2):
        filtered = np.frombuffer(deflate.zlib_decompress(_image_data(png), height * (3 * width + 1)), np.uint8)
        rows = filtered.reshape(height, 3 * width + 1)
        if (rows[:, 0] == _FILTER_UP).all():
            out = np.empty((height, 3 * width), np.uint8)
            out[0] = rows[0, 1:]
            for row in range(1, height):
                np.add(out[row - 1], rows[row, 1:], out=out[row])
            return out.reshape(height, width, 3)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def _image_data(png: bytes) -> bytes:
    parts, at = [], 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            parts.append(png[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(parts)
