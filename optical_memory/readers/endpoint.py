"""Any vision model behind an OpenAI-compatible endpoint (vLLM, SGLang, Ollama, a hosted API), as a reader."""

from __future__ import annotations

import base64
import time
from typing import Any

from optical_memory.endpoint import Endpoint
from optical_memory.errors import EndpointError, ReaderError
from optical_memory.readers.base import Reading
from optical_memory.readers.images import open_page
from optical_memory.renderers.base import Page

PROMPT = (
    "Transcribe all text in this image exactly, character by character, and nothing else. Where a character cannot be"
    " read, write \ufffd. The mark \u21b5 is a line break and \u21e5 a tab: write them as such."
)


class EndpointReader:
    """Sends pages to an :class:`optical_memory.endpoint.Endpoint` as PNG data URLs and takes the answer as the reading.

    ``url``, ``model``, ``key`` and further ``options`` are the endpoint's. ``max_image_bytes`` bounds what is sent,
    ``max_tokens`` the answer. ``detail`` is the provider's setting sent with each image ("high").
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
        max_image_bytes: int = 20 << 20,
        **options: Any,
    ) -> None:
        """Check the arguments; nothing is sent yet. Raises InputError, MissingExtraError."""
        self.endpoint = Endpoint(url, model=model, key=key, **options)
        self.model, self.prompt, self.detail = model, prompt, detail
        self.max_tokens, self.max_image_bytes = max_tokens, max_image_bytes

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
        message = self._message(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
        try:
            answer, usage = self.endpoint.complete([message], max_tokens=self.max_tokens)
        except EndpointError as error:
            raise ReaderError(str(error)) from error
        if answer["content"] is None:
            raise ReaderError("the endpoint answered 'NoneType' where text belongs")
        tokens = usage.get("prompt_tokens")
        tokens = tokens if isinstance(tokens, int) else None
        return Reading(text=answer["content"], seconds=time.perf_counter() - start, tokens=tokens)

    def close(self) -> None:
        """Close the connections."""
        self.endpoint.close()

    def _message(self, image: str) -> dict[str, Any]:
        shown = {"url": image} | ({"detail": self.detail.removeprefix("media_resolution_")} if self.detail else {})
        content = [{"type": "image_url", "image_url": shown}, {"type": "text", "text": self.prompt}]
        return {"role": "user", "content": content}
