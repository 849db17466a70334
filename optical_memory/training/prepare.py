"""Prepare training data: text of the sources, tiles of the dense renderer and of other fonts, and the manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from optical_memory.errors import InputError
from optical_memory.model.mini import vocabulary
from optical_memory.renderers import visible
from optical_memory.training import corpus, data, glyphs
from optical_memory.training.browser import browser_sheets
from optical_memory.training.config import Font, TrainingConfig
from optical_memory.training.fonts import Tiles, draw_tiles
from optical_memory.training.sentences import prepare_sentences

MARKS = corpus.Marks(newline=ord(visible.NEWLINE_MARK), tab=ord(visible.TAB_MARK), filler=ord(visible.FILLER_MARK))
_ALL_MARKS = visible.NEWLINE_MARK + visible.TAB_MARK + visible.HEADER_MARK + visible.FILLER_MARK
_FONT_CHARACTERS = "".join(map(chr, range(33, 127))) + "…–—‘’“”•·→×°é" + _ALL_MARKS
_AVERAGED = {"fonts-24x36": (24, 36, 1.08), "fonts-24x40": (24, 40, 1.08), "fonts-24x38-tight": (24, 38, 1.3)}
_HINTED = {f"hinted-{w}x{h}": (w, h, 1.08) for w, h in ((12, 20), (10, 16), (8, 12), (7, 11), (6, 10))}
_HINTED |= {"hinted-8x12-tight": (8, 12, 1.3), "hinted-10x16-tight": (10, 16, 1.3), "hinted-8x12-loose": (8, 12, 0.95)}


def prepare(config: TrainingConfig, roots: list[Path], out: Path) -> None:
    """Write all data to ``out``. ``roots`` are folders that the globs of sources and fonts are tried under."""
    drawable = visible.bmp_classes()[:65536] < visible.COMBINING
    streams = corpus.build(list(config.sources), roots, MARKS, visible.bmp_classes()[:65536])
    sheets = glyphs.dense_sheets() | font_sheets(config.fonts, roots) | browser_sheets()
    pools = script_pools(drawable)
    pools["marks"] = np.array([ord(mark) for mark in _ALL_MARKS], np.uint16)
    manifest = {
        "text": [
            {"name": source.name, "stream": source.stream, "licence": source.licence} for source in config.sources
        ],
        "fonts": [{"name": font.name, "licence": font.licence, "held_out": font.held_out} for font in config.fonts],
        "cells": {name: len(stream) for name, stream in streams.items()},
        "sheets": {name: list(array.shape) for name, array in sheets.items() if name.endswith("/left")},
    }
    data.save(out, streams, sheets, pools, manifest)  # type: ignore[arg-type]
    prepare_sentences(data.load_writer(out, torch.device("cpu")), vocabulary.load(), out)


def font_sheets(fonts: tuple[Font, ...], roots: list[Path]) -> data.Arrays:
    """Sheets of the trained and of the held-out fonts; what a font lacks is drawn from the first font."""
    train = [_find(font, roots) for font in fonts if not font.held_out]
    held = [_find(font, roots) for font in fonts if font.held_out]
    codes = np.array([ord(c) for c in _FONT_CHARACTERS], np.uint16)
    sheets: data.Arrays = {}
    for name, (width, height, tightness) in _AVERAGED.items():
        sheets[f"{name}/left"] = _stack(train, width, height, tightness, hinted=False)
    for name, (width, height, tightness) in _HINTED.items():
        sheets[f"{name}/left"] = _stack(train, width, height, tightness, hinted=True)
    sheets["held-8x12/left"] = _stack([train[0], *held], 8, 12, 1.08, hinted=False)[1:]
    sheets["held-hinted-8x12/left"] = _stack([train[0], *held], 8, 12, 1.08, hinted=True)[1:]
    return sheets | {f"{name.split('/')[0]}/codes": codes for name in sheets}


def _stack(paths: list[Path], width: int, height: int, tightness: float, *, hinted: bool) -> npt.NDArray[np.uint8]:
    return _filled(
        [draw_tiles(path, _FONT_CHARACTERS, width, height, tightness=tightness, hinted=hinted) for path in paths]
    )


def _filled(fonts: list[Tiles]) -> npt.NDArray[np.uint8]:
    """Return the tiles of all fonts; what one lacks is taken from the first."""
    tiles = np.stack(fonts)
    lacking = ~tiles.any((2, 3))
    for font, glyph in np.argwhere(lacking):
        tiles[font, glyph] = tiles[0, glyph]
    return tiles


def _find(font: Font, roots: list[Path]) -> Path:
    for root in roots:
        for path in sorted(root.glob(font.pattern)):
            return path
    raise InputError(f"font {font.name!r}: no file matches {font.pattern!r} under {[str(root) for root in roots]!r}")


def script_pools(drawable: npt.NDArray[np.bool_]) -> data.Arrays:
    """Return pools of code points to sample from: Chinese, Japanese, Korean, all wide, and narrow scripts."""
    classes = visible.bmp_classes()[:65536]
    every = np.arange(65536)
    wide, narrow = drawable & (classes == visible.WIDE), drawable & (classes == visible.NARROW)

    def span(mask: npt.NDArray[np.bool_], *ranges: tuple[int, int]) -> npt.NDArray[np.uint16]:
        inside = np.zeros(65536, bool)
        for first, end in ranges:
            inside[first:end] = True
        return every[mask & inside].astype(np.uint16)

    return {
        "wide/chinese": _coded("gb2312", 0xB0, 0xD8),  # the 3,755 most frequent
        "wide/japanese": np.intersect1d(_coded("euc_jp", 0xB0, 0xD0), every[wide]).astype(np.uint16),
        "wide/kana": span(wide, (0x3000, 0x3100), (0xFF01, 0xFF60)),
        "wide/korean": _coded("euc_kr", 0xB0, 0xC9),
        "wide/chinese, rarer": _coded("gb2312", 0xD8, 0xF8),
        "wide/signs": every[wide & glyphs.are_signs()].astype(np.uint16),
        "wide/all": span(wide, (0, 65536)),
        "narrow/ascii": span(narrow, (33, 127)),
        "narrow/latin": span(narrow, (0xA1, 0x250)),
        "narrow/greek": span(narrow, (0x370, 0x400)),
        "narrow/cyrillic": span(narrow, (0x400, 0x460)),
        "narrow/signs": every[narrow & glyphs.are_signs()].astype(np.uint16),
        "narrow/all": span(narrow, (0xA1, 65536)),
    }


def _coded(encoding: str, first: int, end: int) -> npt.NDArray[np.uint16]:
    """Return the characters whose first byte in an East Asian standard is from ``first`` to ``end`` (exclusive)."""
    found = set()
    for high in range(first, end):
        for low in range(0xA1, 0xFF):
            try:
                found.add(ord(bytes([high, low]).decode(encoding)))
            except UnicodeDecodeError:
                continue
    return np.array(sorted(found), np.uint16)
