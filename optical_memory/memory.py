"""OpticalMemory: the drop-in object. Add turns; ask for the context or the messages; recall; forget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from optical_memory.budget import Profile, get_profile
from optical_memory.context.base import Context
from optical_memory.context.view import Builder
from optical_memory.errors import InputError
from optical_memory.formats import from_turns, to_turns
from optical_memory.formats.keywords import When, seconds, turn_of
from optical_memory.policies import BudgetedPolicy, get_policy
from optical_memory.policies.base import Policy
from optical_memory.recall import RecallTool, find_turn
from optical_memory.renderers import default_renderer, get_renderer
from optical_memory.renderers.base import Page, Renderer
from optical_memory.stores import open_store
from optical_memory.stores.base import Store
from optical_memory.turns import Role, ToolCall, Turn

if TYPE_CHECKING:
    from optical_memory.context.forgetting import Receipt
    from optical_memory.readers.base import Reader
    from optical_memory.readers.fidelity import Score


class OpticalMemory:
    """The memory of one conversation.

    Turns are stored exactly and durably when :meth:`add` returns. :meth:`context` and :meth:`messages` give what
    the model should see within ``budget`` tokens: system prompts and recent turns as text, older ones as page
    images that fade with age. Safe for threads; several processes may share a session through one store.

    Args:
        session: id of the conversation, up to 512 characters.
        store: "memory://", "sqlite:///memory.db", "redis://host:6379/0", or a Store. Default: in memory, gone with
            the object.
        profile: the target model, a name from ``optical_memory.profiles()`` or a Profile.
        budget: most tokens that a context may cost, by the target model's own accounting.
        policy: decides how sharp each page is. Default: the sharpest plan that fits the budget.
        renderer: "chromium", "dense" or a Renderer. Default: Chromium where one is found, else dense.
        clock: seconds since 1970; stamps turns that come without a time.

    Errors: NotFoundError for an unknown profile, InputError for other bad settings, StoreError from the store.

    """

    def __init__(
        self,
        session: str = "main",
        *,
        store: str | Store = "memory://",
        profile: str | Profile = "deepseek-ocr",
        budget: int = 8_000,
        policy: str | Policy | None = None,
        renderer: str | Renderer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(session, str) or not session:
            raise InputError(f"a session id is a text that is not empty, not {session!r}")
        if isinstance(budget, bool) or not isinstance(budget, int) or budget <= 0:
            raise InputError(f"a budget is a positive number of tokens, not {budget!r}")
        self.session, self.budget = session, budget
        self.profile = get_profile(profile)
        self.policy = get_policy(policy) if policy is not None else BudgetedPolicy()
        self.renderer = default_renderer() if renderer is None else get_renderer(renderer)
        self.store = open_store(store)
        self._owns_store = isinstance(store, str)
        self._owns_renderer = renderer is None or isinstance(renderer, str)
        self._clock = clock
        self._lock = threading.RLock()
        self._builder = self._new_builder()

    def _new_builder(self) -> Builder:
        return Builder(
            store=self.store,
            session=self.session,
            profile=self.profile,
            budget=self.budget,
            policy=self.policy,
            renderer=self.renderer,
            clock=self._clock,
        )

    # -- in ------------------------------------------------------------------------------------------------------

    def add(
        self,
        role: Role,
        content: str | Sequence[Mapping[str, Any]] | None = "",
        *,
        id: str | None = None,
        name: str | None = None,
        pin: bool | str = False,
        importance: float | None = None,
        tool_calls: Sequence[Mapping[str, Any] | ToolCall] = (),
        tool_call_id: str | None = None,
        created_at: When | None = None,
    ) -> Turn:
        """Store one turn and return it; when this returns, it is durable.

        Args:
            role: "system", "developer", "user", "assistant" or "tool".
            content: text, or OpenAI-style parts (text and images).
            id: the turn's id, unique in the session. The same id with the same content is stored once.
            name: who speaks, or which tool answers.
            pin: True keeps the turn as text for ever; a tier's name never lets it fall below that tier.
            importance: 0 to 1; more important pages stay sharp for longer. Default: by role.
            tool_calls: OpenAI-style dicts or ToolCall objects.
            tool_call_id: for a tool's result, the id of its call.
            created_at: a datetime or seconds since 1970. Default: now.

        Errors: UnknownRoleError, InputError, DuplicateTurnError, LimitError, StoreError. Then nothing is stored.

        """
        if isinstance(pin, str):
            self.profile.tier(pin)
        turn = turn_of(
            role,
            content,
            id=id,
            name=name,
            pin=pin,
            importance=importance,
            tool_calls=tool_calls,
            tool_call_id=tool_call_id,
            created_at=self._clock() if created_at is None else created_at,
        )
        return self.store.append(self.session, [turn])[0]

    def extend(self, messages: Iterable[Mapping[str, Any]], *, format: str | None = None) -> list[Turn]:
        """Store messages of any provider's shape, all or none, and return their turns.

        ``format``: "openai", "responses", "anthropic", "gemini", "huggingface"; None tells by looking. Messages that
        carry an id are stored once. Errors as for :meth:`add`.
        """
        return self.add_turns(to_turns(messages, format, created_at=self._clock()))

    def add_turns(self, turns: Iterable[Turn]) -> list[Turn]:
        """Store turns, all or none; one without a time is stamped now. Errors as for :meth:`add`."""
        now = self._clock()
        stamped = [turn if turn.created_at else replace(turn, created_at=now) for turn in turns]
        return self.store.append(self.session, stamped) if stamped else []

    # -- out -----------------------------------------------------------------------------------------------------

    def context(self) -> Context:
        """Return what the model should see now. Raises BudgetError where even the least does not fit."""
        with self._lock:
            return self._builder.build()

    def messages(self, format: str = "openai") -> list[dict[str, Any]]:
        """Return the context as messages of a provider, pages as PNG data.

        Between two epochs the messages returned before come back without a byte changed; new ones follow them.
        """
        return from_turns(self.turns_to_send(), format, repair=True)

    def turns_to_send(self) -> list[Turn]:
        """Return the context as turns, pages as image parts of user turns: what every adapter converts."""
        with self._lock:
            context = self._builder.build()
            gallery = self._builder.gallery
            gallery.load(context.pages)
            return context.messages(gallery.url)

    def recall(
        self,
        question: str | None = None,
        *,
        k: int = 5,
        turn_id: str | None = None,
        page: str | Page | None = None,
        line: int | None = None,
    ) -> list[Turn]:
        """Return exact turns: by question (best first), by id or place ("#12"), or by page and line (from 1).

        ``line`` None: the whole page. Errors: NotFoundError for an unknown turn, page or line; InputError when nothing,
        or too much, is asked.
        """
        if sum(value is not None for value in (question, turn_id, page)) != 1:
            raise InputError("give a question, or turn_id=, or page= (with or without line=)")
        if question is not None:
            return self.store.search(self.session, question, max(1, k))
        if turn_id is not None:
            return find_turn(self.store, self.session, turn_id)
        with self._lock:
            self._builder.sync()
            return self._builder.turns_on(page.id if isinstance(page, Page) else str(page), line)

    def recall_tool(self) -> RecallTool:
        """Return the ``recall`` tool: its JSON schema and the call, for the model's own use."""
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

    def pages_by_tier(self, pages: int | None = None) -> dict[str, list[Page]]:
        """Return the pages of the context at every tier of the profile, sharpest first."""
        with self._lock:
            return self._builder.pages_by_tier(pages)

    def stats(self) -> dict[str, Any]:
        """Return figures of the session: turns, tokens, pages by tier, epoch."""
        context = self.context()
        tiers: dict[str, int] = {}
        for page in context.pages:
            tiers[page.tier] = tiers.get(page.tier, 0) + 1
        return {
            "session": self.session,
            "profile": self.profile.name,
            "renderer": self.renderer.key,
            "turns": self.store.count(self.session),
            "recent_turns": len(context.recent),
            "text_tokens": context.text_tokens,
            "context_tokens": context.tokens,
            "budget": self.budget,
            "compression": round(context.text_tokens / max(context.tokens, 1), 2),
            "pages": tiers,
            "archived_pages": context.archived_pages,
            "epoch": context.epoch,
        }

    # -- away ----------------------------------------------------------------------------------------------------

    def forget(self, *, turn_id: str | None = None, before: When | None = None, everything: bool = False) -> Receipt:
        """Really delete turns, with their pages, pixels and index entries, and say what went.

        Args:
            turn_id: one turn; the results of its tool calls go with it.
            before: all turns created before this time.
            everything: the whole session.

        """
        from optical_memory.context.forgetting import forget

        with self._lock:
            before_seconds = None if before is None else seconds(before)
            return forget(self._builder, turn_id=turn_id, before=before_seconds, everything=everything)

    def export(self, path: str | Path) -> Path:
        """Write the session to one file. :meth:`load` opens it again."""
        from optical_memory.stores.export import export_session

        return export_session(self.store, self.session, Path(path))

    @classmethod
    def load(cls, path: str | Path, **settings: Any) -> Self:
        """Open an exported session, by default in memory; ``settings`` as for the constructor.

        ``store="sqlite:///memory.db"`` keeps it there. Raises StoreCorruptError for a damaged file.
        """
        from optical_memory.stores.export import load_session

        store = settings.pop("store", "memory://")
        opened = open_store(store)
        session = load_session(Path(path), opened)
        memory = cls(settings.pop("session", session), store=opened, **settings)
        memory._owns_store = isinstance(store, str)
        return memory

    def close(self) -> None:
        """Release the store and the renderer that this object opened."""
        with self._lock:
            if self._owns_store:
                self.store.close()
            if self._owns_renderer:
                self.renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
