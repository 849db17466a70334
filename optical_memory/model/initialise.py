"""Random values for parameters that nothing was loaded into.

A model is built without memory: its parameters have a shape and a type, and no values. They get values when they are
loaded, or here, when a part of the model is first used: so half a model costs half its memory, and random numbers
are drawn for what was not loaded only.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_TABLES = ("positions", "rel_pos", "embed", "class_token", "newline", "separator")


def materialise(module: nn.Module, *, prefix: str, device: torch.device) -> None:
    """Give values on ``device`` to every parameter of the module that has none. ``prefix`` is the module's name."""
    for owner_name, owner in module.named_modules():
        for leaf, parameter in owner.named_parameters(recurse=False):
            if parameter.is_meta:
                name = ".".join(part for part in (prefix, owner_name, leaf) if part)
                values = random_values(name, parameter.shape, device=device, dtype=parameter.dtype)
                setattr(owner, leaf, nn.Parameter(values, requires_grad=False))


def random_values(name: str, shape: Sequence[int], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Draw a parameter's values: the same for the same name, shape, device and type.

    Norms are 1, biases 0, tables of positions and embeddings 0.02 wide, all other matrices one over the root of
    their fan-in, so that activations keep their size through the layers.
    """
    values = torch.empty(*shape, device=device, dtype=dtype)
    table = any(part in name for part in _TABLES)
    if len(shape) == 1 and not table:
        return values.fill_(0.0 if name.endswith("bias") else 1.0)
    fan_in = math.prod(shape[1:]) if len(shape) == 4 else shape[-1]  # convolutions; matrices, alone or stacked
    generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
    return values.normal_(std=0.02 if table else fan_in**-0.5, generator=generator)
