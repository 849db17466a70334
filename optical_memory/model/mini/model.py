"""The bundled model as an object: vision tokens of a page, and answers from the pages of a context."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.errors import InputError
from optical_memory.model.answer import Answer, Stream, Usage
from optical_memory.model.mini import decoder, fine, reading, vocabulary, weights
from optical_memory.model.mini import find as finding
from optical_memory.model.mini.cells import Cells
from optical_memory.model.mini.commands import ABILITIES, Command, parse
from optical_memory.model.mini.decoder import MiniDecoder
from optical_memory.model.mini.find import Source
from optical_memory.model.mini.ink import Ink, ink_of
from optical_memory.model.mini.network import TOKEN_WIDTH, MiniNetwork
from optical_memory.model.mini.transcribe import transcribe
from optical_memory.model.prompts import Pieces
from optical_memory.model.vision_cache import VisionCache, vision_key
from optical_memory.renderers.base import WIDE, Page
from optical_memory.renderers.layout import text_of
from optical_memory.renderers.visible import UNSURE

WEIGHTS = Path(__file__).with_name("weights")
"""Folder of the bundled weights."""
_AT_ONCE = 32
"""Pages that go through a GPU together."""
_DOUBTFUL = 0.5
"""Certainty below which a character of an answer stands as U+FFFD: it is more likely wrong than right."""


@cache
def load(*, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> MiniModel:
    """Load the bundled weights, once per process, device and type.

    By default in bfloat16 on processors that compute in it, which is twice as fast there, else in float32.
    Errors: CheckpointError.
    """
    return MiniModel(load_network(torch.device(device), dtype), fine.load(WEIGHTS, torch.device(device)))


def load_network(device: torch.device, dtype: torch.dtype | None = None) -> MiniNetwork:
    """Load encoder and read-out head alone, as :func:`load` does. Errors: CheckpointError."""
    with torch.random.fork_rng(devices=()):  # random values cost 0.1 s; PyTorch's "meta" device over a second to import
        network = MiniNetwork()
    weights.load_int8(network, WEIGHTS)
    network.to(device, dtype or fastest(device))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # what convolutions take as it is
    return network.eval().requires_grad_(False)


def fastest(device: torch.device) -> torch.dtype:
    """Return the type in which a device computes fastest: bfloat16, but float32 on processors without it."""
    capable = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if capable else torch.float32


class _Look(NamedTuple):
    """A page as read, the head's slots (lattice points, slot) and the vision tokens (h, w, width) it was read from."""

    sheet: reading.Sheet
    slots: Tensor
    tokens: Tensor


