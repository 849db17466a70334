"""Train the second head on a CPU: pages are drawn and encoded once, then the steps take minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optical_memory.errors import InputError
from optical_memory.model.mini import weights
from optical_memory.model.mini.fine import PLACES, FineHead
from optical_memory.model.mini.model import load_network
from optical_memory.training.fine import pages as paging
from optical_memory.training.fine.pages import Samples
from optical_memory.training.fine.sessions import Sessions

PROSE = ("md", "rst")
CODE = tuple("py js ts c h html css yaml json sh toml diff".split())
"""Files of which sessions are made, by their suffixes."""
_MOST_BYTES = 300_000
_AT_ONCE = 64
"""Images that become samples together."""
_HELD_OUT = 12
"""One group of samples in so many is only measured."""
_BATCH, _RATE, _DECAY = 2048, 1.5e-3, 2e-2
_FROM = 4
"""Groups of which a step takes samples."""
_LEVEL = 0.45
"""Share of the time after which the rate falls."""
_ROUGH = 0.7
"""Share of the time for which matrices are multiplied in bfloat16."""
_DROPPED = 0.1
"""Share of hidden values that a step leaves out."""


def train_fine(roots: Sequence[Path], out: Path, *, count: int, seconds: float, seed: int = 0) -> None:
    """Draw pages of ``count`` sessions from text and code under ``roots``, train, and write int8 weights to ``out``.

    Errors: InputError where there are no such files.
    """
    prose, code = (_files(roots, suffixes) for suffixes in (PROSE, CODE))
    if not (prose and code):
        kinds = " or no ".join(f"files of {', '.join(each)}" for each in (PROSE, CODE))
        raise InputError(f"no {kinds} under {', '.join(map(str, roots))}: sessions are made of both")
    drawn = paging.pages(Sessions(prose, code, seed), count)
    network, groups = load_network(torch.device("cpu")), []
    while part := list(islice(drawn, _AT_ONCE)):
        groups.append(paging.samples(network, part, seed))
    held = groups[::_HELD_OUT]
    learnt = [group for number, group in enumerate(groups) if number % _HELD_OUT] or held
    torch.manual_seed(seed)
    head = FineHead(dropped=_DROPPED)
    _centre(head, learnt[0].around)
    print(f"{sum(len(group.classes) for group in learnt):,} cells, nats before: {measured(head, held):.5f}")
    average = _steps(head, learnt, seconds)
    print(f"nats after: {measured(average, held):.5f}")
    weights.save_int8(average, out, "fine")


def _files(roots: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Return files under ``roots`` of some kinds, none so large that reading it takes long."""
    found = (path for root in roots for path in root.rglob("*.*") if path.suffix[1:] in suffixes)
    return sorted(path for path in found if path.is_file() and path.stat().st_size < _MOST_BYTES)


@torch.no_grad()
def _centre(head: FineHead, around: Tensor) -> None:
    """Let the first layer begin with features of mean 0 and deviation 1, but for the places."""
    slots = around[:, :-PLACES].float()
    head.around.weight[:, :-PLACES].div_(slots.std(0) + 1e-3)
    head.around.bias.sub_(head.around.weight[:, :-PLACES] @ slots.mean(0))


def _steps(head: FineHead, groups: Sequence[Samples], seconds: float) -> FineHead:
    """Train for a time and return the running mean of the weights."""
    average = FineHead()
    average.load_state_dict(head.train().state_dict())
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=_DECAY)
    sizes = torch.tensor([float(len(group.classes)) for group in groups])
    started, step, progress = time.monotonic(), 0, 0.0
    while progress < 1:
        rate = min(1.0, (step + 1) / 50) * min(1.0, max(0.01, (1 - progress) / (1 - _LEVEL)))
        optimiser.param_groups[0]["lr"] = _RATE * rate
        batch = _batch(groups, sizes)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=progress < _ROUGH):
            lost = loss(head, batch, torch.arange(_BATCH))
        lost.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        step += 1
        progress = min(1.0, (time.monotonic() - started) / seconds) if seconds else 1.0
        with torch.no_grad():
            for mean, part in zip(average.parameters(), head.parameters(), strict=True):
                mean.lerp_(part, 1 - min(0.998, step / (step + 20)))
    print(f"{step:,} steps")
    return average


def _batch(groups: Sequence[Samples], sizes: Tensor) -> Samples:
    """Return samples for a step, as many of each of some groups."""
    parts = []
    for number in torch.multinomial(sizes, _FROM, replacement=True).tolist():
        chosen = torch.randint(len(groups[number].classes), (_BATCH // _FROM,))
        parts.append(Samples(*(each[chosen] for each in groups[number])))
    return Samples(*map(torch.cat, zip(*parts, strict=True)))


def loss(head: FineHead, group: Samples, chosen: Tensor) -> Tensor:
    """Return nats a cell of the page, over chosen samples (n,)."""
    said = head(group.around[chosen].float(), group.said[chosen].float())
    lost = F.nll_loss(said, group.classes[chosen], reduction="none")
    return (lost * group.weight[chosen]).sum() / group.weight[chosen].sum()


@torch.no_grad()
def measured(head: FineHead, groups: Sequence[Samples]) -> float:
    """Return nats a cell of the pages that samples are of."""
    sums = torch.zeros(2)
    head.eval()
    for group in groups:
        for chosen in torch.split(torch.arange(len(group.classes)), _BATCH):
            weight = group.weight[chosen].sum()
            sums += torch.stack([loss(head, group, chosen) * weight, weight])
    return float(sums[0] / sums[1])
