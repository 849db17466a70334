"""How sure words must be on pages as Chromium draws a memory, on sheets written by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from optical_memory.model.mini import confidence, fine, load
from optical_memory.model.mini.cells import Cells
from optical_memory.model.mini.reading import Sheet
from optical_memory.readers.mini import mark
from optical_memory.renderers.visible import UNSURE

TINY, SMALL, BASE = (
    Cells(width=w, height=h, columns=102, rows=64) for w, h in ((5.0, 8.0), (6.25, 10.0), (10.0, 16.0))
)


def sheet(text: str, sure: Sequence[float] | float = 1.0, *, cells: Cells = TINY, coloured: bool = True) -> Sheet:
    """Return a page with one row of text, read so surely; what is missing to certainty is a blank's."""
    codes = np.full((cells.rows, cells.columns, 3), 32)
    codes[0, : len(text), 0] = [ord(one) for one in text]
    probabilities = np.zeros(codes.shape)
    probabilities[..., 0] = 1.0
    probabilities[0, : len(text), 0] = sure
    side = round(cells.columns * cells.width / 32 + 0.5) * 32
    return Sheet(
        side=side,
        grid=cells,
        cells=codes[..., 0].astype(np.uint32),
        codes=codes,
        probabilities=probabilities,
        inked=codes[..., 0] != 32,
        drawn=True,
        coloured=coloured,
        tokens=(side // 64) ** 2,
    )


@pytest.mark.parametrize("cells", [TINY, SMALL, BASE])
def test_an_identifier_is_held_to_what_its_size_asks_for_as_a_whole(cells: Cells) -> None:
    asked = confidence.sizes()[cells.width, cells.height]
    each = asked ** (1 / 6)  # what six characters need when they are alike
    text = "the AB1234 is and filler words"
    sure = np.full(len(text), 1.0)
    sure[4:10] = each + 1e-6
    assert mark(sheet(text, sure, cells=cells))[0] == text
    sure[6] = each - 1e-4
    assert (sure[4:10] > asked).all()
    assert mark(sheet(text, sure, cells=cells))[0] == f"the AB{UNSURE}234 is and filler words"


def test_words_of_prose_and_pages_without_colours_are_not_held_to_the_size() -> None:
    text = "the words AB1234 here"
    sure = np.full(len(text), 1.0)
    sure[4:9] = 0.91
    sure[10:16] = 0.996
    assert mark(sheet(text, sure))[0] == f"the words {UNSURE * 6} here"
    assert confidence.by_size(sheet(text, sure, coloured=False)) is None
    assert confidence.by_size(sheet(text, 0.9)) is None, "a page that is read with doubt is of other letters"


@pytest.mark.parametrize(("text", "shown"), [("a,py", False), ("x ,/src", False), ("one, two", True), ("1,234", True)])
def test_a_comma_within_a_word_is_a_point_in_small_cells(text: str, shown: bool) -> None:
    assert ("," in mark(sheet(text))[0]) is shown
    assert "," in mark(sheet(text, cells=BASE))[0]


def test_a_page_that_is_read_with_doubt_stays_as_it_was() -> None:
    head = load(dtype=torch.float32).network.head
    slots, middles = torch.zeros(64 * 64 * 4 * 8, 64), torch.zeros(2, 64)
    inked = np.zeros((64, 102), np.bool_)
    inked[3, 4:6] = True
    codes, logs = torch.tensor([[97, 98, 99]] * 2), torch.log(torch.tensor([[0.9, 0.05, 0.05]] * 2))
    before = codes.clone(), logs.clone()
    fine.correct(fine.FineHead(), head, slots, TINY, 512, inked, (middles, codes, logs))
    assert torch.equal(codes, before[0]) and torch.equal(logs, before[1])


def test_a_character_is_as_sure_as_a_second_head_that_finds_none_of_its_own_likelier() -> None:
    head = load(dtype=torch.float32).network.head
    torch.manual_seed(0)
    slots = torch.randn(64 * 64 * 4 * 8, fine.HeadConfig().slot)
    middles = torch.randn(2, fine.HeadConfig().slot)
    inked = np.zeros((64, 102), np.bool_)
    inked[3, 4:6] = True
    sure_of = fine.FineHead()
    with torch.no_grad():
        sure_of.share.zero_()
        sure_of.named.bias[fine.REST], sure_of.named.bias[fine.CHARACTERS.index("-")] = 60.0, 57.0
    codes, logs = torch.tensor([[45, 98, 99], [0x3B1, 98, 99]]), torch.log(torch.tensor([[0.98, 0.01, 0.01]] * 2))
    fine.correct(sure_of, head, slots, TINY, 512, inked, (middles, codes, logs))
    assert codes[:, 0].tolist() == [45, 0x3B1]
    assert logs.exp()[:, 0].tolist() == pytest.approx([0.0474, 0.98], abs=1e-3)


def test_the_second_head_is_told_where_blanks_are() -> None:
    inked = np.zeros((TINY.rows, TINY.columns), np.bool_)
    inked[0, [0, 1, 3, 101]] = inked[1, 2] = True
    slots = torch.zeros(64 * 64 * 4 * 8, fine.HeadConfig().slot)
    told = fine.features(slots, TINY, 512, inked, inked)[:, -3:]
    left, right, behind = told.T.tolist()
    assert left == [1, 0, 1, 1, 1] and right == [0, 1, 1, 1, 1] and behind == [0, 0, 0, 1, 1]


def test_signs_are_asked_about_however_sure_the_first_head_is() -> None:
    head = load(dtype=torch.float32).network.head
    slots, middles = torch.zeros(64 * 64 * 4 * 8, fine.HeadConfig().slot), torch.zeros(2, fine.HeadConfig().slot)
    inked = np.zeros((64, 102), np.bool_)
    inked[3, 4:6] = True
    sure_of = fine.FineHead()
    with torch.no_grad():
        sure_of.named.bias[fine.CHARACTERS.index("▹")] = 60.0
    codes, logs = torch.tensor([[ord("-"), 98, 99], [ord("a"), 98, 99]]), torch.log(torch.tensor([[1.0, 0.1, 0.1]] * 2))
    fine.correct(sure_of, head, slots, TINY, 512, inked, (middles, codes, logs))
    assert codes[:, 0].tolist() == [ord("▹"), ord("a")]
