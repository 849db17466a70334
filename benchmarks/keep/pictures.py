"""Contexts as pictures: what a model sees of three sessions of the tests' samples, in order, one PNG each.

Run: python -m benchmarks.keep.pictures FOLDER [--renderer dense]

Pages are shown at the size at which they are sent, their upper part where they are tall. Long texts, and rows of turns
or of pages of one tier, are folded; the captions say what is left out. Empty lines of texts are not shown.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.keep.sessions import Session, load
from optical_memory import OpticalMemory
from optical_memory.context.base import Context, Piece
from optical_memory.renderers.base import Grid
from optical_memory.renderers.dense import DenseRenderer
from optical_memory.renderers.layout import Run, lay_out

BUDGET = 8_000
SHOWN = {"coding": ("gpt-5", 232), "airline": ("claude-4.7", 560), "talk": ("deepseek-ocr", 312)}
"""For each kind of session the profile, and how many px of a page are shown from its top: a picture has to be small."""
WIDTH, GAP = 1_296, 16
"""Width of a picture, and the space between its blocks, in px."""
ENDS = 2
"""Texts shown at each end of a row of texts; the others are counted."""
LINES = {"record": 12, "turn": 2}
"""Lines shown of a text by its kind; of the others, 4."""
CELL = (8, 16)
PAPER, TEXT, PAGE = (255, 255, 255), (214, 230, 250), (252, 226, 180)
"""Colours of what is sent, and of the captions of texts and of pages."""
PALETTE = [*PAPER, *TEXT, *PAGE, *(0, 0, 0), *(96, 96, 96), *(176, 176, 176)]
_PEN = DenseRenderer()

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A text as drawn, how many lines of it are shown, and how many it has."""

    image: Image.Image
    shown: int
    lines: int


def write(text: str, width: int, most: int, paper: Colour = PAPER) -> Written:
    """Write at most ``most`` lines of a text, ``width`` px wide."""
    across, down = CELL
    grid = Grid(width=width, height=most * down, cell_width=across, cell_height=down)
    runs = [Run(turn_id="", role="user", text=line) for line in text.split("\n")]
    pages = lay_out(runs, grid, renderer_key=_PEN.key, flow="lines", repertoire=_PEN.repertoire)
    used = [int(np.flatnonzero(page.cells.any(axis=1))[-1]) + 1 for page in pages if page.cells.any()]
    if not used:
        return Written(image=Image.new("RGB", (width, 1), paper), shown=0, lines=0)
    (raster,) = _PEN.draw(pages[:1], size=(grid.width, grid.height))
    ink = Image.fromarray(raster[: used[0] * down] < 160)  # texts without greys: a quarter less to store
    image = Image.new("RGB", ink.size, paper)
    image.paste((0, 0, 0), mask=ink)
    return Written(image=image, shown=used[0], lines=(len(used) - 1) * grid.rows + used[-1])


def stack(images: Sequence[Image.Image]) -> Image.Image:
    """Return images one below the other."""
    out = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), PAPER)
    top = 0
    for image in images:
        out.paste(image, (0, top))
        top += image.height
    return out


def text_block(piece: Piece) -> Image.Image:
    """Return a text under its caption."""
    written = write(piece.text, WIDTH, LINES.get(piece.kind, 4))
    role = piece.role if piece.turn is None else piece.turn.role
    caption = f"{piece.kind}, sent as {role}: text, {piece.tokens:,} tokens"
    if written.shown < written.lines:
        caption += f"; the first {written.shown} of {written.lines} lines, it goes on"
    return stack([write(caption, WIDTH, 1, TEXT).image, written.image])


def page_block(piece: Piece, tallest: int) -> Image.Image:
    """Return at most ``tallest`` px of a page, and its label, under a caption."""
    assert piece.page is not None
    page = piece.page
    image = Image.open(io.BytesIO(page.png)).convert("RGB")
    width = min(image.width, WIDTH)
    image = image.resize((width, image.height * width // image.width), Image.Resampling.LANCZOS)
    lines = [f"{piece.kind}, tier {page.tier}, {page.size[0]} x {page.size[1]} px, {piece.tokens:,} tokens"]
    if image.height > tallest:
        lines.append(f"its upper {tallest} px")
    caption = write("; ".join(lines), width, 2, PAGE).image
    label = write(piece.text, width, 2).image
    frame = Image.new("RGB", (width, 1), PAGE)
    return stack([caption, label, image.crop((0, 0, width, min(image.height, tallest))), frame])


def blocks(context: Context, tallest: int) -> Iterator[Image.Image]:
    """Yield what is one below the other: texts, and rows of pages, at most ``tallest`` px of each."""
    for key, run in groupby(context.pieces(), lambda piece: piece.page and piece.page.tier):
        pieces = list(run)
        if key is None:
            yield from _texts(pieces)
            continue
        images = [page_block(piece, tallest) for piece in pieces]
        fit = max(1, (WIDTH + GAP) // (images[0].width + GAP))
        yield _beside(images[:fit])
        if pieces[fit:]:
            yield _left_out(pieces[fit:], f"page of tier {key}", PAGE)


def _texts(pieces: Sequence[Piece]) -> Iterator[Image.Image]:
    turns = [piece for piece in pieces if piece.kind == "turn"]
    folded = turns[ENDS:-ENDS]
    for piece in pieces:
        if piece not in folded:
            yield text_block(piece)
        elif piece == folded[0]:
            yield _left_out(folded, "turn as text", TEXT)


def _left_out(pieces: Sequence[Piece], what: str, paper: Colour) -> Image.Image:
    tokens = sum(piece.tokens for piece in pieces)
    return write(f"… folded here: {what} × {len(pieces)}, {tokens:,} tokens …", WIDTH, 1, paper).image


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    out = Image.new("RGB", (WIDTH, max(image.height for image in images)), PAPER)
    left = 0
    for image in images:
        out.paste(image, (left, 0))
        left += image.width + GAP
    return out


def picture(session: Session, renderer: str | None) -> Image.Image:
    """Return the context at the end of a session, asked for after each of its messages."""
    profile, tallest = SHOWN[session.kind]
    with OpticalMemory(session.id, profile=profile, budget=BUDGET, renderer=renderer) as memory:
        for message in session.messages:
            memory.extend([message])
            context = memory.context()
        title = f"{session.id}, {len(session.messages)} messages, {profile}. {context.explain().splitlines()[0]}"
        gap = Image.new("RGB", (WIDTH, GAP // 2), PAPER)
        parts = [write(title, WIDTH, 2).image]
        for block in blocks(context, tallest):
            parts += [gap, block]
    return _framed(stack(parts))


def _framed(image: Image.Image) -> Image.Image:
    """Return a picture with margins, in few colours."""
    few = Image.new("P", (1, 1))
    few.putpalette(PALETTE)
    return ImageOps.expand(image, GAP // 2, PAPER).quantize(palette=few, dither=Image.Dither.NONE)


def main() -> None:
    """Draw the first coding session, the longest conversation of customer service, and the first long talk."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pictures are written")
    parser.add_argument("--renderer", help="chromium or dense; default: Chromium where one is found")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    longest: dict[str, Session] = {}
    for session in load(1, 30, 1, samples=True):
        longest[session.kind] = max(longest.get(session.kind, session), session, key=lambda each: len(each.messages))
    for kind, session in longest.items():
        path = options.folder / f"context-{kind}.png"
        picture(session, options.renderer).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
