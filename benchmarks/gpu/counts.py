"""What the work of ``benchmarks.gpu`` costs at least: operations of the encoder, bytes of a decoding step."""

from __future__ import annotations

from optical_memory.model.config import OcrConfig
from optical_memory.model.image import Mode
from optical_memory.model.ocr import DeepseekOcr


def encoder_flops(config: OcrConfig, side: int) -> float:
    """Count the operations of encoding one square of ``side`` px: products of matrices alone, two a multiplication."""
    sam, clip = config.encoder.sam, config.encoder.clip
    grid = side // sam.patch_size
    places, total = grid**2, 0.0
    total += places * 3 * sam.patch_size**2 * sam.width
    for layer in range(sam.layers):
        total += places * (4 * sam.width**2 + 2 * sam.width * sam.mlp_width)
        everywhere = layer in sam.global_attn_indexes
        seen = grid if everywhere else sam.window_size
        windows = 1 if everywhere else (-(-grid // sam.window_size)) ** 2
        total += windows * 2 * seen**4 * sam.width + windows * 2 * seen**3 * sam.width  # scores, mixing; bias
    total += places * (sam.width * sam.neck_channels + 9 * sam.neck_channels**2)
    before = sam.neck_channels
    for number, channels in enumerate(sam.downsample_channels, start=1):
        total += (grid // 2**number) ** 2 * 9 * before * channels
        before = channels
    tokens = (side // sam.stride) ** 2 + 1
    total += clip.layers * tokens * (4 * clip.width**2 + 2 * clip.width * clip.mlp_width + 2 * tokens * clip.width)
    total += (tokens - 1) * (clip.width + before) * config.encoder.hidden_size
    return 2 * total


def squares(mode: Mode) -> list[tuple[int, int]]:
    """Return (side in px, how many) of a full page's squares: Gundam with the 2 x 2 tiles of a 1280 px page."""
    return [(mode.size, 1)] if mode.tile is None else [(mode.tile, 4), (mode.size, 1)]


def active_bytes(model: DeepseekOcr, context: int) -> int:
    """Bytes that one token of one sequence must read: weights it takes, its cached keys and values."""
    config, size = model.config.decoder, model.dtype.itemsize
    width, heads, groups = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = width * (2 * heads + 2 * groups) * config.head_dim
    taken = config.num_experts_per_tok + config.n_shared_experts
    dense = config.first_k_dense_replace * 3 * width * config.intermediate_size
    routed = 3 * taken * width * config.moe_intermediate_size + width * config.n_routed_experts
    layers = config.num_hidden_layers
    weights = layers * attention + dense + (layers - config.first_k_dense_replace) * routed + width * config.vocab_size
    return size * (weights + layers * 2 * groups * config.head_dim * context)


def batch_bytes(model: DeepseekOcr, batch: int, context: int) -> int:
    """Bytes that one step of a batch must read: every expert's weights once, all rows' keys and values."""
    config, size = model.config.decoder, model.dtype.itemsize
    cache = batch * config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * context
    weights = sum(each.numel() for each in model.decoder.parameters()) - model.decoder.embed.weight.numel()
    return size * (weights + cache)
