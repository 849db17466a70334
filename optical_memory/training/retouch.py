"""Train the read-out head alone, on a CPU: for glyphs that were redrawn after the network was trained.

The encoder's tokens are computed once and kept; a step then costs a fraction of a second.
"""

from __future__ import annotations

import copy
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.mini import MiniNetwork
from optical_memory.model.mini.weights import load_plain, save_plain
from optical_memory.training import data
from optical_memory.training.config import Stage, TrainingConfig
from optical_memory.training.pages import PageMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Vision tokens (pages, h, w, width) of a group, the lattice points asked (M,) and the codes there (pages, M)."""

    tokens: Tensor
    points: Tensor
    codes: Tensor


def retouch(
    config: TrainingConfig, stage: Stage, folder: Path, start: Path, out: Path, *, groups: int, steps: int
) -> None:
    """Train the head for ``steps`` on ``groups`` groups of two pages and write the weights to ``out``."""
    torch.manual_seed(config.seed)
    cpu = torch.device("cpu")
    model = MiniNetwork()
    load_plain(model, start)
    maker = PageMaker(data.load_sheets(folder, cpu), data.load_writer(folder, cpu), config.side, 3000, config.seed)
    pages = _encoded(model, maker, stage, groups)
    parameters = [p for name, p in model.head.named_parameters() if not name.startswith("early")]
    optimiser = torch.optim.AdamW(parameters, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.0)
    chance, started = random.Random(config.seed), time.monotonic()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = stage.rate * min(1.0, (step + 1) / 20, 0.02 + 2 * (1 - step / steps))
        loss = torch.stack([_loss(model, kept) for kept in chance.sample(pages, 2)]).mean()
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 20 == 0:
            print(f"{time.monotonic() - started:.0f} s, step {step}: {loss.item():.4f}", flush=True)
    save_plain(model, out)


@torch.no_grad()
def _encoded(model: MiniNetwork, maker: PageMaker, stage: Stage, groups: int) -> list[Kept]:
    weights = [recipe.weight for recipe in stage.recipes]
    encoder = copy.deepcopy(model.encoder).to(torch.bfloat16)
    kept = []
    for recipe in maker.chance.choices(stage.recipes, weights, k=groups):
        ink, points, codes = maker.group(recipe, 2)
        tokens = encoder(ink[:, None].to(torch.bfloat16))[1].float()
        kept.append(Kept(tokens=tokens, points=points, codes=codes))
    return kept


def _loss(model: MiniNetwork, kept: Kept) -> Tensor:
    slots = model.head.slots(kept.tokens)[:, kept.points]
    high, low = kept.codes >> 8, kept.codes & 255
    first = F.cross_entropy(model.head.high(slots).flatten(0, 1), high.flatten())
    return first + F.cross_entropy(model.head.low_logits(slots, high).flatten(0, 1), low.flatten())
