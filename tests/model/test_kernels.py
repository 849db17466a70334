"""Kernels against the plain decoder and plain attention: on a GPU, or in Triton's interpreter where it runs."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton is not installed")

PROGRAM = """
import sys, torch
from optical_memory.model import blocks
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.clip import Clip
from optical_memory.model.config import ClipConfig, DecoderConfig, SamConfig
from optical_memory.model.decoder import Decoder
from optical_memory.model.graphs import GraphStep, SingleStep
from optical_memory.model.kernels import relative
from optical_memory.model.sam import Attention, Sam, resampled_table
from optical_memory.model.step import EagerStep, prefill

torch.manual_seed(0)
device = sys.argv[1]

def error(found, wanted):
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())

for groups in (4, 2):
    config = DecoderConfig(vocab_size=70, hidden_size=64, intermediate_size=40, moe_intermediate_size=24,
                           num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=groups,
                           n_routed_experts=6, num_experts_per_tok=3)
    decoder = Decoder(config).eval().to(device)
    ids = torch.randint(70, (1, 150), device=device)
    caches = [KeyValueCache(config, capacity=256, device=device) for _ in range(2)]
    with torch.no_grad():
        for cache in caches:
            prefill(decoder, cache, decoder.embed(ids[:, :140]))
        plain, single = EagerStep(decoder, caches[0]), SingleStep(decoder, caches[1])
        for place in range(140, 150):
            position = torch.tensor([place], device=device)
            wanted, found = (step(ids[:, place], position, place + 1) for step in (plain, single))
            assert error(found, wanted) < 1e-4, (groups, place)
            assert int(single.best) == int(wanted.argmax())
        wanted = plain(single.best.clone(), position + 1, place + 2)
        assert error(single(None, None, place + 2), wanted) < 1e-4, groups
        assert error(caches[1].keys, caches[0].keys) < 1e-4
        rows = torch.tensor([3, 20, 30], device=device)
        tokens = ids[0, :3]
        logits = []
        for kind in (EagerStep, GraphStep):
            cache = KeyValueCache(config, capacity=64, batch=3, device=device)
            for row, length in enumerate(rows.tolist()):
                prefill(decoder, cache.rows(row, row + 1), decoder.embed(ids[:, :length]))
            step = kind(decoder, cache)
            logits.append(step(tokens, rows, 31).clone())
            best = logits[-1].argmax(-1)
            again = (best, rows + 1) if kind is EagerStep else (None, None)
            logits.append(step(*again, 32).clone())
        assert error(logits[2], logits[0]) < 1e-4
        assert error(logits[3], logits[1]) < 1e-4
for side, window in ((32, None), (20, None), (40, None), (20, 14), (10, 4)):
    layer = Attention(SamConfig(width=32, heads=2, window_size=window or 14), window=window, attention="eager")
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer, x, around = layer.to(device), torch.randn(2, side, side, 32, device=device), window or side
    tables = [resampled_table(each, around) for each in (layer.rel_pos_h, layer.rel_pos_w)]
    relative.EVERYWHERE[side] = relative.EVERYWHERE[64] if side == 32 else relative.DEFAULT
    out = relative.relative_attention(layer.qkv(x), layer.qkv.bias, tables, heads=2, side=around)
    assert error(layer.out(out), layer(x)) < 5e-3, (side, window)
blocks.sixteen_bits = lambda x: False  # attention as written: it is tested above
sizes = dict(layers=2, heads=2, mlp_width=72)
stacks = [Sam(SamConfig(width=24, window_size=3, global_attn_indexes=(1,), **sizes)).layers,
          Clip(ClipConfig(width=40, **sizes)).layers]
for layers, shape in zip(stacks, ((2, 5, 5, 24), (2, 10, 40))):
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layers, x = layers.to(device), torch.randn(shape, device=device)
    with torch.no_grad():
        wanted = layers(x)
        assert error(blocks.run_in_place(layers, x), wanted) < (1e-5 if device == "cpu" else 1e-3), shape
        if device == "cuda":  # the products of the matrix library with GELU, in 16 bits
            layers, x = layers.bfloat16(), torch.randn(shape, device=device, dtype=torch.bfloat16)
            wanted = layers(x)
            blocks.sixteen_bits = lambda x: x.dtype == torch.bfloat16
            assert error(layers(x.clone()), wanted) < 2e-2, shape
            blocks.sixteen_bits = lambda x: False
print("all kernels agree")
"""


@pytest.mark.timeout(900)
def test_kernels_agree_with_the_plain_decoder() -> None:
    import numpy as np
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and np.lib.NumpyVersion(np.__version__) >= "2.3.0":
        pytest.skip("Triton's interpreter needs NumPy before 2.3")
    environment = os.environ | ({} if device == "cuda" else {"TRITON_INTERPRET": "1"})
    command = [sys.executable, "-c", PROGRAM, device]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=880, check=False)
    assert "all kernels agree" in done.stdout, done.stderr[-3000:]
