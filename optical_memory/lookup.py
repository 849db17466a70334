"""Looking at a memory: recall, figures, pages at every tier. Reads; changes nothing that the model sees."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from optical_memory.budget import Profile
from optical_memory.context.base import Context
from optical_memory.context.events import Events, Recalled
from optical_memory.context.lineage import within
from optical_memory.context.view import SessionView
from optical_memory.errors import InputError, NotFoundError
from optical_memory.renderers.base import Page, Renderer
from optical_memory.stores.base import Store
from optical_memory.turns import Turn

if TYPE_CHECKING:
    from optical_memory.budget.advice import Advice
    from optical_memory.readers.base import Reader
    from optical_memory.readers.fidelity import Score
    from optical_memory.recall import RecallTool


class Lookup:
    """The half of :class:`optical_memory.OpticalMemory` that looks: it adds, seals and forgets nothing."""

    session: str
    budget: int
    store: Store
    profile: Profile
    renderer: Renderer
    _view: SessionView
    _events: Events
    _lock: threading.RLock

    def recall(
        self,
        question: str | None = None,
        *,
        k: int = 5,
        turn_id: str | None = None,
        page: str | Page | None = None,
        line: int | None = None,
        superseded: bool = False,
    ) -> list[Turn]:
        """Return exact turns: by question (best first), by id or place ("#12"), or by page and line (from 1).

        ``line`` None: the whole page. ``superseded``: also turns that left the history by :meth:`follow`; one that is
        named by its id or place is always returned. Errors: NotFoundError for an unknown turn, page or line;
        InputError when nothing, or too much, is asked.
        """
        if sum(value is not None for value in (question, turn_id, page)) != 1:
            raise InputError("give a question, or turn_id=, or page= (with or without line=)")
        with self._lock:
            self._view.refresh()
            if question is not None:
                found = self._search(question, max(1, k), superseded)
            elif turn_id is not None:
                from optical_memory.recall import find_turn

                found = find_turn(self.store, self.session, turn_id)
            else:
                self._view.sync(read_only=True)
                found = self._view.turns_on(page.id if isinstance(page, Page) else str(page), line)
                found = found if superseded else self._visible(found)
            found = [turn for turn in found if turn.seq not in self._view.state.doomed]
        if turn_id is not None and not found:
            raise NotFoundError(f"turn {turn_id!r} of session {self.session!r} was forgotten")
        self._events.tell(Recalled(session=self.session, turn_ids=tuple(turn.id for turn in found)))
        return found

    def _search(self, question: str, k: int, superseded: bool) -> list[Turn]:
        """Search until ``k`` turns of the visible path are found, or all there are."""
        asked = k
        while True:
            found = self.store.search(self.session, question, asked)
            shown = found if superseded else self._visible(found)
            if len(shown) >= k or len(found) < asked:
                return shown[:k]
            asked *= 4

    def _visible(self, turns: Iterable[Turn]) -> list[Turn]:
        """Return those of the turns that are on the visible path."""
        path = self._view.path()
        return [turn for turn in turns if within(path, turn.seq)]

    def recall_tool(self) -> RecallTool:
        """Return the ``recall`` tool: its JSON schema and the call, for the model's own use."""
        from optical_memory.recall import RecallTool  # not before it is offered

        return RecallTool(self.recall)

    def fidelity(self, reader: Reader | str = "mini", *, pages: int | None = None) -> dict[str, Score]:
        """Let a reader read pages of this memory at every tier, and say what it still gets right.

        Args:
            reader: a Reader or the name of one.
            pages: most pages to read, the newest; None: all in the context.

        """
        from optical_memory.readers import load_reader
        from optical_memory.readers.fidelity import score

        reader = load_reader(reader) if isinstance(reader, str) else reader
        return score(self.pages_by_tier(pages), reader)

    def pages_by_tier(self, pages: int | None = None, *, draw: bool = False) -> dict[str, list[Page]]:
        """Return the newest ``pages`` pages of the context at every tier of the profile, sharpest first."""
        with self._lock:
            by_tier = self._view.pages_by_tier(pages)
            if draw:
                self._view.gallery.load(page for tier in by_tier.values() for page in tier)
            return by_tier

    def peek(self) -> Context:
        """Return what stands in the context, changing nothing: no epoch begins, nothing is stored or drawn.

        What was added since the last :meth:`context` is in it as it came, so it may cost more than the budget
        (:attr:`Context.fits`).
        """
        with self._lock:
            return self._view.peek()

    def turns(self, *, through: int | None = None) -> list[Turn]:
        """Return the exact turns of the visible history, oldest first; or those that lead to the place ``through``."""
        with self._lock:
            self._view.refresh()
            path = self._view.path() if through is None else self._view.state.lineage.leading_to(through)
            spans = [self.store.turns(self.session, after=a - 1, before=b + 1) for a, b in path]
            return [turn for turns in spans for turn in turns if turn.seq not in self._view.state.doomed]

    def superseded(self) -> list[Turn]:
        """Return the turns that left the visible history by :meth:`follow`, in the order in which they were stored."""
        with self._lock:
            self._view.refresh()
            path = self._view.path()
            return [turn for turn in self.store.turns(self.session) if not within(path, turn.seq)]

    def advice(self) -> Advice:
        """Return what this session so far costs as full text, truncated, and with this memory, and which to take.

        By the profile's prices, with an ideal prompt cache. Reads the whole visible history.
        """
        from optical_memory.context.advising import advise_on

        with self._lock:
            return advise_on(self._view)

    def stats(self) -> dict[str, Any]:
        """Return figures of the session: turns, tokens, pages by tier, epoch. Changes nothing; see :meth:`peek`."""
        context = self.peek()
        tiers: dict[str, int] = {}
        for page in context.pages:
            tiers[page.tier] = tiers.get(page.tier, 0) + 1
        visible = sum(last - first + 1 for first, last in self._view.path())
        return {
            "session": self.session,
            "profile": self.profile.name,
            "renderer": self.renderer.key,
            "turns": self.store.count(self.session),
            "superseded_turns": self._view.head.length - visible,
            "recent_turns": len(context.recent),
            "text_tokens": context.text_tokens,
            "context_tokens": context.tokens,
            "budget": self.budget,
            "compression": round(context.text_tokens / max(context.tokens, 1), 2),
            "pages": tiers,
            "archived_pages": context.archived_pages,
            "epoch": context.epoch,
        }
