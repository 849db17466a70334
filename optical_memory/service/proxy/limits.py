"""What a request that was made must keep to before it may leave: pairs of calls, images, bytes."""

from __future__ import annotations

from collections.abc import Iterable

from optical_memory.budget import Profile
from optical_memory.context.base import Context
from optical_memory.turns import Turn


def wrong_with(context: Context, profile: Profile, size: int, most_bytes: int) -> str:
    """Return why a request of ``size`` bytes must not leave, or "".

    The user's own images count with the pages: with many images in a request some providers take only smaller ones.
    """
    if not _paired(piece.turn for piece in context.latest if piece.turn is not None):
        return "pairing"
    own = [part for turn in context.recent for part in turn.parts if part.kind == "image"]
    images = len(own) + len(context.pages)
    side = profile.max_side(images)
    if images > profile.max_images or any(max(part.width or 0, part.height or 0) > side for part in own):
        return "images"
    return "bytes" if size > min(profile.max_request_bytes, most_bytes) else ""


def _paired(turns: Iterable[Turn]) -> bool:
    """Whether each result has its call before it."""
    called: set[str] = set()
    for turn in turns:
        if turn.role == "tool" and turn.tool_call_id not in called:
            return False
        called.update(call.id for call in turn.tool_calls)
    return True
