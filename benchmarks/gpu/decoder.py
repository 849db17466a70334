"""Parts of ``benchmarks.gpu`` on the decoder: prefill, one sequence, batches, and the fast paths' error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.counts import active_bytes, batch_bytes
from optical_memory.model import experts
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.ocr import DeepseekOcr
from optical_memory.model.sampling import likeliest
from optical_memory.model.step import EagerStep, Step, make_step, prefill


def loop_over_experts(rows: torch.Tensor, weight: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Multiply group by group in Python: what the grouped product replaces."""
    stops = ends.tolist()
    spans = zip([0, *stops], stops, weight, strict=False)
    return torch.cat([F.linear(rows[start:stop], matrix) for start, stop, matrix in spans if stop > start])


@contextmanager
def plain_experts() -> Iterator[None]:
    """Run the decoder with a Python loop over the experts."""
    grouped = experts.grouped_product
    experts.grouped_product = loop_over_experts
    try:
        yield
    finally:
        experts.grouped_product = grouped


@torch.no_grad()
def decode(bench: Bench, step: Step, cache: KeyValueCache, start: int, count: int) -> float:
    """Decode ``count`` tokens greedily from position ``start`` on; return seconds a token, host left out."""
    tokens: torch.Tensor | None = torch.randint(2, 100, (cache.batch,), device=bench.device)
    positions: torch.Tensor | None = torch.full((cache.batch,), start, device=bench.device)
    for warm in range(3):
        step(tokens, positions, start + warm + 1)
    bench.wait()
    begin = time.perf_counter()
    for index in range(count):
        logits = step(tokens, positions, start + index + 1)
        if step.best is not None:
            tokens = positions = None  # the step goes on by itself
        elif positions is not None:
            tokens, positions = likeliest(logits), positions + 1
    bench.wait()
    return (time.perf_counter() - begin) / count


@torch.no_grad()
def prefilling(bench: Bench, model: DeepseekOcr) -> None:
    """Prefill one long sequence, and a batch of pages of 285 positions."""
    config = model.config.decoder
    limit = config.max_position_embeddings
    shapes = {"one sequence": (1, limit - limit // 8), "64 pages": (2, 60) if bench.tiny else (64, 285)}
    for name, (batch, length) in shapes.items():
        with bench.section(f"prefill {name}") as found:
            cache = KeyValueCache(config, capacity=length, batch=batch, device=bench.device, dtype=bench.dtype)
            x = model.decoder.embed(torch.randint(2, 100, (batch, length), device=bench.device))
            found["positions"] = batch * length
            seconds = bench.seconds(lambda x=x, cache=cache: prefill(model.decoder, cache, x))
            found["tokens_per_second"] = batch * length / seconds
            with plain_experts():
                seconds = bench.seconds(lambda x=x, cache=cache: prefill(model.decoder, cache, x), repeat=3, warm=1)
            found["loop_over_experts_tokens_per_second"] = batch * length / seconds
            del cache, x


def single(bench: Bench, model: DeepseekOcr) -> None:
    """Decode one sequence: our step, a recorded graph of the plain decoder, the plain decoder, experts in a loop."""
    config, count = model.config.decoder, 4 if bench.tiny else 256
    copy = bench.results["ceilings"]["copy_tbps"] * 1e12
    for start in [40] if bench.tiny else [300, 4000]:
        with bench.section(f"decode 1 at {start}") as found:
            cache = KeyValueCache(config, capacity=start + count + 8, device=bench.device, dtype=bench.dtype)
            cache.keys.normal_()
            cache.values.normal_()
            limit = copy / active_bytes(model, start + count // 2)
            rate = 1 / decode(bench, make_step(model.decoder, cache), cache, start, count)
            found |= {"tokens_per_second": rate, "limit_tokens_per_second": limit, "share_of_limit": rate / limit}
            if bench.device.type == "cuda":
                from optical_memory.model.graphs import GraphStep

                found["graph_of_plain"] = 1 / decode(bench, GraphStep(model.decoder, cache), cache, start, count)
            plain = EagerStep(model.decoder, cache)
            found["plain"] = 1 / decode(bench, plain, cache, start, max(2, count // 8))
            with plain_experts():
                found["plain_loop_over_experts"] = 1 / decode(bench, plain, cache, start, max(2, count // 16))


def check_steps(bench: Bench, model: DeepseekOcr) -> None:
    """Compare the logits of the fast steps with those of the plain one, on random input."""
    with bench.section("check of steps") as found, torch.no_grad():
        config = model.config.decoder
        ids = torch.randint(2, 100, (4, 90), device=bench.device)
        for batch in (1, 4):
            logits = []
            for plain in (True, False):
                cache = KeyValueCache(config, capacity=128, batch=batch, device=bench.device, dtype=bench.dtype)
                for row in range(batch):
                    prefill(
                        model.decoder, cache.rows(row, row + 1), model.decoder.embed(ids[row : row + 1, : 60 + row])
                    )
                step: Step = EagerStep(model.decoder, cache) if plain else make_step(model.decoder, cache)
                rows = torch.arange(batch, device=bench.device)
                for more in range(8):
                    at = 60 + rows + more
                    out = step(ids[rows, at], at, 60 + batch + more)
                logits.append(out.float().clone())
            found[f"step_error_batch_{batch}"] = float((logits[0] - logits[1]).norm() / logits[0].norm())


BATCHES = (64, 128, 256, 512)
"""Rows decoded at once. Where the largest do not fit, fewer are tried, 64 at a time."""


def batched(bench: Bench, model: DeepseekOcr) -> None:
    """Decode batches at the mean context of a page that grows from 285 to 1,285 positions."""
    fitted = 0
    for wanted in (2,) if bench.tiny else BATCHES:
        for batch in range(wanted, fitted, -64):
            with bench.section(f"decode {batch}") as found:
                decode_rows(bench, model, batch, found)
            if not bench.ran_out(f"decode {batch}"):
                fitted = batch
                break
        if fitted < wanted:
            return


def decode_rows(bench: Bench, model: DeepseekOcr, batch: int, found: dict[str, Any]) -> None:
    """Decode one batch; a function of its own, so that nothing on the device outlives it."""
    config, count = model.config.decoder, 4 if bench.tiny else 64
    start = 40 if bench.tiny else 785 - count // 2
    copy = bench.results["ceilings"]["copy_tbps"] * 1e12
    capacity = start + count + 8 if bench.tiny else 1536
    cache = KeyValueCache(config, capacity=capacity, batch=batch, device=bench.device, dtype=bench.dtype)
    cache.keys.normal_()
    cache.values.normal_()
    seconds = decode(bench, make_step(model.decoder, cache), cache, start, count)
    cache.recorded = None  # a graph of kernels keeps what it computes in
    limit = copy / batch_bytes(model, batch, start + count // 2)
    found |= {"tokens_per_second": batch / seconds, "share_of_limit": 1 / seconds / limit}
    found["pages_per_day_decoding_alone"] = batch / seconds / 1000 * 86_400
    if batch in (2, 64):
        plain = EagerStep(model.decoder, cache)
        found["plain"] = batch / decode(bench, plain, cache, start, max(2, count // 8))
        with plain_experts():
            found["plain_loop_over_experts"] = batch / decode(bench, plain, cache, start, max(2, count // 16))
