"""The whole way at a small size: prepare, train, score, pack, load, ask. For any model of the llama family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("faker")
pytest.importorskip("playwright")

from small_llama import write_llama  # noqa: E402

from optical_memory import load_model, render  # noqa: E402
from optical_memory.model.language import weights  # noqa: E402
from optical_memory.model.language.model import load  # noqa: E402
from optical_memory.training import __main__ as training  # noqa: E402

RECIPE = """
model = "{model}"
seed = 1
batch = 2
rate = 1e-3
update_rate = 7e-4
rank = 2
true_tokens = 0.3
mixed_tokens = 0.5
level = 0.5
pointer = 0.25
asked = 64
expand = 0.4
natural = 0.5
teach = 0.4
[adapter]
width = 64
row_blocks = 1
page_blocks = 1
levels = 2
key = 32
[[modes]]
ratios = [1]
weight = 0.8
[[modes]]
weight = 0.2
[[sources]]
name = "notes"
licence = "this test's"
patterns = ["*.txt"]
"""


def test_a_recipe_gives_weights_that_load(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lm").mkdir()
    write_llama(tmp_path / "lm", max_position_embeddings=8192)
    (tmp_path / "notes").mkdir()
    for number in range(3):
        said = f"The note {number} speaks of rivers, bridges and long roads through quiet towns. " * 60
        (tmp_path / "notes" / f"{number}.txt").write_text(said)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(model=tmp_path / "lm"))
    command = ["language", "--recipe", str(recipe)]
    training.main([*command, "prepare", str(tmp_path / "data"), str(tmp_path / "notes")])
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["text"][0]["licence"] == "this test's" and manifest["text"][0]["characters"] > 10_000
    training.main([*command, "passages", str(tmp_path / "data"), "--count", "2"])
    run = ["run", str(tmp_path / "data"), str(tmp_path / "out"), "--seconds", "6", "--evaluated", "1"]
    training.main([*command, *run])
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {
        "vision 9",
        "true tokens 3",
        "pooled 3",
        "newest text 1",
        "text",
        "blank 9",
        "other page 9",
    } <= scores.keys()
    assert "steps" in capfd.readouterr().out
    training.main([*command, "pack", str(tmp_path / "out" / "language.pt"), str(tmp_path / "packed")])
    again = ["--from", str(tmp_path / "packed"), "--evaluated", "1"]
    training.main([*command, *run[:2], str(tmp_path / "more"), "--seconds", "600", "--steps", "2", *again])
    assert "steps 2" in capfd.readouterr().out and (tmp_path / "more" / "language.pt").is_file()
    pooled = [*run[:2], str(tmp_path / "pooled"), "--seconds", "600", "--steps", "2", "--pooled", *again]
    training.main([*command, *pooled, "--keep", "1"])
    assert (tmp_path / "pooled" / "step-1.pt").is_file()
    training.main([*command, "score", str(tmp_path / "data"), str(tmp_path / "score"), *again])
    assert "vision 2" in json.loads((tmp_path / "score" / "scores.json").read_text())
    training.main([*command, "pack", str(tmp_path / "more" / "language.pt"), str(tmp_path / "later")])
    training.main([*command, "mean", str(tmp_path / "mean"), str(tmp_path / "packed"), str(tmp_path / "later")])
    first, second, middle = (weights.load(tmp_path / name)[0].state_dict() for name in ("packed", "later", "mean"))
    for name, tensor in middle.items():
        exact = (first[name] + second[name]) / 2
        torch.testing.assert_close(tensor, exact, rtol=0, atol=float(exact.abs().max()) / 200)  # int8 again
    page = render("The port of billing-api is 8042.", tier="tiny", profile="mini")[0]
    model = load(str(tmp_path / "lm"), folder=tmp_path / "packed", dtype=torch.float32)
    assert 0 <= model.answer([page], "Which port?").certainty <= 1
    assert load_model("smollm2", path=tmp_path / "lm", folder=tmp_path / "packed", dtype=torch.float32) is model
