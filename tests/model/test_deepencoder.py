"""The encoder as a whole: batches, the rows of a page, and pixels that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optical_memory.errors import ImageError
from optical_memory.model.deepencoder import square


@pytest.fixture
def encoder(tiny_model: Any) -> Any:
    tiny_model.ready(tiny_model.encoder)
    return tiny_model.encoder


def marked(*shape: int) -> Any:
    """Return tokens of width 40 whose first channel counts them."""
    tokens = torch.zeros(*shape, 40)
    tokens[..., 0] = torch.arange(1.0, tokens[..., 0].numel() + 1).view(shape)
    return tokens


def rows_of(encoder: Any, sequence: Any) -> list[Any]:
    """Name each row of a sequence: a token's number, "newline" or "separator"."""
    special = {"newline": encoder.newline, "separator": encoder.separator}
    return [next((name for name, value in special.items() if torch.equal(row, value)), int(row[0])) for row in sequence]


def test_rows_of_a_view(encoder: Any) -> None:
    assert rows_of(encoder, encoder.arrange(marked(4))) == [1, 2, "newline", 3, 4, "newline", "separator"]


def test_rows_of_tiles_come_first_and_run_across(encoder: Any) -> None:
    tiles = marked(6, 4)  # two across, three down, of 2 x 2 tokens
    view = marked(1) + 100
    found = rows_of(encoder, encoder.arrange(view, tiles, (2, 3)))
    canvas = [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16], [17, 18, 21, 22], [19, 20, 23, 24]]
    expected = [each for row in canvas for each in (*row, "newline")]
    assert found == [*expected, 101, "newline", "separator"]


def test_tiles_must_fill_their_grid(encoder: Any) -> None:
    with pytest.raises(ImageError, match="5 tiles do not fill a grid of 2 x 3"):
        encoder.arrange(marked(4), marked(5, 4), (2, 3))


def test_square() -> None:
    assert square(torch.arange(4.0).view(4, 1))[..., 0].tolist() == [[0, 1], [2, 3]]


def test_a_batch_is_its_images(encoder: Any) -> None:
    pixels = torch.randn(3, 3, 128, 128)
    with torch.no_grad():
        together = encoder(pixels)
        alone = torch.cat([encoder(each.unsqueeze(0)) for each in pixels])
    assert together.shape == (3, 4, 40)
    assert torch.allclose(together, alone, atol=1e-5)


def test_both_halves_reach_the_projection(encoder: Any) -> None:
    """CLIP's half comes first."""
    pixels = torch.randn(1, 3, 64, 64)
    encoder.projector.weight.zero_()
    encoder.projector.weight[0, 0] = encoder.projector.weight[1, 48] = 1
    encoder.projector.bias.zero_()
    with torch.no_grad():
        local = encoder.sam(pixels)
        out = encoder(pixels)[0, 0]
        assert torch.allclose(out[0], encoder.clip(local)[0, 1, 0], atol=1e-6)
        assert torch.allclose(out[1], local[0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 128), (1, 3, 100, 100), (1, 3, 0, 0)])
def test_pixels_that_do_not_fit(encoder: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError):
        encoder(torch.zeros(shape))


def test_the_encoder_is_one_graph(encoder: Any) -> None:
    """Nothing in it depends on data, so that it can be compiled whole, for each size of image and batch."""
    compiled = torch.compile(encoder, backend="eager", fullgraph=True, dynamic=False)
    for side in (64, 128):
        pixels = torch.randn(2, 3, side, side)
        with torch.no_grad():
            assert torch.allclose(compiled(pixels), encoder(pixels), atol=1e-5)
