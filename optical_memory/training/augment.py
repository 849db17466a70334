"""Damage to pages on their way to a reader: weak contrast, grey paper, noise, blur, JPEG, fewer grey levels."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

# The luminance table of the JPEG standard (ITU-T T.81, 1992, annex K.1), for quality 50.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


@cache
def _jpeg_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosines and the quantisation table, (8, 8) each."""
    k = torch.arange(8, device=device, dtype=torch.float32)
    cosines = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    cosines[0] /= math.sqrt(2)
    return cosines, torch.tensor(_LUMINANCE, device=device, dtype=torch.float32)


def jpeg(ink: Tensor, quality: float) -> Tensor:
    """Grey pages (B, S, S), 0 to 1, as JPEG would return them at a quality of 1 to 99; S is a multiple of 8."""
    b, side, _ = ink.shape
    device = ink.device
    cosines, luminance = _jpeg_tables(device)
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    table = (luminance * scale + 0.5).floor().clamp(min=1)
    blocks = (127 - ink * 255).view(b, side // 8, 8, side // 8, 8).transpose(2, 3)  # (B, down, across, 8, 8)
    spectrum = cosines @ blocks @ cosines.T
    blocks = cosines.T @ ((spectrum / table).round() * table) @ cosines
    return ((127 - blocks.transpose(2, 3).reshape(b, side, side)) / 255).clamp(0, 1)


def blurred(ink: Tensor, sigma: float) -> Tensor:
    """Pages (B, S, S) through a Gaussian of ``sigma`` px."""
    radius = max(1, math.ceil(2.5 * sigma))
    x = torch.arange(-radius, radius + 1, device=ink.device, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = F.pad(ink[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


def noisy(ink: Tensor, sigma: float) -> Tensor:
    """Pages with Gaussian noise, clipped to what a grey image can hold."""
    return (ink + sigma * torch.randn_like(ink)).clamp(0, 1)


def weakened(ink: Tensor, contrast: Tensor, paper: Tensor) -> Tensor:
    """Pages (B, S, S) at a contrast (B,) of 0 to 1, on paper (B,) that is itself grey."""
    return paper[:, None, None] + ink * (contrast * (1 - paper))[:, None, None]


def roughened(ink: Tensor, strength: float, draw: tuple[float, float, float, float]) -> Tensor:
    """Return a random mix of all the above, as training uses it.

    ``strength`` from 0 to 1 bounds it; ``draw`` are four random numbers from 0 to 1 that choose for the whole group.
    """
    b, device = len(ink), ink.device
    which, amount, compress, grain = draw
    contrast = 1 - 0.6 * strength * torch.rand(b, device=device)
    ink = weakened(ink, contrast, 0.1 * strength * torch.rand(b, device=device))
    if which < 0.25 * strength:
        ink = blurred(ink, 0.25 + 0.55 * amount)
    sigma = 0.01 if grain > 0.5 * strength else 0.01 + 0.13 * (grain / strength) ** 1.5
    ink = noisy(ink, sigma)
    return jpeg(ink, 15 + 80 * amount) if compress < 0.25 * strength else ink
