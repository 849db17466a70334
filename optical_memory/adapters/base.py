"""What all adapters share: a memory for each thread, the framework's list followed, its own objects given back.

An adapter brings a :class:`Shape`, which converts messages, and its framework's hook, which calls :class:`Bridge`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Generic, Literal, Protocol, TypeVar

from optical_memory import wording
from optical_memory.asynchronous import on_worker
from optical_memory.budget import count_tokens
from optical_memory.context.base import Context
from optical_memory.errors import ConflictError, InputError, OpticalMemoryError
from optical_memory.formats import get_format
from optical_memory.formats.repair import repaired
from optical_memory.memory import OpticalMemory
from optical_memory.pool import MemoryPool
from optical_memory.recall import RecallTool
from optical_memory.turns import Turn

M = TypeVar("M")
OnFailure = Literal["raise", "send everything"]
"""What happens where the memory fails (store down, budget too small): an error, or the full history and a warning."""
ATTEMPTS = 8
"""Times that a list is followed anew because another process changed the session meanwhile."""
_log = logging.getLogger(__name__)


class Shape(Protocol[M]):
    """How one framework's messages become a provider's, and back."""

    @property
    def format(self) -> str:
        """Name of the provider format that :meth:`written` gives."""

    def written(self, message: M) -> Sequence[Mapping[str, Any]]:
        """Return a message as provider messages, with its id where it has one. One of an unknown kind as its text."""

    def shortened(self, message: M, turn: Turn) -> M:
        """Return a copy of a message, a large answer or result, that says ``turn.text`` instead."""

    def made(self, turns: Sequence[Turn]) -> list[M]:
        """Return messages that say what turns of no single message say: pages, records, parts of messages."""


class Failures:
    """What an adapter does where the memory fails: an error that its framework understands, or a warning.

    Args:
        on_failure: "raise", or "send everything".
        error: class of the error that is raised, from the memory's own; None: the memory's own itself.

    """

    def __init__(self, on_failure: OnFailure = "raise", error: type[OpticalMemoryError] | None = None) -> None:
        if on_failure not in ("raise", "send everything"):
            raise InputError(f'on_failure is "raise" or "send everything", not {on_failure!r}')
        self._raises, self._error = on_failure == "raise", error

    def seen(self, error: OpticalMemoryError, instead: str) -> None:
        """Raise, or log a warning that says what is done ``instead``."""
        if self._raises:
            raise self.raised(error) from error
        _log.warning("%s: %s", instead, error)

    def raised(self, error: OpticalMemoryError) -> OpticalMemoryError:
        """Return an error of the memory as one of the framework's."""
        return error if self._error is None else self._error(str(error))


