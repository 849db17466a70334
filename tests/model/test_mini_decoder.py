from __future__ import annotations

import numpy as np
import torch

from optical_memory.model.mini import MiniNetwork, decoder, reading, vocabulary
from optical_memory.model.mini.decoder import AHEAD, MiniDecoder, glances
from optical_memory.model.mini.ink import ink_of
from optical_memory.model.mini.transcribe import transcribe
from optical_memory.renderers import DenseRenderer, base, png
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out


def cells_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-16-le"), "<u2").astype(np.uint16)


def test_tokens_hold_every_character_and_fill_every_cell() -> None:
    words = vocabulary.load()
    text = "def read(self):↵    return 'ok'  # \u00e9\u20ac Привет"
    ids, advances = words.encode(cells_of(text))
    assert advances.sum() == len(text)
    said = []
    high = 0
    for token in ids.tolist():
        if vocabulary.HIGH <= token < vocabulary.LOW:
            high = token - vocabulary.HIGH
        elif vocabulary.LOW <= token < vocabulary.SINGLE:
            said.append(chr(high << 8 | token - vocabulary.LOW))
        else:
            said.append(words.pieces[token - vocabulary.SINGLE])
    assert "".join(said) == text


def test_a_wide_character_is_two_bytes_that_move_on_by_two_cells() -> None:
    ids, advances = vocabulary.load().encode(cells_of("语语"))
    assert ids.tolist() == [vocabulary.HIGH + 0x8B, vocabulary.LOW + 0xED]
    assert advances.tolist() == [0, 2]


def test_the_longest_piece_is_taken() -> None:
    words = vocabulary.load()
    longest = max(words.pieces, key=len)
    ids, advances = words.encode(cells_of(longest))
    assert (ids.tolist(), advances.tolist()) == ([words.by_text[longest]], [len(longest)])


def test_a_glance_shows_the_next_cells_and_nothing_beyond() -> None:
    slots = torch.arange(1.0, 21).view(1, 20, 1)
    seen = glances(slots, torch.tensor([[0, 18]]))
    assert seen.shape == (1, 2, AHEAD)
    assert seen[0, 0].tolist() == list(range(1, 17))
    assert seen[0, 1].tolist() == [19.0, 20.0, *[0.0] * 14]


def test_an_untrained_decoder_ends_and_stays_on_the_page() -> None:
    torch.manual_seed(0)
    network = MiniNetwork().eval()
    model = MiniDecoder(decoder.config(len(vocabulary.load())), 1280, network.head.slot).eval()
    grid = Grid(width=256, height=256, cell_width=8, cell_height=16)
    layout = lay_out([Run(turn_id="t", role="user", text="Some words, 语 and more. " * 12)], grid, renderer_key="t")[0]
    ink = ink_of(png.encode(DenseRenderer().draw([layout], size=(256, 256))[0]))
    with torch.inference_mode():
        tokens = network.encoder(torch.from_numpy(ink)[None, None])[1][0]
        slots = network.head.slots(tokens[None])[0]
        sheet = reading.read_slots(network, slots, ink, reading.Cells(width=8, height=16, columns=32, rows=16))
        said, steps = transcribe(model, tokens, slots[reading.cell_points(sheet.grid, 256)], sheet)
    assert said.cells.shape == sheet.cells.shape
    assert 0 < steps <= 2 * sheet.inked.sum()
    assert (said.cells[~sheet.inked] == 32).all()
    assert set(np.flatnonzero(said.cells.ravel() == base.WIDE) % 2) <= {1}
