"""The reader on a tiny random checkpoint: bare images and pages, one and many."""

import io
from pathlib import Path

import pytest
from PIL import Image

from optical_memory.errors import CheckpointError, ImageError, ReaderError
from optical_memory.readers import load_reader

pytest.importorskip("torch")


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(out, "PNG")
    return out.getvalue()


def test_images_are_read_in_the_mode_asked_for(tiny_checkpoint: Path) -> None:
    reader = load_reader("deepseek-ocr", path=tiny_checkpoint, mode="small", max_new_tokens=5)
    reading = reader.read(png(300, 200))
    assert reader.name == "deepseek-ocr"
    assert reading.tokens == 111
    assert reading.seconds > 0
    assert reading.text == reader.read(png(300, 200)).text


def test_a_checkpoint_folder_is_a_name(tiny_checkpoint: Path) -> None:
    assert load_reader(str(tiny_checkpoint), mode="tiny", max_new_tokens=2).name == "deepseek-ocr"


def test_many_are_read_at_once(tiny_checkpoint: Path) -> None:
    from optical_memory.readers.deepseek_ocr import DeepseekOcrReader

    reader = DeepseekOcrReader(tiny_checkpoint, mode="tiny", max_new_tokens=5)
    images = [png(512, 512), png(100, 700)]
    alone = [reader.read(image).text for image in images]
    assert [reading.text for reading in reader.read_many(list(images))] == alone


def test_photos_are_turned_upright_before_they_are_tiled(tiny_checkpoint: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    lying, standing = io.BytesIO(), io.BytesIO()
    photo = Image.linear_gradient("L").resize((600, 1300))
    photo.rotate(90, expand=True).save(lying, "TIFF", exif=exif)
    photo.save(standing, "TIFF")
    reader = load_reader("deepseek-ocr", path=tiny_checkpoint, mode="gundam", max_new_tokens=3)
    first, second = reader.read(lying.getvalue()), reader.read(standing.getvalue())
    assert first.tokens == second.tokens == 273 + 10 * 2 * (10 * 1 + 1)
    assert first.text == second.text


def test_a_bad_image_mode_or_checkpoint_is_an_error(tiny_checkpoint: Path, tmp_path: Path) -> None:
    reader = load_reader("deepseek-ocr", path=tiny_checkpoint, max_new_tokens=5)
    with pytest.raises(ReaderError, match="not a readable image"):
        reader.read(b"\x89PNG broken")
    with pytest.raises(ImageError, match="unknown mode"):
        load_reader("deepseek-ocr", path=tiny_checkpoint, mode="enormous")
    with pytest.raises(CheckpointError):
        load_reader("deepseek-ocr", path=tmp_path)
