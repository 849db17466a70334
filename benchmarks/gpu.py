"""DeepSeek-OCR at its real sizes with random weights on one GPU: encoder, prefill, decoding, whole pages.

    python benchmarks/gpu.py --out gpu.json          # a CUDA device of 80 GB; about four minutes
    python benchmarks/gpu.py --parts encoder single  # some parts alone
    python benchmarks/gpu.py --tiny                  # any machine: the same code at toy sizes, for the tests

Every rate stands beside what the device itself does in the same run: a matrix product (bf16, random data) and a copy.
A part that fails, for memory or time, is recorded as such and the others go on; the file is written after each section.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _gpu_counts import active_bytes, batch_bytes, encoder_flops, squares
from _gpu_table import table
from PIL import Image

from optical_memory.model import build, experts
from optical_memory.model.blocks import ATTENTION, AttentionKind
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.generate import Generator
from optical_memory.model.image import MODES
from optical_memory.model.ocr import DeepseekOcr
from optical_memory.model.sampling import Guard, likeliest
from optical_memory.model.step import EagerStep, Step, make_step, prefill
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.renderers.base import Grid, Layout, Page

TINY: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "max_position_embeddings": 512,
    "vision_config": {
        "width": {
            "sam_vit_b": {"width": 16, "layers": 2, "heads": 2, "global_attn_indexes": [1], "neck_channels": 8}
            | {"downsample_channels": [8, 16]},
            "clip-l-14-224": {"width": 16, "layers": 1, "heads": 2},
        }
    },
}


class Bench:
    """The device, its two rates, the results so far, and the time that is left."""

    def __init__(self, *, tiny: bool, seconds: float, out: Path | None = None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() and not tiny else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.tiny = tiny
        self.sizes = TINY if tiny else {}
        self.start = time.monotonic()
        self.end, self.out = self.start + seconds, out
        self.results: dict[str, Any] = {"device": self.name(), "torch": torch.__version__, "date": time.strftime("%F")}

    def name(self) -> str:
        """Say what the figures are measured on."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else platform.processor() or "CPU"

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any], *, repeat: int = 5, warm: int = 2) -> float:
        """Median wall time of a run in seconds, the device waited for."""
        for _ in range(1 if self.tiny else warm):
            run()
        times = []
        for _ in range(2 if self.tiny else repeat):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def model(self, **options: Any) -> DeepseekOcr:
        """Build a model; its random values are made on the device."""
        return build("deepseek-ocr", device=self.device, dtype=self.dtype, **self.sizes, **options)

    @contextmanager
    def section(self, name: str) -> Iterator[dict[str, Any]]:
        """Collect figures under ``name``; a failure is recorded and the rest goes on; peak memory is measured.

        Raises TimeoutError when the time for beginning sections is over.
        """
        if time.monotonic() > self.end and "ceilings" in self.results:
            raise TimeoutError(f"no time left to begin {name!r}")
        found: dict[str, Any] = {}
        start = time.perf_counter()
        self.clear()
        try:
            yield found
        except Exception as error:
            if isinstance(error, TimeoutError):
                raise
            self.failed(found, error)
        self.record(name, found, start)

    def part(self, name: str, model: DeepseekOcr) -> None:
        """Run one part; what stops it is recorded."""
        found: dict[str, Any] = {}
        start = time.perf_counter()
        try:
            PARTS[name](self, model)
        except Exception as error:
            self.failed(found, error)
        self.record(f"part {name}", found, start)

    def failed(self, found: dict[str, Any], error: Exception) -> None:
        """Note an error, and let go of what it holds on the device."""
        found["error"] = f"{type(error).__name__}: {error}"[:600]
        traceback.clear_frames(error.__traceback__)

    def record(self, name: str, found: dict[str, Any], start: float) -> None:
        """Keep the figures of what began at ``start``, print them, and write the file anew."""
        if self.device.type == "cuda":
            found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        found["took_seconds"] = round(time.perf_counter() - start, 1)
        self.results[name] = found
        self.results["seconds"] = round(time.monotonic() - self.start, 1)
        print(name, json.dumps(found), flush=True)
        if self.out:
            self.out.write_text(json.dumps(self.results, indent=1))

    def clear(self) -> None:
        """Give back memory that nothing uses any more, and begin to measure the peak anew."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def ceilings(bench: Bench) -> None:
    """Measure the matrix rate (FLOP/s) and the copy rate (bytes read and written a second)."""
    with bench.section("ceilings") as found:
        side, count = (128, 2**16) if bench.tiny else (8192, 2**31)
        a, b = (torch.randn(side, side, device=bench.device, dtype=bench.dtype) for _ in range(2))
        found["matrix_tflops"] = 2 * side**3 / bench.seconds(lambda: a @ b, repeat=20) / 1e12
        source = torch.randn(count // 8, device=bench.device).repeat(4)
        target = torch.empty_like(source)
        found["copy_tbps"] = 2 * source.nbytes / bench.seconds(lambda: target.copy_(source), repeat=10) / 1e12


def encoder(bench: Bench, model: DeepseekOcr) -> None:
    """Encode pages of every mode: plain eager, fused, and fused with compiled layers."""
    config = model.config
    modes = ["base", "small", "gundam", "tiny", "large"] if not bench.tiny else ["tiny"]
    known: dict[tuple[str, int], float] = {}  # seconds a square, by way and side: Gundam's are those of other modes
    for kind in ("eager", "fused", "compiled"):
        attend_with(model, "eager" if kind == "eager" else "fused")
        if kind == "compiled" and bench.device.type == "cuda":
            model.compile()
        for name in modes:
            with bench.section(f"encoder {name} {kind}") as found:
                flops = seconds = 0.0
                for side, count in squares(MODES[name]):
                    batch = 2 if bench.tiny else max(1, (4 if kind == "eager" else 32) * 1024**2 // side**2)
                    if (kind, side) not in known:
                        pixels = torch.rand(batch, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
                        took = bench.seconds(lambda pixels=pixels: model.vision_tokens(pixels), repeat=5)
                        known[kind, side] = took / batch
                        del pixels
                    seconds += known[kind, side] * count
                    flops += encoder_flops(config, side) * count
                    found["batch"] = batch
                found |= {"pages_per_second": 1 / seconds, "tflop_per_page": flops / 1e12}
                found["share_of_matrix_rate"] = flops / seconds / 1e12 / bench.results["ceilings"]["matrix_tflops"]
                found["over_eager"] = (
                    found["pages_per_second"]
                    / bench.results[f"encoder {name} eager"].get("pages_per_second", float("nan"))
                    if kind != "eager"
                    else 1.0
                )


def attend_with(model: DeepseekOcr, kind: AttentionKind) -> None:
    """Let the encoder attend in another way."""
    for module in model.encoder.modules():
        if hasattr(module, "attend"):
            module.attend = ATTENTION[kind]  # type: ignore[assignment]


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


def check(bench: Bench, model: DeepseekOcr) -> None:
    """Compare what the fast paths compute with the plain ones, on random input."""
    with bench.section("check") as found, torch.no_grad():
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
        side = 1024 if bench.device.type == "cuda" else 128
        pixels = torch.rand(1, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
        tokens = []
        kinds: tuple[AttentionKind, ...] = ("eager", "fused")
        for kind in kinds:
            attend_with(model, kind)
            tokens.append(model.vision_tokens(pixels).float())
        found["encoder_error"] = float((tokens[0] - tokens[1]).norm() / tokens[0].norm())


def batched(bench: Bench, model: DeepseekOcr) -> None:
    """Decode batches at the mean context of a page that grows from 285 to 1,285 positions."""
    config, count = model.config.decoder, 4 if bench.tiny else 64
    start = 40 if bench.tiny else 785 - count // 2
    copy = bench.results["ceilings"]["copy_tbps"] * 1e12
    for batch in [2] if bench.tiny else [64, 128, 256, 512]:
        with bench.section(f"decode {batch}") as found:
            capacity = start + count + 8 if bench.tiny else 1536
            cache = KeyValueCache(config, capacity=capacity, batch=batch, device=bench.device, dtype=bench.dtype)
            cache.keys.normal_()
            cache.values.normal_()
            seconds = decode(bench, make_step(model.decoder, cache), cache, start, count)
            cache.recorded = None  # the graph keeps the cache alive
            limit = copy / batch_bytes(model, batch, start + count // 2)
            found |= {"tokens_per_second": batch / seconds, "share_of_limit": 1 / seconds / limit}
            found["pages_per_day_decoding_alone"] = batch / seconds / 1000 * 86_400
            if batch in (2, 64):
                plain = EagerStep(model.decoder, cache)
                found["plain"] = batch / decode(bench, plain, cache, start, max(2, count // 8))
                with plain_experts():
                    rate = batch / decode(bench, plain, cache, start, max(2, count // 16))
                    found["plain_loop_over_experts"] = rate
                del plain
            del cache  # before the next one is made


def noise_page(seed: int, side: int, tier: str) -> Page:
    """Make a page of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.NEAREST).save(out, "PNG", compress_level=1)
    grid = Grid(width=side, height=side, cell_width=8, cell_height=16)
    layout = Layout(id=str(seed), grid=grid, cells=np.zeros((1, 1), np.uint32), text="")
    png = out.getvalue()
    return Page(id=f"{seed}", layout=layout, tier=tier, size=(side, side), tokens=0, source=lambda page: png)


