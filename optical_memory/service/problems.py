"""Problems: every error as ``application/problem+json`` (RFC 9457), with a status and a way out, never with content."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from optical_memory import errors

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
"""What Retry-After says where the store cannot be used."""
STATUSES: tuple[tuple[type[errors.OpticalMemoryError], int, str], ...] = (
    (errors.QuotaError, 403, "the quota is used up"),
    (errors.LimitError, 413, "larger than a limit"),
    (errors.RepeatError, 422, "the Idempotency-Key is taken"),
    (errors.DuplicateTurnError, 409, "the turn id is taken"),
    (errors.InputError, 422, "the request is wrong"),
    (errors.NotFoundError, 404, "not found"),
    (errors.BudgetError, 422, "the budget is too small"),
    (errors.ConflictError, 409, "changed meanwhile"),
    (errors.KeyLostError, 410, "the data key is gone"),
    (errors.StoreUnavailableError, 503, "the store cannot be used now"),
    (errors.StoreCorruptError, 500, "the store is damaged"),
    (errors.LostPageError, 409, "changed meanwhile"),
    (errors.RenderError, 503, "a page cannot be drawn now"),
    (errors.EndpointError, 502, "the model cannot be reached"),
    (errors.MissingExtraError, 501, "not installed here"),
    (errors.ModelError, 501, "no such model here"),
)
"""Errors of the library, the first that fits: its status and title."""


class Problem(HTTPException):
    """An answer that is an error of HTTP's own, such as a wrong key or a revision that has passed."""

    def __init__(self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.title = title

    def answer(self) -> Response:
        """Return it as a response."""
        return problem(self.status_code, self.title, str(self.detail), self.headers)


def problem(
    status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Return an error as a response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail} | more
    return Response(json.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Have every error of an app answered as a problem."""
    app.add_exception_handler(Problem, _own)
    app.add_exception_handler(errors.OpticalMemoryError, _librarys)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _https)
    app.add_exception_handler(Exception, _unknown)


async def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.answer()


async def _librarys(request: Request, error: Exception) -> Response:
    status, title = next(
        ((status, title) for kind, status, title in STATUSES if isinstance(error, kind)), (500, "internal error")
    )
    more: dict[str, Any] = {}
    if isinstance(error, errors.BudgetError):
        more = {"needed": error.needed, "budget": error.budget}
    if isinstance(error, errors.QuotaError):
        more = {"quota": error.quota, "limit": error.limit, "used": error.used}
    if status >= 500:
        _log.error("%s: %s", type(error).__name__, error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return problem(status, title, str(error), headers, error=type(error).__name__, **more)


async def _invalid(request: Request, error: Exception) -> Response:
    """Say where a request is wrong and why, without what stood there."""
    assert isinstance(error, RequestValidationError)
    found = [{"at": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()][:20]
    detail = "; ".join(f"{one['at']}: {one['message']}" for one in found[:3])
    return problem(422, "the request is wrong", detail, errors=found)


async def _https(request: Request, error: Exception) -> Response:
    """Say what the framework refuses: an unknown route, a method that a route has not."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = str(error.detail) if error.detail != title else f"{request.method} of this path is not served here"
    return problem(error.status_code, title.lower(), detail, error.headers)


async def _unknown(request: Request, error: Exception) -> Response:
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return problem(500, "internal error", f"an unexpected {type(error).__name__}; the log says more")
