"""The bundled model as an object: vision tokens of a page, and answers from the pages of a context."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor

from optical_memory.errors import InputError
from optical_memory.model.answer import Answer, Stream, Usage
from optical_memory.model.mini import reading, weights
from optical_memory.model.mini.cells import Cells
from optical_memory.model.mini.ink import ink_of
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.model.vision_cache import VisionCache, vision_key
from optical_memory.renderers.base import Page
from optical_memory.renderers.layout import text_of

WEIGHTS = Path(__file__).with_name("weights")
"""Folder of the bundled weights."""
ABILITIES = (
    "I am a small reader of page images. I can `read` (all pages, or `read page 2`), and `find` words or a key: I "
    "answer with the line that holds them, or `none`."
)
"""What the model says to any other question."""

_COMMAND = re.compile(r"^\s*(read|find)\b[\s:]*(.*?)\s*$", re.S | re.I)
_PAGE = re.compile(r"^page\s+(\d+)$", re.I)


@cache
def load(*, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> MiniModel:
    """Load the bundled weights, once per process, device and type.

    By default in bfloat16 on processors that compute in it, which is twice as fast there, else in float32.
    Errors: CheckpointError.
    """
    with torch.device("meta"):  # no time is lost on random values
        network = MiniNetwork()
    weights.load_int8(network, WEIGHTS)
    return MiniModel(network.to(device, dtype or _fastest(torch.device(device))))


def _fastest(device: torch.device) -> torch.dtype:
    capable = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if capable else torch.float32


class MiniModel:
    """Encoder and read-out head with weights, ready to read. Thread-safe: it holds no state but a cache of tokens."""

    def __init__(self, network: MiniNetwork) -> None:
        """Take a network with its weights."""
        self.network = network.eval().requires_grad_(False)
        self.cache = VisionCache(max_bytes=64 << 20)
        self._key = f"mini-{next(network.parameters()).dtype}"

    @torch.inference_mode()
    def encode(self, page: Page | bytes) -> Tensor:
        """Vision tokens (tokens, 1280) of a page or a PNG, kept by page id and tier. Errors: ImageError."""
        png = page if isinstance(page, bytes) else page.png
        identity = hashlib.sha256(png).hexdigest() if isinstance(page, bytes) else page.id
        key = vision_key(self._key, identity, "png" if isinstance(page, bytes) else page.tier)
        parameter = next(self.network.parameters())
        found = self.cache.get(key, parameter.device)
        if found is None:
            ink = torch.from_numpy(ink_of(png))[None, None].to(parameter)
            found = self.network.encoder(ink)[1].flatten(0, 2)  # (tokens, 1280)
            self.cache.put(key, found)
        return found

    def read(self, page: Page | bytes, *, cells: Cells | None = None) -> reading.Sheet:
        """Read a page, on the grid of its layout, or a PNG, on ``cells`` or else the grid found in the image.

        Errors: ImageError, GridNotFoundError.
        """
        if isinstance(page, bytes):
            return reading.read(self.network, ink_of(page), cells)
        return reading.read(self.network, ink_of(page.png), cells or _grid_of(page))

    @overload
    def generate(self, context: Any, prompt: str = ..., *, stream: Literal[False] = ...) -> Answer: ...

    @overload
    def generate(self, context: Any, prompt: str = ..., *, stream: Literal[True]) -> Stream: ...

    def generate(self, context: Any, prompt: str = "read", *, stream: bool = False) -> Answer | Stream:
        """Answer from the pages of a context (or a list of pages or PNGs).

        ``read`` gives the text of all pages, ``read page N`` of one; ``find WORDS`` the row of a page that holds the
        words, else ``none``. To anything else the answer says what the model can do. Everything is read by the
        parallel head: these weights have no decoder, so ``usage.new_tokens`` is 0. Errors: InputError, ImageError,
        GridNotFoundError.
        """
        pages: Sequence[Page | bytes] = getattr(context, "pages", context)
        pieces = Stream(self._answer(pages, prompt))
        return pieces if stream else pieces.answer

    def _answer(self, pages: Sequence[Page | bytes], prompt: str) -> Generator[str | Answer, None, None]:
        started = time.perf_counter()
        tokens, said = 0, []
        for piece, cost in self._pieces(pages, prompt):
            tokens += cost
            if piece:
                said.append(piece)
                yield piece
        seconds = time.perf_counter() - started
        usage = Usage(vision_tokens=tokens, text_tokens=0, reused_tokens=0, new_tokens=0, seconds=seconds)
        yield Answer(text="".join(said), usage=usage, ended="stop", ids=())

    def _pieces(self, pages: Sequence[Page | bytes], prompt: str) -> Iterator[tuple[str, int]]:
        """Pieces of text, and the vision tokens looked at for each."""
        command = _COMMAND.match(prompt)
        if command is None:
            yield ABILITIES, 0
        elif command[1].lower() == "read":
            wanted = _chosen(pages, command[2])
            for number, page in enumerate(wanted):
                sheet = self.read(page)
                yield ("\n\n" if number else "") + text_of(sheet.cells), sheet.tokens
        else:
            yield from self._find(pages, command[2].strip("\"'` "))

    def _find(self, pages: Sequence[Page | bytes], words: str) -> Iterator[tuple[str, int]]:
        if not words:
            yield ABILITIES, 0
            return
        for page in pages:
            sheet = self.read(page)
            lines = text_of(sheet.cells).split("\n")
            for line in lines:
                if words.casefold() in line.casefold():
                    yield line, sheet.tokens
                    return
            yield "", sheet.tokens
        yield "none", 0


def _grid_of(page: Page) -> Cells:
    """Return the grid of a page's layout as it lies on the page's raster."""
    grid = page.layout.grid
    return Cells(
        width=grid.cell_width * page.size[0] / grid.width,
        height=grid.cell_height * page.size[1] / grid.height,
        columns=grid.columns,
        rows=grid.rows,
    )


def _chosen(pages: Sequence[Page | bytes], which: str) -> Sequence[Page | bytes]:
    page = _PAGE.match(which)
    if page is None:
        return pages
    number = int(page[1])
    if not 1 <= number <= len(pages):
        raise InputError(f"there is no page {number}; the context has {len(pages)}")
    return pages[number - 1 : number]
