"""What text and images cost a target model: profiles, kept as data with source and date, and token counting."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from optical_memory.errors import NotFoundError
from optical_memory.image_cost import (
    AnthropicPatches,
    DeepSeekViews,
    Formula,
    GeminiFlat,
    GeminiTiles,
    OpenAIPatches,
    OpenAITiles,
    PatchRows,
    QwenGrid,
    image_tokens,
)
from optical_memory.renderers.base import Grid, Tier
from optical_memory.turns import Part, Turn

__all__ = ["Price", "Profile", "count_message", "count_tokens", "get_profile", "image_tokens", "profiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million input tokens: fresh, read from the prompt cache, written to it."""

    fresh: float
    cached: float
    written: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A target model: its page grid, its ladder of tiers, its accounting and its limits.

    ``tiers`` are image tiers, sharpest first. ``gist`` is the tier of excerpt pages and ``gist_grid`` their grid
    (fewer, larger characters, so that what is kept stays legible). ``formula`` prices images of any size; ``detail``
    maps a tier to the provider's setting that must be sent with its image. ``legibility`` maps a tier to the share
    of characters that the model reads right on a full page, where measured or published.

    Text is counted in ``encoding``. Where the model has another tokenizer the count is an upper estimate: times
    ``text_factor``, with ``single_digits`` each digit as a token of its own, and with ``scripts`` a supplement for
    scripts that other tokenizers split more finely. ``message_tokens`` is what each message and each call adds.

    ``sides`` maps a number of images in a request to the longest side, in px, allowed from that number on.
    ``source`` and ``date`` say where the figures come from.
    """

    name: str
    grid: Grid
    tiers: tuple[Tier, ...]
    gist: Tier
    gist_grid: Grid
    formula: Formula
    detail: Mapping[str, str] = field(default_factory=dict)
    legibility: Mapping[str, float] = field(default_factory=dict)
    legible_from: float = 0.85
    encoding: str = "o200k_base"
    text_factor: float = 1.0
    single_digits: bool = False
    scripts: bool = False
    message_tokens: int = 4
    max_images: int
    sides: Mapping[int, int]
    max_request_bytes: int
    context_tokens: int
    price: Price
    source: str
    date: str

    def image_tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return what an image of this size, in px, costs: a user's own, of any size. Raises InputError."""
        return image_tokens(self.formula, width, height, detail)

    def max_side(self, images: int = 1) -> int:
        """Return the longest side, in px, that an image may have in a request with ``images`` of them."""
        return min(side for count, side in self.sides.items() if count <= max(images, 1))

    def tier(self, name: str) -> Tier:
        """Return the tier of this name, the gist's included. Raises NotFoundError with the names there are."""
        ladder = {tier.name: tier for tier in (*self.tiers, self.gist)}
        if name not in ladder:
            raise NotFoundError(f"profile {self.name!r} has no tier {name!r}; it has {', '.join(ladder)}")
        return ladder[name]


def profiles() -> tuple[str, ...]:
    """Return the names of all profiles, sorted; aliases are left out."""
    return tuple(sorted(_table()))


def get_profile(name: str | Profile) -> Profile:
    """Return the profile of this name or alias; a Profile is returned as it is.

    Raises NotFoundError, with the names there are, for any other.
    """
    if isinstance(name, Profile):
        return name
    for key, data in _table().items():
        if name == key or name in data["aliases"]:
            return _load(key)
    raise NotFoundError(f"no profile {name!r}; there are {', '.join(profiles())}")


FORMULAS: Mapping[str, Callable[..., Formula]] = {
    "anthropic": AnthropicPatches,
    "deepseek": DeepSeekViews,
    "gemini-flat": GeminiFlat,
    "gemini-tiles": GeminiTiles,
    "openai-patches": OpenAIPatches,
    "openai-tiles": OpenAITiles,
    "qwen": QwenGrid,
    "rows": PatchRows,
}
"""The rules that ``formula.kind`` names in profiles.toml."""


@cache
def _table() -> dict[str, dict[str, Any]]:
    import tomllib
    from importlib import resources  # slow to import: not before a profile is asked for

    table = tomllib.loads(resources.files("optical_memory").joinpath("profiles.toml").read_text("utf-8"))
    for name, data in table.items():
        while base := data.pop("like", None):
            data = table[base] | data
        table[name] = data
    return table


