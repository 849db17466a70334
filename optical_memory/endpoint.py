"""A model behind an OpenAI-compatible endpoint (vLLM, SGLang, Ollama, a hosted API): one request, one message back."""

from __future__ import annotations

import json
import os
import random
import time
import weakref
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from optical_memory.errors import EndpointError, InputError, MissingExtraError

KEY_VARIABLE = "OPTICAL_MEMORY_ENDPOINT_KEY"
"""Environment variable that the key is taken from where none is given."""
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Endpoint:
    """Sends messages to ``{url}/chat/completions`` and takes the answer.

    ``url`` is the API's base, such as ``http://127.0.0.1:8000/v1``; ``model`` is the name it knows. ``key`` (or the
    environment variable ``OPTICAL_MEMORY_ENDPOINT_KEY``) goes into the Authorization header alone: never into a log,
    an error or ``repr``. ``timeout_seconds`` bounds each try, ``retries`` the tries after the first (on connection
    errors and on answers 408, 409, 425, 429 and 5xx, with growing waits or as Retry-After says).
    ``max_answer_bytes`` bounds what is taken. No redirect is followed. ``close()`` closes the connections; so does the
    end of the object, so that one made in a call needs no closing.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str | None = None,
        timeout_seconds: float = 120.0,
        retries: int = 3,
        max_answer_bytes: int = 4 << 20,
    ) -> None:
        """Check the arguments; nothing is sent yet. Raises InputError, MissingExtraError."""
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("httpx", "endpoint") from error
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("the endpoint must be an http or https URL such as 'http://127.0.0.1:8000/v1'")
        if parts.username or parts.password:
            raise InputError(f"give the key as key=… or in {KEY_VARIABLE}, not in the URL")
        self.url, self.model = url.rstrip("/") + "/chat/completions", model
        self.retries, self.max_answer_bytes = retries, max_answer_bytes
        self._timeout = timeout_seconds
        key = key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_seconds, follow_redirects=False)
        self._close = weakref.finalize(self, self._client.close)
        self._failed = (httpx.TransportError,)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, model={self.model!r})"

    def complete(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        tools: Sequence[dict[str, Any]] = (),
        within_seconds: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the assistant's message and the usage (empty where the endpoint counts none).

        ``within_seconds`` bounds all tries together: none begins later, and none waits longer for the next bytes.
        Raises EndpointError: not reached, refused, too large, too late, or no usable answer.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens}
        body |= {"temperature": 0} | ({"tools": list(tools)} if tools else {})
        answer = self._post(body, None if within_seconds is None else time.monotonic() + within_seconds)
        try:
            message = answer["choices"][0]["message"]
            content = message.get("content")
            if isinstance(content, list):  # some servers answer in parts
                content = "".join(part.get("text", "") for part in content)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EndpointError("the endpoint's answer has no choices[0].message.content") from error
        if not isinstance(content, str | None):
            raise EndpointError(f"the endpoint answered {type(content).__name__!r} where text belongs")
        usage = answer.get("usage")
        return message | {"content": content}, usage if isinstance(usage, dict) else {}

    def close(self) -> None:
        """Close the connections."""
        self._close()

    def _post(self, body: dict[str, Any], end: float | None) -> Any:
        for attempt in range(self.retries + 1):
            wait = min(0.25 * 2**attempt, 8.0) * (0.5 + random.random() / 2)
            try:
                status, headers, data = self._once(body, end)
            except self._failed as error:
                problem = f"{type(error).__name__} at {self.url}"
            else:
                if status == 200:
                    return _json(data)
                problem = f"{self.url} answered {status}: {data[:200].decode('utf-8', 'replace')!r}"
                if status not in _RETRIED:
                    raise EndpointError(problem)
                wait = _retry_after(headers.get("retry-after"), wait)
            if attempt < self.retries:
                time.sleep(wait if end is None else min(wait, self._left(end)))
        raise EndpointError(f"{problem} (tried {self.retries + 1} times)")

    def _left(self, end: float) -> float:
        left = end - time.monotonic()
        if left <= 0:
            raise EndpointError(f"{self.url} did not answer in time")
        return left

    def _once(self, body: dict[str, Any], end: float | None) -> tuple[int, Any, bytes]:
        timeout = self._timeout if end is None else min(self._timeout, self._left(end))
        with self._client.stream("POST", self.url, json=body, timeout=timeout) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if end is not None:
                    self._left(end)
                if len(data) > self.max_answer_bytes:
                    raise EndpointError(f"{self.url} answered more than {self.max_answer_bytes:,} bytes")
            return response.status_code, response.headers, bytes(data)


def _retry_after(value: str | None, otherwise: float) -> float:
    try:
        return min(max(float(value or ""), 0.0), 30.0)
    except ValueError:
        return otherwise


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise EndpointError(f"the endpoint's answer is not JSON: {data[:200].decode('utf-8', 'replace')!r}") from error
