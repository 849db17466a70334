"""Parts of ``benchmarks.gpu`` on the whole way from PNG to text, and on transformers' decoder of the same sizes."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.bench import Bench
from optical_memory.model.generate import Generator
from optical_memory.model.image import MODES
from optical_memory.model.ocr import DeepseekOcr
from optical_memory.model.sampling import Guard
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.renderers.base import Grid, Layout, Page


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
    for name, most in [("tiny", 2)] if bench.tiny else [("base", 256), ("tiny", 512)]:
        for batch in range(most, 0, -64):
            with bench.section(f"whole {name} {batch}") as found:
                read_pages(bench, model, name, batch, found)
            model.__dict__.pop("generator", None)  # with what it keeps on the device
            if not bench.ran_out(f"whole {name} {batch}"):
                break


def read_pages(bench: Bench, model: DeepseekOcr, name: str, batch: int, found: dict[str, Any]) -> None:
    """Read pages of one mode, all at once."""
    tokens = 10 if bench.tiny else 1000
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
