"""The GPU benchmark runs whole at toy sizes on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


def test_every_section_has_figures(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks/gpu.py"
    command = [sys.executable, str(script), "--tiny", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["whole tiny 2"]["new_tokens"] == 20
    assert found["decode 1 at 40"]["tokens_per_second"] > 0
    assert found["encoder tiny fused"]["tflop_per_page"] > 0
    assert found["check"]["encoder_error"] < 1e-4
    assert found["transformers"]["decode_1_tokens_per_second"] > 0
