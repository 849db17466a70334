"""Text to token ids and back, from the checkpoint folder's ``tokenizer.json``.

Text that comes from a conversation is never taken for control: a turn that spells ``<image>`` or
``<|ref|>`` becomes ordinary tokens. Only prompts may use the model's own marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from optical_memory.errors import CheckpointError, MissingExtraError

IMAGE_TOKEN = "<image>"
"""Stands for vision tokens in the published prompts; its id is 128815."""
CELL_TOKENS = ("<td>", "</td>")
"""Free of the no-repeat guard in the published configuration (ids 128821 and 128822): tables repeat them."""


class Tokenizer:
    """Wraps a tokenizer of the ``tokenizers`` library."""

    def __init__(self, inner: Any) -> None:
        """Take a ``tokenizers.Tokenizer``."""
        self.inner = inner
        added = [str(token.content) for token in inner.get_added_tokens_decoder().values()]
        self._marks = re.compile("|".join(re.escape(mark) for mark in sorted(added, key=len, reverse=True)) or r"(?!)")

    @classmethod
    def from_folder(cls, folder: Path | str) -> Tokenizer:
        """Read ``tokenizer.json``. Raises CheckpointError where it is missing or damaged."""
        try:
            from tokenizers import Tokenizer as Inner
        except ImportError as error:
            raise MissingExtraError("tokenizers", "model") from error
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"no tokenizer.json in {str(folder)!r}; it comes with the checkpoint")
        try:
            return cls(Inner.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise CheckpointError(f"{str(path)!r} is not a tokenizer: {error}") from error

    def id(self, token: str) -> int | None:
        """Return the id of one token, None where the vocabulary has none."""
        found = self.inner.token_to_id(token)
        return None if found is None else int(found)

    def encode(self, text: str, *, marks: bool = False) -> list[int]:
        """Return the ids of ``text``; ``marks`` lets it use the model's own marks (for prompts).

        Lone surrogates, which no tokenizer takes, become U+FFFD.
        """
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if marks:
            return list(self.inner.encode(text, add_special_tokens=False).ids)
        pieces = self._without_marks(text)
        return [token for piece in pieces for token in self.inner.encode(piece, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``, the model's own marks included."""
        return str(self.inner.decode(list(ids), skip_special_tokens=False))

    def _without_marks(self, text: str) -> Iterator[str]:
        """Cut ``text`` behind the first character of every mark, so that no mark is left whole."""
        start = 0
        while match := self._marks.search(text, start):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]


class TextStream:
    """Turns a growing list of ids into text, piece by piece; bytes of an unfinished character are held back."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Start an empty stream."""
        self._tokenizer = tokenizer
        self._from = 0  # decoding starts here: one piece back, for what decoding does between tokens
        self._given = 0  # the text of the ids before this is out

    def take(self, ids: Sequence[int]) -> str:
        """Return the text that became complete since the last call; ``ids`` are all ids so far."""
        text = self._new(ids)
        if not text or text.endswith("\ufffd"):
            return ""
        self._from, self._given = self._given, len(ids)
        return text

    def rest(self, ids: Sequence[int]) -> str:
        """Return what is left at the end, an unfinished character as U+FFFD."""
        text = self._new(ids)
        self._from = self._given = len(ids)
        return text

    def _new(self, ids: Sequence[int]) -> str:
        before = self._tokenizer.decode(ids[self._from : self._given])
        return self._tokenizer.decode(ids[self._from :])[len(before) :]
