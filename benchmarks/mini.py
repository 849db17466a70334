"""How the bundled model reads: characters, identifiers, silent errors and seconds, by tier, cell, damage and font.

    python benchmarks/mini.py [--pages 4] [--json FILE] [--plots FOLDER] [--only TEXT]

Natural text comes from the transcripts of ../shared/data, which no training source holds; random text and
identifiers are drawn with a fixed seed. Two threads of the CPU. Precision is 1 - edit distance / length.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import bpe_openai
import numpy as np
import torch
from PIL import Image

from optical_memory.errors import GridNotFoundError
from optical_memory.fidelity import compare, precision
from optical_memory.readers.mini import MiniReader
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.training import config
from optical_memory.training.fonts import draw_tiles

O200K = bpe_openai.get_encoding("o200k_base")
DATA = Path(__file__).resolve().parents[2] / "shared/data"
FONT_FOLDERS = (Path("/usr/share/fonts"),)
MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
TIERS = {"large": 1280, "base": 1024, "small": 640, "tiny": 512, "micro": 384, "nano": 256}
PUBLISHED = {10.5: 0.965, 15.1: 0.859, 19.7: 0.591}
"""DeepSeek-OCR at 64 vision tokens on Fox: compression -> precision (arXiv 2510.18234, table 2)."""

Damage = Callable[[Raster], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``compression`` is text tokens (o200k) over vision tokens."""

    page: str
    text: str
    characters: int
    tokens: int
    compression: float
    precision: float
    shown: float
    identifiers: float | None
    silent: float | None
    seconds: float
    lost: int


def natural() -> str:
    """Return the messages of the transcripts, one after the other."""
    parts = []
    for name in ("coding_agent/sessions.jsonl", "tau_bench/airline.jsonl"):
        with (DATA / name).open() as lines:
            for line in lines:
                parts += [m["content"] for m in json.loads(line)["messages"] if isinstance(m.get("content"), str)]
    random.Random(0).shuffle(parts)
    return "\n".join(part[:4000] for part in parts)


