"""A tiny random checkpoint in the published layout, and pages to show it: fixtures for all tests."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optical_memory.renderers.base import Grid, Layout, Page

MARKS = ["<begin>", "<end>", "<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<td>", "</td>"]
SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "max_position_embeddings": 700,
    "vision_config": {
        "width": {
            "sam_vit_b": {
                "width": 16,
                "layers": 2,
                "heads": 2,
                "global_attn_indexes": [1],
                "neck_channels": 8,
                "downsample_channels": [8, 16],
            },
            "clip-l-14-224": {"width": 16, "layers": 2, "heads": 2},
        }
    },
}


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate([*MARKS, *letters])}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(MARKS)
    inner.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with config.json, safetensors under the published names, and tokenizer.json (one token a byte)."""
    pytest.importorskip("torch")
    from optical_memory.model import build

    folder = tmp_path_factory.mktemp("tiny-deepseek-ocr")
    build("deepseek-ocr", **SIZES).save(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def make_page() -> Callable[..., Page]:
    """Return a function that makes a page of noise from a seed, at a tier."""

    def make(seed: int, tier: str = "tiny", side: int = 512, facts: str = "") -> Page:
        noise = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8), np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).resize((side, side)).save(out, "PNG")
        grid = Grid(width=side, height=side, cell_width=8, cell_height=16)
        layout = Layout(id=str(seed), grid=grid, cells=np.zeros((1, 1), np.uint32), text=f"page {seed}")
        tokens = (side // 64) * (side // 64 + 1) + 1
        return Page(
            id=f"page-{seed}",
            layout=layout,
            tier=tier,
            size=(side, side),
            tokens=tokens,
            facts=facts,
            source=lambda page: out.getvalue(),
        )

    return make
