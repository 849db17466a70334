"""RapidOCR on our own pages and on bare images: reading order, marks, limits."""

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from optical_memory import render
from optical_memory.errors import InputError, ReaderError
from optical_memory.readers import load_reader
from optical_memory.readers.base import Reader
from optical_memory.readers.fidelity import compare, score

pytest.importorskip("rapidocr")

TEXT = (
    "The ferry to Oslo leaves Copenhagen every afternoon and arrives the next morning, so the two of them booked a"
    " cabin for Friday. Their confirmation code is QX7-4410 and the total came to 2,385.50 kroner, paid by card. "
    "Breakfast is served from seven o'clock on deck eleven, and the car deck opens an hour before arrival."
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return load_reader("rapidocr")


def picture(*pieces: tuple[int, int, str]) -> bytes:
    image = Image.new("L", (640, 200), 255)
    font = ImageFont.load_default(24)
    for left, top, text in pieces:
        ImageDraw.Draw(image).text((left, top), text, fill=0, font=font)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_sharp_page_is_read_almost_without_error(reader: Reader) -> None:
    (page,) = render(TEXT, tier="large")
    reading = reader.read(page)
    result = compare(page.text, reading.text, ["QX7-4410", "2,385.50"])
    assert 1 - result.edits_folded / result.length_folded > 0.93
    assert result.exact == 2
    assert reading.seconds > 0
    assert reading.tokens is None


def test_scores_fall_as_pages_shrink(reader: Reader) -> None:
    tiers = {tier: render(TEXT, tier=tier, profile="mini") for tier in ("large", "nano")}
    scores = score(tiers, reader)
    assert scores["large"].precision_folded > 0.9
    assert scores["nano"].precision_folded < 0.5
    assert (scores["large"].tokens, scores["nano"].tokens) == (421, 21)
    assert scores["large"].identifiers >= 1


def test_pieces_come_back_in_reading_order(reader: Reader) -> None:
    text = reader.read(picture((20, 120, "second line"), (20, 40, "first"), (330, 42, "line"))).text
    first, second = text.split("\n")
    assert first.split() == ["first", "line"]
    assert second.split() == ["second", "line"]


def test_an_empty_page_reads_as_nothing(reader: Reader) -> None:
    assert reader.read(picture()).text == ""


def test_upscaling_can_be_asked_for() -> None:
    small = picture((10, 10, "Some words in the corner"))
    assert "corner" in load_reader("rapidocr", upscale=2).read(small).text
    with pytest.raises(InputError, match="upscale"):
        load_reader("rapidocr", upscale=100)


def test_bytes_that_are_no_image_are_refused(reader: Reader) -> None:
    with pytest.raises(ReaderError, match="not a readable image"):
        reader.read(b"GIF89a?")
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    with pytest.raises(ReaderError, match=r"12000 x 12000 px|decompression bomb"):
        reader.read(bomb.getvalue())
