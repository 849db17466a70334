"""The contract of a message format, and what all formats share: checked copies, call ids, parts that travel."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from optical_memory.errors import UnknownRoleError
from optical_memory.formats.checked import copied, parsed, stable_id
from optical_memory.formats.media import image_size, png_url
from optical_memory.turns import Part, Role, ToolCall, Turn, join_text, open_calls

Message = dict[str, Any]
Fields = dict[str, Any]
"""What a turn is made of: arguments of ``Turn``, with ``parts`` as a list and ``piece`` where it is cut from a
message that holds more than one turn."""
DETAIL = "detail"
"""Key in an image part's ``raw``: how closely the model should look, as the provider or a profile calls it."""

HIDDEN = frozenset(
    {"thinking", "redacted_thinking", "reasoning", "thought", "error", "item_reference", "compaction"},
)
"""Types of parts that only the model that wrote them can use: they never leave in another format."""
RAW_ARGUMENTS = "_raw_arguments"
"""Key under which arguments that are not a JSON object travel to formats that want one."""


class Format(ABC):
    """One provider's message shapes, in and out.

    ``parse`` and ``build`` are used by :func:`to_turns` and :func:`from_turns`; the part and message makers are for
    whoever composes a request. All of them return fresh JSON-ready dicts.
    """

    name: ClassVar[str]
    roles: ClassVar[Mapping[str, Role]]
    """The provider's roles, and what they are in a turn."""
    body: ClassVar[str] = "content"
    """The key that holds a message's parts."""
    system_apart: ClassVar[bool] = False
    """Whether the provider takes instructions outside the list of messages."""
    adjacent: ClassVar[bool] = True
    """Whether results must follow their calls at once."""
    strict: ClassVar[bool] = False
    """Whether neighbouring assistant messages must be one where the first has calls."""
    named_results: ClassVar[bool] = False
    """Whether a result carries its tool's name."""
    call_id: ClassVar[re.Pattern[str]] = re.compile(r".+", re.DOTALL)
    """The ids of calls that the provider accepts."""
    unique_ids: ClassVar[bool] = False
    """Whether an id may be used once in a whole request; else only while its call is open."""

    @abstractmethod
    def recognises(self, message: Mapping[str, Any]) -> bool:
        """Whether this message can only be in this format."""

    @abstractmethod
    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the turns of one message. Errors: InputError naming the field, UnknownRoleError."""

    @abstractmethod
    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return the messages of a run of turns that leave together: one turn, an assistant's run, or its results."""

    @abstractmethod
    def text_part(self, text: str) -> Message:
        """Return a text part of a user message."""

    @abstractmethod
    def user_part(self, part: Part) -> Message:
        """Return a part of a user message; what the format cannot hold becomes a text."""

    def image_part(self, png: bytes, *, detail: str | None = None) -> Message:
        """Return an image part of a user message. A ``detail`` that the provider does not have is left out."""
        return self.user_part(image(png_url(png), detail=detail))

    def user_message(self, parts: Sequence[Message]) -> Message:
        """Return a user message of these parts."""
        return {"role": "user", self.body: list(parts)}

    def split(self, messages: Sequence[Message]) -> tuple[Any, list[Message]]:
        """Take the instructions out, as the provider wants them apart; (None, the messages) where it does not."""
        return None, list(messages)

    def request(self, system: Any, messages: list[Message], tools: list[Message]) -> Message:
        """Return the arguments of the provider's client; ``system`` is what :meth:`split` took out."""
        return {"messages": messages} | ({"tools": tools} if tools else {})

    def tool(self, name: str, description: str | None, parameters: Mapping[str, Any]) -> Message:
        """Return a function that the model may call; ``parameters`` is the JSON schema of its arguments."""
        said = {"description": description} if description else {}
        return {"type": "function", "function": {"name": name} | said | {"parameters": dict(parameters)}}

    def is_own_tool(self, tool: Mapping[str, Any]) -> bool:
        """Whether a function has this provider's shape."""
        return tool.get("type") == "function" and "function" in tool

    def joined_tools(self, tools: list[Message]) -> list[Message]:
        """Return the list of tools as it is sent."""
        return tools

    def is_users(self, message: Mapping[str, Any]) -> bool:
        """Whether a message is the user's."""
        return message.get("role") == "user"

    def as_sent(self, message: Message) -> Message | None:
        """Return a message without the fields and the empty contents that the provider refuses; None: nothing is left.

        An ``id`` of the caller's goes; other fields stay, as servers of this shape have fields of their own.
        """
        message = {key: value for key, value in message.items() if key != "id"}
        if message.get(self.body) or message.get("role") in ("tool", "function"):
            return message
        return message if any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio")) else None

    def together(self, run: Sequence[Turn]) -> list[list[Turn]]:
        """Split a run of neighbouring assistant turns into those that leave in one message.

        Calls and their results must stay neighbours; calls alone go with what was said before them.
        """
        out: list[list[Turn]] = []
        for turn in run:
            bare = not travelling(turn) and not self.is_own(turn)
            if out and (bare or any(before.tool_calls for before in out[-1])):
                out[-1].append(turn)
            else:
                out.append([turn])
        return out

    def identified(self, turn: Turn) -> Turn:
        """Return a turn of this format whose message has the turn's own call ids, where the provider demands ids."""
        return turn

    def own(self, turn: Turn) -> Message | None:
        """Return a copy of the message that the turn came from, where it came in this format."""
        return copied(turn.raw) if self.is_own(turn) else None

    def is_own(self, turn: Turn) -> bool:
        """Whether the turn came in this format."""
        return turn.raw is not None and turn.raw_format == self.name


