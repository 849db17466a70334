"""Folders of images and PDFs to text: each source's transcript is written whole or not at all, and only once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from optical_memory.batch.spread import spread
from optical_memory.errors import MissingExtraError, NotFoundError, OpticalMemoryError, ReaderError
from optical_memory.readers import Reader, Reading, load_reader
from optical_memory.readers.images import MAX_PIXELS

Format = Literal["text", "jsonl"]
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
PDF_DPI = 200
"""Resolution that PDF pages are drawn at: text of 10 pt is 28 px high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The result for one source: its file, pages, characters and seconds of reading. ``error`` says why it failed.

    ``kept`` says that an earlier run wrote it. A source with an error leaves no file and is tried again next time.
    """

    source: str
    pages: int = 0
    characters: int = 0
    seconds: float = 0.0
    kept: bool = False
    error: str = ""


def sources(folder: Path | str) -> list[Path]:
    """Return the images and PDFs in a folder and its subfolders, sorted. Raises NotFoundError."""
    root = Path(folder)
    if not root.is_dir():
        raise NotFoundError(f"no folder {str(folder)!r}")
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in IMAGES | {".pdf"})


def transcribe(
    folder: Path | str,
    output: Path | str,
    *,
    reader: str = "mini",
    options: Mapping[str, Any] | None = None,
    format: Format = "text",
    workers: int = 1,
    ray: bool = False,
) -> Iterator[Transcript]:
    """Read every image and PDF in ``folder`` into ``output``; yield each source when it is done.

    ``a/b.png`` becomes ``a/b.png.txt`` (pages of a PDF are parted by form feeds) or, with ``format`` "jsonl",
    ``a/b.png.jsonl``: a line a page with text, seconds, tokens and doubts. ``reader`` and ``options`` are those of
    :func:`load_reader`; each worker loads its own. What has been written is kept. One bad source does not stop the
    rest. Raises NotFoundError, and at once what the reader raises when it is loaded.
    """
    root, out = Path(folder), Path(output)
    given = json.dumps(dict(options or {}), sort_keys=True, default=str)
    jobs = [(str(path), str(out / f"{path.relative_to(root)}.{_SUFFIX[format]}")) for path in sources(root)]
    if any(not Path(target).is_file() for _, target in jobs):
        _reader(reader, given)
    yield from spread(partial(_one, reader, given, format), jobs, workers=workers, ray=ray)


_SUFFIX: Mapping[Format, str] = {"text": "txt", "jsonl": "jsonl"}


@lru_cache(maxsize=1)
def _reader(name: str, options: str) -> Reader:
    """Load a reader once in each process."""
    return load_reader(name, **json.loads(options))


def _one(reader: str, options: str, format: Format, job: tuple[str, str]) -> Transcript:
    source, target = Path(job[0]), Path(job[1])
    if target.is_file():
        return Transcript(source=str(source), kept=True)
    try:
        readings = [_reader(reader, options).read(image) for image in images(source)]
    except (OpticalMemoryError, OSError) as error:
        return Transcript(source=str(source), error=f"{type(error).__name__}: {error}")
    _write(target, _as_text(readings) if format == "text" else _as_lines(source, readings))
    return Transcript(
        source=str(source),
        pages=len(readings),
        characters=sum(len(reading.text) for reading in readings),
        seconds=sum(reading.seconds for reading in readings),
    )


def images(source: Path) -> Iterator[bytes]:
    """Yield the pages of a PDF as PNGs, or an image file as it is. Raises ReaderError."""
    if source.suffix.lower() != ".pdf":
        yield source.read_bytes()
        return
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtraError("pypdfium2", "pages") from error
    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as error:
        raise ReaderError(f"not a readable PDF: {error}") from error
    with document:
        for number in range(len(document)):
            try:
                data = _drawn(document[number])
            except pypdfium2.PdfiumError as error:
                raise ReaderError(f"page {number + 1} of the PDF cannot be drawn: {error}") from error
            yield data


def _drawn(page: Any) -> bytes:
    width, height = page.get_size()  # in points
    scale = min(PDF_DPI / 72, (MAX_PIXELS / max(width * height, 1.0)) ** 0.5)
    out = io.BytesIO()
    page.render(scale=scale).to_pil().convert("RGB").save(out, "PNG", compress_level=1)
    page.close()
    return out.getvalue()


def _as_text(readings: list[Reading]) -> str:
    return "\f".join(reading.text for reading in readings)


def _as_lines(source: Path, readings: list[Reading]) -> str:
    records = (
        {
            "source": str(source),
            "page": number,
            "text": reading.text,
            "seconds": round(reading.seconds, 4),
            "tokens": reading.tokens,
            "doubts": [{"index": doubt.index, "candidates": doubt.candidates} for doubt in reading.doubts],
        }
        for number, reading in enumerate(readings)
    )
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8", "replace"))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
