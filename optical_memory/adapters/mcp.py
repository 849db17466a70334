"""MCP: a server with the tools remember, context, recall, ask and forget, over stdio and streamable HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar

from optical_memory.asynchronous import on_worker
from optical_memory.errors import AccessError, InputError, MissingExtraError, OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.pool import MemoryPool
from optical_memory.stores import open_store
from optical_memory.stores.scoped import ScopedStore

try:
    from mcp.server import MCPServer
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.auth.provider import AccessToken, TokenVerifier
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.mcpserver import Image
    from mcp.server.mcpserver.exceptions import ToolError
    from pydantic import AnyHttpUrl, Field
except ImportError as missing:
    raise MissingExtraError("mcp", "mcp") from missing

__all__ = ["Access", "Authenticate", "build_server"]


class Access(Protocol):
    """What a key opens; the service's :class:`~optical_memory.service.keys.Key` is one."""

    @property
    def tenant(self) -> str:
        """Whose sessions it opens."""

    @property
    def scopes(self) -> Sequence[str]:
        """What it may do: "read" (context, recall, ask), "write" (remember), "forget"."""


Authenticate = Callable[[str], Access]
"""From a bearer key to what it opens. Raises AccessError where the key is not valid."""
T = TypeVar("T")
Session = Annotated[str, Field(description="Id of the conversation.")]
INSTRUCTIONS = (
    "A memory of conversations. Call `remember` with each message, `context` for what was said (recent messages as "
    "text, older ones as page images), `recall` for exact words."
)


def build_server(
    memory: OpticalMemory | None = None,
    *,
    authenticate: Authenticate | None = None,
    url: str = "http://127.0.0.1:8000/mcp",
    model: Any = None,
    **settings: Any,
) -> MCPServer[Any]:
    """Return the server: ``.run()`` serves over stdio, ``.run("streamable-http", port=…)`` over HTTP.

    Args:
        memory: a ready memory, for one conversation; then ``session`` must be its own.
        authenticate: from a bearer key to what it opens, for HTTP: ``Keyring(open_records(store)).find`` takes the keys
            of the service. Each tenant sees its own sessions alone. Without it everyone who reaches the server is the
            same person: serve it over stdio, or on this machine alone.
        url: where the server is reached over HTTP; needed with ``authenticate``.
        model: answers ``ask``, as for :meth:`OpticalMemory.ask`.
        settings: instead of ``memory``, those of :class:`OpticalMemory` (store, profile, budget, policy, renderer).

    """
    tools = _Tools(memory, settings, model=model, guarded=authenticate is not None)
    guard: dict[str, Any] = {}
    if authenticate is not None:
        place = AnyHttpUrl(url)
        auth = AuthSettings(issuer_url=place, resource_server_url=place, validate_token_resource=False)
        guard = {"token_verifier": _Keys(authenticate), "auth": auth}
    server: MCPServer[Any] = MCPServer("optical-memory", instructions=INSTRUCTIONS, **guard)
    for tool in (tools.remember, tools.context, tools.recall, tools.ask, tools.forget):
        server.tool(structured_output=False)(tool)
    return server


class _Keys(TokenVerifier):
    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            access = await on_worker(lambda: self._authenticate(token))
        except AccessError:
            return None
        return AccessToken(token=token, client_id=access.tenant, scopes=list(access.scopes))


