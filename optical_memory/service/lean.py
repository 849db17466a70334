"""The route of appends, which are most of the load: the same checks as FastAPI's, in a tenth of its time.

FastAPI still describes the route, and its errors have the same form. What it does for each request (solving
dependencies, matching a union of bodies, checking headers one by one) is done here by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from optical_memory.service.access import bearer_of, engine_of, let_in
from optical_memory.service.bodies import TurnBody, parsed
from optical_memory.service.problems import Problem
from optical_memory.service.repeats import KEY_CHARACTERS
from optical_memory.stores.scoped import SESSION_CHARACTERS

IF_MATCH_CHARACTERS = 200
SHORT_BYTES = 16 << 10
"""Longest body that is taken apart on the event loop: a thread would take longer. All else waits meanwhile."""
_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARACTERS}}}")
_TURNS: TypeAdapter[list[TurnBody]] = TypeAdapter(list[TurnBody])


class LeanRoute(APIRoute):
    """A route whose endpoint takes caller, session, body, idempotency_key and if_match: see :func:`add_turns`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        endpoint: Callable[..., Awaitable[Response]] = self.endpoint

        async def lean(request: Request) -> Response:
            caller = await let_in(request, engine_of(request), bearer_of(request), "write")
            session = request.path_params["session"]
            wrong = [] if 1 <= len(session) <= SESSION_CHARACTERS else [_wrong(("path", "session"), "too long")]
            key, if_match = request.headers.get("idempotency-key"), request.headers.get("if-match")
            if key is not None and not _KEY.fullmatch(key):
                message = f"1 to {KEY_CHARACTERS} printable ASCII characters without spaces"
                wrong.append(_wrong(("header", "idempotency-key"), message))
            if if_match is not None and len(if_match) > IF_MATCH_CHARACTERS:
                wrong.append(_wrong(("header", "if-match"), f"at most {IF_MATCH_CHARACTERS} characters"))
            if wrong:
                raise RequestValidationError(wrong)
            body = await request.body()
            if len(body) <= SHORT_BYTES:
                bodies = _bodies(request, body)
            else:
                bodies = await caller.engine.parse(lambda: _bodies(request, body))
            return await endpoint(caller, session, bodies, idempotency_key=key, if_match=if_match)

        return lean


def _bodies(request: Request, body: bytes) -> list[TurnBody]:
    """Return the turns of a body. Raises RequestValidationError, Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestValidationError([_wrong(("body",), "send JSON, with Content-Type: application/json")])
    try:
        value: Any = parsed(body)
    except json.JSONDecodeError as error:
        raise RequestValidationError([_wrong(("body", error.pos), f"no JSON: {error.msg}")]) from error
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the body cannot be parsed", f"{type(error).__name__} while it was parsed") from error
    try:
        return _TURNS.validate_python(value if isinstance(value, list) else [value])
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from error


def _wrong(place: tuple[str | int, ...], message: str) -> dict[str, Any]:
    return {"loc": place, "msg": message, "type": "value_error"}
