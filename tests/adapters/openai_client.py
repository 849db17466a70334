"""A client of OpenAI's for one test: none of its connections outlives the event loop that made it."""

from __future__ import annotations

from httpx import AsyncClient, Limits
from openai import AsyncOpenAI
from provider_server import Provider


def openai_client(server: Provider) -> AsyncOpenAI:
    http = AsyncClient(limits=Limits(max_keepalive_connections=0))
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, http_client=http)
