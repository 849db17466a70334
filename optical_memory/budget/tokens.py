"""What text and messages cost a target model, in tokens. Offline: nothing is downloaded."""

from __future__ import annotations

import json
import math
import re

from optical_memory.budget.catalog import get_profile
from optical_memory.budget.detail import known_detail
from optical_memory.budget.estimate import supplement
from optical_memory.budget.profile import Profile
from optical_memory.turns import Part, Turn

_LONE = re.compile("[\ud800-\udfff]+")


def count_tokens(text: str, profile: str | Profile) -> int:
    """Return what ``text`` costs the model, in tokens.

    Exact for OpenAI's encodings, and where the model's own tokenizer is installed (``profile.tokenizer``; texts of
    more than 65,536 characters are estimated for Claude). Else an estimate from above, whose margin docs/profiles.md
    states.

    Offline, and linear in the text's length. Special tokens in the text are counted as the text they are; lone
    surrogates as U+FFFD. Raises NotFoundError for an unknown profile.
    """
    from optical_memory.budget.encodings import LONGEST_CLAUDE_TEXT, encoding, own_tokenizer  # not before it is needed

    profile = get_profile(profile)
    text = _LONE.sub(lambda run: "\ufffd" * len(run[0]), text)
    if profile.tokenizer and not (profile.tokenizer.startswith("claude") and len(text) > LONGEST_CLAUDE_TEXT):
        own = own_tokenizer(profile.tokenizer)
        if own is not None:
            return own(text)
    tokens = encoding(profile.encoding)(text) * profile.text_factor
    return math.ceil(tokens + supplement(text, profile.text_weights))


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
        texts += [call.id, call.name, call.name, call.arguments]  # its result repeats the name in some formats
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
