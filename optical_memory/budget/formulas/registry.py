"""The rules for the price of images by the names that the data has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optical_memory.budget.formulas.anthropic import AnthropicPatches
from optical_memory.budget.formulas.base import Formula
from optical_memory.budget.formulas.deepseek import DeepSeekGrid, DeepSeekQueries, DeepSeekViews, PatchRows
from optical_memory.budget.formulas.google import GeminiFlat, GeminiTiles
from optical_memory.budget.formulas.grids import LlamaTiles, Megapixels, MistralRows, QwenGrid
from optical_memory.budget.formulas.openai import OpenAIPatches, OpenAITiles
from optical_memory.errors import InputError

FORMULAS: Mapping[str, Callable[..., Formula]] = {
    "anthropic": AnthropicPatches,
    "deepseek": DeepSeekViews,
    "deepseek-2": DeepSeekQueries,
    "deepseek-grid": DeepSeekGrid,
    "gemini-flat": GeminiFlat,
    "gemini-tiles": GeminiTiles,
    "llama-tiles": LlamaTiles,
    "megapixels": Megapixels,
    "mistral-rows": MistralRows,
    "openai-patches": OpenAIPatches,
    "openai-tiles": OpenAITiles,
    "qwen": QwenGrid,
    "rows": PatchRows,
}
"""The rules that ``formula.kind`` names in the data."""


def make_formula(rule: Mapping[str, Any]) -> Formula:
    """Return the rule that the data describes: ``kind`` and its figures. Errors: InputError."""
    figures = {key: value for key, value in rule.items() if key != "kind"}
    kind = str(rule.get("kind"))
    if kind not in FORMULAS:
        raise InputError(f"unknown formula kind {kind!r}; there are {', '.join(FORMULAS)}")
    try:
        return FORMULAS[kind](**figures)
    except TypeError as error:
        raise InputError(f"formula {kind!r} does not take these figures: {error}") from None
