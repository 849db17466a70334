"""Asking a memory: a question in, an answer from the remembered conversation out, with the turns it rests on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optical_memory import wording
from optical_memory.budget import Profile, count_tokens
from optical_memory.context.base import Context
from optical_memory.endpoint import Endpoint
from optical_memory.errors import EndpointError, InputError, LimitError, NotFoundError
from optical_memory.recall import RecallTool
from optical_memory.turns import Turn

QUESTION_CHARACTERS = 8_000
"""Most characters of a question."""
DEFAULT_MODEL = "smollm2"
"""The in-process model that answers where none is named."""
ROUNDS = 6
"""Most requests for one answer: the model may call the recall tool in all but the last."""
ANSWER_TOKENS = 1_024
"""Most tokens of an answer."""
MOST_SOURCES = 3
"""Most turns named as sources of an answer."""


class Askable(Protocol):
    """What is needed of a memory; see :class:`optical_memory.OpticalMemory`."""

    profile: Profile

    def context(self, *, draw: bool = ...) -> Context:
        """Return what the model should see."""

    def peek(self) -> Context:
        """Return what stands in the context."""

    def recall(self, question: str | None = ..., *, k: int = ..., turn_id: str | None = ...) -> list[Turn]:
        """Return exact turns."""

    def recall_tool(self) -> RecallTool:
        """Return the recall tool."""

    def request(self, format: str, *, recall: bool, reserve: int) -> dict[str, Any]:
        """Return a whole request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an answer stands: an exact turn and, where it was read from a page, the page and the line (from 1)."""

    turn_id: str
    page: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskUsage:
    """What an answer cost: tokens of all requests, how many requests there were, wall time in seconds."""

    input_tokens: int
    output_tokens: int
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer from the memory.

    ``sources`` name the turns that it rests on, the best first. ``certainty``, 0 to 1, is the share of the exact
    values in the answer (ids, amounts, dates, names of files) that stand word for word in those turns or, for an
    in-process model, how sure it was of the answer. ``found`` is False where the memory does not say. ``unproven`` are
    the exact values of the answer that stand word for word in none of those turns; ``doubtful`` says that it rests on
    characters that could not be read surely, or stands in no line that was read.
    """

    text: str
    sources: tuple[Source, ...]
    certainty: float
    usage: AskUsage
    found: bool = True
    unproven: tuple[str, ...] = ()
    doubtful: bool = False

    @property
    def caution(self) -> str:
        """What to be careful about, in words; empty where there is nothing."""
        said = [f"in none of these turns word for word: {', '.join(self.unproven)}"] if self.unproven else []
        return "; ".join([*said, *(["not surely read"] if self.doubtful else [])])


def ask(memory: Askable, question: str, *, model: Any = None, expand: bool = True) -> Reply:
    """Answer a question from a memory, by a model behind an endpoint or one in this process.

    See :meth:`OpticalMemory.ask`. Errors: LimitError for a question that is too long or empty, InputError for a model
    that does not answer, EndpointError, BudgetError, and what loading a model raises.
    """
    if not question.strip() or len(question) > QUESTION_CHARACTERS:
        raise LimitError(f"a question has 1 to {QUESTION_CHARACTERS:,} characters, not {len(question):,}")
    if isinstance(model, Endpoint):
        return ask_endpoint(memory, question, model)
    if model is None or isinstance(model, str):
        from optical_memory.model import load_model

        model = load_model(model or DEFAULT_MODEL)
    if not hasattr(model, "answer"):
        raise InputError(f"{type(model).__name__!r} transcribes and does not answer; use 'smollm2' or an Endpoint")
    return reply_in_process(memory, model.answer(memory.context(draw=True), question, expand=expand))


def reply_in_process(memory: Askable, answer: Any) -> Reply:
    """Return an in-process model's answer as a reply, its exact values held against the turns that it rests on.

    A turn elsewhere that holds one is a source, too. Where none of its values stands anywhere, it is not in the memory.
    """
    used = answer.usage
    usage = AskUsage(
        input_tokens=used.vision_tokens + used.text_tokens,
        output_tokens=used.new_tokens,
        requests=1,
        seconds=used.seconds,
    )
    sources = tuple(
        Source(turn_id=each.turn_id, page=each.page_id or None, line=each.line or None) for each in answer.sources
    )
    if not answer.found:
        return Reply(text=answer.text, sources=(), certainty=answer.certainty, usage=usage, found=False)
    turns = [turn for turn_id in dict.fromkeys(each.turn_id for each in sources) for turn in _turn(memory, turn_id)]
    values = _values(answer.text)
    missing = _unproven(values, turns)
    elsewhere = {turn.id: turn for value in missing for turn in memory.recall(value, k=8) if value in turn.text}
    unproven = _unproven(missing, elsewhere.values())
    if values and len(unproven) == len(values):  # put together from what was read, and said nowhere
        return Reply(text=wording.NOT_THERE, sources=(), certainty=1 - answer.certainty, usage=usage, found=False)
    more = [_source(memory, turn) for turn in list(elsewhere.values())[:MOST_SOURCES]]
    return Reply(
        text=answer.text,
        sources=(*sources, *more),
        certainty=answer.certainty,
        usage=usage,
        unproven=unproven,
        doubtful=answer.doubtful,
    )


