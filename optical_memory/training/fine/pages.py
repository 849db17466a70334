"""Pages of drawn sessions at the second head's sizes, and what it learns from them: features, answers, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.formats import to_turns
from optical_memory.model.mini import fine
from optical_memory.model.mini.cells import filling
from optical_memory.model.mini.ink import ink_of
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.model.mini.reading import cell_slots, inkless, look
from optical_memory.renderers import ChromiumRenderer, DenseRenderer, png
from optical_memory.renderers.base import Grid, Layout, Renderer
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.training.fine.sessions import Sessions
from optical_memory.turns import transcript

MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
BITMAP = Grid(width=512, height=512, cell_width=5, cell_height=8)
"""Cells of Tiny's size that the dense renderer draws in a font made for them."""
SURE = 0.998
"""Probability from which on only some cells are learnt from."""
KEPT = 0.03
"""Share of the sure cells that is; they weigh as much more."""


class Samples(NamedTuple):
    """Features (N, features), what the read-out head says (N, classes), the classes, and what each cell weighs (N,)."""

    around: Tensor
    said: Tensor
    classes: Tensor
    weight: Tensor


def pages(sessions: Sessions, count: int) -> Iterator[tuple[Layout, bytes]]:
    """Draw pages, more at Small than at Tiny: most by Chromium, some by the dense renderer, few in a bitmap font."""
    browser, dense = ChromiumRenderer(), DenseRenderer()
    kinds: list[tuple[Renderer, Grid, tuple[int, ...]]] = [(browser, MINI, (512, 640))] * 12
    kinds += [(browser, MINI, (640,))] * 28 + [(dense, MINI, (512, 640))] * 3 + [(dense, BITMAP, (512,))]
    try:
        made = 0
        while made < count:
            renderer, grid, sides = kinds[made % len(kinds)]
            runs = [
                Run(turn_id=turn.id, role=turn.role, header=header, text=text)
                for turn in to_turns(sessions.messages())
                for header, text in [transcript(turn)]
            ]
            layouts = lay_out(runs, grid, renderer_key=renderer.key, repertoire=renderer.repertoire)
            for side in sides:
                rasters = renderer.draw(layouts, size=(side, side))
                yield from zip(layouts, map(png.encode, rasters), strict=True)
            made += 1
    finally:
        browser.close()


@torch.inference_mode()
def samples(network: MiniNetwork, drawn: Sequence[tuple[Layout, bytes]], seed: int) -> Samples:
    """Return what is to be learnt from pages, of which cells that are read surely and rightly are thinned out."""
    chance = np.random.default_rng(seed)
    parts = []
    for layout, image in drawn:
        ink = ink_of(image)
        side = len(ink)
        scale = side / layout.grid.width
        cells = filling(side, layout.grid.cell_width * scale, layout.grid.cell_height * scale)
        slots = look(network, [ink])[1][0]
        inked = ~inkless(ink, cells)
        said = fine.said(network.head, cell_slots(slots, cells, side, inked))
        classes = _classes(layout, inked)
        right = said.gather(1, classes[:, None])[:, 0].exp()
        sure = (right >= SURE).cpu().numpy()
        kept = ~sure | (chance.random(len(sure)) < KEPT)
        chosen = inked.copy()
        chosen[inked] = kept
        weight = torch.from_numpy(np.where(sure, 1 / KEPT, 1.0)[kept]).float()
        around = fine.features(slots, cells, side, inked, chosen).bfloat16()
        parts.append(Samples(around, said[kept].bfloat16(), classes[kept], weight))
    return Samples(*map(torch.cat, zip(*parts, strict=True)))


def _classes(layout: Layout, inked: npt.NDArray[np.bool_]) -> Tensor:
    codes = np.where(layout.cells == 0, 32, layout.cells)[inked].astype(np.int64)
    codes[codes > 0xFFFF] = 0xFFFF  # the right half of a wide character, and what is beyond two bytes: no class
    return fine.class_of()[torch.from_numpy(codes)]
