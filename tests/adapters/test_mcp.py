"""The MCP server with the SDK's own client: over stdio in a process of its own, and over streamable HTTP with keys."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")
pytest.importorskip("mcp.server.mcpserver")

import httpx2
import uvicorn
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.service.ports import free_port
from optical_memory import OpticalMemory
from optical_memory.adapters.mcp import build_server
from optical_memory.errors import InputError
from optical_memory.service.keys import SCOPES, Keyring
from optical_memory.service.records import open_records

COMMAND = ["-c", "from optical_memory.cli import main; main()", "mcp", "--budget", "3000"]


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def remember(client: Client, session: str, count: int) -> None:
    for number in range(count):
        role = "assistant" if number % 2 else "user"
        arguments = {
            "session": session,
            "role": role,
            "text": f"Note {number}, code-{number:04}. " * 30,
            "id": f"n{number}",
        }
        assert not (await client.call_tool("remember", arguments)).is_error


async def test_over_stdio_with_a_restart_of_the_server(tmp_path: Path) -> None:
    server = StdioServerParameters(command=sys.executable, args=[*COMMAND, "--store", f"sqlite:///{tmp_path / 'm.db'}"])
    async with Client(stdio_client(server)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"remember", "context", "recall", "ask", "forget"}
        await remember(client, "s", 30)
    async with Client(stdio_client(server)) as client:
        await remember(client, "s", 30)  # the same ids: stored once
        seen = await client.call_tool("context", {"session": "s"})
        images = [block for block in seen.content if block.type == "image"]
        assert images and all(image.mime_type == "image/png" for image in images)
        found = text(await client.call_tool("recall", {"session": "s", "question": "code-0003", "k": 1}))
        assert "Note 3, code-0003." in found
        assert not (await client.call_tool("forget", {"session": "s", "turn_id": "n3"})).is_error
        found = text(await client.call_tool("recall", {"session": "s", "question": "code-0003", "k": 20}))
        assert "code-0003" not in found
        wrong = await client.call_tool("forget", {"session": "s", "turn_id": "nobody"})
        assert wrong.is_error and "nobody" in text(wrong)
        wrong = await client.call_tool("forget", {"session": "s"})
        assert wrong.is_error


@contextmanager
def served(app: Any) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            thread.join()


@asynccontextmanager
async def over_http(url: str, key: str) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            yield client


async def test_over_http_each_key_of_the_service_opens_its_own_tenant_and_no_more_than_its_scopes(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"profile": "claude", "budget": 3_000, "renderer": "dense"}
    store = f"sqlite:///{tmp_path / 'm.db'}"
    records = open_records(store)
    ring = Keyring(records, cache_seconds=0)
    (anna_key, anna_text), (_, bert_text) = (ring.create(tenant, SCOPES) for tenant in ("anna", "bert"))
    _, reader_text = ring.create("anna", ["read"])
    server = build_server(store=store, authenticate=ring.find, **settings)
    with served(server.streamable_http_app()) as url:
        async with over_http(url, anna_text) as anna, over_http(url, bert_text) as bert:
            await anna.call_tool("remember", {"session": "s", "role": "user", "text": "The code is swordfish."})
            asked = {"session": "s", "question": "What is the code?"}
            assert "swordfish" in text(await anna.call_tool("recall", asked))
            assert "swordfish" not in text(await bert.call_tool("recall", asked))
            await bert.call_tool("forget", {"session": "s", "everything": True})
            assert "swordfish" in text(await anna.call_tool("recall", asked))
        async with over_http(url, reader_text) as reader:
            assert "swordfish" in text(await reader.call_tool("recall", asked))
            said = {"session": "s", "role": "user", "text": "The code is tuna."}
            for tool, arguments in (("remember", said), ("forget", {"session": "s", "everything": True})):
                refused = await reader.call_tool(tool, arguments)
                assert refused.is_error and "may not" in text(refused)
        ring.revoke(anna_key.id)
        for key in (None, "wrong", anna_text):
            async with httpx2.AsyncClient() as raw:
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                answer = await raw.post(url, json={}, headers=headers)
                assert answer.status_code == 401
    records.close()


async def test_the_command_serves_http_with_the_services_keys(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'm.db'}"
    records = open_records(store)
    _, key = Keyring(records).create("anna")
    records.close()
    port = free_port()
    command = [sys.executable, *COMMAND, "--store", store, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, "the server ended"
                await asyncio.sleep(0.05)
            async with over_http(f"http://127.0.0.1:{port}/mcp", key) as client:
                await remember(client, "s", 2)
                found = text(await client.call_tool("recall", {"session": "s", "question": "code-0001", "k": 1}))
            assert "code-0001" in found
        finally:
            server.terminate()


async def test_work_is_done_off_the_event_loop() -> None:
    at = set[int]()

    def clock() -> float:
        at.add(threading.get_ident())
        return time.time()

    server = build_server(profile="claude", budget=3_000, renderer="dense", clock=clock)
    async with Client(server) as client:
        calls = (remember(client, f"s{number}", 6) for number in range(5))
        await asyncio.gather(*calls)
    assert at and threading.get_ident() not in at


async def test_a_ready_memory_is_one_session() -> None:
    with OpticalMemory("mine", renderer="dense") as memory:
        async with Client(build_server(memory)) as client:
            await remember(client, "mine", 2)
            assert len(memory.turns()) == 2
            wrong = await client.call_tool("context", {"session": "other"})
            assert wrong.is_error and "'mine'" in text(wrong)
        with pytest.raises(InputError, match="give settings instead"):
            build_server(memory, authenticate=lambda key: Keyring(open_records("memory://")).find(key))


async def test_a_budget_that_is_too_small_is_an_error_of_the_tool() -> None:
    async with Client(build_server(renderer="dense", budget=5)) as client:
        await remember(client, "s", 1)
        wrong = await client.call_tool("context", {"session": "s"})
        assert wrong.is_error and "budget" in text(wrong)
