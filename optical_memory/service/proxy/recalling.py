"""The recall tool behind the proxy: offered where it can be answered here, and answered before the caller sees it.

It is offered in requests that are not streamed: a stream would have to be held back until the model had chosen. The
model's calls are answered and sent back, at most ``ROUNDS`` times, and the caller gets one answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def can_answer(shape: Shape, body: Body, streams: bool) -> bool:
    """Whether a request can have the tool: one answer, not streamed, and no tool of this name of the client's."""
    if streams or body.get("background") is True or body.raw("tools").find(f'"{wording.RECALL}"') >= 0:
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
    """The calls of an answer: those of the recall tool (id and arguments), and whether there are others."""

    recall: tuple[tuple[str, Any], ...]
    others: bool


def calls_of(shape: Shape, answer: Mapping[str, Any]) -> Calls:
    """Return the calls in an answer."""
    found: list[tuple[str, str, Any]] = []
    if shape.format == "openai":
        for call in _message(answer).get("tool_calls") or ():
            function = call.get("function") or {}
            found.append((str(call.get("id")), str(function.get("name")), function.get("arguments")))
    elif shape.format == "anthropic":
        blocks = [block for block in answer.get("content") or () if block.get("type") == "tool_use"]
        found = [(str(block.get("id")), str(block.get("name")), block.get("input")) for block in blocks]
    elif shape.format == "responses":
        items = [item for item in answer.get("output") or () if str(item.get("type")).endswith("_call")]
        items = [item for item in items if item.get("call_id")]
        found = [(str(item["call_id"]), str(item.get("name")), item.get("arguments")) for item in items]
    else:
        made = [part["functionCall"] for part in _parts(answer) if isinstance(part.get("functionCall"), dict)]
        found = [(str(call.get("id") or ""), str(call.get("name")), call.get("args")) for call in made]
    ours = tuple((call_id, arguments) for call_id, name, arguments in found if name == wording.RECALL)
    return Calls(recall=ours, others=len(ours) < len(found))


def continued(shape: Shape, answer: Mapping[str, Any], results: Mapping[int, str]) -> list[str]:
    """Return the messages, as texts, that an answer with recall calls and their results add to the list."""
    calls = calls_of(shape, answer).recall
    pairs = [(call_id, results[place]) for place, (call_id, _) in enumerate(calls)]
    made: list[Json]
    if shape.format == "openai":
        message = {key: value for key, value in _message(answer).items() if key not in ("annotations", "audio")}
        made = [message, *({"role": "tool", "tool_call_id": one, "content": text} for one, text in pairs)]
    elif shape.format == "anthropic":
        blocks = [{"type": "tool_result", "tool_use_id": one, "content": text} for one, text in pairs]
        made = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": blocks}]
    elif shape.format == "responses":
        outputs = [{"type": "function_call_output", "call_id": one, "output": text} for one, text in pairs]
        made = [*answer["output"], *outputs]
    else:
        parts = [
            {"functionResponse": ({"id": one} if one else {}) | {"name": wording.RECALL, "response": {"output": text}}}
            for one, text in pairs
        ]
        made = [answer["candidates"][0]["content"], {"role": "user", "parts": parts}]
    return [json.dumps(one, separators=(",", ":")) for one in made]


def without_recall(shape: Shape, answer: Json) -> Json:
    """Return an answer without the calls of the recall tool: what is left is the caller's to do."""
    if shape.format == "openai":
        choice = answer["choices"][0]
        calls = [call for call in choice["message"]["tool_calls"] if _named(call.get("function")) != wording.RECALL]
        message = {key: value for key, value in choice["message"].items() if key != "tool_calls" or calls}
        message |= {"tool_calls": calls} if calls else {}
        choices = [choice | {"message": message, "finish_reason": "tool_calls" if calls else "stop"}]
        return answer | {"choices": [*choices, *answer["choices"][1:]]}
    if shape.format == "anthropic":
        blocks = [block for block in answer["content"] if _named(block) != wording.RECALL]
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        return answer | {"content": blocks} | ({} if calls else {"stop_reason": "end_turn"})
    if shape.format == "responses":
        return answer | {"output": [item for item in answer["output"] if _named(item) != wording.RECALL]}
    first = answer["candidates"][0]
    parts = [part for part in _parts(answer) if _named(part.get("functionCall")) != wording.RECALL]
    first = first | {"content": first["content"] | {"parts": parts}}
    return answer | {"candidates": [first, *answer["candidates"][1:]]}


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
            last = last | {key: _added([answer[key] for answer in answers if isinstance(answer.get(key), dict)])}
    return last


def _added(usages: list[Json]) -> Json:
    total = dict(usages[-1])
    for name, value in usages[-1].items():
        others = [usage.get(name) for usage in usages]
        if isinstance(value, dict):
            total[name] = _added([one for one in others if isinstance(one, dict)])
        elif isinstance(value, int) and not isinstance(value, bool):
            total[name] = sum(one for one in others if isinstance(one, int))
    return total


def _message(answer: Mapping[str, Any]) -> Json:
    choices = answer.get("choices") or ()
    return dict(choices[0].get("message") or {}) if choices else {}


def _parts(answer: Mapping[str, Any]) -> list[Json]:
    candidates = answer.get("candidates") or ()
    content = candidates[0].get("content") if candidates else None
    return list((content or {}).get("parts") or ())


def _named(holder: Any) -> Any:
    return holder.get("name") if isinstance(holder, dict) else None