class Calls:
    """Pairs results with calls in formats whose messages do not carry call ids."""

    def __init__(self, before: Iterable[Turn] = ()) -> None:
        """``before``: turns whose calls the coming results may answer; read when a message without ids asks."""
        self._before: Iterable[Turn] | None = before
        self._open: dict[str, ToolCall] = {}
        self._made: Counter[tuple[str, str]] = Counter()

    def made(self, name: str, arguments: str, call_id: str | None = None) -> ToolCall:
        """Return a call. Without an id it gets one that depends on the conversation so far alone."""
        if not call_id:
            self._read()
            call_id = stable_id(name, arguments, str(self._made[name, arguments]))
        call = ToolCall(id=call_id, name=name, arguments=arguments)
        self._made[name, arguments] += 1
        self._open[call_id] = call
        return call

    def answered(self, name: str | None, call_id: str | None = None) -> str | None:
        """Return the id of the call that a result answers: its own, or that of the oldest fitting open call.

        An empty id is none: some servers send it with calls and results.
        """
        if not call_id:
            self._read()
            fitting = (call.id for call in self._open.values() if name in (None, call.name))
            call_id = next(fitting, None)
        self._open.pop(call_id or "", None)
        return call_id

    def _read(self) -> None:
        if self._before is not None:
            before, self._before = list(self._before), None
            self._open = open_calls(before) | self._open
            self._made.update((call.name, call.arguments) for turn in before for call in turn.tool_calls)


def role_of(message: Mapping[str, Any], roles: Mapping[str, Role]) -> Role:
    """Return the role of a message by a format's table. Errors: UnknownRoleError."""
    role = message.get("role")
    if isinstance(role, str) and role in roles:
        return roles[role]
    raise UnknownRoleError(f"unknown role {role!r}; use one of {', '.join(roles)}")


def image(url: str, **hints: Any) -> Part:
    """Return an image part, with its size where the URL holds the image itself."""
    width, height = image_size(url) or (None, None)
    raw = {key: value for key, value in hints.items() if value is not None}
    return Part(kind="image", url=url, width=width, height=height, raw=raw or None)


def detail_of(part: Part, settings: Mapping[str, str]) -> str | None:
    """Return an image's detail as a format writes it; None where it has none, or one that is not in ``settings``.

    Gemini's names ("media_resolution_high") are known by their last words too.
    """
    detail = (part.raw or {}).get(DETAIL)
    if part.kind != "image" or not isinstance(detail, str):
        return None
    detail = detail.lower()
    return settings.get(detail) or settings.get(detail.removeprefix("media_resolution_"))


def other(kind: str, *, text: str = "", url: str = "", **hints: Any) -> Part:
    """Return a part that is neither text nor image."""
    raw = {"type": kind} | {key: value for key, value in hints.items() if value is not None}
    return Part(kind="other", text=text, url=url, raw=raw)


def text(value: str) -> Part:
    """Return a text part."""
    return Part(kind="text", text=value)


def kind_of(part: Part) -> str:
    """Return "text", "image", or the type of an other part."""
    return str((part.raw or {}).get("type", "other")) if part.kind == "other" else part.kind


def content_fields(role: str, parts: Sequence[Part]) -> Fields:
    """Return ``text`` and ``parts`` of a turn: parts are kept only where they are more than text."""
    more = any(part.kind != "text" for part in parts)
    return {"text": join_text(role, parts), "parts": tuple(parts) if more else ()}


def travelling(turn: Turn) -> list[Part]:
    """Return the parts of a turn that may leave in another format, texts that touch each other joined."""
    out: list[Part] = []
    for part in turn.content:
        if kind_of(part) in HIDDEN or (part.kind == "text" and not part.text):
            continue
        if out and part.kind == "text" and out[-1].kind == "text":
            out[-1] = text(join_text(turn.role, [out[-1], part]))
        else:
            out.append(part)
    return out


def as_text(part: Part) -> str:
    """Return what stands for a part where a format takes only text: its text, or a placeholder."""
    return part.text or part.label


def flat(turn: Turn) -> str:
    """Return a turn's content as one text, with placeholders for what is not text."""
    parts = [part if part.kind == "text" else other("", text=as_text(part)) for part in travelling(turn)]
    return join_text(turn.role, parts)


def merged(run: Sequence[Turn]) -> Turn:
    """Return a run of assistant turns as one turn; what each said stands in a paragraph of its own."""
    if len(run) == 1:
        return run[0]
    parts: list[Part] = []
    for turn in run:
        said = travelling(turn)
        if parts and said and parts[-1].kind == said[0].kind == "text":
            said[0] = text(f"\n\n{said[0].text}")
        parts += said
    calls = tuple(call for turn in run for call in turn.tool_calls)
    name = next((turn.name for turn in run if turn.name), None)
    return Turn(id=run[0].id, role="assistant", name=name, tool_calls=calls, **content_fields("assistant", parts))


def is_error(turn: Turn) -> bool:
    """Whether a tool said that it failed."""
    return any(kind_of(part) == "error" for part in turn.parts)


def arguments_object(arguments: str) -> dict[str, Any]:
    """Return arguments as the object that some formats want; what is none travels under RAW_ARGUMENTS."""
    try:
        value = parsed(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {RAW_ARGUMENTS: arguments}


def arguments_text(value: Any) -> str:
    """Return arguments as JSON text; what :func:`arguments_object` wrapped comes back as it was."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() == {RAW_ARGUMENTS} and isinstance(value[RAW_ARGUMENTS], str):
        return str(value[RAW_ARGUMENTS])
    return json.dumps(value, ensure_ascii=False)
