from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.service.ports import free_port
from optical_memory.training import ranks

PROGRAM = """
import sys, torch
from optical_memory.training import ranks
device = ranks.begin()
torch.manual_seed(ranks.rank())
model = torch.nn.Linear(3, 2)
ranks.share(model)
model(torch.full((1, 3), float(ranks.rank() + 1))).sum().backward()
ranks.average_gradients(model)
clock = ranks.agreed(float(ranks.rank()))
said = (ranks.rank(), model.weight.grad[0].tolist(), clock, round(model.weight.sum().item(), 4))
print(*said, file=open(sys.argv[1] + str(ranks.rank()), "w"))
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_weights_clock_and_gradients(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    address = ["--master_addr", "127.0.0.1", "--master_port", str(free_port())]
    command = [sys.executable, "-m", "torch.distributed.run", *address, "--nproc_per_node", "2"]
    done = subprocess.run([*command, str(program), str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"out{rank}").read_text().split(" ", 1)[1] for rank in (0, 1))
    assert first == second
    assert first.startswith("[1.5, 1.5, 1.5] 0.0")


def test_a_single_process_shares_nothing() -> None:
    model = torch.nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    ranks.average_gradients(model)
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[1.0, 1.0]]
    assert (ranks.rank(), ranks.agreed(2.5)) == (0, 2.5)
