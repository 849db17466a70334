from pathlib import Path

import pytest
import torch

from optical_memory.errors import CheckpointError
from optical_memory.model.mini import readout, weights
from optical_memory.model.mini.encoder import Encoder, EncoderConfig, rotary, start_as_space_to_depth
from optical_memory.model.mini.head import HeadConfig, ReadoutHead, lattice_size, nearest_points
from optical_memory.model.mini.network import MiniNetwork

SMALL = EncoderConfig(width=64, window_blocks=2, code=16, global_width=64, global_blocks=1)


@pytest.fixture(scope="module")
def network() -> MiniNetwork:
    torch.manual_seed(0)
    return MiniNetwork(SMALL, HeadConfig(hidden=32, slot=16, low=16)).eval()


@pytest.mark.parametrize("side", [64, 192, 256, 320])
def test_sixteen_patches_make_one_token_at_every_multiple_of_64(network: MiniNetwork, side: int) -> None:
    patches, tokens = network.encoder(torch.rand(2, 1, side, side))
    assert patches.shape == (2, side // 16, side // 16, 64)
    assert tokens.shape == (2, side // 64, side // 64, 256)
    rows, columns = lattice_size(side)
    assert network.head.slots(tokens).shape == (2, rows * columns, 16)
    assert network.head.early_slots(patches).shape == (2, rows * columns, 16)


def test_the_compressor_starts_as_space_to_depth() -> None:
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(3, 12, 3, 2, 1)
    start_as_space_to_depth(conv, noise=0.0)
    x = torch.rand(1, 3, 8, 8)
    out = conv(x)[0]
    for k in range(4):
        assert torch.allclose(out[3 * k : 3 * k + 3], x[0, :, k // 2 :: 2, k % 2 :: 2], atol=1e-6)


def test_the_head_takes_codes_apart_in_the_order_the_compressor_put_them() -> None:
    torch.manual_seed(2)
    encoder = Encoder(SMALL)
    for conv in (encoder.halve, encoder.quarter):
        start_as_space_to_depth(conv, noise=0.0)
    head = ReadoutHead(SMALL.code, SMALL.width, HeadConfig(hidden=32, slot=16, low=16))
    codes = torch.rand(1, 8, 8, SMALL.code)  # of 8 x 8 patches
    tokens = encoder.quarter(encoder.halve(codes.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    slots = head.slots(tokens)
    direct = head._lattice(head.points(torch.nn.functional.silu(head.hidden(codes))))
    assert torch.allclose(slots, direct, atol=1e-5)


def test_global_attention_knows_distances_not_places() -> None:
    torch.manual_seed(3)
    near, far = (rotary(torch.tensor([[0.0, 0.0], [8.0, 16.0]]) + offset) for offset in (0.0, 40.0))
    q, k = torch.rand(64), torch.rand(64)

    def product(turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        def turned(x: torch.Tensor, n: int) -> torch.Tensor:
            left, right = x.chunk(2)
            return torch.cat([left * turn[0][n] - right * turn[1][n], left * turn[1][n] + right * turn[0][n]])

        return turned(q, 0) @ turned(k, 1)

    assert torch.allclose(product(near), product(far), atol=1e-3)


def test_candidates_are_joint_probabilities_of_high_and_low_byte(network: MiniNetwork) -> None:
    slots = torch.randn(5, 16)
    codes, logs = network.head.candidates(slots, 3)
    assert codes.shape == logs.shape == (5, 3)
    assert (logs[:, :-1] >= logs[:, 1:]).all()
    high = torch.log_softmax(network.head.high(slots), -1)
    for n in range(5):
        for code, log in zip(codes[n].tolist(), logs[n].tolist(), strict=True):
            low = torch.log_softmax(network.head.low_logits(slots[n], torch.tensor(code >> 8)), -1)
            assert high[n, code >> 8].item() + low[code & 255].item() == pytest.approx(log, abs=1e-4)


def test_nearest_points_lie_within_half_a_step() -> None:
    x, y = torch.tensor([0.0, 2.5, 61.9, 63.9]), torch.tensor([0.1, 4.5, 30.0, 63.9])
    index = nearest_points(x, y, 64)
    assert ((index % 32 + 0.5) * 2 - x).abs().max() <= 1
    assert ((index // 32 + 0.5) * 4 - y).abs().max() <= 2


def test_int8_weights_come_back_within_half_a_step(network: MiniNetwork, tmp_path: Path) -> None:
    weights.save_int8(network, tmp_path)
    other = MiniNetwork(SMALL, HeadConfig(hidden=32, slot=16, low=16))
    weights.load_int8(other, tmp_path)
    for name, value in network.state_dict().items():
        error = (other.state_dict()[name] - value).flatten(1 if value.ndim > 1 else 0).abs()
        step = value.flatten(1).abs().amax(1, keepdim=True) / 127 if value.ndim > 1 else torch.tensor(0.0)
        assert (error <= step / 2 + 1e-7).all(), name


def test_plain_weights_come_back_in_shards(
    network: MiniNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_MOST_BYTES", 200_000)
    weights.save_plain(network, tmp_path)
    files = list(tmp_path.glob("plain-*.safetensors"))
    assert len(files) > 1
    other = MiniNetwork(SMALL, HeadConfig(hidden=32, slot=16, low=16))
    weights.load_plain(other, tmp_path)
    ink = torch.rand(1, 1, 64, 64)
    assert torch.allclose(network(ink), other(ink), atol=0.05)


def test_weights_that_do_not_fit_are_named(network: MiniNetwork, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no mini"):
        weights.load_int8(network, tmp_path)
    weights.save_int8(network, tmp_path)
    with pytest.raises(CheckpointError) as caught:
        weights.load_int8(MiniNetwork(SMALL, HeadConfig(hidden=48, slot=16, low=16)), tmp_path)
    assert "head.hidden.weight" in caught.value.misshaped


def test_rows_of_points_can_be_asked_for_alone(network: MiniNetwork) -> None:
    tokens = torch.randn(1, 2, 2, 256)
    whole = network.head.slots(tokens).view(8, 4, 64, 16)  # (patch rows, rows of a patch, points across, slot)
    some = network.head.slots(tokens, (1, 3)).view(8, 2, 64, 16)
    assert torch.allclose(some, whole[:, [1, 3]], atol=1e-6)


def test_candidates_are_the_same_with_and_without_choosing_where_to_look_twice(network: MiniNetwork) -> None:
    slots = 40 * torch.randn(700, 16)  # sure of many high bytes, and more than are asked about together
    chosen, everywhere = (network.head._candidates(slots, 3, twice=twice) for twice in (False, True))
    assert torch.equal(chosen[0], everywhere[0]) and torch.allclose(chosen[1], everywhere[1], atol=1e-5)
    in_parts = network.head.candidates(slots, 3)
    assert torch.equal(chosen[0], in_parts[0]) and torch.allclose(chosen[1], in_parts[1], atol=1e-5)


def test_the_halves_of_a_wide_character_decide_together(network: MiniNetwork) -> None:
    slots = 4 * torch.randn(2, 600, 16)
    codes = torch.cat([network.head.candidates(half, 3)[0] for half in slots], 1)  # (600, 6)
    logs = [
        sum(readout.likelihoods(network.head, half[n : n + 1], codes[n]) for half in slots)[0]  # type: ignore[index]
        for n in range(600)
    ]
    expected = torch.stack([codes[n, log.argmax()] for n, log in enumerate(logs)])
    named = readout.agreed(network.head, list(slots), codes)
    assert torch.equal(named, expected)
    assert (named != codes[:, 0]).any() and (named == codes[:, 0]).any()
