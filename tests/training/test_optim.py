import pytest
import torch

from optical_memory.model.mini.encoder import EncoderConfig
from optical_memory.model.mini.head import HeadConfig
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.training.optim import optimisers, scaled_rate, scheduled, set_rate


def test_every_parameter_is_trained_once_and_wide_convolutions_slowly() -> None:
    network = MiniNetwork(
        EncoderConfig(width=64, window_blocks=1, code=16, global_width=64, global_blocks=1), HeadConfig(hidden=32)
    )
    muon, adamw = optimisers([network], 1e-3)
    trained = [id(p) for o in (muon, adamw) for group in o.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in network.parameters())
    assert sum(len(group["params"]) for group in muon.param_groups) == 2 * 4
    set_rate(adamw, 1e-3)
    wide = network.encoder.quarter.weight
    rate = next(g["lr"] for g in adamw.param_groups if any(p is wide for p in g["params"]))
    assert rate == pytest.approx(1e-3 * 160 / (64 * 9))
    assert scaled_rate(torch.nn.Parameter(torch.zeros(5))) == 1


def test_the_rate_rises_stays_and_falls() -> None:
    assert scheduled(0.0, 0) == pytest.approx(0.01)
    assert scheduled(0.3, 500) == 1
    assert scheduled(0.8, 500) == pytest.approx(0.5)
    assert scheduled(1.0, 500) == pytest.approx(0.02)