def _turn(memory: Askable, turn_id: str) -> list[Turn]:
    """Return a turn that an answer rests on; none where it was forgotten meanwhile."""
    try:
        return memory.recall(turn_id=turn_id)
    except NotFoundError:
        return []


def _values(text: str) -> list[str]:
    from optical_memory.facts import extract

    return list(dict.fromkeys(fact.value for fact in extract(text)))


def _unproven(values: Iterable[str], turns: Iterable[Turn]) -> tuple[str, ...]:
    """Return the values that stand word for word in none of the turns."""
    words = "\n".join(turn.text for turn in turns)
    return tuple(value for value in values if value not in words)


def ask_endpoint(memory: Askable, question: str, endpoint: Endpoint) -> Reply:
    """Let a model behind an endpoint answer from the memory's context, with the recall tool.

    Errors: EndpointError, BudgetError.
    """
    started = time.perf_counter()
    prompt = {"role": "user", "content": wording.question(question)}
    tool = memory.recall_tool()
    request = memory.request("openai", recall=True, reserve=count_tokens(prompt["content"], memory.profile) + 8)
    messages: list[dict[str, Any]] = [*request["messages"], *_unanswered(request["messages"]), prompt]
    recalled: list[Turn] = []
    used = [0, 0]
    for number in range(1, ROUNDS + 1):
        tools = request["tools"] if number < ROUNDS else ()
        message, usage = endpoint.complete(messages, max_tokens=ANSWER_TOKENS, tools=tools)
        used[0] += int(usage.get("prompt_tokens") or 0)
        used[1] += int(usage.get("completion_tokens") or 0)
        calls = message.get("tool_calls") or []
        if not calls:
            seconds = time.perf_counter() - started
            cost = AskUsage(input_tokens=used[0], output_tokens=used[1], requests=number, seconds=seconds)
            return reply_of(memory, question, str(message.get("content") or "").strip(), recalled, cost)
        messages.append({key: value for key, value in message.items() if value is not None})
        for call in calls:
            answer, turns = tool.answer(call["function"]["arguments"])
            recalled += turns
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})
    raise EndpointError(f"{endpoint!r} called tools {ROUNDS} times and answered nothing")


def _unanswered(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return results for the calls that the agent still waits for: no provider takes a question behind an open call."""
    answered = {message.get("tool_call_id") for message in messages}
    last: Mapping[str, Any] = next((message for message in reversed(messages) if message["role"] != "tool"), {})
    calls = [call["id"] for call in last.get("tool_calls") or ()]
    return [
        {"role": "tool", "tool_call_id": call, "content": wording.NO_RESULT} for call in calls if call not in answered
    ]


def reply_of(memory: Askable, question: str, text: str, recalled: Sequence[Turn], usage: AskUsage) -> Reply:
    """Return a model's words as a reply, with the turns that hold what it says."""
    if not text or wording.NOT_THERE.rstrip(".").lower() in text.lower():
        return Reply(text=text or wording.NOT_THERE, sources=(), certainty=0.0, usage=usage, found=False)
    values = _values(text)
    candidates = {turn.id: turn for turn in (*recalled, *memory.recall(f"{text} {question}"[:2_000], k=8))}
    ranked = sorted(candidates.values(), key=lambda turn: -_held(turn, values, text))
    best = [turn for turn in ranked if _held(turn, values, text)][:MOST_SOURCES]
    unproven = _unproven(values, best)
    held = 1 - len(unproven) / len(values) if values else float(bool(best))
    sources = tuple(_source(memory, turn) for turn in best)
    return Reply(text=text, sources=sources, certainty=held, usage=usage, unproven=unproven)


def _held(turn: Turn, values: Iterable[str], text: str) -> float:
    """Weigh how much of an answer stands in a turn: its exact values first, then its words."""
    words = {word for word in text.lower().split() if len(word) > 3}
    said = turn.text.lower()
    share = sum(word.strip(".,;:!?") in said for word in words) / max(len(words), 1)
    return sum(value in turn.text for value in values) + (share if share > 0.3 else 0.0)


def _source(memory: Askable, turn: Turn) -> Source:
    """Return a turn as a source, with the page of the context that shows it."""
    for page in memory.peek().pages:
        span = next((span for span in page.layout.spans if span.turn_id == turn.id), None)
        if span is not None:
            return Source(turn_id=turn.id, page=page.id, line=span.first_row + 1)
    return Source(turn_id=turn.id)
