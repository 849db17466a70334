"""A client of OpenAI's for one test: none of its connections outlives the event loop that made it."""

from __future__ import annotations

from openai import AsyncOpenAI
from provider_server import Provider


def openai_client(server: Provider) -> AsyncOpenAI:
    headers = {"Connection": "close"}
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, default_headers=headers)