@cache
def _load(name: str) -> Profile:
    data = {key: value for key, value in _table()[name].items() if key != "aliases"}
    rule = dict(data["formula"])
    formula = FORMULAS[rule.pop("kind")](**rule)
    rows = [*data["tiers"], {"name": "gist"} | data["gist"]]
    tiers = tuple(_tier(row, formula) for row in rows)
    return Profile(
        name=name,
        **data
        | {
            "formula": formula,
            "tiers": tiers[:-1],
            "gist": tiers[-1],
            "detail": {row["name"]: row["detail"] for row in rows if "detail" in row},
            "legibility": {row["name"]: row["legibility"] for row in rows if "legibility" in row},
            "grid": Grid(**data["grid"]),
            "gist_grid": Grid(**data["gist_grid"]),
            "price": Price(**data["price"]),
            "sides": dict(data["sides"]),
        },
    )


def _tier(row: Mapping[str, Any], formula: Formula) -> Tier:
    width, height = row["size"]
    tokens = image_tokens(formula, width, height, row.get("detail"))
    return Tier(name=row["name"], width=width, height=height, tokens=tokens)


PIECE = 32_768
"""Characters encoded at a time; fewer tokens than the encoder's limit whatever the text."""
SLACK = 8
"""Tokens added for a cut inside a word: more than any cut was seen to save."""
_LONE = re.compile("[\ud800-\udfff]+")
_GAP = re.compile(r"(?<=[A-Za-z0-9])(?= [A-Za-z])")
_DIGITS = re.compile(r"\d+")
_SCRIPTS = ((re.compile(r"[\u0900-\u1fff]"), 0.75), (re.compile(r"[\u0370-\u08ff\uac00-\ud7a3]"), 0.15))


def count_tokens(text: str, profile: str | Profile) -> int:
    """Return what ``text`` costs the model, in tokens: exact for OpenAI's encodings, else an upper estimate.

    Offline, and linear in the text's length. Special tokens in the text are counted as the text they are; lone
    surrogates as U+FFFD. Raises NotFoundError for an unknown profile.
    """
    profile = get_profile(profile)
    encode = _encoder(profile.encoding)
    text = _LONE.sub(lambda run: "\ufffd" * len(run[0]), text)
    tokens: float = 0
    for piece, slack in _pieces(text):
        tokens += len(encode(piece)) + slack
    tokens *= profile.text_factor
    if profile.single_digits:
        # The encoding has a token for up to three digits.
        tokens += sum(len(run) - -(-len(run) // 3) for run in _DIGITS.findall(text))
    if profile.scripts and not text.isascii():
        tokens += sum(weight * len(pattern.findall(text)) for pattern, weight in _SCRIPTS)
    return math.ceil(tokens)


def count_message(turn: Turn, profile: str | Profile) -> int:
    """Return what a turn costs as a message: its text, name, calls, images, and what the format adds.

    Images are priced by the profile's formula; one of unknown size as the dearest there is. Other parts (sound,
    files) count as the text of what is sent.
    """
    profile = get_profile(profile)
    tokens = profile.message_tokens + sum(_part_tokens(part, profile) for part in turn.parts)
    texts = [turn.name, turn.tool_call_id]
    for call in turn.tool_calls:
        tokens += profile.message_tokens
        texts += [call.id, call.name, call.arguments]
    if not any(part.text for part in turn.parts):
        texts.append(turn.text)
    return tokens + sum(count_tokens(text, profile) for text in texts if text)


def _part_tokens(part: Part, profile: Profile) -> int:
    text = count_tokens(part.text, profile) if part.text else 0
    if part.kind == "image":
        if part.width is None or part.height is None:
            return text + profile.formula.most
        return text + profile.image_tokens(max(part.width, 1), max(part.height, 1))
    if part.kind == "other":
        sent = part.url + (json.dumps(part.raw, ensure_ascii=False, default=str) if part.raw else "")
        return text + (count_tokens(sent, profile) if sent else 0)
    return text


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Cut a long text where the encoding cuts anyway, before a space between words; else anywhere, with slack."""
    start = 0
    while len(text) - start > PIECE:
        gaps = list(_GAP.finditer(text, start + PIECE - 512, start + PIECE))
        end = gaps[-1].start() if gaps else start + PIECE
        yield text[start:end], 0 if gaps else SLACK
        start = end
    yield text[start:], 0


@cache
def _encoder(name: str) -> Callable[[str], list[int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reads its ranks by a deprecated call
        from bpe_openai import get_encoding  # type: ignore[import-untyped]

        encode: Callable[[str], list[int]] = get_encoding(name).encode_ordinary
    return encode
