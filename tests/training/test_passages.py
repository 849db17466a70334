"""Passages that a language model writes: the same in a batch as alone, kept with the data, read again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("faker")

from bytes_tokenizer import bytes_tokenizer  # noqa: E402
from small_llama import llama_sizes  # noqa: E402

from optical_memory.model.llama import Llama, config_of  # noqa: E402
from optical_memory.model.tokenizer import Tokenizer  # noqa: E402
from optical_memory.training.language import passages  # noqa: E402
from optical_memory.training.language.prepare import pools  # noqa: E402
from optical_memory.training.language.values import Values  # noqa: E402


@pytest.fixture(scope="module")
def writer() -> passages.Writer:
    torch.manual_seed(0)
    model = Llama(config_of(llama_sizes(num_hidden_layers=2))).eval()
    return passages.Writer(model, Tokenizer(bytes_tokenizer()), rows=3, seed=1)


def test_texts_are_the_same_together_and_alone(writer: passages.Writer) -> None:
    tails = ["Tell me.", "Who was it that called?", "Tell us.", "A", "Where?"]
    together = writer.write("Say: ", tails, 12, 0.0)
    assert together == [writer.write("Say: ", [tail], 12, 0.0)[0] for tail in tails]
    assert together == [writer.write("", [f"Say: {tail}"], 12, 0.0)[0] for tail in tails]


def test_passages_are_cleaned_kept_and_read(writer: passages.Writer, tmp_path: Path) -> None:
    said = "Hello! I have **7** boats.\n\nMy `dog` sleeps [a name]. I have 7 boats. And then we"
    assert passages.cleaned(said) == "Hello! I have 7 boats. My dog sleeps ."
    assert passages.read_passages(tmp_path) == []
    passages.keep(["One. Two.", "Three\nfour."], tmp_path)
    assert passages.read_passages(tmp_path) == ["One. Two.", "Three\nfour."]
    passages.keep([], tmp_path)
    assert passages.read_passages(tmp_path) == []
    (tmp_path / "pools.json").write_text(json.dumps(pools(3)))
    values = Values(random.Random(1), tmp_path / "pools.json")
    assert all(len(text) > 300 for text in passages.told(writer, values, 2))