def texts(kind: str, seed: int = 1) -> Iterator[str]:
    """Yield characters of a kind of text for ever."""
    chance = random.Random(seed)
    if kind == "natural":
        text = natural()
        start = chance.randrange(len(text) // 2)
        while True:
            yield text[start:]
            start = chance.randrange(len(text) // 2)
    while True:
        if kind == "hex":
            yield " ".join(f"{chance.getrandbits(48):012x}" for _ in range(2000))
        elif kind == "chinese":
            first = [bytes([high, low]).decode("gb2312") for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFF)]
            yield "".join(chance.choices(first, k=8000))
        else:
            yield "".join(chance.choices(string.printable[:94] + " " * 12, k=20000))


def layouts(kind: str, grid: Grid, pages: int, seed: int = 1) -> list[Layout]:
    """Return full pages of a kind of text."""
    source = texts(kind, seed)
    text = ""
    while len(text) < grid.capacity * pages * 2:
        text += next(source)
    run = Run(turn_id="t", role="user", text=text[: grid.capacity * pages * 2])
    return lay_out([run], grid, renderer_key="bench")[:pages]


def plainly(raster: Raster) -> bytes:
    """Return the raster as PNG."""
    return png.encode(raster)


def shifted(pixels: int) -> Damage:
    """Return a shift to the right and down."""

    def shift(raster: Raster) -> bytes:
        out = np.full_like(raster, 255)
        out[pixels:, pixels:] = raster[:-pixels, :-pixels]
        return png.encode(out)

    return shift


def noised(sigma: float) -> Damage:
    """Return Gaussian noise."""

    def noise(raster: Raster) -> bytes:
        grain = np.random.default_rng(0).normal(0, sigma * 255, raster.shape)
        return _pillow(np.clip(raster + grain, 0, 255).astype(np.uint8), "PNG")

    return noise


def compressed(quality: int) -> Damage:
    """Return JPEG."""
    return lambda raster: _pillow(raster, "JPEG", quality=quality)


def darkened(raster: Raster) -> bytes:
    """Return light text on a dark ground, in the colours of a dark theme."""
    share = raster.astype(np.float32)[:, :, None] / 255
    ground, text = np.array([30, 30, 30]), np.array([212, 212, 212])
    return _pillow((ground * share + text * (1 - share)).astype(np.uint8), "PNG")


def _pillow(raster: Raster, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(raster).save(file, kind, **options)
    return file.getvalue()


def in_font(path: Path, hinted: bool) -> Callable[[Layout, int], Raster]:
    """Return a drawer of layouts in another font at the grid's own size."""
    cache: dict[str, Raster] = {}

    def draw(layout: Layout, side: int) -> Raster:
        width, height = int(layout.grid.cell_width), layout.grid.cell_height
        page = np.zeros((side, side), np.uint8)
        for row, column in np.argwhere(layout.cells > 32):
            letter = chr(layout.cells[row, column])
            if letter not in cache:
                cache[letter] = draw_tiles(path, letter, width, height, hinted=hinted)[0]
            page[row * height : (row + 1) * height, column * width : (column + 1) * width] = cache[letter]
        return 255 - page

    return draw


class Bench:
    """Draws, reads and scores."""

    def __init__(self, pages: int, only: str) -> None:
        """Load the reader and read one page to warm up."""
        self.pages, self.only = pages, only
        self.reader, self.unmarked = MiniReader(), MiniReader(threshold=0.0)
        self.renderer = DenseRenderer()
        self.rows: list[Row] = []

    def add(
        self,
        name: str,
        grid: Grid,
        side: int,
        *,
        kinds: tuple[str, ...] = ("natural", "random", "hex"),
        damage: Damage = plainly,
        draw: Callable[[Layout, int], Raster] | None = None,
    ) -> None:
        """Measure one kind of page and print its rows."""
        if self.only not in name:
            return
        for kind in kinds:
            sheets = layouts(kind, grid, self.pages)
            rasters = [draw(sheet, side) for sheet in sheets] if draw else self.renderer.draw(sheets, size=(side, side))
            row = self.score(name, kind, sheets, [damage(raster) for raster in rasters], (side // 64) ** 2)
            self.rows.append(row)
            print(_line(row), flush=True)

    def score(self, name: str, kind: str, sheets: list[Layout], images: list[bytes], tokens: int) -> Row:
        """Read the images and compare with their layouts."""
        rights, shown, seconds, text_tokens, lost = [], [], [], [], 0
        found = exact = silent = 0
        for sheet, image in zip(sheets, images, strict=True):
            text_tokens.append(len(O200K.encode(sheet.text)))
            try:
                started = time.perf_counter()
                marked = self.reader.read(image).text
                seconds.append(time.perf_counter() - started)
                best = self.unmarked.read(image).text
            except GridNotFoundError:
                marked = best = "\ufffd" * len(sheet.text)  # refused aloud, not silently wrong
                lost += 1
            rights.append(precision(sheet.text, best))
            shown.append(precision(sheet.text, marked))
            if kind == "hex":
                names = tuple(word for word in dict.fromkeys(sheet.text.split()) if len(word) == 12)
                exact += compare(sheet.text, best, names).exact
                against = compare(sheet.text, marked, names)
                found, silent = found + against.identifiers, silent + against.silently_wrong
        return Row(
            page=name,
            text=kind,
            characters=int(np.mean([len(sheet.text) for sheet in sheets])),
            tokens=tokens,
            compression=float(np.mean(text_tokens)) / tokens,
            precision=float(np.mean(rights)),
            shown=float(np.mean(shown)),
            identifiers=exact / found if found else None,
            silent=silent / found if found else None,
            seconds=float(np.median(seconds)) if seconds else 0.0,
            lost=lost,
        )


def _line(row: Row) -> str:
    extra = "" if row.identifiers is None else f"  exact {row.identifiers:.4f}  silent {row.silent:.5f}"
    lost = f"  {row.lost} without grid" if row.lost else ""
    return (
        f"{row.page:26} {row.text:8} {row.characters:5d} chars {row.tokens:4d} tokens {row.compression:5.1f}x"
        f"  right {row.precision:.5f}  marked {row.shown:.5f}  {row.seconds:.2f} s{extra}{lost}"
    )


def cell(width: float, height: int, side: int = 512) -> Grid:
    """Return the grid of a page of ``side`` px."""
    return Grid(width=side, height=side, cell_width=width, cell_height=height)


def held_out_fonts() -> Iterator[tuple[str, Path]]:
    """Yield the fonts held out of training that are installed here."""
    for font in config.load().fonts:
        found = next((path for folder in FONT_FOLDERS for path in folder.glob(font.pattern)), None)
        if font.held_out and found is not None:
            yield font.name, found


def run(bench: Bench) -> None:
    """Measure all rows."""
    for tier, side in TIERS.items():
        bench.add(f"tier {tier}", MINI, side)
    for width, height in ((10, 16), (8, 12), (6, 10), (4, 6)):
        bench.add(f"cell {width}x{height}", cell(width, height), 512)
    for pixels in (1, 2, 3):
        bench.add(f"8x12, shift {pixels}", cell(8, 12), 512, damage=shifted(pixels))
    bench.add("tiny, shift 1", MINI, 512, damage=shifted(1))
    for name, grid in (("8x12", cell(8, 12)), ("tiny", MINI)):
        bench.add(f"{name}, noise 0.1", grid, 512, damage=noised(0.1))
        bench.add(f"{name}, JPEG 50", grid, 512, damage=compressed(50))
        bench.add(f"{name}, dark", grid, 512, damage=darkened)
    for name, path in held_out_fonts():
        bench.add(f"8x12, {name}", cell(8, 12), 512, draw=in_font(path, False))
        bench.add(f"8x12, {name}, hinted", cell(8, 12), 512, draw=in_font(path, True))
    bench.add("Chinese 16 px", cell(8, 16), 512, kinds=("chinese",))
    bench.add("Chinese 12.8 px", cell(8, 16, 640), 512, kinds=("chinese",))


def plot(rows: list[Row], folder: Path) -> None:
    """Draw the forgetting curve against the published one, and reading by tier."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6, 3.6), dpi=90)
    axes.plot(list(PUBLISHED), list(PUBLISHED.values()), "s--", color="grey", label="DeepSeek-OCR, Fox, 64 tokens")
    for kind, mark in (("natural", "o-"), ("random", "^-")):
        tiers = [row for row in rows if row.page.startswith("tier ") and row.text == kind]
        per_token = [row.characters / row.tokens / 4.0 for row in tiers]
        axes.plot(per_token, [row.precision for row in tiers], mark, label=f"mini, {kind} text")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("compression (characters / 4 per vision token)")
    axes.set_ylabel("precision")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "mini-forgetting.png")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=4, help="pages per row")
    parser.add_argument("--json", type=Path, help="write the rows to a file")
    parser.add_argument("--plots", type=Path, help="draw plots into a folder")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(2)
    bench = Bench(options.pages, options.only)
    run(bench)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in bench.rows], indent=1) + "\n")
    if options.plots:
        plot(bench.rows, options.plots)


if __name__ == "__main__":
    main()
