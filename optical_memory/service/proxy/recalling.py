"""The recall tool behind the proxy: offered where it can be answered here, and answered before the caller sees it.

The model's calls are answered and sent back, at most ``ROUNDS`` times, and the caller gets one answer. In streams it is
offered where they can go on (:mod:`optical_memory.service.proxy.speaking`); calls that come with others of the caller's
are put aside (:mod:`optical_memory.service.proxy.asides`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from optical_memory import wording
from optical_memory.formats import get_format
from optical_memory.recall import PARAMETERS
from optical_memory.service.proxy.body import Body
from optical_memory.service.proxy.shapes import Shape

ROUNDS = 4
"""Most times that a model may look something up for one answer."""
Json = dict[str, Any]
SIGNATURE = "thoughtSignature"
"""Key of a Gemini part that only the model can make."""


def can_answer(shape: Shape, body: Body) -> bool:
    """Whether a request can have the tool: it asks for one answer, now, and has no tool of this name of its own."""
    if body.get("background") is True or body.raw("tools").find(f'"{wording.RECALL}"') >= 0:
        return False
    config = body.get("generationConfig")
    count = body.get("n") or (config.get("candidateCount") if isinstance(config, dict) else None) or 1
    return bool(count == 1)


@cache
def schema_text(shape: Shape) -> str:
    """Return the tool as a provider takes it, as JSON text."""
    tool = get_format(shape.format).tool(wording.RECALL, wording.RECALL_DESCRIPTION, PARAMETERS)
    return json.dumps(tool, separators=(",", ":"))


def offered(shape: Shape, body: Body) -> dict[str, str]:
    """Return the field ``tools`` with the recall tool behind the client's own, whose text stays as it is."""
    held = body.get("tools")
    if not isinstance(held, list) or not held:
        return {"tools": f"[{schema_text(shape)}]"}
    if shape.format == "gemini":  # all functions are declared in one tool
        return {"tools": json.dumps(get_format("gemini").joined_tools([*held, json.loads(schema_text(shape))]))}
    return {"tools": f"{body.raw('tools').rstrip()[:-1]},{schema_text(shape)}]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of an answer, as the model made them: those of the recall tool, and all others."""

    recall: tuple[Json, ...]
    others: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a call says. ``id`` is "" where the provider gives none."""

    id: str
    name: str
    arguments: Any


def calls_of(shape: Shape, answer: Mapping[str, Any]) -> Calls:
    """Return the calls in an answer."""
    found = [call for message in said_in(shape, answer) for call in calls_in(shape, message)]
    ours = tuple(call for call in found if told(shape, call).name == wording.RECALL)
    return Calls(recall=ours, others=tuple(call for call in found if call not in ours))


def said_in(shape: Shape, answer: Mapping[str, Any]) -> list[Json]:
    """Return the messages or items that an answer adds to a list."""
    if shape.format == "openai":
        choices = answer.get("choices") or ()
        message = dict(choices[0].get("message") or {}) if choices else {}
        return [{key: value for key, value in message.items() if key not in ("annotations", "audio")}]
    if shape.format == "anthropic":
        return [{"role": "assistant", "content": answer.get("content") or []}]
    if shape.format == "responses":
        return [item for item in answer.get("output") or () if isinstance(item, dict)]
    candidates = answer.get("candidates") or ()
    content = candidates[0].get("content") if candidates else None
    return [content or {"role": "model", "parts": []}]


def calls_in(shape: Shape, message: Any) -> list[Json]:
    """Return the calls in a message or item, in the provider's own shape."""
    if not isinstance(message, dict):
        return []
    if shape.format == "responses":
        return [message] if str(message.get("type")).endswith("_call") and message.get("call_id") else []
    held = message.get({"openai": "tool_calls", "anthropic": "content"}.get(shape.format, "parts"))
    calls = [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
    if shape.format == "anthropic":
        return [block for block in calls if block.get("type") == "tool_use"]
    return calls if shape.format == "openai" else [part for part in calls if isinstance(part.get("functionCall"), dict)]


def told(shape: Shape, call: Json) -> Call:
    """Return what a call says, whichever provider's shape it has."""
    if shape.format == "openai":
        function = call.get("function") or {}
        return Call(id=str(call.get("id")), name=str(function.get("name")), arguments=function.get("arguments"))
    if shape.format == "anthropic":
        return Call(id=str(call.get("id")), name=str(call.get("name")), arguments=call.get("input"))
    if shape.format == "responses":
        return Call(id=str(call["call_id"]), name=str(call.get("name")), arguments=call.get("arguments"))
    function = call["functionCall"]
    return Call(id=str(function.get("id") or ""), name=str(function.get("name")), arguments=function.get("args"))


def result_of(shape: Shape, call: Json, text: str) -> Json:
    """Return the result of a recall call: a message, block, item or part, as the provider takes it."""
    made = told(shape, call).id
    if shape.format == "openai":
        return {"role": "tool", "tool_call_id": made, "content": text}
    if shape.format == "anthropic":
        return {"type": "tool_result", "tool_use_id": made, "content": text}
    if shape.format == "responses":
        return {"type": "function_call_output", "call_id": made, "output": text}
    given = {"id": made} if made else {}
    return {"functionResponse": given | {"name": wording.RECALL, "response": {"output": text}}}


def continued(shape: Shape, answer: Mapping[str, Any], results: Sequence[Json]) -> list[bytes]:
    """Return the messages, as JSON, that an answer with recall calls and their results add to the list."""
    said = said_in(shape, answer)
    if shape.format in ("openai", "responses"):
        made = [*said, *results]
    else:
        made = [*said, {"role": "user", get_format(shape.format).body: list(results)}]
    return [written(one) for one in made]


def written(message: Json) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode()


def without_recall(shape: Shape, answer: Json) -> Json:
    """Return an answer without the calls of the recall tool: what is left is the caller's to do."""
    calls = calls_of(shape, answer)

    def kept(blocks: Sequence[Json]) -> list[Json]:
        return [block for block in blocks if block not in calls.recall]

    if shape.format == "openai":
        choice = answer["choices"][0]
        message = {key: value for key, value in choice["message"].items() if key != "tool_calls" or calls.others}
        message |= {"tool_calls": list(calls.others)} if calls.others else {}
        choices = [choice | {"message": message, "finish_reason": "tool_calls" if calls.others else "stop"}]
        return answer | {"choices": [*choices, *answer["choices"][1:]]}
    if shape.format == "anthropic":
        return answer | {"content": kept(answer["content"])} | ({} if calls.others else {"stop_reason": "end_turn"})
    if shape.format == "responses":
        return answer | {"output": [item for step in steps(answer["output"]) for item in _without(step, calls)]}
    first = answer["candidates"][0]
    first = first | {"content": first["content"] | {"parts": signed(kept(first["content"]["parts"]), calls.recall)}}
    return answer | {"candidates": [first, *answer["candidates"][1:]]}


def steps(items: Sequence[Json]) -> list[list[Json]]:
    """Return items of the Responses API in steps: reasoning, and what belongs to it."""
    out: list[list[Json]] = []
    for item in items:
        if not out or (is_reasoning(item) and not is_reasoning(out[-1][-1])):
            out.append([])
        out[-1].append(item)
    return out


def is_reasoning(item: Json) -> bool:
    """Whether an item is reasoning, which the API refuses without what follows it."""
    return item.get("type") == "reasoning"


def _without(step: Sequence[Json], calls: Calls) -> list[Json]:
    """Return a step without recall calls; nothing where it was made for them alone."""
    left = [item for item in step if item not in calls.recall]
    return [] if all(map(is_reasoning, left)) and len(left) < len(step) else left


def signed(parts: list[Json], gone: Sequence[Json]) -> list[Json]:
    """Return Gemini's parts with the signature of the calls that are gone on the first one left, if that has none.

    A step has one signature, on its first call, and a list is refused where it is missing.
    """
    signature = next((call[SIGNATURE] for call in gone if call.get(SIGNATURE)), None)
    place = next((place for place, part in enumerate(parts) if "functionCall" in part), None)
    if signature is None or place is None or parts[place].get(SIGNATURE):
        return parts
    return [*parts[:place], parts[place] | {SIGNATURE: signature}, *parts[place + 1 :]]


def no_more(shape: Shape) -> dict[str, str]:
    """Return the field that keeps the model from calling tools again, as text."""
    if shape.format == "gemini":
        return {"toolConfig": '{"functionCallingConfig":{"mode":"NONE"}}'}
    return {"tool_choice": '{"type":"none"}' if shape.format == "anthropic" else '"none"'}


def summed(answers: list[Json]) -> Json:
    """Return the last answer with the usage of all: they were all paid for."""
    last = answers[-1]
    for key in ("usage", "usageMetadata"):
        if isinstance(last.get(key), dict):
            last = last | {key: added([answer[key] for answer in answers if isinstance(answer.get(key), dict)])}
    return last


def added(usages: list[Json]) -> Json:
    """Return the sum of usages, field by field, as far as the last one has them."""
    total = dict(usages[-1]) if usages else {}
    for name, value in list(total.items()):
        others = [usage.get(name) for usage in usages]
        if isinstance(value, dict):
            total[name] = added([one for one in others if isinstance(one, dict)])
        elif isinstance(value, int) and not isinstance(value, bool):
            total[name] = sum(one for one in others if isinstance(one, int))
    return total
