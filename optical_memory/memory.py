"""OpticalMemory: the drop-in object. Add turns; ask for the context or the messages; recall; forget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from optical_memory.budget import Profile, count_tokens, get_profile
from optical_memory.context.base import Context, Settings
from optical_memory.context.events import Events, Observer
from optical_memory.context.state import for_export, from_file
from optical_memory.context.view import SessionView
from optical_memory.errors import InputError
from optical_memory.formats import from_turns
from optical_memory.formats.keywords import When, seconds
from optical_memory.intake import Intake
from optical_memory.lookup import Lookup
from optical_memory.policies import BudgetedPolicy, get_policy
from optical_memory.policies.base import Policy
from optical_memory.renderers import default_renderer, get_renderer
from optical_memory.renderers.base import Renderer
from optical_memory.stores import open_store
from optical_memory.stores.base import Store

if TYPE_CHECKING:
    from optical_memory.asking import Reply
    from optical_memory.budget.drift import Drift
    from optical_memory.context.forgetting import Receipt
    from optical_memory.context.teller import Generates, Teller
    from optical_memory.endpoint import Endpoint


class OpticalMemory(Intake, Lookup):
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
        clock: seconds since 1970; stamps turns that carry no time.
        stepwise: decide after each turn whether an epoch begins. Then a context depends on the turns alone, not on
            when it was asked for; see :func:`optical_memory.compress`.
        draw_ahead: prepare the next epoch in the background when the budget is nearly full. What comes out is the same.
        keep_epochs: how many past epochs of this view stay in the store, about 7 KB each, for whoever wants to see what
            the model saw at an age: the dashboard. Default: none.
        gists: a model that may tell what gists say, an :class:`optical_memory.endpoint.Endpoint`, a model of
            :func:`optical_memory.load_model`, or a :class:`optical_memory.context.teller.Teller` with bounds of your
            own. It works in the background; a gist that is not told when its epoch begins is chosen, as without.
        on_event: called with each :data:`optical_memory.context.events.Event`; what it raises is logged.

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
        on_event: Observer | None = None,
        stepwise: bool = False,
        draw_ahead: bool = True,
        keep_epochs: int = 0,
        gists: Teller | Endpoint | Generates | None = None,
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
        self._events = Events(() if on_event is None else (on_event,))
        settings = Settings(
            profile=self.profile,
            budget=budget,
            policy=self.policy,
            renderer=self.renderer,
            stepwise=stepwise,
            ahead=draw_ahead and not stepwise,
            keep_epochs=keep_epochs,
            teller=None if gists is None else _teller(gists, ahead=draw_ahead and not stepwise),
        )
        self._view = SessionView(self.store, session, settings, events=self._events)

    @property
    def lock(self) -> threading.RLock:
        """The lock that calls take: hold it where no other thread's call may come between several of your own."""
        return self._lock

    # -- out -----------------------------------------------------------------------------------------------------

    def context(self, *, reserve: int = 0, draw: bool = False) -> Context:
        """Return what the model should see now. Raises BudgetError where even the least does not fit.

        Args:
            reserve: tokens of the budget that stay free for what is sent beside the messages, such as tool schemas.
            draw: draw all pages now, together: for what is sent, which :meth:`observe` is then about.

        """
        with self._lock:
            context = self._view.build(reserve)
            if draw:
                self._view.gallery.load(context.pages)
                self._view.sent_tokens = context.tokens + reserve
            return context

    def messages(self, format: str = "openai") -> list[dict[str, Any]]:
        """Return the context as messages of a provider, pages as PNG data.

        Between two epochs the messages returned before come back without a byte changed; new ones follow them.
        """
        return from_turns(self.context(draw=True).turns(), format, repair=True)

    def request(
        self,
        format: str = "openai",
        *,
        recall: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        reserve: int = 0,
    ) -> dict[str, Any]:
        """Return everything that a provider's client takes, ready to send: ``client.….create(model=…, **request)``.

        "openai": ``messages``, ``tools``; "responses": ``instructions``, ``input``, ``tools``; "anthropic": ``system``,
        ``messages``, ``tools``; "gemini": ``contents``, ``config``. What is empty is left out.

        Args:
            format: the provider's format.
            recall: offer the recall tool to the model; :meth:`recall_tool` answers its calls.
            tools: further tools, in the provider's own shape. Their schemas count within the budget.
            reserve: tokens of the budget that stay free for what the caller adds to the request.

        """
        from optical_memory.formats.request import build_request, overhead

        offered = [*tools, *([self.recall_tool().schema_for(format)] if recall else [])]
        beside = count_tokens(overhead(format, offered), self.profile) + self.profile.message_tokens
        return build_request(self.context(reserve=beside + reserve, draw=True).turns(), format, tools=offered)

    def observe(self, usage: Any) -> Drift:
        """Compare the provider's own count of the last request with ours, and return the drift.

        Where the provider counts more than we do, what is planned from now on keeps that much more of the budget free.
        Nothing that was sent changes.

        Args:
            usage: the ``usage`` of an answer, as an object or a dict, of any provider.

        Errors: InputError for a usage without a count of input tokens.

        """
        from optical_memory.budget.drift import Drift, input_tokens

        with self._lock:
            drift = Drift(ours=self._view.sent_tokens, theirs=input_tokens(usage))
            self._view.calibration = self._view.calibration.observe(drift.ours, drift.theirs)
            return drift

    def ask(self, question: str, *, model: Any = None, expand: bool = True) -> Reply:
        """Answer a question from the memory; see :func:`optical_memory.asking.ask`.

        Args:
            question: at most 8,000 characters.
            model: an :class:`optical_memory.endpoint.Endpoint`, or a model of :func:`optical_memory.load_model` that
                answers (or its name). Default: the in-process "smollm2", where its weights are found.
            expand: let an in-process model look lines up before it answers; False: from its vision tokens alone.

        """
        from optical_memory.asking import ask

        return ask(self, question, model=model, expand=expand)

    # -- away ----------------------------------------------------------------------------------------------------

    def forget(self, *, turn_id: str | None = None, before: When | None = None, everything: bool = False) -> Receipt:
        """Really delete turns, with their pages, pixels and index entries, and say what went.

        Args:
            turn_id: one turn by its id or place ("#12"); the results of its tool calls go with it.
            before: all turns created before this time.
            everything: the whole session.

        Superseded turns are forgotten alike. Whatever interrupts it, a second call finishes what the first one began;
        from the moment the first step is stored nothing of the turns is shown. Errors: NotFoundError for an unknown
        turn, InputError unless exactly one is asked for, the store's.

        """
        from optical_memory.context.forgetting import What, forget

        what = What(turn_id=turn_id, before=None if before is None else seconds(before), everything=everything)
        with self._lock:
            return forget(self._view, what, self._follower().hide)

    def export(self, path: str | Path) -> Path:
        """Write the session to one file. :meth:`load` opens it again."""
        from optical_memory.stores.export import export_session

        state, leaving = for_export(self.store.load_state(self.session))
        return export_session(self.store, self.session, Path(path), state=state, leave_out=leaving)

    @classmethod
    def load(cls, path: str | Path, **settings: Any) -> Self:
        """Open an exported session, by default in memory; ``settings`` as for the constructor.

        ``store="sqlite:///memory.db"`` keeps it there, ``session="copy"`` under another id. Turns, the visible path
        and the past are as they were, pages are drawn anew; a past that does not follow from the turns of the file is
        planned anew. Raises StoreCorruptError for a damaged file,
        InputError where the store has a session of this id. Then nothing is stored, and nothing is left open.
        """
        from optical_memory.stores.export import load_session, session_in

        session = settings.pop("session", None)
        memory = cls(session_in(path) if session is None else session, **settings)
        try:
            load_session(path, memory.store, session=memory.session, state=from_file)
        except BaseException:
            memory.close()
            raise
        return memory

    def close(self) -> None:
        """Stop what is drawn ahead; release the store and the renderer that this object opened."""
        with self._lock:
            self._view.stop()
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


def _teller(gists: Teller | Endpoint | Generates, *, ahead: bool) -> Teller:
    from optical_memory.context.teller import teller_of  # only where a model tells

    if not ahead:
        raise InputError("gists are told in the background: leave draw_ahead on and stepwise off, or gists out")
    return teller_of(gists)
