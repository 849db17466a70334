"""Chromium for real: same bytes in every process, nothing fetched, nothing run, no crash that loses a page."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest

from optical_memory.errors import BrowserNotFoundError, LimitError, RenderTimeoutError
from optical_memory.pages import render
from optical_memory.renderers import ChromiumRenderer, DenseRenderer, default_renderer, get_renderer, png
from optical_memory.renderers.base import WIDE as WIDE_CELL
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.renderers.visible import NARROW, WIDE

GRID = Grid(width=1024, height=1024, cell_width=10, cell_height=16)
MARK = "\u0301"
"""A character with it depends on its neighbour: its page is drawn whole, in a picture of its own."""


def pixels(renderer: ChromiumRenderer, text: str, header: str = "") -> np.ndarray:
    run = Run(turn_id="t", role="user", text=text, header=header)
    layouts = lay_out([run], GRID, renderer_key=renderer.key, repertoire=renderer.repertoire)
    return renderer.draw(layouts[:1], size=(1024, 1024))[0]


CODE = """
import hashlib
from optical_memory.pages import render
from optical_memory.renderers import ChromiumRenderer
with_browser = ChromiumRenderer()
pages = render("Hello **bold** `code` 日本語 שלום عربي e\\u0301\\n| a | b |\\n" * 40, tier="base", profile="mini",
               renderer=with_browser)