def word_tokenizer(size: int) -> Tokenizer:
    """Make a tokenizer of as many words as the model has, one for each id."""
    from tokenizers import Tokenizer as Inner
    from tokenizers import models, pre_tokenizers

    inner = Inner(models.WordLevel({str(index): index for index in range(size)}, unk_token="2"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(inner)


def whole_pages(bench: Bench, model: DeepseekOcr) -> None:
    """From PNG to 1,000 tokens of text a page, in one call: decoding images, encoder, prefill, every token's choice."""
    tokens = 10 if bench.tiny else 1000
    for name, batch in [("tiny", 2)] if bench.tiny else [("base", 256), ("tiny", 512)]:
        with bench.section(f"whole {name} {batch}") as found:
            pages = [noise_page(seed, MODES[name].size, name) for seed in range(batch)]
            model.generator = Generator(model, word_tokenizer(model.config.decoder.vocab_size))
            start = time.perf_counter()
            encoded = model.generator.encoder(pages)
            bench.wait()
            found["images_and_encoder_seconds"] = time.perf_counter() - start
            assert len(encoded) == batch
            model.generator.encoder.cache.clear()
            start = time.perf_counter()
            # Random weights say "end" now and then: a stop token that cannot come keeps every page at its length.
            model.generator._stops = frozenset()
            answers = model.generate_batch(pages, "5 6 7", max_new_tokens=tokens, guard=Guard())
            seconds = time.perf_counter() - start
            found |= {"seconds": seconds, "new_tokens": sum(answer.usage.new_tokens for answer in answers)}
            found["tokens_per_second"] = found["new_tokens"] / seconds
            found["pages_per_day"] = batch / seconds * 86_400


def against_transformers(bench: Bench, model: DeepseekOcr) -> None:
    """Time transformers' DeepseekV2 of the same sizes with its loop over experts (its attention is the latent kind)."""
    from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DynamicCache

    ours = model.config.decoder
    rope = ours.head_dim // 2
    config = DeepseekV2Config(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        moe_intermediate_size=ours.moe_intermediate_size,
        num_hidden_layers=ours.num_hidden_layers,
        num_attention_heads=ours.num_attention_heads,
        num_key_value_heads=ours.num_attention_heads,
        n_routed_experts=ours.n_routed_experts,
        n_shared_experts=ours.n_shared_experts,
        num_experts_per_tok=ours.num_experts_per_tok,
        first_k_dense_replace=ours.first_k_dense_replace,
        q_lora_rank=None,
        kv_lora_rank=ours.hidden_size * 2 // 5 // 8 * 8,  # 512
        qk_rope_head_dim=rope,
        qk_nope_head_dim=rope,
        v_head_dim=ours.head_dim,
        max_position_embeddings=ours.max_position_embeddings,
        attn_implementation="sdpa",
        experts_implementation="eager",
    )
    with bench.section("transformers") as found, torch.no_grad():
        before = torch.get_default_dtype()
        torch.set_default_dtype(bench.dtype)
        with bench.device:
            theirs = DeepseekV2ForCausalLM(config).eval()
        torch.set_default_dtype(before)
        found["experts"] = str(getattr(config, "_experts_implementation", None))
        batch, length = (2, 60) if bench.tiny else (64, 285)
        ids = torch.randint(2, 100, (batch, length), device=bench.device)
        seconds = bench.seconds(lambda: theirs(ids, logits_to_keep=1), repeat=3, warm=1)
        found["prefill_64_pages_tokens_per_second"] = batch * length / seconds
        for rows in (1, batch):
            cache = DynamicCache(config=config)
            token = theirs(ids[:rows], past_key_values=cache, logits_to_keep=1).logits[:, -1:].argmax(-1)
            count = 2 if bench.tiny else 16
            for index in range(count + 3):
                if index == 3:
                    bench.wait()
                    start = time.perf_counter()
                token = theirs(token, past_key_values=cache).logits[:, -1:].argmax(-1)
            bench.wait()
            found[f"decode_{rows}_tokens_per_second"] = rows * count / (time.perf_counter() - start)


PARTS: dict[str, Callable[[Bench, DeepseekOcr], None]] = {
    "check": check,
    "single": single,
    "batched": batched,
    "prefill": prefilling,
    "whole": whole_pages,
    "encoder": encoder,
    "transformers": against_transformers,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run everything; return and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--seconds", type=float, default=240, help="begin no section after this time")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="run only these")
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    bench = Bench(tiny=chosen.tiny, seconds=chosen.seconds, out=chosen.out)
    ceilings(bench)
    model = bench.model()
    model.ready(model.decoder, model.encoder)
    for name in chosen.parts:
        bench.part(name, model)
    print(table(bench.results))
    return bench.results


if __name__ == "__main__":
    main(sys.argv[1:])
