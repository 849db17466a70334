"""Several GPUs of one machine: each draws its own pages, and gradients are averaged. Alone, everything here is a no-op.

Started by ``python3 -m torch.distributed.run --nproc_per_node N -m optical_memory.training …``.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn


def begin() -> torch.device:
    """Join the other processes, if there are any, and return the device of this one."""
    if "RANK" not in os.environ:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda", torch.cuda.current_device())


def rank() -> int:
    """Return the number of this process; 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(model: nn.Module) -> None:
    """Give every process the weights of the first."""
    if dist.is_initialized():
        for parameter in model.parameters():
            dist.broadcast(parameter.data, 0)


def agreed(seconds: float) -> float:
    """Return the first process's clock: all must stop at the same step."""
    if not dist.is_initialized():
        return seconds
    clock = torch.tensor(seconds, dtype=torch.float64)
    dist.broadcast(clock, 0)  # on the host: the GPU is not waited for
    return clock.item()


def average_gradients(model: nn.Module) -> None:
    """Average the gradients of all processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
