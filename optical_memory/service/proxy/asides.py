"""Recall calls that a model made beside calls of the caller's own tools: answered here, and put back in their place.

The caller gets such an answer without them, and its list is as valid as it stands. In its next request they stand again
before the call that they came with, and what was found before that call's result: the model sees what it looked up
and costs no answer more. They are kept with the session, for all replicas, and go with what is forgotten. Where one is
lost, as once its message is part of the past, the model may look it up again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from optical_memory.formats import get_format
from optical_memory.service.proxy.body import Item
from optical_memory.service.proxy.compose import Composed
from optical_memory.service.proxy.recalling import (
    SIGNATURE,
    Json,
    calls_in,
    calls_of,
    is_reasoning,
    result_of,
    said_in,
    told,
    without_recall,
    written,
)
from optical_memory.service.proxy.shapes import RESPONSES, Shape
from optical_memory.stores.base import Store

BLOB = "proxy/asides"
MOST = 32
"""Most asides of a session that are kept, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """Calls and results in the provider's shape; ``anchor`` names the first call of the caller's in their answer.

    They stand before it or ``after`` it, as the first of them was made: signatures are on the first call of a step.
    """

    anchor: str
    after: bool
    calls: list[Json]
    results: list[Json]

    @property
    def text(self) -> str:
        """What it adds to a request."""
        return json.dumps({"calls": self.calls, "results": self.results})


def aside_of(shape: Shape, answer: Json, texts: Sequence[str]) -> Aside:
    """Return the recall calls of an answer that has others as well, with the texts found for them.

    In Responses, with the reasoning that was for them alone.
    """
    made, left = calls_of(shape, answer).recall, without_recall(shape, answer)
    results = [result_of(shape, call, text) for call, text in zip(made, texts, strict=True)]
    calls = [item for item in answer["output"] if item not in left["output"]] if shape is RESPONSES else list(made)
    first = next(call for message in said_in(shape, answer) for call in calls_in(shape, message))
    anchor = _name(shape, calls_of(shape, left).others[0])
    return Aside(anchor=anchor, after=first not in made, calls=calls, results=results)


def kept(store: Store, session: str) -> list[Aside]:
    """Return the asides of a session, oldest first."""
    held = store.get_blob(session, BLOB)
    return [] if held is None else [Aside(**one) for one in json.loads(held)]


def keep(store: Store, session: str, aside: Aside) -> None:
    """Keep an aside of a session."""
    some = [*kept(store, session), aside][-MOST:]
    store.put_blobs(session, {BLOB: json.dumps([asdict(one) for one in some]).encode()})


def placed(shape: Shape, items: Sequence[Item], asides: Sequence[Aside]) -> dict[bytes, Aside]:
    """Return the asides whose call is in a list, by the text of its message."""
    if not asides:
        return {}
    by_name = {aside.anchor: aside for aside in asides}
    names = {item.sent: [_name(shape, call) for call in calls_in(shape, item.value)] for item in items}
    return {raw: by_name[name] for raw, found in names.items() for name in found if name in by_name}


def put_back(composed: Composed, shape: Shape, asides: Mapping[bytes, Aside], count: Callable[[str], int]) -> Composed:
    """Return a list with the asides in their places; ``count`` gives the tokens of a text."""
    if not asides:
        return composed
    out: list[tuple[bytes, int]] = []
    waiting: Aside | None = None
    for place, (raw, tokens) in enumerate(zip(composed.raws, composed.tokens, strict=True)):
        if waiting is not None:
            out.append((_answered(shape, raw, waiting), tokens))
            waiting = None
            continue
        aside = asides.get(raw)
        if aside is None or not _has_room(shape, composed.raws[place + 1 : place + 2]):
            out.append((raw, tokens))
            continue
        tokens += count(aside.text)
        own = [(written(one), 0) for one in aside.results]
        if shape is RESPONSES:
            at = _before_reasoning(out) if is_reasoning(aside.calls[0]) else len(out)
            out[at:at] = [*((written(one), 0) for one in aside.calls), *own]
            out.append((raw, tokens))
        elif shape.format == "openai":
            out += [(_called(shape, raw, aside), tokens), *own]
        else:
            out.append((_called(shape, raw, aside), tokens))
            waiting = aside
    return replace(composed, raws=tuple(raw for raw, _ in out), tokens=tuple(cost for _, cost in out))


def _before_reasoning(out: Sequence[tuple[bytes, int]]) -> int:
    """Return the place before the reasoning that a list ends with: it belongs to what follows."""
    at = len(out)
    while at and is_reasoning(json.loads(out[at - 1][0])):
        at -= 1
    return at


def _has_room(shape: Shape, after: Sequence[bytes]) -> bool:
    """Whether results can stand behind a message: some providers take them in the message of the others alone."""
    if shape.format in ("openai", "responses"):
        return True
    return any(mark in raw for raw in after for mark in (b'"tool_result"', b'"functionResponse"'))


def _called(shape: Shape, raw: bytes, aside: Aside) -> bytes:
    """Return a message with the recall calls before the one that they came with."""
    message: Json = json.loads(raw)
    key = "tool_calls" if shape.format == "openai" else get_format(shape.format).body
    blocks: list[Json] = list(message[key])
    own = calls_in(shape, message)
    place = next(at for at, block in enumerate(blocks) if block in own and _name(shape, block) == aside.anchor)
    signature = _signature(blocks[place])
    if signature is not None and signature in map(_signature, aside.calls):  # it was moved to the call that was left
        blocks[place] = {name: value for name, value in blocks[place].items() if name not in _SIGNATURES}
    place += aside.after
    return written(message | {key: [*blocks[:place], *aside.calls, *blocks[place:]]})


def _answered(shape: Shape, raw: bytes, aside: Aside) -> bytes:
    """Return the message with the caller's results, and those of recall where its calls are among the others."""
    message: Json = json.loads(raw)
    key = get_format(shape.format).body
    blocks: list[Json] = message[key]
    own = [at for at, block in enumerate(blocks) if block.get("type") == "tool_result" or "functionResponse" in block]
    place = own[0] + aside.after
    return written(message | {key: [*blocks[:place], *aside.results, *blocks[place:]]})


_SIGNATURES = (SIGNATURE, "thought_signature")


def _name(shape: Shape, call: Json) -> str:
    """Return what names a call: its id, or a hash of all it says where the provider gives none."""
    made = told(shape, call)
    if made.id:
        return made.id
    whole = json.dumps([made.name, made.arguments, _signature(call)], sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def _signature(call: Json) -> str | None:
    """Return the signature of a Gemini part, however its client writes base64, or None."""
    held = next((str(call[name]) for name in _SIGNATURES if call.get(name)), None)
    return None if held is None else held.translate(str.maketrans("-_", "+/")).rstrip("=")
