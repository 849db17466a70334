"""Bodies of requests: what is checked before a memory sees it, with examples for the documentation."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from optical_memory.asking import QUESTION_CHARACTERS
from optical_memory.service.access import MOST_BUDGET
from optical_memory.service.fidelity import MOST_PAGES
from optical_memory.stores.record import BATCH_TURNS, NAME_CHARACTERS
from optical_memory.stores.scoped import SESSION_CHARACTERS

Format = Literal["openai", "responses", "anthropic", "gemini", "huggingface"]
Json = dict[str, Any]


class StrictBody(BaseModel):
    """A body without fields of other names."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TurnBody(StrictBody):
    """One turn, as :meth:`optical_memory.OpticalMemory.add` takes it."""

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(examples=["user"])
    content: str | list[Json] | None = Field(default="", examples=["Find me a flight to Oslo"])
    id: str | None = Field(default=None, min_length=1, max_length=NAME_CHARACTERS)
    name: str | None = Field(default=None, max_length=NAME_CHARACTERS)
    pin: bool | str = False
    importance: float | None = Field(default=None, ge=0, le=1)
    tool_calls: list[Json] = []
    tool_call_id: str | None = None
    created_at: float | None = Field(default=None, ge=0, le=1e11, description="seconds since 1970; none: now")


class SessionBody(StrictBody):
    """A session to make."""

    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=SESSION_CHARACTERS,
        pattern=r"^[^/]+$",
        examples=["trip-planning"],
        description="none: a new one",
    )


class FollowBody(StrictBody):
    """A whole list of messages."""

    messages: list[Json] = Field(examples=[[{"role": "user", "content": "Find me a flight to Oslo"}]])
    format: Format | None = None


class ForgetBody(StrictBody):
    """What to forget: one of the three."""

    turn_id: str | None = Field(default=None, examples=["#12"])
    before: float | None = Field(default=None, description="seconds since 1970")
    everything: bool = False


class AskBody(StrictBody):
    """A question."""

    question: str = Field(min_length=1, max_length=QUESTION_CHARACTERS, examples=["Which seat did I get?"])


class FidelityBody(StrictBody):
    """Which reader shall read how many pages."""

    reader: str = Field(default="mini", max_length=100, examples=["mini"])
    pages: int = Field(default=1, ge=1, le=MOST_PAGES, description="the newest ones, each at every tier")


class CompressBody(StrictBody):
    """A list of messages to compress, as :func:`optical_memory.compress` takes it."""

    messages: list[Json] = Field(
        max_length=BATCH_TURNS, examples=[[{"role": "user", "content": "Find me a flight to Oslo"}]]
    )
    format: Format = "openai"
    profile: str | None = Field(default=None, max_length=200)
    budget: int | None = Field(default=None, ge=1, le=MOST_BUDGET)
    tools: list[Json] = []


class KeyBody(StrictBody):
    """A key to make for the caller's own tenant."""

    scopes: list[Literal["read", "write", "forget", "admin"]] = Field(
        default=["read", "write"], min_length=1, examples=[["read", "write"]]
    )
    name: str = Field(default="", max_length=100, examples=["ci"])
    seconds: float | None = Field(default=None, gt=0, le=1e10)


class QuotaBody(StrictBody):
    """The most that a tenant may keep; null: no limit."""

    sessions: int | None = Field(default=None, ge=0, lt=1 << 50, examples=[10_000])
    turns: int | None = Field(default=None, ge=0, lt=1 << 50, examples=[1_000_000])
    bytes: int | None = Field(default=None, ge=0, lt=1 << 50, examples=[1 << 30])


class StrictRequest(Request):
    """A request whose JSON is JSON: no NaN, no number beyond a double."""

    async def json(self) -> Any:
        """Return the body, parsed. Raises ValueError."""
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route whose requests are strict."""

    def get_route_handler(self) -> Any:
        """Return the handler, which gets a :class:`StrictRequest`."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Any:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def parsed(body: bytes) -> Any:
    """Return strict JSON, parsed. Raises ValueError (a JSONDecodeError where it is no JSON), RecursionError."""
    return json.loads(body, parse_constant=_refused, parse_float=_finite)


def _refused(text: str) -> Any:
    raise json.JSONDecodeError(f"{text} is no JSON", text, 0)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise json.JSONDecodeError("a number is too large", text, 0)
    return number
