"""Folders of images and PDFs to text, by a real reader: resumable, whole files only, one bad source harms no other."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from optical_memory.batch.transcribe import images, sources, transcribe
from optical_memory.errors import NotFoundError

pytest.importorskip("rapidocr")


def picture(text: str) -> Image.Image:
    image = Image.new("RGB", (480, 120), "white")
    ImageDraw.Draw(image).text((20, 40), text, fill="black", font=ImageFont.load_default(28))
    return image


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    pytest.importorskip("pypdfium2")
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    picture("Invoice number one").save(folder / "a.png")
    picture("page the first").save(
        folder / "inner/b.pdf", save_all=True, append_images=[picture("page the second")], resolution=100
    )
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 cut")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_images_and_pdfs_become_text(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = {Path(each.source).name: each for each in transcribe(scans, out, reader="rapidocr")}
    assert set(done) == {"a.png", "b.pdf", "broken.jpg", "broken.pdf"}
    assert "Invoice number one" in (out / "a.png.txt").read_text()
    first, second = (out / "inner/b.pdf.txt").read_text().split("\f")
    assert ("first" in first, "second" in second) == (True, True)
    assert (done["b.pdf"].pages, done["b.pdf"].error) == (2, "")
    assert "not a readable image" in done["broken.jpg"].error
    assert "not a readable PDF" in done["broken.pdf"].error
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["a.png.txt", "b.pdf.txt"]


def test_finished_sources_are_kept_and_failed_ones_tried_again(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = next(iter(transcribe(scans, out, reader="rapidocr")))
    assert not first.kept
    (out / "a.png.txt").write_text("corrected by hand")
    picture("now it is whole").save(scans / "broken.jpg")
    again = {Path(each.source).name: each for each in transcribe(scans, out, reader="rapidocr", workers=2)}
    assert again["a.png"].kept
    assert (out / "a.png.txt").read_text() == "corrected by hand"
    assert again["broken.jpg"].error == ""
    assert "whole" in (out / "broken.jpg.txt").read_text()


def test_lines_hold_a_page_each(scans: Path, tmp_path: Path) -> None:
    list(transcribe(scans / "inner", tmp_path / "out", reader="rapidocr", format="jsonl"))
    records = [json.loads(line) for line in (tmp_path / "out/b.pdf.jsonl").read_text().splitlines()]
    assert [record["page"] for record in records] == [0, 1]
    assert all(record["seconds"] > 0 and record["doubts"] == [] for record in records)


def test_all_done_needs_no_reader(scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    picture("x").save(folder / "x.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.png.txt").write_text("")
    (done,) = transcribe(folder, tmp_path / "out", reader="rapidocr", options={"upscale": 99})  # a bad option
    assert done.kept


def test_a_reader_that_does_not_exist_is_an_error_at_once(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no reader"):
        next(iter(transcribe(scans, tmp_path / "out", reader="nobody")))
    with pytest.raises(NotFoundError, match="no folder"):
        sources(tmp_path / "nothing")


def test_a_huge_pdf_page_is_drawn_within_limits(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    Image.new("1", (100, 100)).save(tmp_path / "huge.pdf", resolution=0.5)  # 200 inches a side
    (data,) = images(tmp_path / "huge.pdf")
    with Image.open(io.BytesIO(data)) as image:
        assert 50_000_000 < image.width * image.height <= 64_000_000


def test_a_damaged_page_of_a_pdf_stops_its_source_alone(scans: Path, tmp_path: Path) -> None:
    whole = (scans / "inner/b.pdf").read_bytes()
    second = whole.rindex(b"/Type /Page\n") if b"/Type /Page\n" in whole else whole.rindex(b"/Type /Page ")
    (scans / "inner/b.pdf").write_bytes(whole[:second] + b"/Type /Pag_" + whole[second + 11 :])
    done = {Path(each.source).name: each for each in transcribe(scans, tmp_path / "out", reader="rapidocr")}
    assert "page 2 of the PDF cannot be drawn" in done["b.pdf"].error
    assert done["a.png"].error == "" and not (tmp_path / "out/inner/b.pdf.txt").exists()


def test_on_a_real_ray(scans: Path, tmp_path: Path) -> None:
    """What a Ray worker reads is what this process reads, and is kept by the next run here."""
    pytest.importorskip("ray")
    out = tmp_path / "out"
    program = (
        "import ray; from optical_memory.batch.transcribe import transcribe;"
        "ray.init('local', num_cpus=1, include_dashboard=False, object_store_memory=100 << 20, logging_level='ERROR');"
        f"print(sorted(bool(t.error) for t in transcribe({str(scans)!r}, {str(out)!r}, reader='rapidocr', ray=True)))"
    )
    quiet = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}  # ends no worker
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=quiet)
    assert "[False, False, True, True]" in done.stdout, done.stderr[-3000:]
    assert "Invoice number one" in (out / "a.png.txt").read_text()
    again = {Path(each.source).name: each.kept for each in transcribe(scans, out, reader="rapidocr")}
    assert again == {"a.png": True, "b.pdf": True, "broken.jpg": False, "broken.pdf": False}
