"""Train the read-out head alone, on a CPU: for glyphs that were redrawn after the network was trained.

The encoder's tokens are computed once and kept; a step then costs a fraction of a second. What the head said before
about all other characters is held on to (distillation), so that it does not forget them over so few pages.
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
from optical_memory.model.mini.head import ReadoutHead
from optical_memory.model.mini.weights import load_plain, save_plain
from optical_memory.training import data
from optical_memory.training.config import Stage, TrainingConfig
from optical_memory.training.pages import PageMaker

REDRAWN = "018⇥"
"""Characters whose glyphs changed."""


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
    before = copy.deepcopy(model.head).requires_grad_(False)
    parameters = [p for name, p in model.head.named_parameters() if not name.startswith("early")]
    optimiser = torch.optim.AdamW(parameters, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.0)
    chance, started = random.Random(config.seed), time.monotonic()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = stage.rate * min(1.0, (step + 1) / 20, 0.02 + 1.5 * (1 - step / steps))
        loss = torch.stack([_loss(model.head, before, kept) for kept in chance.sample(pages, 4)]).mean()
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


def _loss(head: ReadoutHead, before: ReadoutHead, kept: Kept) -> Tensor:
    """Return the loss on all characters, and how far the head has moved on those that were not redrawn (nats)."""
    high, low = kept.codes >> 8, kept.codes & 255
    loss = torch.tensor(0.0)
    redrawn = torch.isin(kept.codes, torch.tensor([*map(ord, REDRAWN)]))[..., None]
    slots, old = (one.slots(kept.tokens)[:, kept.points] for one in (head, before))
    for new, was, target in (
        (head.high(slots), before.high(old), high),
        (head.low_logits(slots, high), before.low_logits(old, high), low),
    ):
        logs, kept_logs = new.log_softmax(-1), was.log_softmax(-1)
        loss = loss + F.nll_loss(logs.flatten(0, 1), target.flatten())
        loss = loss + (kept_logs.exp() * (kept_logs - logs)).sum(-1, keepdim=True).masked_fill(redrawn, 0.0).mean()
    return loss
