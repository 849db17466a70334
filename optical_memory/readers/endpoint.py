"""Any vision model behind an OpenAI-compatible endpoint (vLLM, SGLang, Ollama, a hosted API), as a reader."""

from __future__ import annotations

import base64
import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

from optical_memory.errors import InputError, MissingExtraError, ReaderError
from optical_memory.readers.base import Reading
from optical_memory.readers.images import open_page
from optical_memory.renderers.base import Page

PROMPT = (
    "Transcribe all text in this image exactly, character by character, and nothing else. Where a character cannot be"
    " read, write \ufffd. The mark \u21b5 is a line break and \u21e5 a tab: write them as such."
)
KEY_VARIABLE = "OPTICAL_MEMORY_ENDPOINT_KEY"
"""Environment variable that the key is taken from where none is given."""
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class EndpointReader:
    """Sends pages to ``{url}/chat/completions`` as PNG data URLs and takes the answer as the reading.

    ``url`` is the API's base, such as ``http://127.0.0.1:8000/v1``; ``model`` is the name it knows. ``key`` (or the
    environment variable ``OPTICAL_MEMORY_ENDPOINT_KEY``) goes into the Authorization header alone: never into a log,
    an error or ``repr``. ``timeout_seconds`` bounds each try, ``retries`` the tries after the first (on connection
    errors and on answers 408, 409, 425, 429 and 5xx, with growing waits or as Retry-After says).
    ``max_image_bytes`` and ``max_answer_bytes`` bound what is sent and taken. ``detail`` is the provider's setting sent
    with each image ("high"). No redirect is followed.
    """

    name = "endpoint"

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str | None = None,
        prompt: str = PROMPT,
        detail: str | None = None,
        max_tokens: int = 8192,
        timeout_seconds: float = 120.0,
        retries: int = 3,
        max_image_bytes: int = 20 << 20,
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
        self.url, self.model, self.prompt = url.rstrip("/") + "/chat/completions", model, prompt
        self.max_tokens, self.retries, self.detail = max_tokens, retries, detail
        self.max_image_bytes, self.max_answer_bytes = max_image_bytes, max_answer_bytes
        key = key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_seconds, follow_redirects=False)
        self._failed = (httpx.TransportError,)

    def read(self, page: Page | bytes) -> Reading:
        """Read a page, or an encoded image. Raises ReaderError: not an image, too large, refused, no usable answer."""
        start = time.perf_counter()
        data = page if isinstance(page, bytes) else page.png
        if len(data) > self.max_image_bytes:
            raise ReaderError(f"an image of {len(data):,} bytes; at most {self.max_image_bytes:,} are sent")
        kind = "png" if data.startswith(b"\x89PNG") else "jpeg" if data.startswith(b"\xff\xd8") else None
        open_page(data)  # refuses what is no image
        if kind is None:
            raise ReaderError("only PNG and JPEG images are sent to an endpoint")
        answer = self._post(self._request(f"data:image/{kind};base64,{base64.b64encode(data).decode()}"))
        text, tokens = _answer(answer)
        return Reading(text=text, seconds=time.perf_counter() - start, tokens=tokens)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, image: str) -> dict[str, Any]:
        shown = {"url": image} | ({"detail": self.detail.removeprefix("media_resolution_")} if self.detail else {})
        content = [{"type": "image_url", "image_url": shown}, {"type": "text", "text": self.prompt}]
        messages = [{"role": "user", "content": content}]
        return {"model": self.model, "messages": messages, "max_tokens": self.max_tokens, "temperature": 0}

    def _post(self, body: dict[str, Any]) -> Any:
        for attempt in range(self.retries + 1):
            wait = min(0.25 * 2**attempt, 8.0) * (0.5 + random.random() / 2)
            try:
                status, headers, data = self._once(body)
            except self._failed as error:
                problem = f"{type(error).__name__} at {self.url}"
            else:
                if status == 200:
                    return _json(data)
                problem = f"{self.url} answered {status}: {data[:200].decode('utf-8', 'replace')!r}"
                if status not in _RETRIED:
                    raise ReaderError(problem)
                wait = _retry_after(headers.get("retry-after"), wait)
            if attempt < self.retries:
                time.sleep(wait)
        raise ReaderError(f"{problem} (tried {self.retries + 1} times)")

    def _once(self, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        with self._client.stream("POST", self.url, json=body) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > self.max_answer_bytes:
                    raise ReaderError(f"{self.url} answered more than {self.max_answer_bytes:,} bytes")
            return response.status_code, response.headers, bytes(data)


def _retry_after(value: str | None, otherwise: float) -> float:
    try:
        return min(max(float(value or ""), 0.0), 30.0)
    except ValueError:
        return otherwise


def _json(data: bytes) -> Any:
    import json

    try:
        return json.loads(data)
    except ValueError as error:
        raise ReaderError(f"the endpoint's answer is not JSON: {data[:200].decode('utf-8', 'replace')!r}") from error


def _answer(answer: Any) -> tuple[str, int | None]:
    """Return the text and the tokens of the prompt (image and instruction), where the endpoint counts them."""
    try:
        text = answer["choices"][0]["message"]["content"]
        if isinstance(text, list):  # some servers answer in parts
            text = "".join(part.get("text", "") for part in text)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ReaderError("the endpoint's answer has no choices[0].message.content") from error
    if not isinstance(text, str):
        raise ReaderError(f"the endpoint answered {type(text).__name__!r} where text belongs")
    usage = answer.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return text, tokens if isinstance(tokens, int) else None
