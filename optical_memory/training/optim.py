"""Muon on the blocks' matrices, AdamW on the rest with its rate divided by the fan-in.

Without the division the compressor's wide convolutions (over 2,000 inputs) are thrown about at each step and the
tokens never learn, while the patches before them read perfectly (``docs/mini.md``).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from optical_memory.model.mini.encoder import Block

_FAN_IN = 160
"""Fan-in up to which AdamW takes the full rate."""


def scaled_rate(parameter: nn.Parameter) -> float:
    """Factor of the learning rate for a parameter: 1 up to a fan-in of 160, then 160 / fan-in."""
    fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
    return min(1.0, _FAN_IN / fan_in)


def optimisers(modules: Iterable[nn.Module], rate: float) -> list[torch.optim.Optimizer]:
    """Muon and AdamW over all parameters of the modules; each group carries its ``factor`` of the rate."""
    modules = list(modules)
    matrices = {
        id(parameter): parameter
        for module in modules
        for block in module.modules()
        if isinstance(block, Block)
        for parameter in block.parameters()
        if parameter.ndim == 2
    }
    rest = [p for module in modules for p in module.parameters() if p.requires_grad and id(p) not in matrices]
    groups = [
        {"params": [p for p in rest if scaled_rate(p) == factor], "factor": factor}
        for factor in sorted({scaled_rate(p) for p in rest})
    ]
    muon = torch.optim.Muon(
        list(matrices.values()), lr=rate, momentum=0.95, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=rest[0].is_cuda)
    return [muon, adamw]


def scheduled(progress: float, step: int) -> float:
    """Share of the full rate: up over 100 steps, level, from 60 % of the stage down to 2 %."""
    warm = min(1.0, (step + 1) / 100)
    return warm if progress < 0.6 else warm * max(0.02, (1 - progress) / 0.4)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its factor of ``rate``."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