class Bridge(Generic[M]):
    """Hands the bounded context of a thread to a framework, in the framework's own messages. Safe for threads.

    Args:
        shape: converts messages.
        memory: a memory to use for the one thread that comes; closing it stays with its owner.
        on_failure: "raise", or "send everything": the full history, with a warning in the log.
        error: class of what is raised, for a framework with errors of its own; its cause is the memory's error.
        settings: instead of ``memory``, those of :class:`MemoryPool` (store, profile, budget, policy, renderer, …);
            then each thread is a session of its own.

    """

    def __init__(
        self,
        shape: Shape[M],
        memory: OpticalMemory | None = None,
        *,
        on_failure: OnFailure = "raise",
        error: type[OpticalMemoryError] | None = None,
        **settings: Any,
    ) -> None:
        if memory is not None and settings:
            raise InputError(f"give a memory, or settings for new ones, not both: {', '.join(settings)}")
        self.shape = shape
        self.failures = Failures(on_failure, error)
        self._memory = memory
        self._thread: str | None = None
        self._pool = MemoryPool(**settings) if memory is None else None

    def memory(self, thread: str) -> OpticalMemory:
        """Return the memory of a thread, to inspect it, recall or forget."""
        with self._used(thread) as memory:
            return memory

    def shown(self, thread: str, messages: Iterable[M], *, beside: str = "") -> list[M]:
        """Follow a thread's messages and return what the model should see; ``messages`` stays as it is.

        Args:
            thread: the framework's id of the conversation.
            messages: the whole history, as the framework has it.
            beside: what is sent besides, as text: system prompt, tool schemas. Its tokens are taken off the budget.

        A message that is shown as it came is the very object. Raises ``error`` where follow() or context() fails,
        unless the history is to be sent whole then.

        """
        given = list(messages)
        try:
            with self._used(thread) as memory:
                return self._shown(memory, given, beside)
        except OpticalMemoryError as error:
            self.failures.seen(error, f"the whole history of thread {thread!r} is sent, {len(given)} messages")
            return given

    async def shown_async(self, thread: str, messages: Iterable[M], *, beside: str = "") -> list[M]:
        """Do :meth:`shown` without holding the event loop."""
        given = list(messages)
        return await on_worker(lambda: self.shown(thread, given, beside=beside))

    @property
    def recall_tool(self) -> RecallTool:
        """The recall tool as it is offered; :meth:`recall` answers its calls."""
        return RecallTool(lambda **asked: [])

    def recall(self, thread: str, arguments: str | Mapping[str, Any]) -> str:
        """Answer a model's call of the recall tool, in the thread in which it runs. What fails is said to the model."""
        asked = arguments if isinstance(arguments, str) else {k: v for k, v in arguments.items() if v is not None}
        try:
            with self._used(thread) as memory:
                return memory.recall_tool()(asked)
        except OpticalMemoryError as error:
            _log.warning("recall in thread %r answers nothing: %s", thread, error)
            return wording.recall_failed(error)

    async def recall_async(self, thread: str, arguments: str | Mapping[str, Any]) -> str:
        """Do :meth:`recall` without holding the event loop."""
        return await on_worker(lambda: self.recall(thread, arguments))

    def close(self) -> None:
        """Release the store and the renderer that were opened here."""
        if self._pool is not None:
            self._pool.close()

    @contextmanager
    def _used(self, thread: str) -> Iterator[OpticalMemory]:
        if self._pool is not None:
            with self._pool.use(thread) as memory:
                yield memory
            return
        assert self._memory is not None
        with self._memory.lock:
            self._thread = self._thread or thread
            if thread != self._thread:
                raise InputError(
                    f"this memory holds thread {self._thread!r}, not {thread!r}; give store= and other settings "
                    "instead of a memory, and each thread gets its own"
                )
        yield self._memory

    def _shown(self, memory: OpticalMemory, messages: list[M], beside: str) -> list[M]:
        written = [(one, place) for place, message in enumerate(messages) for one in self.shape.written(message)]
        reserve = count_tokens(beside, memory.profile) + memory.profile.message_tokens if beside else 0
        listed = [one for one, _ in written]
        with memory.lock:
            for _ in range(ATTEMPTS):
                places = memory.follow(listed, format=self.shape.format).places
                context = memory.context(reserve=reserve, draw=True)
                if not memory.follow(listed, format=self.shape.format).changed:
                    break
            else:
                raise ConflictError(f"session {memory.session!r} changed {ATTEMPTS} times while it was read")
        owners: dict[int, int] = {}
        for (_, owner), seqs in zip(written, places, strict=True):
            for seq in seqs:
                owners.setdefault(seq, owner)
        return list(self._mapped(context, messages, owners))

    def _mapped(self, context: Context, messages: Sequence[M], owners: Mapping[int, int]) -> Iterator[M]:
        """Yield the context in the framework's messages; ``owners`` are the places of messages by those of turns."""
        exact = {turn.seq: turn for turn in context.recent}
        whole = Counter(owners.values())
        turns = repaired(context.turns(), get_format(self.shape.format))
        for owner, group in groupby(turns, key=lambda turn: owners.get(turn.seq)):
            run = list(group)
            if owner is None or len(run) < whole[owner]:
                yield from self.shape.made(run)
            elif all(_instructs(turn) or exact.get(turn.seq) == turn for turn in run):
                yield messages[owner]
            elif len(run) == 1 and _shortened(run[0], exact.get(run[0].seq)):
                yield self.shape.shortened(messages[owner], run[0])
            else:
                yield from self.shape.made(run)


class PerThread(Generic[M]):
    """What the adapters over one :class:`Bridge` have in common."""

    _bridge: Bridge[M]

    def memory(self, thread: str) -> OpticalMemory:
        """Return the memory of a thread, to inspect it, recall or forget."""
        return self._bridge.memory(thread)

    def close(self) -> None:
        """Release the store and the renderer."""
        self._bridge.close()


def all_messages(messages: Sequence[M], call: tuple[Sequence[M], Sequence[M]]) -> list[M]:
    """Return all messages where a framework's own list holds what was shown: those of the call, and what came since.

    Args:
        messages: the framework's list now.
        call: of the call before, the whole list and what was shown in its place; twice nothing before the first.

    A list that does not begin with what was shown, object by object, was made anew and is whole as it is.

    """
    given, shown = call
    goes_on = len(messages) >= len(shown) and all(a is b for a, b in zip(shown, messages, strict=False))
    return [*given, *messages[len(shown) :]] if goes_on else list(messages)


def schemas(tools: Iterable[Any]) -> str:
    """Return tool schemas as the text that is counted for them."""
    return "\n".join(json.dumps(tool, ensure_ascii=False, default=str) for tool in tools)


def _instructs(turn: Turn) -> bool:
    return turn.is_instruction and turn.raw is not None


def _shortened(turn: Turn, before: Turn | None) -> bool:
    """Whether a turn says in other words what a large answer or result says, and is the same in all else."""
    if before is None or turn.parts or before.parts:
        return False
    same = (turn.role, turn.tool_call_id, turn.tool_calls) == (before.role, before.tool_call_id, before.tool_calls)
    return same and turn.role in ("assistant", "tool")
