"""Calls of the service as values: what both clients send, when they may send it again, and what the answers mean."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from optical_memory.errors import (
    AccessError,
    BudgetError,
    ConflictError,
    DuplicateTurnError,
    InputError,
    KeyLostError,
    LimitError,
    MissingExtraError,
    NotFoundError,
    OpticalMemoryError,
    QuotaError,
    StoreUnavailableError,
)

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", "client") from error

RETRIED = frozenset({408, 429, 502, 503, 504})
"""Answers after which a call is sent again."""
LONGEST_WAIT_SECONDS = 30.0
_ERRORS: dict[int, type[OpticalMemoryError]] = {
    400: InputError,
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    408: StoreUnavailableError,
    409: ConflictError,
    410: KeyLostError,
    412: ConflictError,
    413: LimitError,
    422: InputError,
    429: StoreUnavailableError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. All are safe to send again: those that add carry an Idempotency-Key of their own."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of httpx's ``request``."""
        given = {"method": self.method, "url": self.path, "headers": dict(self.headers)}
        given |= {"params": {name: value for name, value in self.params.items() if value is not None}}
        return given | ({"content": self.content} if self.content is not None else {"json": self.json})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a client reaches the service; see :class:`optical_memory.client.OpticalMemoryClient`."""

    url: str
    key: str = field(repr=False)
    timeout_seconds: float
    retries: int

    def __post_init__(self) -> None:
        """Raise InputError for a URL that is none, or that holds a password."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InputError("the service's URL is one such as 'http://127.0.0.1:8321', without a name or password")

    def for_httpx(self) -> dict[str, Any]:
        """Return the arguments of httpx's clients."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return {"base_url": self.url.rstrip("/"), "headers": headers, "timeout": self.timeout_seconds}


def adding(
    method: str, path: str, json: Any, *, if_match: str | None = None, params: Mapping[str, Any] | None = None
) -> Call:
    """Return a call that adds something, under an Idempotency-Key of its own."""
    headers = {"Idempotency-Key": uuid.uuid4().hex} | ({"If-Match": f'"{if_match}"'} if if_match else {})
    return Call(method=method, path=path, json=json, headers=headers, params=params or {})


def checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is none of an error. Raises the library's error for it, with the service's own words."""
    if response.status_code < 400:
        return response
    try:
        said: Any = response.json()
        said = said if isinstance(said, dict) else {}
    except ValueError:
        said = {}
    words = f"{said.get('title') or response.reason_phrase}: {said.get('detail') or response.text[:200]}"
    message = f"{words} (status {response.status_code})"
    if said.get("error") == "DuplicateTurnError":
        raise DuplicateTurnError(message)
    if said.get("error") == "QuotaError":
        raise QuotaError(message, quota=said["quota"], limit=int(said["limit"]), used=int(said["used"]))
    if "needed" in said and "budget" in said:
        raise BudgetError(message, needed=int(said["needed"]), budget=int(said["budget"]))
    otherwise = StoreUnavailableError if response.status_code >= 500 else InputError
    raise _ERRORS.get(response.status_code, otherwise)(message)


def wait_seconds(attempt: int, response: httpx.Response | None) -> float:
    """Return how long to wait before a call is sent again: as Retry-After says, else longer each time, with chance."""
    grown: float = min(0.1 * 2.0**attempt, 5.0) * (0.5 + random.random() / 2)
    try:
        said = float(response.headers.get("retry-after", "")) if response is not None else 0.0
    except ValueError:
        said = 0.0
    return min(max(said, grown), LONGEST_WAIT_SECONDS)


def gave_up(call: Call, tries: int, error: Exception) -> StoreUnavailableError:
    """Return the error of a call that got no answer."""
    return StoreUnavailableError(f"no answer to {call.method} {call.path} after {tries} tries: {error!r}")
