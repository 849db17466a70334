"""Scores on held-out documents and values, teacher forced: a task is exact if all its tokens are the likeliest."""

from __future__ import annotations

import json

import torch
import torch.distributed as dist
from torch import Tensor

from optical_memory.model.language.adapter import RATIOS, Seen
from optical_memory.training import ranks
from optical_memory.training.language.feed import Feed, on_device
from optical_memory.training.language.learner import PAGE_TEXT, Learner, Shown
from optical_memory.training.language.recipe import Mode, Recipe, Run
from optical_memory.training.language.tasks import KINDS

_TOP = 8
"""Keys that the scorer may name."""


def report(learner: Learner, held: Feed, recipe: Recipe, run: Run, device: torch.device) -> None:
    """Print and write the scores of every way to show a page."""
    learner.eval()
    totals: dict[str, Tensor] = {}
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), torch.autocast(device.type, torch.bfloat16):
        for _ in range(run.evaluated):
            batch = on_device(held.get(Mode(weight=1.0, ratios=(9,))), device)
            for name, shown in _ways(learner, batch):
                hidden = learner.hidden(shown, batch["text"])
                found = torch.stack([_counts(learner, hidden, batch), *_pointed(learner, hidden, shown, batch)])
                totals[name] = totals.get(name, torch.zeros_like(found)) + found
    rows = {}
    for name, total in totals.items():
        if dist.is_initialized():
            dist.all_reduce(total)
        rows[name] = {
            kind: {"exact": _share(exact), "named": _share(named), "n": int(exact[1])}
            for kind, exact, named in zip(KINDS, total[0].tolist(), total[1].tolist(), strict=True)
            if exact[1]
        }
    if ranks.rank() == 0:
        (run.out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
        for name, row in rows.items():
            print(name, {kind: (each["exact"], each["named"], each["n"]) for kind, each in row.items()}, flush=True)


def _share(pair: list[float]) -> float:
    return round(pair[0] / max(1.0, pair[1]), 4)


def _ways(learner: Learner, batch: dict[str, Tensor]) -> list[tuple[str, Shown]]:
    def seen(sheet: str, side: int, codes: Tensor) -> list[Seen]:
        return [learner.adapter.see(learner.pictures.slots(codes, sheet, side))]

    codes = batch["codes"][:, 0]
    dense = seen("dense-12.5x20", 512, codes)
    base = seen("chromium-12.5x20", 1024, codes)
    blank = seen("dense-12.5x20", 512, torch.full_like(codes, 32))
    others = seen("dense-12.5x20", 512, codes.roll(1, 0))
    ways = [(f"vision {k}", learner.show(batch, (k,), dense, False)) for k in RATIOS]
    ways += [(f"chromium, base {k}", learner.show(batch, (k,), base, False)) for k in (9, 3)]
    ways += [(f"true tokens {k}", learner.show(batch, (k,), dense, True)) for k in RATIOS]
    ways += [(f"pooled {k}", learner.pooled(batch, (k,))) for k in RATIOS]
    ways += [(f"newest text {k}", learner.as_text(batch, 64 * k, newest=True)) for k in RATIOS]
    ways += [("text", learner.as_text(batch, PAGE_TEXT, newest=False))]
    ways += [
        ("blank 9", learner.show(batch, (9,), blank, False)),
        ("other page 9", learner.show(batch, (9,), others, False)),
    ]
    return ways


def _counts(learner: Learner, hidden: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return tasks exact and in all, by kind (kinds, 2)."""
    logits, wanted, chosen = learner.answers(hidden, batch)
    right = logits.argmax(-1) == wanted
    row = chosen.nonzero()[:, 0]
    task = row * 64 + batch["number"][chosen]
    unique, inverse = torch.unique(task, return_inverse=True)
    good = torch.ones(len(unique), device=hidden.device).scatter_reduce(0, inverse, right.float(), "amin")
    kind = torch.zeros(len(unique), dtype=torch.long, device=hidden.device).scatter(
        0, inverse, batch["kind"][chosen] - 1
    )
    out = torch.zeros(len(KINDS), 2, device=hidden.device)
    return out.index_add(0, kind, torch.stack([good, torch.ones_like(good)], -1))


def _pointed(learner: Learner, hidden: Tensor, shown: Shown, batch: dict[str, Tensor]) -> list[Tensor]:
    """Return tasks of which one of the first keys named is right, and in all, by kind (kinds, 2)."""
    out = torch.zeros(len(KINDS), 2, device=hidden.device)
    if shown.keys is None:
        return [out]
    scores, right = learner.pointing(hidden, shown, batch)
    hit = right.gather(2, scores.topk(_TOP, -1).indices).any(-1)  # (B, Q)
    has = right.any(-1) & (batch["question"] >= 0)
    kind = batch["kind"].gather(1, (batch["question"] + 1).clamp(min=0)) - 1  # of the first token of each answer
    return [out.index_add(0, kind[has], torch.stack([hit[has].float(), torch.ones_like(hit[has].float())], -1))]
