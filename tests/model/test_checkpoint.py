"""Checkpoints on disk: what fits is loaded, what does not is listed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from optical_memory.errors import CheckpointError, NotFoundError, UnsupportedConfigError
from optical_memory.model import build, load_model
from optical_memory.model.checkpoint import Checkpoint, save
from optical_memory.model.names import pieces

NORM = "model.norm.weight"
EXPERT = "model.layers.1.mlp.experts.2.up_proj.weight"
IDS = [5, 17, 3, 99]


@pytest.fixture
def folder(tiny_model: Any, tmp_path: Path) -> Path:
    """A checkpoint folder of the tiny model, in several files with an index."""
    tiny_model.ready(tiny_model.encoder, tiny_model.decoder)
    save(tiny_model, tiny_model.config, tmp_path / "tiny", shard_bytes=200_000)
    assert len(list((tmp_path / "tiny").glob("*.safetensors"))) > 2
    return tmp_path / "tiny"


@pytest.fixture
def tensors(folder: Path) -> dict[str, Any]:
    checkpoint = Checkpoint(folder)
    return {name: checkpoint[name] for name in checkpoint}


def change(folder: Path, edit: Any) -> None:
    """Rewrite a folder as one file without an index, its tensors edited."""
    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= {name: tensor.clone() for name, tensor in load_file(path).items()}
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("sharded", [True, False])
def test_saved_and_loaded_again(tiny_model: Any, folder: Path, sharded: bool) -> None:
    if not sharded:
        change(folder, lambda tensors: None)
    again = load_model("deepseek-ocr", path=folder, dtype=torch.float32)
    assert again.config.decoder == tiny_model.config.decoder
    for (name, mine), (other, theirs) in zip(tiny_model.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and torch.equal(mine, theirs)
    assert torch.equal(again.logits(IDS), tiny_model.logits(IDS))


def test_a_path_is_a_name_too(folder: Path) -> None:
    model = load_model(str(folder))
    assert model.dtype == torch.bfloat16  # what the config says
    assert model.logits(IDS).dtype == torch.bfloat16


def test_loaded_in_another_type(tiny_model: Any, folder: Path) -> None:
    model = load_model(str(folder), dtype=torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert torch.allclose(model.logits(IDS).float(), tiny_model.logits(IDS), atol=1e-4)


def test_position_ids_of_some_exports_are_ignored(folder: Path) -> None:
    name = "model.vision_model.embeddings.position_ids"
    change(folder, lambda tensors: tensors.update({name: torch.arange(5)}))
    load_model(str(folder))


def test_files_are_mapped_and_not_copied(tmp_path: Path) -> None:
    model = build("deepseek-ocr", hidden_size=1024, num_attention_heads=8, vocab_size=20_000, num_hidden_layers=1)
    model.ready(model.decoder)
    tensors = {
        piece.name: piece.view(model.get_parameter(piece.parameter)).clone()
        for piece in pieces(model.config)
        if piece.parameter in ("decoder.embed.weight", "decoder.head.weight")
    }
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert size > 150_000_000
    save_file(tensors, tmp_path / "model.safetensors")
    del tensors, model
    empty = build("deepseek-ocr", hidden_size=1024, num_attention_heads=8, vocab_size=20_000, num_hidden_layers=1)
    before = psutil.Process().memory_info().rss
    empty.load_tensors(Checkpoint(tmp_path), strict=False, check=False)
    assert psutil.Process().memory_info().rss - before < 0.1 * size
    assert empty.decoder.head.weight.isfinite().all()


def test_missing_unexpected_and_misshaped_are_listed(folder: Path) -> None:
    def edit(tensors: dict[str, Any]) -> None:
        del tensors[NORM], tensors[EXPERT]
        tensors["model.extra"] = torch.zeros(1)
        tensors["lm_head.weight"] = torch.zeros(7, 40)

    change(folder, edit)
    with pytest.raises(CheckpointError) as error:
        load_model(str(folder))
    assert set(error.value.missing) == {NORM, EXPERT}
    assert error.value.unexpected == ("model.extra",)
    assert error.value.misshaped == ("lm_head.weight",)
    for part in (NORM, EXPERT, "model.extra", "(7, 40) instead of (100, 40)"):
        assert part in str(error.value)


def test_a_subset_only_without_strict(tiny_model: Any, tensors: dict[str, Any]) -> None:
    decoder = {name: tensor for name, tensor in tensors.items() if "layers" in name and "vision" not in name}
    with pytest.raises(CheckpointError) as error:
        tiny_model.load_tensors(decoder)
    assert NORM in error.value.missing and len(error.value.missing) == len(tensors) - len(decoder)
    assert tiny_model.load_tensors(decoder, strict=False) is tiny_model


def test_unknown_names_are_refused_without_strict_too(tiny_model: Any) -> None:
    with pytest.raises(CheckpointError) as error:
        tiny_model.load_tensors({"decoder.norm.weight": torch.ones(40), NORM: torch.ones(41)}, strict=False)
    assert error.value.unexpected == ("decoder.norm.weight",)
    assert error.value.misshaped == (NORM,)


def test_a_part_of_a_parameter(tiny_model: Any) -> None:
    before = tiny_model.logits(IDS)  # fills the decoder
    stacked = tiny_model.decoder.layers[1].mlp.experts.gate_up.clone()
    tiny_model.load_tensors({EXPERT: np.zeros((16, 40))}, strict=False)
    now = tiny_model.decoder.layers[1].mlp.experts.gate_up
    assert (now[2, 16:] == 0).all()
    now = now.clone()
    now[2, 16:] = stacked[2, 16:]
    assert torch.equal(now, stacked)
    fresh = build("deepseek-ocr", **tiny_model.config.to_published())
    fresh.load_tensors({EXPERT: stacked[2, 16:]}, strict=False)
    assert torch.equal(fresh.logits(IDS), before)


def test_loaded_tensors_are_copies(tiny_model: Any) -> None:
    mine = np.ones(40, dtype=np.float32)
    tiny_model.load_tensors({NORM: mine}, strict=False)
    mine[:] = 7
    assert (tiny_model.decoder.norm.weight == 1).all()
    mine.flags.writeable = False
    tiny_model.load_tensors({NORM: mine}, strict=False)
    assert (tiny_model.decoder.norm.weight == 7).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(tiny_model: Any, folder: Path, value: float) -> None:
    def edit(tensors: dict[str, Any]) -> None:
        tensors[NORM][3] = value
        tensors[EXPERT][0, 0] = value

    before = tiny_model.logits(IDS)
    change(folder, edit)
    with pytest.raises(CheckpointError, match="NaN or infinity") as error:
        load_model(str(folder))
    assert NORM in str(error.value) and EXPERT in str(error.value) and "experts.1." not in str(error.value)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        tiny_model.load_tensors(Checkpoint(folder))
    assert torch.equal(tiny_model.logits(IDS), before)
    assert not load_model(str(folder), check=False).logits(IDS).isfinite().all()


def test_large_sums_are_not_taken_for_infinity(tiny_model: Any) -> None:
    tiny_model.load_tensors({NORM: torch.full((40,), 3e38)}, strict=False)


@pytest.mark.parametrize("keep", [0, 5, 8, 300, -1])
def test_files_cut_short(folder: Path, keep: int) -> None:
    path = sorted(folder.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=path.name):
        load_model(str(folder))


@pytest.mark.parametrize("content", [b"no tensors here" * 99, b"\xff" * 64, b"\x10" + b"\0" * 7 + b"{" * 16])
def test_files_that_are_something_else(folder: Path, content: bytes) -> None:
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=path.name):
        load_model(str(folder))


def test_files_that_are_missing(folder: Path) -> None:
    path = sorted(folder.glob("*.safetensors"))[-1]
    path.unlink()
    with pytest.raises(CheckpointError, match=path.name):
        load_model(str(folder))


def test_an_index_that_leaves_the_folder(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shutil.copy(next(folder.glob("*.safetensors")), folder.parent / "outside.safetensors")
    index["weight_map"][NORM] = "../outside.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"\.\./outside"):
        load_model(str(folder))


def test_an_index_that_promises_more(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.more"] = index["weight_map"][NORM]
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as error:
        load_model(str(folder))
    assert error.value.missing == ("model.more",)


def test_tensors_in_two_files(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    shutil.copy(next(folder.glob("*.safetensors")), folder / "again.safetensors")
    with pytest.raises(CheckpointError, match="another file has too"):
        load_model(str(folder))


@pytest.mark.parametrize("text", ["", "[]", '{"hidden_size": ', "\0"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_broken_json(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(CheckpointError, match=name):
        load_model(str(folder))


def test_folders_without_what_is_needed(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    (tmp_path / "empty").mkdir()
    for path in (folder, tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=path.name):
            load_model("deepseek-ocr", path=path)


def test_a_config_that_asks_for_more(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for change_ in ({"use_mla": True}, {"torch_dtype": "int8"}, {"torch_dtype": "float12"}):
        (folder / "config.json").write_text(json.dumps(config | change_))
        with pytest.raises(UnsupportedConfigError, match=next(iter(change_))):
            load_model(str(folder))


def test_names_that_mean_nothing() -> None:
    with pytest.raises(NotFoundError, match="deepseek-ocr"):
        load_model("deepseek_ocr")
    with pytest.raises(NotFoundError, match="deepseek-ocr"):
        build("got-ocr")


@pytest.mark.parametrize(("setting", "value"), [("HF_HUB_OFFLINE", True), ("ENDPOINT", "http://127.0.0.1:9")])
def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, value: Any) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, setting, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("deepseek-ocr", "someone/some-model"):
        with pytest.raises(CheckpointError, match="no network"):
            load_model(name)
    with pytest.raises(CheckpointError, match="hub"):
        load_model("a/b/c")


def test_progress_is_shown_on_standard_error(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(folder), progress=True)
    out, err = capfd.readouterr()
    assert "Loading tiny" in err and not out
    load_model(str(folder), progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_no_room_for_a_checkpoint_is_said_with_its_size_and_type(tiny_sizes: dict[str, Any], tmp_path: Path) -> None:
    """In a process of its own: its 65 MB are mapped twice, then 128 MB are needed for wider numbers."""
    build("deepseek-ocr", **tiny_sizes | {"vocab_size": 200_000}).save(tmp_path)
    program = f"""
import gc, psutil, resource, torch
from optical_memory.errors import OutOfMemoryError
from optical_memory.model import load_model
torch.set_num_threads(1)
load_model({str(tmp_path)!r})  # all imports are done
gc.collect()
used = psutil.Process().memory_info().vms
for room in (5_000_000, 100_000_000, 160_000_000):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    try:
        load_model({str(tmp_path)!r}, dtype=torch.float64)
    except OutOfMemoryError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr[-2000:]
    for line in lines[:2]:
        assert "no room to map this file (0.06 GB)" in line
    assert lines[2].startswith("cpu has no room for this checkpoint (0.06 GB of files) as float64; use another device")
