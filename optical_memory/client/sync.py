"""OpticalMemoryClient: the service's sessions, from code that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from optical_memory.client import calls, routes
from optical_memory.client.calls import Call
from optical_memory.formats.keywords import When

Json = dict[str, Any]


class OpticalMemoryClient:
    """A service's sessions, by blocking calls. Safe for threads.

    Args:
        url: where the service listens, such as ``http://127.0.0.1:8321``.
        key: a key of ``optical-memory keys create``.
        timeout_seconds: for each try.
        retries: further tries, with growing waits, after a lost connection or an answer 408, 429, 502, 503 or 504. What
            adds turns carries an Idempotency-Key, so that a try whose answer was lost stores nothing twice.

    Errors: AccessError for a key that is not valid or may not do this; NotFoundError; ConflictError (a revision that
    passed); DuplicateTurnError; BudgetError; LimitError; KeyLostError; InputError; StoreUnavailableError where there is
    no answer in the end.

    """

    def __init__(self, url: str, key: str, *, timeout_seconds: float = 60.0, retries: int = 5) -> None:
        self._settings = calls.Settings(url=url, key=key, timeout_seconds=timeout_seconds, retries=retries)
        self._http = httpx.Client(**self._settings.for_httpx())

    def add(
        self,
        session: str,
        role: str,
        content: str | Sequence[Mapping[str, Any]] | None = "",
        *,
        id: str | None = None,
        name: str | None = None,
        pin: bool | str | None = None,
        importance: float | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        tool_call_id: str | None = None,
        created_at: When | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Store one turn; see :meth:`optical_memory.OpticalMemory.add`. Returns the service's answer."""
        turn = routes.turn(
            role,
            content,
            id=id,
            name=name,
            pin=pin,
            importance=importance,
            tool_calls=tool_calls,
            tool_call_id=tool_call_id,
            created_at=created_at,
        )
        return self.add_turns(session, [turn], if_match=if_match)

    def add_turns(self, session: str, turns: Sequence[Mapping[str, Any]], *, if_match: str | None = None) -> Json:
        """Store turns, all or none: dicts with the arguments of :meth:`add`. ``if_match``: a revision."""
        return self._json(routes.add_turns(session, turns, if_match=if_match))

    def extend(self, session: str, messages: Sequence[Mapping[str, Any]], *, format: str | None = None) -> Json:
        """Store messages of a provider's shape, exactly."""
        return self._json(routes.extend(session, messages, format=format))

    def follow(
        self,
        session: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        format: str | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Make the visible history equal this list, with ``if_match`` only where the session has this revision."""
        return self._json(routes.follow(session, messages, format=format, if_match=if_match))

    def request(
        self,
        session: str,
        format: str = "openai",
        *,
        recall: bool = False,
        profile: str | None = None,
        budget: int | None = None,
    ) -> Json:
        """Return everything that a provider's client takes but for the model's name."""
        return self._json(routes.request(session, format, recall=recall, profile=profile, budget=budget))

    def messages(
        self, session: str, format: str = "openai", *, profile: str | None = None, budget: int | None = None
    ) -> list[Json]:
        """Return the context as messages of a provider."""
        found = self._json(routes.messages(session, format, profile=profile, budget=budget))
        return list(found["messages"])

    def context(self, session: str, *, profile: str | None = None, budget: int | None = None) -> Json:
        """Return the context as figures, pages and recent turns."""
        return self._json(routes.context(session, profile=profile, budget=budget))

    def page(self, session: str, page: Mapping[str, Any] | str) -> bytes:
        """Return the PNG of a page: one of a context's ``pages``, or its id."""
        return self._send(routes.page(session, page)).content

    def recall(
        self,
        session: str,
        question: str | None = None,
        *,
        k: int = 5,
        turn_id: str | None = None,
        page: str | None = None,
        line: int | None = None,
        superseded: bool = False,
    ) -> list[Json]:
        """Return exact turns; see :meth:`optical_memory.OpticalMemory.recall`."""
        call = routes.recall(session, question, k=k, turn_id=turn_id, page=page, line=line, superseded=superseded)
        found = self._json(call)
        return list(found["turns"])

    def ask(self, session: str, question: str) -> Json:
        """Return an answer from the session, where the service has a model."""
        return self._json(routes.ask(session, question))

    def fidelity(
        self,
        session: str,
        *,
        reader: str = "mini",
        pages: int = 1,
        profile: str | None = None,
        budget: int | None = None,
    ) -> Json:
        """Have a reader read the newest ``pages`` at every tier; return its scores by tier under ``tiers``.

        It takes seconds for each page: give the client a ``timeout_seconds`` to match. StoreUnavailableError where
        the service has not installed the reader's packages: it says which.
        """
        call = routes.fidelity(session, reader=reader, pages=pages, profile=profile, budget=budget)
        return self._json(call)

    def last_fidelity(
        self, session: str, *, reader: str = "mini", profile: str | None = None, budget: int | None = None
    ) -> Json:
        """Return what :meth:`fidelity` returned last, within a day. NotFoundError where nothing was read."""
        return self._json(routes.last_fidelity(session, reader=reader, profile=profile, budget=budget))

    def forget(
        self, session: str, *, turn_id: str | None = None, before: float | None = None, everything: bool = False
    ) -> Json:
        """Really delete turns; return the receipt."""
        call = routes.forget(session, turn_id=turn_id, before=before, everything=everything)
        return self._json(call)

    def delete(self, session: str) -> Json:
        """Really delete a session; return the receipt. NotFoundError where an earlier try deleted it."""
        return self._json(routes.delete(session))

    def create(self, session: str | None = None) -> Json:
        """Make a session without turns, under a new id where none is given; one that is there stays as it is."""
        return self._json(routes.create(session))

    def sessions(self, prefix: str = "") -> Iterator[Json]:
        """Yield the sessions whose ids begin with ``prefix``, page by page."""
        after: str | None = ""
        while after is not None:
            found = self._json(routes.sessions(prefix, after))
            yield from found["sessions"]
            after = found["next"]

    def export(self, session: str) -> bytes:
        """Return a session as a file of JSON lines."""
        return self._send(routes.export(session)).content

    def load(self, session: str, file: bytes) -> Json:
        """Store an exported session under this id."""
        return self._json(routes.load(session, file))

    def compress(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        format: str = "openai",
        profile: str | None = None,
        budget: int | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Json:
        """Return the request that says what the messages say within a budget; nothing is stored."""
        call = routes.compress(messages, format=format, tools=tools, profile=profile, budget=budget)
        return self._json(call)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _json(self, call: Call) -> Json:
        found: Json = self._send(call).json()
        return found

    def _send(self, call: Call) -> httpx.Response:
        for attempt in range(self._settings.retries + 1):
            last = attempt == self._settings.retries
            response = None
            try:
                response = self._http.request(**call.arguments())
            except httpx.TransportError as error:
                if last:
                    raise calls.gave_up(call, attempt + 1, error) from error
            if response is not None and (last or response.status_code not in calls.RETRIED):
                return calls.checked(response)
            time.sleep(calls.wait_seconds(attempt, response))
        raise AssertionError("the last try returns or raises")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
