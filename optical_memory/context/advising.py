"""What a session so far costs with and without its memory: the figures of a view, handed to the pure cost model."""

from __future__ import annotations

from optical_memory.budget import count_message
from optical_memory.budget.advice import Advice, Shape, advise, page_rate
from optical_memory.context.view import SessionView


def advise_on(view: SessionView) -> Advice:
    """Return the advice for the visible history of a view's session, for its profile and budget."""
    view.sync(read_only=True)
    turns = view.shelf.turns_at(view.path())
    counted = [(turn, count_message(turn, view.profile)) for turn in turns]
    system = sum(tokens for turn, tokens in counted if turn.is_instruction)
    spoken = [tokens for turn, tokens in counted if not turn.is_instruction]
    characters = sum(len(turn.text) for turn in turns if not turn.is_instruction)
    rate = page_rate(view.profile, sum(spoken) / max(characters, 1), [tier.name for tier in view.sealer.tiers])
    marks = view.sizes().watermarks()
    shape = Shape(budget=max(view.settings.budget - system, 1), high=marks.high, low=marks.low, rate=rate)
    return advise(spoken, system=system, profile=view.profile, shape=shape)
