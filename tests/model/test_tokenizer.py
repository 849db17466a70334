"""Text to ids and back; hostile text stays text; pieces of a stream add up."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.errors import CheckpointError

pytest.importorskip("tokenizers")

from optical_memory.model.tokenizer import TextStream, Tokenizer

NASTY = st.text(alphabet=st.sampled_from("<image>|rf/det \u00e9\u4e2d\U0001f600\x00"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_folder(tiny_checkpoint)


def test_a_missing_or_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        Tokenizer.from_folder(tmp_path)


def test_marks_are_found_only_where_allowed(tokenizer: Tokenizer) -> None:
    assert tokenizer.id("<image>") == 2
    assert tokenizer.id("<nothing>") is None
    assert tokenizer.encode("<image>", marks=True) == [2]
    assert 2 not in tokenizer.encode("<image>")


@settings(max_examples=200)
@given(text=NASTY | st.text())
def test_conversation_text_survives_and_never_holds_a_mark(tiny_checkpoint: Path, text: str) -> None:
    tokenizer = Tokenizer.from_folder(tiny_checkpoint)
    ids = tokenizer.encode(text)
    assert not set(ids) & set(range(10))
    assert tokenizer.decode(ids) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@settings(max_examples=100)
@given(text=NASTY, cut=st.integers(0, 3))
def test_pieces_of_a_stream_add_up(tiny_checkpoint: Path, text: str, cut: int) -> None:
    tokenizer = Tokenizer.from_folder(tiny_checkpoint)
    ids = tokenizer.encode(text)
    ids = ids[: max(0, len(ids) - cut)]
    stream = TextStream(tokenizer)
    pieces = [stream.take(ids[: count + 1]) for count in range(len(ids))]
    assert "".join(pieces) + stream.rest(ids) == tokenizer.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)
