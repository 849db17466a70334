"""A tokenizer with one token for each byte and the marks of a chat, for small language models."""

from __future__ import annotations

from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers")


def bytes_tokenizer() -> Any:
    """Return a tokenizer with one token for each byte, and the marks of a chat."""
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*marks, *sorted(alphabet)])}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens([tokenizers.AddedToken(mark, special=True, normalized=False) for mark in marks])
    return inner
