"""Planning in another process: the same epoch and the same pages, while this process goes on with what is quick.

Planning is pure, so only what it plans from goes there, and only what it made comes back. What it wants to know of the
session meanwhile is asked here, where the store and its keys are. It is done so where the renderer has a method
``elsewhere`` (:class:`optical_memory.renderers.processes.ProcessRenderer`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from optical_memory.budget import Profile
from optical_memory.context.base import Piece, Settings
from optical_memory.context.epoch import Entry, Sealed
from optical_memory.context.lineage import Ranges
from optical_memory.context.planning import Draft, Planner, Premises
from optical_memory.context.sealing import Sealer
from optical_memory.policies.base import Policy
from optical_memory.renderers.base import Renderer
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn

Elsewhere = Callable[..., Any]
"""``ProcessRenderer.elsewhere``."""
Ask = Callable[[Any], Any]


class Known(Protocol):
    """What is known of a session here: its turns, and its pages (a ``Shelf``)."""

    def runs(self, entry: Entry) -> list[Run]:
        """Return what a gist may say of an entry."""

    def sealed(self, entry: Entry) -> Sealed:
        """Return an entry with its layout."""

    def turns_at(self, places: Ranges) -> list[Turn]:
        """Return the exact turns at these places."""


def draft(
    settings: Settings,
    sealer: Sealer,
    known: Known,
    premises: Premises,
    accounts: Callable[[Entry], Sequence[Run]] | None = None,
) -> Draft:
    """Return what ``Planner.draft`` returns, planned here where no process is there for it, or a model tells gists.

    Raises what it raises, RenderError where no process can do it.
    """
    elsewhere = getattr(settings.renderer, "elsewhere", None)
    if elsewhere is None or accounts is not None:
        return Planner(settings, sealer, known.runs, known.turns_at, accounts).draft(premises)
    for entry in premises.epoch.entries:
        known.sealed(entry)  # by a process too, where the session was just opened
    return _drafted(elsewhere, settings, premises, known)


def _drafted(elsewhere: Elsewhere, settings: Settings, premises: Premises, known: Known) -> Draft:
    def answer(question: tuple[str, Any]) -> Any:
        kind, about = question
        return known.runs(about) if kind == "runs" else known.turns_at(about)

    given = (settings.profile, settings.budget, settings.policy, _without_pages(premises))
    draft: Draft = elsewhere(_draft, *given, answer=answer)
    turns = tuple(turn for group in premises.groups[: draft.count] for turn in group.turns)
    there = {turn.id: turn for turn in (*premises.instructions, *turns)}
    return replace(draft, turns=turns, instructions=tuple(there[turn.id] for turn in draft.instructions))


def sealed(
    elsewhere: Elsewhere, profile: Profile, turns: Sequence[Turn], skip: int, beside: Sequence[Turn]
) -> list[Sealed]:
    """Return what ``Sealer.seal`` returns for a segment that was sealed before."""
    made: list[Sealed] = elsewhere(_seal, profile, turns, skip, beside, answer=_nothing)
    return made


def _without_pages(premises: Premises) -> Premises:
    """Return the premises with what groups cost in place of how they are shown, which planning does not look at."""
    groups = tuple(
        replace(group, pieces=(Piece(kind="turn", message="", text="", tokens=group.tokens),))
        for group in premises.groups
    )
    return replace(premises, groups=groups, sizes=replace(premises.sizes, groups=groups))


def _draft(renderer: Renderer, ask: Ask, profile: Profile, budget: int, policy: Policy, premises: Premises) -> Draft:
    """Job: plan an epoch. The turns need not come back, as they are there already, but for which of them instruct."""
    settings = Settings(profile=profile, budget=budget, policy=policy, renderer=renderer)
    planner = Planner(
        settings,
        Sealer(profile, renderer),
        lambda entry: ask(("runs", entry)),
        lambda places: ask(("turns", places)),
    )
    return replace(planner.draft(premises), turns=())


def _seal(
    renderer: Renderer, ask: Ask, profile: Profile, turns: Sequence[Turn], skip: int, beside: Sequence[Turn]
) -> list[Sealed]:
    """Job: seal a segment."""
    return Sealer(profile, renderer).seal(turns, skip=skip, beside=beside)


def _nothing(question: Any) -> Any:
    raise AssertionError(f"sealing asks nothing, but was asked {question!r}")
