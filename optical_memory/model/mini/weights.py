"""Weights on disk: float16 shards while training, int8 with a scale per output channel in the package."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from optical_memory.errors import CheckpointError

_MOST_BYTES = 15_000_000
"""A file holds at most this much."""
_SCALE = ".scale"
_PEAK = 12


def save_plain(module: nn.Module, folder: Path) -> None:
    """Write float16 weights as plain-0.safetensors, plain-1.safetensors and so on."""
    _save({name: tensor.detach().half() for name, tensor in module.state_dict().items()}, folder, "plain")


def load_plain(module: nn.Module, folder: Path) -> None:
    """Read what :func:`save_plain` wrote. Errors: CheckpointError."""
    _fill(module, {name: tensor.float() for name, tensor in _load(folder, "plain").items()})


def load_weights(module: nn.Module, folder: Path) -> None:
    """Read either kind of weights from a folder. Errors: CheckpointError."""
    load = load_plain if any(folder.glob("plain-*.safetensors")) else load_int8
    load(module, folder)


def save_int8(module: nn.Module, folder: Path) -> None:
    """Write matrices and kernels as int8 with a float32 scale per output channel, the rest as float32.

    Kernels that began as space-to-depth stay float16: one weight near 1 in each channel would set the step for all.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        value = tensor.detach().float().cpu()
        if value.ndim < 2 or value.shape[0] == 1:
            tensors[name] = value
            continue
        if _is_peaked(value):
            tensors[name] = value.half()
            continue
        scale = (value.flatten(1).abs().amax(1) / 127).clamp(min=1e-12)
        tensors[name] = (value / scale.view(-1, *[1] * (value.ndim - 1))).round().to(torch.int8)
        tensors[name + _SCALE] = scale
    _save(tensors, folder, "mini")


def _is_peaked(value: Tensor) -> bool:
    """Return whether the largest weight of most output channels is over 12 times their root mean square."""
    rows = value.flatten(1)
    return bool((rows.abs().amax(1) / rows.square().mean(1).sqrt().clamp(min=1e-12)).median() > _PEAK)


def load_int8(module: nn.Module, folder: Path) -> None:
    """Read what :func:`save_int8` wrote into a module of float32. Errors: CheckpointError."""
    stored = _load(folder, "mini")
    tensors = {}
    for name, tensor in stored.items():
        if name.endswith(_SCALE):
            continue
        scale = stored.get(name + _SCALE)
        tensors[name] = tensor.float() if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
    _fill(module, tensors)


def _save(tensors: dict[str, Tensor], folder: Path, stem: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        size += tensor.nbytes
        if size > _MOST_BYTES and shards[-1]:
            shards.append({})
            size = tensor.nbytes
        shards[-1][name] = tensor.cpu().contiguous()
    for number, shard in enumerate(shards):
        save_file(shard, folder / f"{stem}-{number}.safetensors")


def _load(folder: Path, stem: str) -> dict[str, Tensor]:
    files = sorted(folder.glob(f"{stem}-*.safetensors"))
    if not files:
        raise CheckpointError(f"no {stem}-*.safetensors in {str(folder)!r}")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= load_file(file)
    return tensors


def _fill(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    wanted = module.state_dict()
    missing = tuple(sorted(wanted.keys() - tensors.keys()))
    unexpected = tuple(sorted(tensors.keys() - wanted.keys()))
    misshaped = tuple(name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape)
    if missing or unexpected or misshaped:
        raise CheckpointError(
            "the weights do not fit the model", missing=missing, unexpected=unexpected, misshaped=misshaped
        )
    module.load_state_dict(tensors, assign=True)
