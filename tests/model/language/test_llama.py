"""The llama against the reference implementation, updates of low rank, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from optical_memory.errors import CheckpointError, UnsupportedConfigError  # noqa: E402
from optical_memory.model.checkpoint import Checkpoint  # noqa: E402
from optical_memory.model.language import base  # noqa: E402
from optical_memory.model.llama import config_of, fill, merge, with_updates  # noqa: E402


def test_logits_are_those_of_the_reference(llama_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.LlamaForCausalLM.from_pretrained(llama_folder, dtype=torch.float32).eval()
    model = base.load(llama_folder).model
    ids = torch.randint(3, model.config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours, theirs = model.head(model(model.embed(ids))), reference(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_position_may_carry_additions_to_later_layers(llama_folder: Path) -> None:
    model = base.load(llama_folder).model
    x = model.embed(torch.tensor([[5, 6, 7, 8]]))
    added = torch.zeros(1, 4, 128)
    with torch.no_grad():
        plain = model(x)
        torch.testing.assert_close(model(torch.cat([x, added], -1)), plain)
        added[:, 2] = 1.0
        changed = model(torch.cat([x, added], -1))
    torch.testing.assert_close(changed[:, :2], plain[:, :2])
    assert not torch.allclose(changed[:, 2:], plain[:, 2:], atol=1e-3)


def test_a_merged_update_is_the_update(llama_folder: Path) -> None:
    trained, merged = base.load(llama_folder).model, base.load(llama_folder).model
    updates = with_updates(trained, rank=3)
    tensors = {}
    for name, update in updates.items():
        with torch.no_grad():
            update.b.normal_(std=0.1)
        tensors |= {f"{name}.a": update.a.detach(), f"{name}.b": update.b.detach()}
    before = merged(merged.embed(torch.tensor([[9, 10, 11]])))
    merge(merged, tensors)
    x = merged.embed(torch.tensor([[9, 10, 11]]))
    torch.testing.assert_close(merged(x), trained(x), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged(x), before, atol=1e-3)
    with pytest.raises(CheckpointError, match="does not fit"):
        merge(merged, {"layers.99.mlp.down.a": torch.zeros(1, 1), "layers.99.mlp.down.b": torch.zeros(1, 1)})


def test_other_weights_and_other_models_are_refused(llama_folder: Path) -> None:
    model, tensors = base.load(llama_folder).model, dict(Checkpoint(llama_folder))
    before = model.embed.weight.clone()
    for change in ({"model.norm.weight": None}, {"model.extra": torch.zeros(1)}, {"model.norm.weight": torch.zeros(3)}):
        wrong = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(CheckpointError, match="not this model's weights"):
            fill(model, wrong)
    assert torch.equal(model.embed.weight, before)
    sizes = json.loads((llama_folder / "config.json").read_text())
    for key, value in (("model_type", "mamba"), ("rope_scaling", {"factor": 2}), ("hidden_act", "gelu")):
        with pytest.raises(UnsupportedConfigError, match=key):
            config_of({**sizes, key: value})
