"""A run's weights, rounded to int8 for the package; the mean of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from optical_memory.errors import CheckpointError
from optical_memory.model.language import base, weights
from optical_memory.training.language.recipe import Recipe

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def pack(recipe: Recipe, path: Path, out: Path) -> None:
    """Write ``language-N.safetensors`` and ``language.json`` from a run's ``language.pt``."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    language = base.config(recipe.model)
    config = dataclasses.replace(recipe.adapter, hidden_size=language.hidden_size)
    trained = weights.Trained(config, {name: tuple(t.shape) for name, t in state["updates"].items()})
    trained.adapter.load_state_dict({name: tensor.float() for name, tensor in state["adapter"].items()})
    with torch.no_grad():
        for name, tensor in state["updates"].items():
            trained.set_update(name, tensor.float())
    trained.lattice.load_state_dict({name: tensor.float() for name, tensor in state["lattice"].items()})
    sizes = {name: getattr(language, name) for name in _SIZES}
    card = {"model": base.HUB.get(recipe.model, recipe.model), "sizes": sizes, "adapter": dataclasses.asdict(config)}
    weights.save(trained, out, card)


def mean(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of packed weights, of runs that began alike. Errors: CheckpointError where their sizes differ."""
    (kept, card), *others = [weights.load(folder) for folder in folders]
    for folder, (_, its) in zip(folders[1:], others, strict=True):
        if any(its[name] != card[name] for name in ("sizes", "adapter", "updates")):
            raise CheckpointError(f"{str(folder)!r} has weights of other sizes than {str(folders[0])!r}")
    states = [kept.state_dict(), *(other.state_dict() for other, _ in others)]
    kept.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    weights.save(kept, out, {name: card[name] for name in ("model", "sizes", "adapter")})