class MiniModel:
    """Encoder and read-out head with weights, ready to read. Thread-safe: it holds no state but a cache of tokens."""

    def __init__(self, network: MiniNetwork, finer: fine.FineHead | None = None) -> None:
        """Take a network with its weights, and those of the head for small cells, if it shall be asked."""
        self.network, self.finer = network.eval().requires_grad_(False), finer
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
            if isinstance(page, Page) and page.watch is not None:
                page.watch(self.forget_page)
        return found

    def forget_page(self, page_id: str) -> None:
        """Drop the vision tokens of a page at every tier."""
        self.cache.drop_page(self._key, page_id)

    def read(self, page: Page | bytes, *, cells: Cells | None = None) -> reading.Sheet:
        """Read a page, on the grid of its layout, or a PNG, on ``cells`` or else the grid found in the image.

        Errors: ImageError, GridNotFoundError.
        """
        return self._look(page, cells).sheet

    def read_all(self, pages: Iterable[Page | bytes]) -> Iterator[reading.Sheet]:
        """Read pages one after the other; on a GPU those of one size that follow each other go through it together.

        Errors: ImageError, GridNotFoundError.
        """
        device = next(self.network.parameters()).device
        at_once = 1 if device.type == "cpu" else _AT_ONCE  # a core's cache holds one page
        for group in _of_one_size(((page, ink_of(_png(page))) for page in pages), at_once):
            _, slots = reading.look(self.network, [ink for _, ink in group])
            for (page, ink), own in zip(group, slots, strict=True):
                cells = None if isinstance(page, bytes) else _grid_of(page)
                yield reading.read_slots(self.network, own, ink, cells, self.finer)

    @cached_property
    def decoder(self) -> MiniDecoder:
        """The decoder, loaded when first asked for. Errors: CheckpointError."""
        parameter = next(self.network.parameters())
        with torch.random.fork_rng(devices=()):
            model = MiniDecoder(decoder.config(len(vocabulary.load())), TOKEN_WIDTH, self.network.head.slot)
        weights.load_int8(model, WEIGHTS, stem="decoder")
        return model.to(parameter.device, parameter.dtype).eval().requires_grad_(False)

    @torch.inference_mode()
    def transcribe(self, page: Page | bytes, *, cells: Cells | None = None) -> tuple[reading.Sheet, int]:
        """Read a page with the decoder, token by token; return what it says and the steps it took.

        Errors: ImageError, GridNotFoundError.
        """
        look = self._look(page, cells)
        points = reading.cell_points(look.sheet.grid, look.sheet.side)
        return transcribe(self.decoder, look.tokens, look.slots[points], look.sheet)

    def _look(self, page: Page | bytes, cells: Cells | None = None) -> _Look:
        """Return a page as read, with the head's slots for it and its vision tokens."""
        ink = ink_of(_png(page))
        tokens, slots = reading.look(self.network, [ink])
        if cells is None and not isinstance(page, bytes):
            cells = _grid_of(page)
        return _Look(reading.read_slots(self.network, slots[0], ink, cells, self.finer), slots[0], tokens[0])

    @overload
    def generate(self, context: Any, prompt: str = ..., *, stream: Literal[False] = ...) -> Answer: ...

    @overload
    def generate(self, context: Any, prompt: str = ..., *, stream: Literal[True]) -> Stream: ...

    def generate(self, context: Any, prompt: str = "read", *, stream: bool = False) -> Answer | Stream:
        """Answer from a context, or from a list of pages, PNGs and texts, oldest first.

        ``read`` gives the text of all pages, ``read page N`` of one, ``read page N line M`` of one row of it, counted
        from 1. ``find WORDS`` gives the line that holds the words, else ``none``: words that stand alone go before
        parts of longer ones, then the newest goes first (recent turns, then pages from the last, then the last place
        on a page). To anything else the answer says what the model can do. Characters that are more likely wrong than
        right stand as U+FFFD. Everything is read by the parallel head, so ``usage.new_tokens`` is 0.
        Errors: InputError, ImageError, GridNotFoundError.
        """
        pieces = Stream(self._answer(_sources(context), prompt))
        return pieces if stream else pieces.answer

    def find(self, sources: Sequence[Source], words: str) -> Iterator[tuple[str, int]]:
        """Yield, newest first, what each source costs in vision tokens, and in the end the line found or "none"."""
        part, shelf = "none", finding.Shelf(self.search, sources)
        for index in reversed(range(len(sources))):
            found = shelf.line(index, words)
            if found is not None and found[1]:
                yield found[0], shelf.cost()
                return
            if found is not None and part == "none":
                part = found[0]
            yield "", shelf.cost()
        yield part, 0

    def search(self, page: Page | bytes) -> finding.Searched:
        """Look at a page once, to find words on it many times. Errors: ImageError, GridNotFoundError."""
        look = self._look(page)
        sheet = _marked(look.sheet)
        return finding.Searched(network=self.network, slots=look.slots, sheet=sheet, run=finding.run_of(sheet))

    def _answer(self, sources: Sequence[Source], prompt: str) -> Generator[str | Answer, None, None]:
        started = time.perf_counter()
        tokens, said = 0, []
        for piece, cost in self._pieces(sources, parse(prompt)):
            tokens += cost
            if piece:
                said.append(piece)
                yield piece
        seconds = time.perf_counter() - started
        usage = Usage(vision_tokens=tokens, text_tokens=0, reused_tokens=0, new_tokens=0, seconds=seconds)
        yield Answer(text="".join(said), usage=usage, ended="stop", ids=())

    def _pieces(self, sources: Sequence[Source], command: Command) -> Iterator[tuple[str, int]]:
        """Pieces of text, and the vision tokens looked at for each."""
        if command.kind == "other":
            yield ABILITIES, 0
        elif command.kind == "find":
            yield from self.find(sources, command.words)
        else:
            pages = [source for source in sources if not isinstance(source, str)]
            for number, page in enumerate(_chosen(pages, command.page)):
                sheet = _marked(self.read(page))
                cells = sheet.cells if command.row is None else _row(sheet.cells, command.row)
                yield ("\n\n" if number else "") + text_of(cells), sheet.tokens


def _marked(sheet: reading.Sheet) -> reading.Sheet:
    """Return the sheet with characters that are more likely wrong than right as U+FFFD."""
    doubtful = (reading.certainty(sheet) < _DOUBTFUL) & (sheet.cells != WIDE)
    return replace(sheet, cells=np.where(doubtful, np.uint32(ord(UNSURE)), sheet.cells))


def _sources(context: Any) -> list[Source]:
    """Return what a context shows, oldest first: pages, records and recent turns as text; or a list as it is."""
    if not isinstance(context, Pieces):
        return list(context)
    return [piece.text if piece.page is None else piece.page for piece in context.pieces()]


def _png(page: Page | bytes) -> bytes:
    return page if isinstance(page, bytes) else page.png


def _of_one_size(pages: Iterable[tuple[Page | bytes, Ink]], at_once: int) -> Iterator[list[tuple[Page | bytes, Ink]]]:
    """Yield groups of up to ``at_once`` pages of one size that follow each other."""
    group: list[tuple[Page | bytes, Ink]] = []
    for page, ink in pages:
        if group and (len(group) == at_once or group[0][1].shape != ink.shape):
            yield group
            group = []
        group.append((page, ink))
    if group:
        yield group


def _grid_of(page: Page) -> Cells:
    """Return the grid of a page's layout as it lies on the page's raster."""
    grid = page.layout.grid
    return Cells(
        width=grid.cell_width * page.size[0] / grid.width,
        height=grid.cell_height * page.size[1] / grid.height,
        columns=grid.columns,
        rows=grid.rows,
    )


def _chosen(pages: list[Page | bytes], number: int | None) -> list[Page | bytes]:
    if number is None:
        return pages
    if not 1 <= number <= len(pages):
        raise InputError(f"there is no page {number}; the context has {len(pages)}")
    return pages[number - 1 : number]


def _row(cells: npt.NDArray[np.uint32], number: int) -> npt.NDArray[np.uint32]:
    if not 1 <= number <= len(cells):
        raise InputError(f"there is no line {number} on the page; it has {len(cells)}")
    return cells[number - 1 : number]