class _Tools:
    """The tools. What the memory refuses comes back as an error of the tool, with what to do."""

    def __init__(self, memory: OpticalMemory | None, settings: dict[str, Any], *, model: Any, guarded: bool) -> None:
        if memory is not None and (settings or guarded):
            raise InputError("a ready memory is one conversation of one person: give settings instead")
        self._memory, self._model, self._guarded = memory, model, guarded
        self._store = None if memory is not None else open_store(settings.pop("store", "memory://"))
        self._settings = settings
        self._pools: dict[str, MemoryPool] = {}

    async def remember(
        self,
        session: Session,
        role: Literal["user", "assistant", "system", "tool"],
        text: Annotated[str, Field(description="The message, exactly as it was said.")],
        id: Annotated[str | None, Field(description="The message's id: the same id is stored once.")] = None,
    ) -> str:
        """Store one message of a conversation, exactly and durably. Returns its id and place."""
        turn = await self._do(session, "write", lambda memory: memory.add(role, text, id=id))
        return f"stored as {turn.id}, #{turn.seq + 1}"

    async def context(self, session: Session) -> list[Any]:
        """Return what a model should see of a conversation: pages of the past as images, recent messages as text."""
        context = await self._do(session, "read", lambda memory: memory.context(draw=True))
        out: list[Any] = []
        for piece in context.pieces():
            out.append(piece.text)
            if piece.page is not None:
                out.append(Image(data=piece.page.png, format="png"))
        return out or ["nothing was said yet"]

    async def recall(
        self,
        session: Session,
        question: Annotated[str | None, Field(description="Words or a question to search for.")] = None,
        turn_id: Annotated[str | None, Field(description="Id or place (#12) of one message.")] = None,
        page: Annotated[str | None, Field(description="Id of a page, as its label gives it.")] = None,
        line: Annotated[int | None, Field(description="Line on the page, from 1.")] = None,
        k: Annotated[int, Field(description="Most messages to return.", ge=1, le=20)] = 5,
        offset: Annotated[int, Field(description="First character of a long answer to return.", ge=0)] = 0,
    ) -> str:
        """Look up exact words of a conversation: by a question, or a message's id, or a page and a line."""
        asked = {"question": question, "turn_id": turn_id, "page": page, "line": line, "k": k, "offset": offset}
        given = {key: value for key, value in asked.items() if value is not None}
        return await self._do(session, "read", lambda memory: memory.recall_tool()(given))

    async def ask(
        self, session: Session, question: Annotated[str, Field(description="What to answer from the conversation.")]
    ) -> str:
        """Answer a question from a conversation, with the messages that the answer rests on."""
        answer = await self._do(session, "read", lambda memory: memory.ask(question, model=self._model))
        sources = ", ".join(source.turn_id for source in answer.sources)
        notes = [f"certainty: {answer.certainty:.2f}", f"sources: {sources or 'none'}", answer.caution]
        return f"{answer.text}\n[{'; '.join(filter(None, notes))}]"

    async def forget(
        self,
        session: Session,
        turn_id: Annotated[str | None, Field(description="Id or place (#12) of the message to delete.")] = None,
        everything: Annotated[bool, Field(description="Delete the whole conversation.")] = False,
    ) -> str:
        """Really delete a message, or a whole conversation, pages and pixels included."""
        receipt = await self._do(
            session, "forget", lambda memory: memory.forget(turn_id=turn_id, everything=everything)
        )
        return str(receipt)

    async def _do(self, session: str, scope: str, work: Callable[[OpticalMemory], T]) -> T:
        pool = self._pool(scope)

        def done() -> T:
            if pool is not None:
                with pool.use(session) as memory:
                    return work(memory)
            assert self._memory is not None
            if session != self._memory.session:
                raise InputError(f"this server has the one session {self._memory.session!r}, not {session!r}")
            return work(self._memory)

        try:
            return await on_worker(done)
        except OpticalMemoryError as error:
            raise ToolError(str(error)) from error

    def _pool(self, scope: str) -> MemoryPool | None:
        """Return the pool of the tenant who calls, with a key that has ``scope``."""
        if self._store is None:
            return None
        tenant = ""
        if self._guarded:
            token = get_access_token()
            if token is None:
                raise ToolError("no key: this server is for streamable HTTP with an Authorization header")
            if scope not in token.scopes:
                raise ToolError(f"this key may not {scope}: it may {', '.join(token.scopes)}")
            tenant = token.client_id
        if tenant not in self._pools:
            store = ScopedStore(self._store, tenant) if tenant else self._store
            self._pools[tenant] = MemoryPool(store=store, **self._settings)
        return self._pools[tenant]
