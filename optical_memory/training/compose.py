"""Pages composed on the GPU: tiles gathered from glyph sheets, then averaged down as a tier is.

Everything that draws is two steps: :func:`raster` puts tiles side by side, :func:`averaged` takes a square window
of the result at any scale and offset by area weights, which are two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.renderers.raster import GREY_LEVELS

_TIE = 1e-4
"""Halves are rounded to the lighter level, as the renderer does, float32 errors or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Glyph tiles of some fonts in one cell size, ready for gathering.

    ``left`` and ``right`` are (fonts · glyphs, height, width) uint8 ink for even and odd columns: cells half a pixel
    wide come in pairs whose parts differ, and a wide character's halves stand at an even and an odd column.
    ``index`` maps 65,536 code points to glyphs; glyph 0 is empty.
    """

    left: Tensor
    right: Tensor
    index: Tensor
    fonts: int

    @property
    def cell_width(self) -> float:
        """Width of a half-width cell, px."""
        return (self.left.shape[2] + self.right.shape[2]) / 2

    @property
    def cell_height(self) -> int:
        """Height of a cell, px."""
        return self.left.shape[1]

    def has(self, codes: Tensor) -> Tensor:
        """Which code points the sheet can draw (a space counts)."""
        return (self.index[codes] > 0) | (codes == 32)

    @classmethod
    def of_parts(
        cls,
        left: npt.NDArray[np.uint8],
        right: npt.NDArray[np.uint8],
        codes: npt.NDArray[np.int64],
        device: torch.device,
    ) -> Sheet:
        """Return a sheet of tiles for even and for odd columns, (fonts, glyphs, height, width) each, of ``codes``.

        A glyph without ink is not kept: what looks like a space is read as one.
        """
        index = torch.zeros(65536, dtype=torch.long)
        inked = torch.from_numpy(left.any((0, 2, 3)) | right.any((0, 2, 3)))
        index[torch.from_numpy(codes)] = torch.arange(1, len(codes) + 1) * inked
        halves = []
        for tiles in (left, right) if right is not left else (left,):
            padded = np.pad(tiles, ((0, 0), (1, 0), (0, 0), (0, 0)))  # glyph 0 is empty
            halves.append(torch.from_numpy(padded.reshape(-1, *padded.shape[2:])).to(device))
        return cls(left=halves[0], right=halves[-1], index=index.to(device), fonts=len(left))


def raster(sheet: Sheet, fonts: Tensor, codes: Tensor) -> Tensor:
    """Ink (B, rows · cell height, columns · cell width) uint8 of code points (B, rows, even columns).

    ``fonts`` are those of the pages (B,) or of the cells (B, rows, columns).
    """
    b, rows, columns = codes.shape
    fonts = fonts[:, None, None] if fonts.ndim == 1 else fonts
    glyphs = sheet.index[codes] + fonts * (len(sheet.left) // sheet.fonts)
    pairs = torch.cat([sheet.left[glyphs[:, :, 0::2]], sheet.right[glyphs[:, :, 1::2]]], -1)  # (B, R, C/2, h, 2w)
    height, width = pairs.shape[3:]
    return pairs.transpose(2, 3).reshape(b, rows * height, columns // 2 * width)


def tinted(ink: Tensor, contrast: Tensor) -> Tensor:
    """Ink of a raster weakened to the contrast (B, rows, columns) of each of its cells, as coloured letters are."""
    b, rows, columns = contrast.shape
    shape = (b, rows, ink.shape[1] // rows, columns // 2, 2 * ink.shape[2] // columns)
    pairs = contrast[:, :, None, 0::2, None]  # (B, rows, 1, C/2, 1)
    return (ink.view(shape) * pairs).round().to(torch.uint8).view(ink.shape)


def area_weights(target: int, source: int, scale: float, offset: float, device: torch.device) -> Tensor:
    """(target, source) weights: output i is the mean of the source over [offset + i·scale, offset + (i + 1)·scale)."""
    start = offset + torch.arange(target, device=device, dtype=torch.float64)[:, None] * scale
    edge = torch.arange(source, device=device, dtype=torch.float64)[None]
    overlap = torch.minimum(start + scale, edge + 1) - torch.maximum(start, edge)
    return (overlap.clamp(min=0) / scale).float()


def averaged(ink: Tensor, side: int, scale: tuple[float, float], offset: tuple[float, float]) -> Tensor:
    """Return a square window of ``side`` px of (B, H, W) ink, 0 to 255: (B, side, side) float32, 0 to 1.

    ``scale`` is source px per window px and ``offset`` the window's corner in source px, each (x, y); what lies
    outside the source is paper.
    """
    across = area_weights(side, ink.shape[2], scale[0], offset[0], ink.device)
    down = area_weights(side, ink.shape[1], scale[1], offset[1], ink.device)
    kind = torch.bfloat16 if ink.is_cuda else torch.float32
    half = (down.to(kind) @ ink.to(kind)) if scale[1] != 1 or offset[1] else _cut(ink.to(kind), 1, side)
    return (half.float() @ across.T) / 255 if scale[0] != 1 or offset[0] else _cut(half.float(), 2, side) / 255


def _cut(x: Tensor, axis: int, size: int) -> Tensor:
    if x.shape[axis] >= size:
        return x.narrow(axis, 0, size)
    padding = [0, 0] * (2 - axis) + [0, size - x.shape[axis]]
    return torch.nn.functional.pad(x, padding)


def quantised(ink: Tensor) -> Tensor:
    """Ink 0 to 1 at the grey levels of a tier."""
    return (ink * (GREY_LEVELS - 1) - 0.5 - _TIE).ceil() / (GREY_LEVELS - 1)
