"""DeepEncoder: SAM, then CLIP over SAM's tokens, both projected to the decoder's width; and the rows of a page.

Shapes: B images of side S px, N = (S/64)**2 tokens, D the decoder's hidden size.
Source: DeepSeek-OCR (arXiv 2510.18234) and its public configuration.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optical_memory.errors import ImageError
from optical_memory.model.blocks import AttentionKind, table
from optical_memory.model.clip import Clip
from optical_memory.model.config import EncoderConfig
from optical_memory.model.image import Grid
from optical_memory.model.sam import Sam


class DeepEncoder(nn.Module):
    """Pixels to vision tokens, 64 x 64 px each. ``attention="eager"`` writes every score out, for comparison."""

    def __init__(self, config: EncoderConfig, *, attention: AttentionKind = "fused") -> None:
        super().__init__()
        self.config = config
        self.sam = Sam(config.sam, attention=attention)
        self.clip = Clip(config.clip, attention=attention)
        self.projector = nn.Linear(config.clip.width + config.sam.downsample_channels[-1], config.hidden_size)
        self.newline = table(config.hidden_size)
        self.separator = table(config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (B, 3, S, S) to tokens (B, N, D), in row order. Raises ImageError."""
        stride = self.config.sam.stride
        if pixels.dim() != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3]:
            raise ImageError(f"pixels must be (B, 3, S, S), not {tuple(pixels.shape)}")
        if not pixels.shape[3] or pixels.shape[3] % stride:
            raise ImageError(f"the side must be a positive multiple of {stride} px, not {pixels.shape[3]}")
        local = self.sam(pixels)  # (B, 1024, S/64, S/64)
        everywhere = self.clip(local)[:, 1:]  # (B, N, 1024)
        both = torch.cat((everywhere, local.flatten(2).transpose(1, 2)), dim=-1)  # (B, N, 2048)
        tokens: Tensor = self.projector(both)  # (B, N, D)
        return tokens

    def arrange(self, view: Tensor, tiles: Tensor | None = None, grid: Grid = (1, 1)) -> Tensor:
        """Lay tokens out as the decoder sees them: the tiles' rows, the view's rows, the separator.

        ``view`` is (N, D); ``tiles`` is (across * down, n, D), one canvas of tiles in row order. A newline ends each
        row of tokens of the view and of the canvas. Returns (S, D). Raises ImageError.
        """
        rows = [self._rows(square(view)), self.separator.unsqueeze(0)]  # (h*(w+1), D), (1, D)
        if tiles is not None:
            across, down = grid
            if len(tiles) != across * down:
                raise ImageError(f"{len(tiles)} tiles do not fill a grid of {across} x {down}")
            canvas = torch.unflatten(square(tiles), 0, (down, across))  # (down, across, h, w, D)
            rows.insert(0, self._rows(canvas.transpose(1, 2).flatten(2, 3).flatten(0, 1)))
        return torch.cat(rows)  # (S, D)

    def _rows(self, canvas: Tensor) -> Tensor:
        """End each row of (h, w, D) with a newline: (h * (w + 1), D)."""
        newline = self.newline.expand(len(canvas), 1, -1)  # (h, 1, D)
        return torch.cat((canvas, newline), dim=1).flatten(0, 1)  # (h * (w + 1), D)


def square(tokens: Tensor) -> Tensor:
    """Fold row-ordered tokens of a square into rows: (..., N, D) -> (..., h, w, D)."""
    side = round(tokens.shape[-2] ** 0.5)
    return torch.unflatten(tokens, -2, (side, side))  # (..., h, w, D)
