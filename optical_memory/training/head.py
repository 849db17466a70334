"""Train the read-out head alone on Chromium's own pages: vision tokens, and all that was trained on them, stay.

What the head said on pages of other kinds is held on to (distillation), and its slots, which the decoder glances at,
may drift little. The weights are a running mean of those of the steps.
"""

from __future__ import annotations

import copy
import json
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.mini import MiniNetwork
from optical_memory.model.mini.head import ReadoutHead
from optical_memory.model.mini.weights import load_weights, save_plain
from optical_memory.training import data
from optical_memory.training.config import Recipe, Stage, TrainingConfig
from optical_memory.training.optim import scaled_rate, set_rate
from optical_memory.training.own_pages import TEXT, OwnPages

_GROUPS = 6
"""Groups of pages alike in a batch."""
_DRIFT = 0.3
"""Weight of how far slots move, against their mean square."""
_SIGNS = 0x20
"""High byte of general punctuation: training pages hold it some ``exp(_OFTEN)`` times as often as conversations do."""
_OFTEN = 2.0


def train_head(
    config: TrainingConfig, stage: Stage, folder: Path, start: Path, out: Path, seconds: float | None = None
) -> None:
    """Train the head of the weights in ``start`` for a stage's seconds and write the whole network to ``out``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    model = MiniNetwork()
    load_weights(model, start)
    model.to(device).requires_grad_(False)
    encoder = copy.deepcopy(model.encoder).to(torch.bfloat16)
    before, average = copy.deepcopy(model.head), copy.deepcopy(model.head)
    parameters = [part for name, part in model.head.named_parameters() if not name.startswith("early")]
    groups = [{"params": [part.requires_grad_()], "factor": scaled_rate(part)} for part in parameters]
    optimiser = torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.0)
    sheets, writer = data.load_sheets(folder, device), data.load_writer(folder, device)
    maker = OwnPages(sheets, writer, config.side, config.points, config.seed)
    chance, limit, step, started = random.Random(config.seed), seconds or stage.seconds, 0, time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a") as log:
        while step == 0 or (done := time.monotonic() - started) < limit:
            progress = 0.0 if step == 0 else done / limit
            set_rate(optimiser, stage.rate * _scheduled(progress, step))
            loss = torch.zeros((), device=device)
            for recipe in chance.choices(stage.recipes, [recipe.weight for recipe in stage.recipes], k=_GROUPS):
                part = _loss(model.head, before, encoder, maker.group(recipe, max(1, config.batch // _GROUPS)), recipe)
                torch.autograd.backward(part / _GROUPS)
                loss += part.detach() / _GROUPS
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            _follow(average, model.head, min(0.999, step / (step + 20)))
            if step % 100 == 1:
                log.write(json.dumps({"step": step, "progress": round(progress, 4), "late": loss.item()}) + "\n")
    model.head = average
    with torch.no_grad():
        model.head.high.bias[_SIGNS] -= _OFTEN
    save_plain(model, out)


def _scheduled(progress: float, step: int) -> float:
    """Share of the full rate: up over 100 steps, level, from 40 % of the stage down to 1 %."""
    return min(1.0, (step + 1) / 100) * (1.0 if progress < 0.4 else max(0.01, (1 - progress) / 0.6))


def _loss(
    head: ReadoutHead,
    before: ReadoutHead,
    encoder: torch.nn.Module,
    group: tuple[Tensor, Tensor, Tensor],
    recipe: Recipe,
) -> Tensor:
    """Return nats a character, how far answers move on pages that are not Chromium's own, and how far slots do."""
    ink, points, codes = group
    high, low = codes >> 8, codes & 255
    with torch.no_grad():
        tokens = encoder(ink[:, None].to(torch.bfloat16))[1].float()
    with torch.autocast(ink.device.type, torch.bfloat16, enabled=ink.is_cuda):
        slots, old = head.slots(tokens)[:, points], before.slots(tokens)[:, points]
        answers = (
            (head.high(slots), before.high(old), high),
            (head.low_logits(slots, high), before.low_logits(old, high), low),
        )
    loss = _DRIFT * (slots.float() - old.float()).square().mean() / old.float().square().mean()
    for new, was, target in answers:
        logs, kept = new.float().log_softmax(-1), was.float().log_softmax(-1)
        loss = loss + F.nll_loss(logs.flatten(0, 1), target.flatten())
        if recipe.text != TEXT:
            loss = loss + (kept.exp() * (kept - logs)).sum(-1).mean()
    return loss


@torch.no_grad()
def _follow(average: ReadoutHead, head: ReadoutHead, kept: float) -> None:
    for mean, part in zip(average.parameters(), head.parameters(), strict=True):
        mean.lerp_(part, 1 - kept)
