"""What text and messages cost a target model, in tokens. Offline: the ranks of the encodings come in wheels."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache

from optical_memory.budget.catalog import get_profile
from optical_memory.budget.detail import known_detail
from optical_memory.budget.profile import Profile
from optical_memory.turns import Part, Turn

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

    Images are priced by the profile's formula, as they are sent: with the setting that the part names, else by the
    provider's default (:func:`~optical_memory.budget.detail_for` finds a cheaper one). One of unknown size counts as
    the dearest there is. Other parts (sound, files) count as the text of what is sent.
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
        detail = known_detail(profile, (part.raw or {}).get("detail"))
        if part.width is None or part.height is None:
            return text + profile.formula.most_for(detail)
        return text + profile.image_tokens(max(part.width, 1), max(part.height, 1), detail)
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
