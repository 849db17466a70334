"""The command that makes the bundled model, as far as it runs without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from typer.testing import CliRunner

from optical_memory.cli import app
from optical_memory.model.mini import MiniNetwork, weights

run = CliRunner().invoke


def test_help_lists_the_commands_of_training_with_an_example() -> None:
    for arguments in (["train"], ["train", "--help"]):
        result = run(app, arguments)
        assert result.exit_code == 0, result.output
        assert "Example: optical-memory train" in result.output
        for command in ("prepare", "stage", "plot", "pack"):
            assert command in result.output


def test_options_of_a_command_are_those_of_the_module() -> None:
    ours = run(app, ["train", "stage", "--help"])
    arguments = [sys.executable, "-m", "optical_memory.training", "stage", "--help"]
    theirs = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert ours.exit_code == 0 and "--state" in ours.output
    assert ours.output.split() == theirs.stdout.split()


def test_unknown_commands_are_refused() -> None:
    result = run(app, ["train", "bake"])
    assert result.exit_code == 2 and "bake" in result.output


def test_weights_are_packed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MiniNetwork()
    weights.save_plain(network, tmp_path / "plain")
    result = run(app, ["train", "pack", str(tmp_path / "plain"), str(tmp_path / "packed")])
    assert result.exit_code == 0, result.output
    packed = MiniNetwork()
    weights.load_int8(packed, tmp_path / "packed")
    largest = network.head.high.weight.abs().max()
    assert (packed.head.high.weight - network.head.high.weight).abs().max() < 0.01 * largest


def test_the_module_runs_without_the_command_lines_packages() -> None:
    code = (
        "import sys\n"
        "for name in ('typer', 'rich', 'click'): sys.modules[name] = None\n"
        "from optical_memory.training.__main__ import main\n"
        "main(['stage', '--help'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
