"""Text for the decoder: streams of cells cut into tokens, and windows of them laid out on pages."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.model.mini.vocabulary import Vocabulary
from optical_memory.training.data import Arrays, pack
from optical_memory.training.text import SPACE, Writer

SHARES = {"natural": 0.36, "scrambled": 0.1, "words": 0.18, "random": 0.1, "hex": 0.1, "wide": 0.16}
"""Streams that training draws from, and how often."""
_CELLS = {"natural": 3_200_000, "scrambled": 800_000, "words": 1_600_000, "random": 700_000, "hex": 500_000,
          "wide": 900_000, "held natural": 300_000, "held words": 300_000, "held random": 100_000}  # fmt: skip


def prepare_sentences(writer: Writer, vocabulary: Vocabulary, folder: Path) -> None:
    """Write sentences.npz: for each stream its cells, its tokens, and how many cells each token moves on."""
    torch.manual_seed(0)
    arrays: Arrays = {}
    for name, count in _CELLS.items():
        cells = _cells(name, count, writer)
        ids, advances = vocabulary.encode(cells)
        arrays |= {f"{name}/cells": cells, f"{name}/ids": ids, f"{name}/advances": advances}
    pack(folder / "sentences.npz", arrays)


def _cells(name: str, count: int, writer: Writer) -> npt.NDArray[np.uint16]:
    stream = "evaluation" if name.startswith("held") else "latin"
    kind = name.removeprefix("held ")
    if kind == "words":
        return _words(writer.streams[stream].numpy()[:2_000_000], count, seed=zlib.crc32(name.encode()))
    piece = 6528
    pages = count // piece
    if kind == "random":
        codes = writer.random(pages, piece)
    elif kind == "hex":
        codes = writer.identifiers(pages, piece)
    elif kind == "wide":
        codes = torch.cat([writer.natural("wide", pages // 2, piece), writer.scripts(pages - pages // 2, piece)])
    else:
        codes = writer.natural(stream, pages, piece)
        codes = writer.scrambled(codes, 0.3) if kind == "scrambled" else writer.scrambled(codes, 0.0)
        codes = _with_gaps(codes)
    return codes.flatten().numpy().astype(np.uint16)


def _words(cells: npt.NDArray[np.int32], count: int, seed: int) -> npt.NDArray[np.uint16]:
    """Return random words of the text, each different word equally likely."""
    ascii_only = np.where((cells > 32) & (cells < 127), cells, SPACE).astype(np.uint8).tobytes().decode()
    words = sorted(set(word for word in ascii_only.split() if len(word) < 24))
    chosen = np.random.default_rng(seed).integers(0, len(words), count // 5)
    text = " ".join(words[index] for index in chosen)[: count // 2 * 2]
    return np.frombuffer(text.encode("utf-16-le"), "<u2").astype(np.uint16)


def _with_gaps(codes: Tensor) -> Tensor:
    """Return the text with blank stretches, as ends of turns leave them on a page."""
    starts = torch.rand(codes.shape) < 0.002
    gap = torch.zeros(codes.shape, dtype=torch.bool)
    for length in (6, 20, 60):
        chosen = starts & (torch.rand(codes.shape) < 0.33)
        last = torch.where(chosen, torch.arange(codes.shape[1]), -length).cummax(1).values
        gap |= torch.arange(codes.shape[1]) - last < length
    return codes.masked_fill(gap, SPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """One stream: ``cells`` (n,), ``ids`` (m,), ``starts`` (m,) the cell each token begins at, ``even`` those even."""

    cells: Tensor
    ids: Tensor
    advances: Tensor
    starts: Tensor
    even: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """``codes`` (B, cells) of whole pages; of a window of tokens ``inputs``, ``offsets``, ``targets`` (B, T).

    ``offsets`` are the cells at which the tokens to be named begin; a target of -100 is not asked for.
    """

    codes: Tensor
    inputs: Tensor
    offsets: Tensor
    targets: Tensor


def load_sentences(folder: Path, device: torch.device) -> dict[str, Sentences]:
    """Return the streams by name."""
    with np.load(folder / "sentences.npz") as arrays:
        return {name: _stream(arrays, name, device) for name in _CELLS}


def _stream(arrays: np.lib.npyio.NpzFile, name: str, device: torch.device) -> Sentences:
    advances = arrays[f"{name}/advances"].astype(np.int64)
    ids = torch.from_numpy(arrays[f"{name}/ids"].astype(np.int64))
    starts = torch.from_numpy(np.cumsum(advances) - advances)
    # A page starts at an even cell and at a whole character: not at the low byte, which moves on like its high byte.
    whole = torch.ones(len(ids), dtype=torch.bool)
    whole[1:] = torch.from_numpy(advances[:-1] > 0)
    return Sentences(
        cells=torch.from_numpy(arrays[f"{name}/cells"].astype(np.int32)).to(device),
        ids=ids.to(device),
        advances=torch.from_numpy(advances).to(device),
        starts=starts.to(device),
        even=((starts % 2 == 0) & whole).nonzero()[:, 0].to(device),
    )


def window(stream: Sentences, pages: int, cells: int, tokens: int) -> Window:
    """Return pages of ``cells`` cells, and ``tokens`` tokens from a random place of each."""
    device = stream.ids.device
    most = int(torch.searchsorted(stream.even, torch.searchsorted(stream.starts, len(stream.cells) - cells - 64)))
    first = stream.even[torch.randint(0, most, (pages,), device=device)]
    origin = stream.starts[first]
    codes = stream.cells[origin[:, None] + torch.arange(cells, device=device)].long()
    aim = origin + (torch.rand(pages, device=device) * cells * 0.92).long() // 2 * 2
    begin = torch.searchsorted(stream.starts, aim)  # the first token from there on
    index = (begin[:, None] + torch.arange(tokens, device=device)).clamp(max=len(stream.ids) - 1)
    ids, offsets = stream.ids[index], stream.starts[index] - origin[:, None]
    inside = offsets + stream.advances[index] <= cells
    inputs = torch.cat([torch.zeros_like(ids[:, :1]), ids[:, :-1]], 1)
    return Window(
        codes=codes,
        inputs=inputs,
        offsets=offsets.clamp(max=cells),
        targets=ids.masked_fill(~inside, -100),
    )
