import io

import numpy as np
import pytest
import torch
from PIL import Image

from optical_memory.training import augment
from optical_memory.training.evaluate import damaged


@pytest.fixture
def ink() -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.rand(2, 64, 64) > 0.7).float()


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_jpeg_is_what_a_real_encoder_does(ink: torch.Tensor, quality: int) -> None:
    ink = augment.blurred(ink, 0.6)  # pure black and white gives many ties when the spectrum is rounded
    grey = ((1 - ink[0]) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    real = 1 - np.asarray(Image.open(file), np.float32) / 255
    ours = augment.jpeg(ink, quality)[0].numpy()
    damage = np.abs(real - ink[0].numpy()).mean()
    assert np.abs(ours - real).mean() < 0.5 * damage


def test_blur_keeps_the_mean_and_lowers_the_spread(ink: torch.Tensor) -> None:
    out = augment.blurred(ink, 0.8)
    assert abs(float(out.mean() - ink.mean())) < 0.02
    assert out.std() < 0.7 * ink.std()


def test_contrast_and_paper(ink: torch.Tensor) -> None:
    out = augment.weakened(ink, torch.tensor([0.5, 1.0]), torch.tensor([0.2, 0.0]))
    assert torch.allclose(out[0][ink[0] == 0], torch.tensor(0.2))
    assert torch.allclose(out[0][ink[0] == 1], torch.tensor(0.2 + 0.5 * 0.8))
    assert torch.equal(out[1], ink[1])


@pytest.mark.parametrize("draw", [(0.0, 0.5, 0.0, 0.0), (0.9, 0.5, 0.9, 0.9), (0.1, 1.0, 0.01, 0.2)])
def test_roughened_pages_stay_pages(ink: torch.Tensor, draw: tuple[float, float, float, float]) -> None:
    out = augment.roughened(ink, 0.8, draw)
    assert out.shape == ink.shape
    assert 0 <= out.min() and out.max() <= 1
    assert ((out - ink).abs().mean() < 0.4) and not torch.equal(out, ink)


def test_damage_by_name(ink: torch.Tensor) -> None:
    assert torch.equal(damaged(ink, "", 0), ink)
    for name, amount in (("noise", 0.1), ("jpeg", 50), ("contrast", 0.5), ("blur", 0.5)):
        assert not torch.equal(damaged(ink, name, amount), ink)
