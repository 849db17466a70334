"""A whole request: what a provider's client takes, ready to send."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optical_memory.formats import from_turns, get_format
from optical_memory.formats.base import Message
from optical_memory.formats.checked import sendable
from optical_memory.formats.tools import written
from optical_memory.turns import Turn
from optical_memory.wording import OPENING


def build_request(turns: Iterable[Turn], format: str, *, tools: Iterable[Any] = ()) -> dict[str, Any]:
    """Return the arguments of a provider's client but for the model's name: ``client.create(model=…, **request)``.

    - "openai", "huggingface": ``messages``, ``tools``.
    - "responses": ``instructions`` (the system prompts at the beginning, as text), ``input``, ``tools``.
    - "anthropic": ``system``, ``messages``, ``tools``; no message has the role "system".
    - "gemini": ``contents``, ``config`` with ``system_instruction`` and ``tools``, for ``generate_content``.

    Calls and results are paired as the provider demands, fields and empty contents that it refuses are left out, and
    the first message is a user's: OPENING where the turns begin otherwise. A key without content is left out.

    Args:
        turns: what the model shall see, in order.
        format: name of a format.
        tools: see :func:`optical_memory.formats.tools.written`.

    Errors: NotFoundError for an unknown format, InputError for something that is not a tool.

    """
    target = get_format(format)
    turns = list(turns)
    if target.system_apart:  # instructions leave the list: none may stand between turns that belong together
        turns.sort(key=lambda turn: not turn.is_instruction)
    sent = (target.as_sent(message) for message in from_turns(turns, format))
    system, messages = target.split([message for message in sent if message is not None])
    first = next((place for place, one in enumerate(messages) if not _instructs(one)), len(messages))
    if first == len(messages) or not target.is_users(messages[first]):
        messages.insert(first, target.user_message([target.text_part(OPENING)]))
    return target.request(system, messages, sendable(written(tools, target)))


def overhead(format: str, tools: Iterable[Any] = ()) -> str:
    """Return as text what a request says beside the turns: tool schemas, and the opening it may need."""
    schemas = written(tools, get_format(format))
    return OPENING + (json.dumps(schemas, ensure_ascii=False) if schemas else "")


def _instructs(message: Message) -> bool:
    return message.get("role") in ("system", "developer")
