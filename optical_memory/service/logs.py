"""Logs of the service: text or one JSON object a line, never with content, session ids or keys."""

from __future__ import annotations

import json
import logging
from typing import Literal

from starlette.types import Scope

_requests = logging.getLogger("optical_memory.service.requests")
_FIELDS = "fields"
"""Name of a log record's attribute that holds more fields of its line."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the kind of an exception with where it came from."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["where"] = _where(record)  # the text of an exception may quote what was handled
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logs(form: Literal["text", "json"]) -> None:
    """Write the logs of this process to its standard error in this form."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_request(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Log one request by its route, whose parameters stand as names: no session, no query, no content."""
    tenant, key = scope.get("state", {}).get("caller", ("", ""))
    fields = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(seconds * 1e3, 2),
        "tenant": tenant,
        "key": key,
    }
    message = f"{scope['method']} {route} {status}"
    _requests.info("%s", message, extra={_FIELDS: fields})


def _where(record: logging.LogRecord) -> str:
    assert record.exc_info
    trace = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
