"""The GPU benchmark runs whole at toy sizes on a CPU, and loses nothing where a part fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]


def run(out: Path, *options: str, missing: str = "") -> tuple[str, dict[str, dict[str, float]]]:
    """Run the benchmark at toy sizes, in a Python where the package ``missing`` cannot be imported."""
    absent = f"sys.modules[{missing!r}] = None; " if missing else ""
    program = f"import sys; {absent}import benchmarks; benchmarks.run('gpu', sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", program, "--tiny", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, json.loads(out.read_text())


def test_every_section_has_figures(tmp_path: Path) -> None:
    printed, found = run(tmp_path / "gpu.json")
    assert found["whole tiny 2"]["new_tokens"] == 20
    assert found["decode 1 at 40"]["tokens_per_second"] > 0
    assert found["encoder tiny default"]["distance"] < 1e-4
    assert found["encoder tiny compiled"]["over_eager"] > 0
    assert found["check of encoder"]["encoder_error"] < 1e-4
    assert found["check of steps"]["step_error_batch_4"] < 1e-4
    assert found["transformers"]["decode_1_tokens_per_second"] > 0
    assert "| tiny 2 |" in printed and "Error" not in printed


def test_a_part_that_cannot_run_is_named_and_loses_nothing(tmp_path: Path) -> None:
    printed, found = run(tmp_path / "gpu.json", "--parts", "transformers", "prefill", missing="transformers")
    assert "ModuleNotFoundError" in found["part transformers"]["error"]
    assert found["prefill 64 pages"]["tokens_per_second"] > 0
    assert "part transformers: ModuleNotFoundError" in printed


def test_no_section_begins_when_time_is_up(tmp_path: Path) -> None:
    _, found = run(tmp_path / "gpu.json", "--parts", "prefill", "--seconds", "0")
    assert "TimeoutError" in found["part prefill"]["error"]
    assert found["ceilings"]["copy_tbps"] > 0


def test_batches_that_do_not_fit_are_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from benchmarks.gpu import decoder
    from benchmarks.gpu.bench import Bench

    tried: list[int] = []

    def rows(bench: object, model: object, batch: int, found: dict[str, float]) -> None:
        tried.append(batch)
        if batch > 384:
            raise torch.OutOfMemoryError("the device is full")
        found["tokens_per_second"] = batch

    monkeypatch.setattr(decoder, "decode_rows", rows)
    bench = Bench(tiny=False, seconds=100)
    decoder.batched(bench, None)
    assert tried == [64, 128, 256, 512, 448, 384]
    assert bench.results["decode 384"]["tokens_per_second"] == 384
    assert "OutOfMemory" in bench.results["decode 512"]["error"]
