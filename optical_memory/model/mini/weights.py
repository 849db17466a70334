"""Weights on disk: float16 shards while training, int8 with a scale per output channel in the package."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from optical_memory.errors import CheckpointError

_MOST_BYTES = 15_000_000
"""A file holds at most this much."""
_SCALE, _PEAK, _PLACE = ":scale", ":peak", ":place"
_PEAKED = 12


def save_plain(module: nn.Module, folder: Path) -> None:
    """Write float16 weights as plain-0.safetensors, plain-1.safetensors and so on."""
    _save({name: tensor.detach().half() for name, tensor in module.state_dict().items()}, folder, "plain")


def load_plain(module: nn.Module, folder: Path) -> None:
    """Read what :func:`save_plain` wrote. Errors: CheckpointError."""
    _fill(module, {name: tensor.float() for name, tensor in _load(folder, "plain").items()})


def load_weights(module: nn.Module, folder: Path, stem: str = "mini") -> None:
    """Read either kind of weights from a folder. Errors: CheckpointError."""
    if any(folder.glob("plain-*.safetensors")):
        load_plain(module, folder)
    else:
        load_int8(module, folder, stem)


def save_int8(module: nn.Module, folder: Path, stem: str = "mini") -> None:
    """Write matrices and kernels as int8 with a float32 scale per output channel, the rest as float32.

    Where one weight of each channel stands out, as in kernels that began as space-to-depth, it is kept apart in
    float32: it would set the step for all others.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        value = tensor.detach().float().cpu()
        if value.ndim < 2 or value.shape[0] == 1:
            tensors[name] = value
            continue
        rows = _rows(value).clone()  # (out, in)
        if _is_peaked(rows):
            place = rows.abs().argmax(1, keepdim=True)
            tensors[name + _PEAK], tensors[name + _PLACE] = rows.gather(1, place), place.int()
            rows.scatter_(1, place, 0.0)
        scale = (rows.abs().amax(1) / 127).clamp(min=1e-12)
        tensors[name] = (rows / scale[:, None]).round().to(torch.int8).view(value.shape)
        tensors[name + _SCALE] = scale
    _save(tensors, folder, stem)


def _rows(value: Tensor) -> Tensor:
    """Return a matrix of one row per output channel; stacked matrices, as experts are, stand below one another."""
    return value.flatten(0, 1) if value.ndim == 3 else value.flatten(1)


def _is_peaked(rows: Tensor) -> bool:
    """Return whether the largest weight of most output channels is over 12 times their root mean square."""
    return bool((rows.abs().amax(1) / rows.square().mean(1).sqrt().clamp(min=1e-12)).median() > _PEAKED)


def load_int8(module: nn.Module, folder: Path, stem: str = "mini") -> None:
    """Read what :func:`save_int8` wrote into a module of float32. Errors: CheckpointError."""
    stored = _load(folder, stem)
    tensors = {}
    for name, tensor in stored.items():
        if name.endswith((_SCALE, _PEAK, _PLACE)):
            continue
        value = tensor.float()
        if name + _SCALE in stored:
            rows = _rows(value) * stored[name + _SCALE][:, None]
            if name + _PEAK in stored:
                rows.scatter_(1, stored[name + _PLACE].long(), stored[name + _PEAK])
            value = rows.view(tensor.shape)
        tensors[name] = value
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
