"""How well a model reads pages of unseen text: characters right, identifiers exact, identifiers silently wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from optical_memory.model.mini import MiniNetwork
from optical_memory.model.mini.head import nearest_points
from optical_memory.training import augment
from optical_memory.training.compose import Sheet, averaged, quantised, raster
from optical_memory.training.config import Measure
from optical_memory.training.text import SPACE, Writer

IDENTIFIER = 12
"""Hexadecimal digits in an identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one kind of text was read, in shares of 1.

    ``silent`` are identifiers read wrong with no character below the threshold, ``kept`` the characters above it;
    ``identifiers`` and ``silent`` are None for other text.
    """

    name: str
    text: str
    characters: int
    tokens: int
    right: float
    kept: float
    identifiers: float | None = None
    silent: float | None = None

    def __str__(self) -> str:
        """One line of a table."""
        extra = "" if self.identifiers is None else f"  exact {self.identifiers:.4f}  silent {self.silent:.5f}"
        return (
            f"{self.name:28} {self.text:8} {self.characters:6d} chars {self.tokens:4d} tokens"
            f"  right {self.right:.5f}  kept {self.kept:.4f}{extra}"
        )


def damaged(ink: Tensor, damage: str, amount: float) -> Tensor:
    """Pages with one kind of damage: "noise" (sigma), "jpeg" (quality), "contrast", "blur" (sigma) or "shift" (px)."""
    if damage == "noise":
        return augment.noisy(ink, amount)
    if damage == "jpeg":
        return augment.jpeg(ink, amount)
    if damage == "contrast":
        return augment.weakened(ink, torch.full_like(ink[:, 0, 0], amount), torch.zeros_like(ink[:, 0, 0]))
    if damage == "blur":
        return augment.blurred(ink, amount)
    return ink


@torch.no_grad()
def measure(
    model: MiniNetwork,
    sheet: Sheet,
    writer: Writer,
    row: Measure,
    kind: str,
    *,
    pages: int,
    threshold: float,
    seed: int = 5,
) -> Score:
    """Read ``pages`` pages of unseen text of one kind as a row of the table says."""
    torch.manual_seed(seed)
    device = writer.device
    scale = sheet.cell_width / row.width
    shift = row.amount if row.damage == "shift" else 0.0
    columns = int(row.side * scale / sheet.cell_width) // 2 * 2
    rows = int(row.side * scale / sheet.cell_height)
    codes = writer.of_kind(kind, pages, rows * columns)
    codes = torch.where(sheet.has(codes), codes, SPACE).view(pages, rows, columns)
    fonts = torch.arange(pages, device=device) % sheet.fonts
    ink = averaged(raster(sheet, fonts, codes), row.side, (scale, scale), (-shift * scale, -shift * scale))
    ink = damaged(quantised(ink), row.damage, row.amount)
    x = (torch.arange(columns, device=device) + 0.5) * row.width + shift
    y = (torch.arange(rows, device=device) + 0.5) * sheet.cell_height / scale + shift
    points = nearest_points(x.repeat(rows), y.repeat_interleave(columns), row.side)
    inside = (x < row.side).repeat(rows) & (y < row.side).repeat_interleave(columns)
    read, sure = _read(model, ink[:, None], points)
    right = ((read == codes.flatten(1)) & inside).float()
    scores = {
        "right": right.sum().item() / (inside.sum().item() * pages),
        "kept": (sure > threshold).float().mean().item(),
    }
    if kind == "hex":
        scores |= _identifiers(right > 0, sure > threshold)
    return Score(name=row.name, text=kind, characters=rows * columns, tokens=(row.side // 64) ** 2, **scores)


def _read(model: MiniNetwork, ink: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Likeliest code points (B, M) and their probabilities, a few pages at a time."""
    codes, sure = [], []
    at_once = max(1, 32 * 512**2 // ink.shape[-1] ** 2)
    for part in torch.split(ink, at_once):
        with torch.autocast(ink.device.type, torch.bfloat16, enabled=ink.is_cuda):
            slots = model.head.slots(model.encoder(part)[1])[:, points]
            best, logs = model.head.candidates(slots.flatten(0, 1))
        codes.append(best[:, 0].view(len(part), -1))
        sure.append(logs[:, 0].exp().view(len(part), -1))
    return torch.cat(codes), torch.cat(sure)


def _identifiers(right: Tensor, kept: Tensor) -> dict[str, float]:
    whole = right.shape[1] // (IDENTIFIER + 1)
    groups = right[:, : whole * (IDENTIFIER + 1)].reshape(-1, IDENTIFIER + 1)[:, :IDENTIFIER].all(-1)
    shown = kept[:, : whole * (IDENTIFIER + 1)].reshape(-1, IDENTIFIER + 1)[:, :IDENTIFIER].all(-1)
    return {"identifiers": groups.float().mean().item(), "silent": (~groups & shown).float().mean().item()}


def table(
    model: MiniNetwork,
    sheets: dict[str, Sheet],
    writer: Writer,
    rows: tuple[Measure, ...],
    *,
    pages: int = 32,
    threshold: float = 0.9,
) -> list[dict[str, object]]:
    """All rows, printed as they come."""
    model.eval()
    scores = []
    for row in rows:
        if row.sheet not in sheets:
            continue
        for kind in row.text:
            score = measure(model, sheets[row.sheet], writer, row, kind, pages=pages, threshold=threshold)
            print(score, flush=True)
            scores.append(asdict(score))
    model.train()
    return scores
