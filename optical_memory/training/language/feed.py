"""Samples drawn by many processes ahead of the training, by mode: each process makes what is scarcest."""

from __future__ import annotations

import lzma
import multiprocessing
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optical_memory.training.language.passages import read_passages
from optical_memory.training.language.recipe import Mode, Recipe
from optical_memory.training.language.samples import Arrays, Sampler

_AHEAD = 3
"""Batches that lie ready on the device."""
_FULL = 4
"""Pages of a sample up to which a batch is whole."""


class Feed:
    """Starts the processes; :meth:`batches` gives what a schedule of modes asks for.

    Make it before CUDA is used: the processes are forks.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        *,
        split: str,
        processes: int,
        seed: int,
        batch: int,
        plain: bool,
    ) -> None:
        tokenizer = data / "tokenizer.json"
        context = multiprocessing.get_context("fork")
        self.most = max(8, processes)
        kinds = sorted({mode.pages for mode in recipe.modes})
        self.queues = {pages: context.Queue() for pages in kinds}
        weights = {pages: sum(m.weight for m in recipe.modes if m.pages == pages) for pages in kinds}
        documents = read_documents(data / f"{split}.txt.xz")
        passages = [] if plain else read_passages(data)
        self._processes = []
        for number in range(processes):
            own = documents[number::processes] if split == "train" else documents
            told = passages[number::processes]
            task = _Task(recipe, own, data / "pools.json", tokenizer, seed * 1000 + number, batch, plain, told)
            process = context.Process(target=_draw, args=(task, self.queues, weights, self.most), daemon=True)
            process.start()
            self._processes.append(process)

    def get(self, mode: Mode) -> Arrays:
        """Return the next batch of a mode."""
        arrays: Arrays = self.queues[mode.pages].get()
        return arrays

    def batches(self, schedule: Iterator[Mode], device: torch.device) -> Iterator[tuple[Mode, dict[str, Tensor]]]:
        """Yield batches on the device, drawn ahead in a thread."""
        ready: queue.Queue[tuple[Mode, dict[str, Tensor]]] = queue.Queue(_AHEAD)

        def fill() -> None:
            for mode in schedule:
                ready.put((mode, on_device(self.get(mode), device)))

        threading.Thread(target=fill, daemon=True).start()
        while True:
            yield ready.get()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()


class _Task:
    """What a process draws from."""

    def __init__(
        self,
        recipe: Recipe,
        documents: Sequence[str],
        pools: Path,
        tokenizer: Path,
        seed: int,
        batch: int,
        plain: bool,
        passages: Sequence[str],
    ) -> None:
        self.recipe, self.documents, self.pools, self.tokenizer = recipe, documents, pools, tokenizer
        self.seed, self.batch, self.plain, self.passages = seed, batch, plain, passages

    def samples(self, pages: int) -> int:
        """Return the samples of a batch: fewer where a sample has many pages."""
        return max(1, self.batch * _FULL // max(_FULL, pages))


def _draw(task: _Task, queues: dict[int, Any], weights: dict[int, float], most: int) -> None:
    from tokenizers import Tokenizer

    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(task.tokenizer))
    expand = 0.0 if task.plain else task.recipe.expand
    sampler = Sampler(
        task.seed,
        task.documents,
        task.pools,
        tokenizer,
        expand=expand,
        plain=task.plain,
        passages=task.passages,
        natural=0.0 if task.plain else task.recipe.natural,
    )
    chance = random.Random(task.seed)
    while True:
        lacking = [each for each, made in queues.items() if made.qsize() < most]
        if not lacking:
            time.sleep(0.02)
            continue
        pages = min(lacking, key=lambda each: queues[each].qsize() / weights[each] + chance.random())
        queues[pages].put(Arrays.stacked([sampler.sample(pages) for _ in range(task.samples(pages))]))


def read_documents(path: Path) -> list[str]:
    """Return the documents of a prepared text file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [text for text in file.read().split("\0") if len(text) > 1500]


def on_device(arrays: Arrays, device: torch.device) -> dict[str, Tensor]:
    """Return a batch's arrays as tensors on the device."""
    out = {}
    for field in fields(arrays):
        value = torch.from_numpy(getattr(arrays, field.name).astype("int32"))
        out[field.name] = (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True).long()
    return out
