"""Pages to vision tokens, each page once: what is known is taken from the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor, nn

from optical_memory.errors import ImageError
from optical_memory.model.decoder import Decoder
from optical_memory.model.deepencoder import DeepEncoder
from optical_memory.model.image import Mode, Pixels, open_image, prepare
from optical_memory.model.limits import device_memory, mode_of
from optical_memory.model.vision_cache import VisionCache, vision_key
from optical_memory.renderers.base import Page

_THREADS = min(16, os.cpu_count() or 1)
"""Images decoded and resized at once: Pillow and NumPy let go of the interpreter while they work."""
_IMAGES = 64
"""Images held as pixels at once: 800 MB at most in mode Base."""


class OcrModel(Protocol):
    """What generation needs of a model."""

    @property
    def encoder(self) -> DeepEncoder:
        """Pixels to vision tokens."""

    @property
    def decoder(self) -> Decoder:
        """Embeddings to logits."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and activations."""

    def ready(self, *halves: nn.Module) -> None:
        """Make sure that the parameters of these parts have values."""

    def sequences(self, images: Sequence[Pixels], mode: Sequence[Mode]) -> list[Tensor]:
        """Return each image's tokens (N, D) as the decoder sees them, all in their own modes."""


class PageEncoder:
    """Encodes pages with a model, and keeps what it encoded in a :class:`VisionCache`."""

    def __init__(self, model: OcrModel, cache: VisionCache) -> None:
        """Give the encoder's parameters values where they have none."""
        model.ready(model.encoder)
        self.model, self.cache = model, cache
        self._key = fingerprint(model)

    def key(self, page: Page) -> str:
        """Return the name (hex) of a page at its tier under these weights."""
        return vision_key(self._key, page.id, page.tier)

    def __call__(self, pages: Sequence[Page]) -> list[Tensor]:
        """Return each page's tokens (N, D), newlines and separator included; pages may be of different modes.

        Raises ImageError, also for a page whose image has not the size that the page says, and OutOfMemoryError.
        """
        keys = [self.key(page) for page in pages]
        known = {key: self._kept(key, page) for key, page in zip(keys, pages, strict=True)}
        new = {key: page for key, page in zip(keys, pages, strict=True) if known[key] is None}
        for start in range(0, len(new), _IMAGES):
            part = dict(islice(new.items(), start, start + _IMAGES))
            modes = [mode_of(page) for page in part.values()]
            drawn = [page.png for page in part.values()]  # here: a renderer may belong to this thread
            with device_memory(modes), torch.no_grad(), ThreadPoolExecutor(_THREADS) as threads:
                pixels = list(threads.map(lambda data, mode: prepare(open_image(data), mode), drawn, modes))
                encoded = self.model.sequences(pixels, modes)
            for (key, page), new_tokens in zip(part.items(), encoded, strict=True):
                if len(new_tokens) != mode_of(page).tokens(*page.size):
                    raise ImageError(f"page {page.id!r} says {page.size} px, but its image has another size")
                self.cache.put(key, new_tokens)
                if page.watch is not None:
                    page.watch(self.forget_page)
                known[key] = new_tokens
        return [tokens for key in keys if (tokens := known[key]) is not None]

    def forget_page(self, page_id: str) -> None:
        """Drop the tokens of a page at every tier."""
        self.cache.drop_page(self._key, page_id)

    def _kept(self, key: str, page: Page) -> Tensor | None:
        """Return tokens from the cache, but not those that cannot be this page's (a file of the folder may be any)."""
        tokens = self.cache.get(key, self.model.device)
        wanted = (mode_of(page).tokens(*page.size), self.model.encoder.newline.shape[0])
        return tokens if tokens is not None and tokens.shape == wanted else None


def fingerprint(model: OcrModel) -> str:
    """Return a hash (hex) of the vision side's last weights and type: models that differ differ here."""
    digest = hashlib.sha256()
    encoder = model.encoder
    for tensor in (encoder.projector.weight, encoder.projector.bias, encoder.newline, encoder.separator):
        sample = tensor.detach().flatten()[:: max(1, tensor.numel() // 65_536)]
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()
