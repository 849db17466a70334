"""A warm Chromium: pictures in as markup, out as pixels.

One browser serves the whole process. Playwright's asynchronous interface drives it on a thread of its own, so that
neither synchronous callers nor event loops are held up. A browser that dies is started again, and what it was
drawing is drawn again. A forked child gets a browser of its own.

The markup of a picture can do nothing: no scripts, no requests, no files, no permissions; see docs/security.md.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from optical_memory.errors import BrowserCrashedError, RenderTimeoutError, StaleError
from optical_memory.renderers.tab import CrashedTabError, Picture, Pixels, Tab

if TYPE_CHECKING:
    from playwright.async_api import Browser as PlaywrightBrowser
    from playwright.async_api import Playwright

T = TypeVar("T")

MAX_RESTARTS = 3
"""How often a dead browser is started again for one picture before BrowserCrashedError."""
LAUNCH_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_MAX_IDLE_TABS = 4  # such as two for pages and two for excerpts, which have another grid

FLAGS = (
    # The same pixels everywhere.
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--disable-gpu",
    "--hide-scrollbars",
    # Nothing leaves the machine: neither what a picture asks for nor what a browser does on its own.
    "--disable-background-networking",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-sync",
    "--no-pings",
    "--dns-prefetch-disable",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserOptions:
    """Which Chromium, how many tabs at once, and whether it runs in Chromium's sandbox."""

    executable: Path
    tabs: int
    sandbox: bool


class Browser:
    """A Chromium that is started when first needed, and the thread that drives it."""

    def __init__(self, options: BrowserOptions) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="optical-memory-chromium", daemon=True)
        self._thread.start()
        self._launching = asyncio.Lock()
        self._slots = asyncio.Semaphore(options.tabs)
        self._session: _Session | None = None
        self.users: set[int] = set()

    @property
    def pid(self) -> int | None:
        """Process id of the Chromium that runs now."""
        return self._session.pid if self._session else None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the browser's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def shoot(self, picture: Picture, *, seconds: float) -> Pixels:
        """Return the pixels of a picture, (height, width, 3). To be awaited on the browser's thread.

        Errors: RenderTimeoutError after ``seconds``, in which a browser's start does not count; BrowserCrashedError.
        """
        from playwright.async_api import Error as PlaywrightError

        async with self._slots:
            reason: Exception | None = None
            for _ in range(MAX_RESTARTS + 1):
                session = None
                try:
                    session = await self._running()
                    return await session.shoot(picture, seconds)
                except TimeoutError as error:
                    await self._drop(session)
                    raise RenderTimeoutError(f"a picture took longer than {seconds:g} s to draw") from error
                except CrashedTabError as error:  # the browser and its other tabs live on
                    reason = error
                except (PlaywrightError, StaleError) as error:
                    reason = error
                    await self._drop(session)
        raise BrowserCrashedError(f"Chromium failed {MAX_RESTARTS + 1} times in a row: {reason}") from reason

    async def _running(self) -> _Session:
        async with self._launching:
            if self._session is None or not self._session.is_alive:
                await self._drop(self._session)
                self._session = await _Session.start(self._options)
            return self._session

    async def _drop(self, session: _Session | None) -> None:
        """End a session that failed, at once and by force; the next picture starts another."""
        if session is self._session:
            self._session = None
        if session is not None:
            await session.end(force=True)

    def close(self) -> None:
        """End the browser and its thread; what is being drawn is cancelled."""
        self.submit(self._shut_down()).result(2 * _CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        self._loop.close()

    async def _shut_down(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.end(force=False)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class _Session:
    """One run of Chromium, from its start to its end, with its tabs."""

    def __init__(self, playwright: Playwright, browser: PlaywrightBrowser, pid: int) -> None:
        self._playwright = playwright
        self._browser = browser
        self._free: list[Tab] = []
        self._ended = False
        self.pid = pid

    @classmethod
    async def start(cls, options: BrowserOptions) -> _Session:
        """Start Playwright and Chromium. Errors: Playwright's."""
        from playwright.async_api import async_playwright

        playwright = await async_playwright().start()
        try:
            browser = await playwright.chromium.launch(
                executable_path=options.executable,
                args=list(FLAGS),
                chromium_sandbox=options.sandbox,
                timeout=LAUNCH_SECONDS * 1000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
            cdp = await browser.new_browser_cdp_session()
            processes = (await cdp.send("SystemInfo.getProcessInfo"))["processInfo"]
        except BaseException:
            await playwright.stop()
            raise
        return cls(playwright, browser, next(process["id"] for process in processes if process["type"] == "browser"))

    @property
    def is_alive(self) -> bool:
        """Whether Chromium still answers."""
        return not self._ended and self._browser.is_connected()

    async def shoot(self, picture: Picture, seconds: float) -> Pixels:
        """Return a picture's pixels. Errors: TimeoutError, StaleError, Playwright's."""
        async with asyncio.timeout(seconds):
            tab = await self._tab(picture)
            pixels = await tab.shoot(picture)
            if tab.is_worn:
                await tab.close()
            else:
                self._free.append(tab)
            return pixels

    async def _tab(self, picture: Picture) -> Tab:
        tab = next((tab for tab in self._free if tab.suits(picture)), None)
        if tab is not None:
            self._free.remove(tab)
            return tab
        if len(self._free) >= _MAX_IDLE_TABS:
            await self._free.pop(0).close()
        return await Tab.open(self._browser, picture)

    async def end(self, *, force: bool) -> None:
        """End Chromium, by a signal where ``force``, and Playwright's driver."""
        from playwright.async_api import Error as PlaywrightError

        if self._ended:
            return
        self._ended = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if force:
                    _kill(self.pid)
                await self._browser.close()
                await self._playwright.stop()
        except (PlaywrightError, TimeoutError):
            _kill(self.pid)  # it did not close as it should


def _kill(pid: int) -> None:
    """Kill Chromium with all its processes: Playwright starts it as the leader of a group."""
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        elif os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


_browsers: dict[BrowserOptions, Browser] = {}
_lock = threading.Lock()
_left_behind: list[Browser] = []  # a parent's browsers in a forked child: never touched, never collected


def borrow(options: BrowserOptions, user: object) -> Browser:
    """Return this process's browser with these options, for ``user`` to draw with until it gives it back."""
    with _lock:
        if options not in _browsers:
            _browsers[options] = Browser(options)
        _browsers[options].users.add(id(user))
        return _browsers[options]


def give_back(options: BrowserOptions, user: object) -> None:
    """Close the browser with these options when ``user`` was the last that had it."""
    with _lock:
        browser = _browsers.get(options)
        if browser is None or id(user) not in browser.users:
            return
        browser.users.discard(id(user))
        if browser.users:
            return
        del _browsers[options]
    browser.close()


@atexit.register
def _close_all() -> None:
    while _browsers:
        _browsers.popitem()[1].close()


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _left_behind.extend(_browsers.values())
    _browsers.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
