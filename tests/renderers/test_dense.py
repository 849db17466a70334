from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.renderers.raster import downsample
from optical_memory.renderers.visible import Repertoire, bmp_classes

MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
DEEPSEEK_OCR = Grid(width=1280, height=1280, cell_width=15, cell_height=25)
NATIVE = Grid(width=1568, height=728, cell_width=5, cell_height=8)
SCRIPTS = (
    "user: def f(x): return {0: 'O', 1: 'l'}[x]  # 中文，汉字 ひらがな カタカナ 한국어 Ελληνικά Кириллица "
    "שלום مرحبا ไทย ქართული ─┼█→ ①✓ \u00a0\u3000 \x1b[31m\n\t🎉 W_W@_│││"
)


def page(text: str, grid: Grid = MINI) -> Layout:
    return lay_out([Run(turn_id="t", role="user", text=text)], grid, renderer_key=DenseRenderer().key)[0]


def draw(layout: Layout, size: tuple[int, int] | None = None) -> Raster:
    return DenseRenderer().draw([layout], size=size or (layout.grid.width, layout.grid.height))[0]


@pytest.mark.parametrize("grid", [MINI, DEEPSEEK_OCR, Grid(width=1024, height=1024, cell_width=10, cell_height=16)])
@pytest.mark.parametrize("size", [(1024, 1024), (640, 640), (512, 512), (384, 384), (256, 256)])
def test_every_tier_is_an_average_of_the_canonical_raster(grid: Grid, size: tuple[int, int]) -> None:
    layout = page(SCRIPTS * 40, grid)
    assert (draw(layout, size) == downsample(draw(layout), size)).all()


@given(st.text(min_size=1, max_size=200), st.sampled_from([(1024, 1024), (512, 512), (256, 256)]))
def test_tiers_of_any_text_are_averages(text: str, size: tuple[int, int]) -> None:
    layout = page(text)
    assert (draw(layout, size) == downsample(draw(layout), size)).all()


def test_characters_lie_in_their_cells() -> None:
    raster = draw(page("A" * 102 + " " * 50 + "A中"))
    ink = raster < 255
    assert not ink[40:].any()
    assert ink[:20, :1275].any(axis=0)[: 12 * 3].any()
    assert not ink[:, 1275:].any()
    assert not ink[20:40, : 50 * 25 // 2].any()
    a, b = raster[:20, :12], raster[:20, 13:25]
    assert (a == b).all()
    assert (raster[20:40, 625:637] == a).all()
    wide = np.flatnonzero(ink[20:40].any(axis=0))
    assert wide[-1] < 27 * 25
    assert wide[-1] >= 26 * 25 + 13


def test_native_cells_give_a_bilevel_page() -> None:
    raster = draw(page("The quick brown fox\n" * 2000, NATIVE))
    assert raster.shape == (728, 1568)
    assert set(np.unique(raster)) == {0, 255}
    data = png.encode(raster)
    assert data[24] == 1
    assert len(data) < 75_000


def test_pages_are_grey_levels_in_four_bits() -> None:
    data = png.encode(draw(page(SCRIPTS * 40), (512, 512)))
    assert data[24] == 4


def test_dark_theme_is_the_inverse() -> None:
    dark = DenseRenderer(theme="dark")
    assert dark.key != DenseRenderer().key
    layout = page(SCRIPTS)
    assert (dark.draw([layout], size=(512, 512))[0] == 255 - draw(layout, (512, 512))).all()
    with pytest.raises(InputError, match="'sepia'"):
        DenseRenderer(theme="sepia")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1281, 1280), (0, 10), (2560, 2560)])
def test_a_size_that_is_no_downsample_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError):
        draw(page("a"), size)


def test_a_character_of_another_repertoire_is_an_error() -> None:
    classes = bmp_classes().copy()
    classes[0x1F389] = 1
    run = Run(turn_id="t", role="user", text="🎉")
    (layout,) = lay_out([run], MINI, renderer_key="other-1", repertoire=Repertoire(classes))
    with pytest.raises(RenderError, match=r"U\+1F389"):
        draw(layout)


def test_pixels_do_not_depend_on_earlier_pages() -> None:
    fresh = draw(page(SCRIPTS))
    used = DenseRenderer()
    used.draw([page("中国人民 абв"), page("zyx")], size=(1280, 1280))
    assert (used.draw([page(SCRIPTS)], size=(1280, 1280))[0] == fresh).all()
    used.close()
    assert (used.draw([page(SCRIPTS)], size=(1280, 1280))[0] == fresh).all()


def test_threads_share_a_renderer() -> None:
    renderer = DenseRenderer()
    texts = ["".join(map(chr, range(first, first + 300))) for first in range(0x4E00, 0x5E00, 0x100)]
    layouts = [page(text) for text in texts]
    drawn: dict[int, Raster] = {}

    def work(numbers: range) -> None:
        for number in numbers:
            drawn[number] = renderer.draw([layouts[number]], size=(512, 512))[0]

    threads = [threading.Thread(target=work, args=(range(start, len(layouts), 4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((drawn[number] == draw(layout, (512, 512))).all() for number, layout in enumerate(layouts))


def digests() -> list[str]:
    native = "".join(char for char in SCRIPTS if char.isascii())
    cases = [(MINI, (1280, 1280)), (MINI, (512, 512)), (MINI, (640, 640)), (DEEPSEEK_OCR, (512, 512))]
    rasters = [draw(page(SCRIPTS * 20, grid), size) for grid, size in cases]
    rasters.append(draw(page(native * 20, NATIVE)))
    return [hashlib.sha256(png.encode(raster)).hexdigest()[:16] for raster in rasters]


def test_bytes_are_the_same_in_another_process() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import test_dense; print(*test_dense.digests())"
    folder = os.path.dirname(__file__)
    environment = {"PYTHONHASHSEED": "99", "PYTHONPATH": folder, "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == digests()


def test_bytes_are_the_same_everywhere() -> None:
    # Different only with another "dense-2" (then the key must change too) or another release of libdeflate.
    assert digests() == [
        "7853c632fb83d7c0",
        "c139daf43e44ce53",
        "3c09562d1b5535ad",
        "137937729bb61138",
        "e7af4a3df722eb82",
    ]
