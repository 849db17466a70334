import json
from pathlib import Path

import numpy as np
import pytest
import torch

from optical_memory.training import data
from optical_memory.training.config import DecoderStage, Measure, Recipe, Stage, TrainingConfig
from optical_memory.training.train import Run, train

STAGE = Stage(
    name="small", seconds=1.0, rate=1e-3, recipes=(Recipe(name="plain", sheets=("a",), widths=(), weight=1.0),)
)
CONFIG = TrainingConfig(
    seed=0,
    side=64,
    batch=2,
    groups=1,
    points=16,
    sources=(),
    fonts=(),
    stages=(STAGE,),
    decoder=DecoderStage(seconds=1.0, rate=1e-3, batch=1, tokens=8, pages=(("a", 8.0),)),
    measures=(Measure(name="64 px", sheet="a", width=8.0, side=64, text=("random",), watched="random"),),
)


def prepared(folder: Path) -> Path:
    """Write a sheet of 95 glyphs, each a code of its own in ink, and text."""
    tiles = np.zeros((1, 95, 12, 8), np.uint8)
    for code in range(1, 95):
        for bit in range(7):
            tiles[0, code, 2 + bit, 2:6] = 255 * (code >> bit & 1)
    text = np.frombuffer(b"The quick brown fox 0123 jumps over the lazy dog. " * 40, np.uint8).astype(np.uint16)
    pools = {"marks": np.array([36], np.uint16), "narrow/latin": np.array([37], np.uint16)}
    sheets = {"a/left": tiles, "a/codes": np.arange(32, 127, dtype=np.uint16)}
    data.save(folder, {"latin": text, "evaluation": text}, sheets, pools, {})  # type: ignore[arg-type]
    return folder


@pytest.mark.slow
def test_a_stage_writes_weights_log_and_scores_and_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    folder, out, state = prepared(tmp_path / "data"), tmp_path / "out", tmp_path / "state.pt"

    def go(seconds: float) -> tuple[int, float]:
        scores = train(CONFIG, STAGE, Run(data=folder, out=out, state=state, seconds=seconds, pages=1))
        assert [score["name"] for score in scores] == ["64 px"]
        kept = torch.load(state)
        return kept["step"], kept["done"]

    step, done = go(1.0)
    assert step >= 1 and done >= 1.0
    assert sum(file.stat().st_size for file in out.glob("plain-*.safetensors")) > 1_000_000
    assert go(done) == (step, done), "all its seconds are used"
    again, later = go(done + 1.0)
    assert again > step and later > done
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] > step
    assert json.loads((out / "scores.json").read_text())["stage"] == "small"
