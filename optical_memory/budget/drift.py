"""How far our count of a request is from the provider's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optical_memory.errors import InputError

_WHOLE = ("prompt_tokens", "prompt_token_count", "promptTokenCount", "input_tokens")
_BESIDE = ("cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Tokens of one request: as we counted it, an upper estimate, and as the provider did."""

    ours: int
    theirs: int

    @property
    def ratio(self) -> float:
        """Ours over theirs: at least 1 where the estimate holds."""
        return self.ours / max(self.theirs, 1)


def input_tokens(usage: Any) -> int:
    """Return the input tokens that a provider's ``usage`` counts, those read from and written to its cache included.

    OpenAI's and Gemini's counts hold cached tokens, Anthropic's ``input_tokens`` does not. Raises InputError where
    there is no such count.
    """
    found = next((value for name in _WHOLE if (value := _value(usage, name)) is not None), None)
    if found is None:
        raise InputError(f"no count of input tokens in {usage!r}; hand over the answer's usage")
    return found + sum(_value(usage, name) or 0 for name in _BESIDE)


def _value(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
