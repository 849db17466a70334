"""What was trained, on disk: the lattice that the adapter reads, the adapter, and the language model's updates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optical_memory.errors import CheckpointError
from optical_memory.model.language.adapter import Adapter, AdapterConfig
from optical_memory.model.llama import Llama, merge
from optical_memory.model.mini import weights as int8
from optical_memory.model.mini.encoder import EncoderConfig
from optical_memory.model.mini.head import HeadConfig, Lattice

FOLDER = Path(__file__).with_name("weights")
"""Folder of the bundled weights, which go with SmolLM2-135M-Instruct."""
_STEM, _CARD = "language", "language.json"


class Trained(nn.Module):
    """The trained parts. ``lattice`` is the mini's when the adapter was trained: the adapter knows no other."""

    def __init__(self, config: AdapterConfig, updates: Mapping[str, tuple[int, ...]]) -> None:
        """Make parts of these sizes; ``updates`` are shapes by name, ``layers.N.MATRIX.a`` and ``.b``."""
        super().__init__()
        self.lattice = Lattice(EncoderConfig().code, HeadConfig())
        self.adapter = Adapter(config, 1.0)
        # Both halves lie with their rank first: int8 keeps a scale for each row.
        zeros = {name: torch.zeros(_rank_first(name, shape)) for name, shape in updates.items()}
        self.updates = nn.ParameterDict({_flat(name): tensor for name, tensor in zeros.items()})

    def named_updates(self) -> dict[str, Tensor]:
        """Return the updates by name: a (rank, wide), b (narrow, rank)."""
        named = {name.replace("-", "."): tensor.detach() for name, tensor in self.updates.items()}
        return {name: tensor.T if name.endswith(".b") else tensor for name, tensor in named.items()}

    def set_update(self, name: str, tensor: Tensor) -> None:
        """Give an update its values."""
        self.updates[_flat(name)].copy_(tensor.T if name.endswith(".b") else tensor)


def save(trained: Trained, folder: Path, card: Mapping[str, Any]) -> None:
    """Write the parts as int8, and a card that says what they are."""
    int8.save_int8(trained, folder, _STEM)
    shapes = {name: list(tensor.shape) for name, tensor in trained.named_updates().items()}
    (folder / _CARD).write_text(json.dumps({**card, "updates": shapes}, indent=1) + "\n", encoding="utf-8")


def load(folder: Path = FOLDER) -> tuple[Trained, dict[str, Any]]:
    """Read what :func:`save` wrote, with its card. Errors: CheckpointError."""
    try:
        card: dict[str, Any] = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        config = AdapterConfig(**card["adapter"])
        shapes = {name: tuple(shape) for name, shape in card["updates"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"no {_CARD} that can be read in {str(folder)!r}: {error}") from error
    with torch.random.fork_rng(devices=()):
        trained = Trained(config, shapes)
    int8.load_int8(trained, folder, _STEM)
    return trained.requires_grad_(False).eval(), card


def apply(trained: Trained, model: Llama, card: Mapping[str, Any]) -> None:
    """Merge the updates into their language model. Errors: CheckpointError where it is another one."""
    config = model.config
    sizes = {name: getattr(config, name) for name in card["sizes"]}
    if sizes != card["sizes"]:
        raise CheckpointError(
            f"the adapter was trained for {card['model']!r} ({card['sizes']}), and this language model has {sizes};"
            " train one for it with `optical-memory train language`"
        )
    merge(model, trained.named_updates())


def _rank_first(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[::-1] if name.endswith(".b") else shape


def _flat(name: str) -> str:
    return name.replace(".", "-")
