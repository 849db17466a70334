import numpy as np
import pytest
import torch

from optical_memory.model.mini.head import STEP_X, STEP_Y, lattice_size
from optical_memory.renderers import visible
from optical_memory.training.compose import Sheet
from optical_memory.training.config import Recipe
from optical_memory.training.corpus import Marks, cells
from optical_memory.training.pages import PageMaker, View, labels, near_centres
from optical_memory.training.text import SPACE, Writer, with_blanks

CPU = torch.device("cpu")
MARKS = Marks(newline=0x21B5, tab=0x21E5, filler=0x25B9)


@pytest.fixture(scope="module")
def writer() -> Writer:
    torch.manual_seed(0)
    text = "The quick brown fox 0123 jumps over the lazy dog.\n" * 40
    classes = visible.bmp_classes()[:65536]
    stream = torch.from_numpy(cells(text, MARKS, classes).astype(np.int32))
    wide = torch.from_numpy(cells("光学记忆 and text " * 100, MARKS, classes).astype(np.int32))
    return Writer(
        streams={"latin": stream, "wide": wide, "evaluation": stream},
        marks=torch.tensor([0x21B5, 0x21E5]),
        wide={"chinese": torch.tensor([0x5149, 0x5B66]), "signs": torch.tensor([0x2713])},
        narrow={"greek": torch.tensor([0x416, 0x3B1]), "latin": torch.tensor([0xE9])},
    )


def test_cells_of_a_text_are_as_on_a_page() -> None:
    stream = cells("a光\n\t\x1b\u00a0b学✓", MARKS, visible.bmp_classes()[:65536]).tolist()
    assert stream[:4] == [ord("a"), MARKS.filler, ord("光"), ord("光")]
    assert stream[4:6] == [MARKS.newline, MARKS.tab]
    assert "".join(map(chr, stream[6:12])) == "\\u{1b}"
    assert stream[12:] == [32, ord("b"), ord("学"), ord("学"), ord("✓"), ord("✓")]


def test_text_of_all_kinds(writer: Writer) -> None:
    natural = writer.natural("latin", 4, 60)
    assert natural.shape == (4, 60)
    scrambled = writer.scrambled(natural, 1.0)
    letters = (natural >= 97) & (natural < 123)
    assert ((scrambled >= 97) & (scrambled < 123)).eq(letters).all()
    assert (scrambled != natural)[letters].float().mean() > 0.8
    assert writer.of_kind("hex", 1, 26)[0, 12] == SPACE
    assert set(writer.identifiers(2, 26).unique().tolist()) <= {SPACE, *map(ord, "0123456789abcdef")}
    scripts = writer.scripts(3, 200).view(3, 100, 2)
    wide = (scripts == 0x5149) | (scripts == 0x5B66) | (scripts == 0x2713)
    assert wide.all(-1).eq(wide.any(-1)).all(), "a wide character takes both cells of a pair"
    assert wide.any() and not wide.all()


def test_signs_are_strewn_over_latin_pages(writer: Writer) -> None:
    torch.manual_seed(4)
    plain = torch.full((200, 64), ord("a"))
    pairs = writer.with_signs(plain).view(200, 32, 2)
    sign = (pairs == 0x2713).all(-1)
    assert sign.eq((pairs == 0x2713).any(-1)).all(), "a wide sign takes both cells of a pair"
    assert sign.any() and (pairs == 0xE9).any()
    assert 0.4 < (pairs == ord("a")).all(-1).all(-1).float().mean() < 0.9, "most pages stay as they are"


def test_blanks_keep_pairs_whole() -> None:
    torch.manual_seed(1)
    codes = with_blanks(torch.full((64, 6, 10), 65))
    blank = codes == SPACE
    assert 0 < blank.float().mean() < 0.6
    assert blank.view(64, 6, 5, 2).all(-1).eq(blank.view(64, 6, 5, 2).any(-1)).all()


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    tiles = np.zeros((1, 95, 8, 5), np.uint8)
    tiles[:, 1:, 2:6, 1:4] = 200
    return Sheet.of_parts(tiles, tiles, np.arange(32, 127), CPU)


def test_labels_are_the_characters_under_the_points(sheet: Sheet) -> None:
    torch.manual_seed(2)
    codes = torch.randint(33, 127, (2, 16, 24))
    shift = (-3.0, 2.0)
    asked = near_centres(sheet, View(scale=(1, 1), corner=shift), 128, 500, CPU)
    found = labels(codes, asked)
    assert lattice_size(128) == (32, 64)
    for index, (column, row) in enumerate(zip(asked.columns.tolist(), asked.rows.tolist(), strict=True)):
        x, y = (column + 0.5) * STEP_X + shift[0], (row + 0.5) * STEP_Y + shift[1]
        inside = 0 <= x < 24 * 5 and 0 <= y < 16 * 8
        assert found[0, index] == (codes[0, int(y // 8), int(x // 5)] if inside else SPACE)
        assert abs(x / 5 % 1 - 0.5) < 0.31 and abs(y / 8 % 1 - 0.5) < 0.31


def test_batches_are_windows_of_pages_with_labels(sheet: Sheet, writer: Writer) -> None:
    maker = PageMaker({"a": sheet}, writer, side=128, points=300, seed=3)
    recipes = (
        Recipe(name="plain", sheets=("a",), widths=(), weight=1.0, rough=0.5),
        Recipe(name="any", sheets=("a",), widths=(4.0, 5.0), between=True, stretch=0.1, weight=1.0),
    )
    for _ in range(6):
        batch = maker.batch(recipes, 4, 2, 0.5)
        assert batch.ink.shape == (4, 1, 128, 128)
        assert batch.codes.shape == (4, 300) and batch.points.shape == (2, 300)
        assert 0 <= batch.ink.min() and batch.ink.max() <= 1


def test_recipes_start_when_their_time_has_come(sheet: Sheet, writer: Writer) -> None:
    maker = PageMaker({"a": sheet}, writer, side=64, points=10, seed=3)
    late = Recipe(name="late", sheets=("missing",), widths=(), weight=1000.0, after=0.5)
    now = Recipe(name="now", sheets=("a",), widths=(), weight=1.0)
    maker.batch((late, now), 2, 2, 0.1)
    with pytest.raises(KeyError):
        maker.batch((late, now), 2, 2, 0.6)
