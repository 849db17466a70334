"""What a question over ten cached pages costs, and what a page takes in memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.language import cases
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.language.model import LanguageModel
from optical_memory.renderers.base import Page


def cost(model: LanguageModel, seed: int, names: Path | None) -> dict[str, float]:
    """Return seconds of a new page and of questions over ten known ones, and bytes kept for a page in both forms."""
    with tempfile.TemporaryDirectory() as folder:
        case = next(cases.drawn(1, 10, Path(folder), seed + 2, names))
    pages = cases.shown(case.layouts, ("tiny",) * 10, "dense")
    facts = [task for task in case.tasks if task.kind == "fact"]
    torch.set_num_threads(2)
    [page.png for page in pages]
    out = {
        "seconds of a page's vectors": _seconds(lambda: model.sight.vectors(pages[0], 1)),
        "seconds of reading a page": _seconds(lambda: model.sight.rows(pages[0])),
    }
    model.generate(pages, facts[0].question)
    measured = zip(*(_asked(model, pages, task.question) for task in facts[1:7]), strict=True)
    for name, values in zip(("first token", "its processor", "answer", "answer's processor"), measured, strict=True):
        out |= {f"seconds of {name}, least": min(values), f"seconds of {name}, most": max(values)}
    return out | kept(model, pages[0], case.text[: len(case.text) // 10])


def _asked(model: LanguageModel, pages: list[Page], question: str) -> tuple[float, float, float, float]:
    """Return seconds to the first token and to the last, each with the processor's, of all threads."""
    started, busy = time.perf_counter(), time.process_time()
    stream = model.generate(pages, question, stream=True)
    next(iter(stream))
    first, first_busy = time.perf_counter() - started, time.process_time() - busy
    for _ in stream:
        pass
    return first, first_busy, time.perf_counter() - started, time.process_time() - busy


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def kept(model: LanguageModel, page: Page, text: str) -> dict[str, float]:
    """Return the bytes that a page takes in memory: as vision tokens, and read as text, as keys and values."""
    tokens = model.tokenizer.encode(text)
    cache = KeyValueCache(model.decoder.config, capacity=len(tokens), device=model.device, dtype=model.dtype)
    vision = model.sight.mini.encode(page)
    return {
        "text tokens of a page": float(len(tokens)),
        "bytes of its vision tokens": float(vision.nbytes),
        "bytes of its text as keys and values": float(cache.nbytes),
        "text as keys and values to vision tokens": cache.nbytes / vision.nbytes,
    }