print(hashlib.sha256(b"".join(page.png for page in pages)).hexdigest())
with_browser.close()
"""


def test_same_bytes_in_every_process(chromium: ChromiumRenderer) -> None:
    runs = [subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True) for _ in "12"]
    assert len({run.stdout for run in runs}) == 1
    assert len(runs[0].stdout.strip()) == 64


def test_characters_lie_in_their_cells(chromium: ChromiumRenderer) -> None:
    """Ink of each word lies where the dense renderer has it, whatever its style."""
    text = "plain **bold** `code` 日本 # heading end"
    ours = pixels(chromium, text)
    ours = ours if ours.ndim == 2 else ours.min(axis=2)
    layouts = lay_out([Run(turn_id="t", role="user", text=text)], GRID, renderer_key="x")
    dense = DenseRenderer().draw(layouts, size=(1024, 1024))[0]
    for column in range(0, 40):
        cell = (slice(0, 16), slice(column * 10, column * 10 + 10))
        assert (ours[cell] < 128).any() == (dense[cell] < 128).any(), column


@pytest.mark.parametrize(("width", "height", "even"), [(10, 16, 1), (8, 12, 1), (12.5, 20, 2)])
def test_a_letter_looks_alike_wherever_it_stands(
    chromium: ChromiumRenderer, width: float, height: int, even: int
) -> None:
    grid = Grid(width=1200, height=480, cell_width=width, cell_height=height)
    run = Run(turn_id="t", role="tool", text="e " * (grid.columns * grid.rows // 2 - 100))
    layout = lay_out([run], grid, renderer_key=chromium.key, repertoire=chromium.repertoire)[0]
    page = chromium.draw([layout], size=(grid.width, grid.height))[0]
    places = [(row, column) for row, column in np.argwhere(layout.cells == ord("e")).tolist() if column % even == 0]
    shapes = {
        page[row * height : (row + 1) * height, round(column * width) : round(column * width) + int(width)].tobytes()
        for row, column in places
        if row
    }
    assert len(places) > 1000
    assert len(shapes) == 1


@pytest.mark.parametrize("mark", ["", MARK])
def test_pages_drawn_together_do_not_touch_each_other(chromium: ChromiumRenderer, mark: str) -> None:
    texts = [
        f"{word}{mark} " * count for word, count in (("first", 50), ("second", 90), ("third", 10), ("fourth", 200))
    ]
    alone = [pixels(chromium, text) for text in texts]
    layouts = [
        lay_out(
            [Run(turn_id="t", role="user", text=text)], GRID, renderer_key=chromium.key, repertoire=chromium.repertoire
        )[0]
        for text in texts
    ]
    together = chromium.draw(layouts, size=(1024, 1024))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_every_tier_is_its_size(chromium: ChromiumRenderer) -> None:
    for tier, side in (("large", 1280), ("base", 1024), ("small", 640), ("tiny", 512)):
        (page,) = render("Some words. " * 30, tier=tier, profile="mini", renderer=chromium)
        assert png.decode(page.png).shape[:2] == (side, side)


@pytest.mark.parametrize(("width", "height", "cell"), [(512, 504, (8, 12)), (512, 512, (8, 12)), (640, 636, (10, 12))])
def test_rows_flatter_than_the_font_end_where_the_page_ends(
    chromium: ChromiumRenderer, width: int, height: int, cell: tuple[int, int]
) -> None:
    """Rows are pressed together; neither the page nor a row may reach beyond its pixels."""
    grid = Grid(width=width, height=height, cell_width=cell[0], cell_height=cell[1])
    run = Run(turn_id="t", role="tool", text="x" * (3 * grid.columns * grid.rows))
    layouts = lay_out([run], grid, renderer_key=chromium.key, repertoire=chromium.repertoire)
    full, *others = chromium.draw(layouts, size=(width, height))
    rows = full[: grid.rows * cell[1]].reshape(grid.rows, cell[1], width)
    assert (rows.min(axis=(1, 2)) < 128).all()  # each row has its ink,
    assert (rows[:, -1] == 255).all()  # which ends above the next row,
    assert (full[grid.rows * cell[1] :] == 255).all()  # and nothing lies below the last
    assert all(np.array_equal(full, other) for other in others[:2])


def test_every_character_of_the_basic_plane_has_ink_of_its_own(chromium: ChromiumRenderer) -> None:
    """No empty box: what the renderer says it draws has ink, and hardly any two characters look the same."""
    classes = chromium.repertoire.classes[:0x10000]
    for kind, cells, most_alike in ((NARROW, 1, 4), (WIDE, 2, 8)):
        codes = np.flatnonzero(classes == kind).tolist()
        run = Run(turn_id="t", role="tool", text="".join(map(chr, codes)))
        layouts = lay_out([run], GRID, renderer_key=chromium.key, repertoire=chromium.repertoire, flow="lines")
        seen: dict[int, bytes] = {}
        for layout, raster in zip(layouts, chromium.draw(layouts, size=(1024, 1024)), strict=True):
            grey = raster if raster.ndim == 2 else raster.min(axis=2)
            for row, column in np.argwhere((layout.cells != 0) & (layout.cells != WIDE_CELL)).tolist():
                y, x = row * GRID.cell_height, column * GRID.cell_width
                glyph = grey[y : y + GRID.cell_height, x : x + cells * GRID.cell_width]
                seen[int(layout.cells[row, column])] = glyph.tobytes() if (glyph < 224).any() else b""
        assert {*codes} - {9, 10} <= {*seen}  # a tab and a newline are shown as marks
        assert {hex(code) for code, glyph in seen.items() if not glyph} <= {"0x20"}
        assert Counter(seen.values()).most_common(1)[0][1] <= most_alike


def test_a_picture_that_takes_too_long_is_an_error_and_the_next_is_drawn(chromium: ChromiumRenderer) -> None:
    before = pixels(chromium, f"in time{MARK}")
    hasty = ChromiumRenderer(seconds=0.0005)
    with pytest.raises(RenderTimeoutError, match="longer than"):
        pixels(hasty, f"too late{MARK} " * 500)
    hasty.close()
    assert np.array_equal(pixels(chromium, f"in time{MARK}"), before)


def test_without_a_browser_pages_are_dense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.delenv("OPTICAL_MEMORY_CHROMIUM", raising=False)
    assert isinstance(default_renderer(), DenseRenderer)
    with pytest.raises(BrowserNotFoundError, match="playwright install chromium"):
        get_renderer("chromium")


class _Canary(BaseHTTPRequestHandler):
    hits: list[str]

    def do_GET(self) -> None:
        type(self).hits.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


HOSTILE = """<script src="http://HOST/a.js"></script>
<img src="http://HOST/b.png" onerror="fetch('http://HOST/c')">
<link rel=stylesheet href="http://HOST/d.css"><style>@import url(http://HOST/e.css); body{background:url(http://HOST/f)}</style>
<meta http-equiv=refresh content="0;url=http://HOST/g"><iframe src="http://HOST/h"></iframe><object data="http://HOST/i">
<svg onload="alert(1)"><image href="http://HOST/j"/></svg><video src="http://HOST/k" autoplay><base href="http://HOST/">
</main></body></html><body onload=alert(2)>--><!-- ]]> </style></script><a href="javascript:alert(3)">x</a>
![image](http://HOST/l.png) [link](http://HOST/m) {{7*7}} ${7*7} &lt;script&gt; &#60;script&#62; url(http://HOST/n)
<iframe src="file:///etc/passwd"></iframe><img src="file:///etc/passwd"> data:text/html,<script>alert(4)</script>
\x1b[31mred\x1b[0m \x00 \u202egnirts\u202c zero\u200bwidth \ud800 user: forged
"""


def test_hostile_turns_fetch_nothing_and_run_nothing(chromium: ChromiumRenderer) -> None:
    handler = type("Canary", (_Canary,), {"hits": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = HOSTILE.replace("HOST", f"127.0.0.1:{server.server_address[1]}")
    quiet = pixels(chromium, "a page before")
    drawn = pixels(chromium, text + "<b>" * 5_000)
    after = pixels(chromium, "a page before")
    server.shutdown()
    server.server_close()
    assert handler.hits == []
    assert (drawn < 128).any()
    assert np.array_equal(quiet, after)
    layouts = lay_out(
        [Run(turn_id="t", role="user", text=text)], GRID, renderer_key=chromium.key, repertoire=chromium.repertoire
    )
    assert "<script src=" in layouts[0].text and "\\u{1b}[31m" in layouts[0].text and "\\u{202e}" in layouts[0].text


def test_a_killed_browser_is_started_again_and_no_page_is_lost(chromium: ChromiumRenderer) -> None:
    before = pixels(chromium, f"still here{MARK}")
    pid = chromium.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert np.array_equal(pixels(chromium, f"still here{MARK}"), before)
    assert chromium.pid != pid


def test_a_killed_renderer_process_is_noticed_and_its_page_drawn_anew() -> None:
    """Those processes are the kernel's usual victims: Chromium offers them first."""
    if not ChromiumRenderer.available():
        pytest.skip("Chromium is not installed")
    renderer = ChromiumRenderer(tabs=1, seconds=500)  # a death that is not noticed ends in a timeout
    try:
        before = pixels(renderer, f"still here{MARK}")
        chance = random.Random(7)
        for _ in range(6):
            timer = threading.Timer(chance.random() * 0.2, kill_renderers, [renderer])
            timer.start()
            while timer.is_alive():
                assert np.array_equal(pixels(renderer, f"still here{MARK}"), before)
            timer.join()
            assert np.array_equal(pixels(renderer, f"still here{MARK}"), before)
        kill_renderers(renderer)  # while nothing is drawn
        assert np.array_equal(pixels(renderer, f"still here{MARK}"), before)
    finally:
        renderer.close()


def kill_renderers(renderer: ChromiumRenderer) -> None:
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(renderer.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "--type=renderer" in process.cmdline():
                    process.kill()


def test_chromium_and_its_headless_shell_draw_the_same() -> None:
    programs = [shutil.which(name) for name in ("chromium", "chromium-headless-shell")]
    if not all(programs):
        pytest.skip("only one of the two is installed")
    drawn = []
    for program in programs:
        renderer = ChromiumRenderer(program)
        drawn.append(
            (renderer.key, pixels(renderer, CODE + HOSTILE + "中文 한국어 हिन्दी ไทย ─┼█→ ①✓ *it* " * 20, "user:"))
        )
        renderer.close()
    assert drawn[0][0] == drawn[1][0]
    assert np.array_equal(drawn[0][1], drawn[1][1])


def test_no_browser_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BrowserNotFoundError):
        ChromiumRenderer(tmp_path / "no-such-chromium")
    assert not ChromiumRenderer.available(tmp_path / "no-such-chromium")


def test_pages_beyond_the_limits_are_refused(chromium: ChromiumRenderer) -> None:
    grid = Grid(width=9000, height=160, cell_width=10, cell_height=16)
    layouts = lay_out([Run(turn_id="t", role="user", text="x")], grid, renderer_key=chromium.key)
    with pytest.raises(LimitError):
        chromium.draw(layouts, size=(9000, 160))


def test_closing_leaves_no_process() -> None:
    if not ChromiumRenderer.available():
        pytest.skip("Chromium is not installed")
    code = (
        "from optical_memory.renderers import ChromiumRenderer\n"
        "from optical_memory.pages import render\n"
        "renderer = ChromiumRenderer(); render('x', tier='tiny', profile='mini', renderer=renderer)[0].png\n"
        "print(renderer.pid); renderer.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_asynchronous_drawing_gives_the_same(chromium: ChromiumRenderer) -> None:
    run = Run(turn_id="t", role="user", text="some words")
    layouts = lay_out([run], GRID, renderer_key=chromium.key, repertoire=chromium.repertoire)
    (raster,) = await chromium.adraw(layouts, size=(1024, 1024))
    assert np.array_equal(raster, pixels(chromium, "some words"))
