"""``optical-memory mcp``: the MCP server, over stdio or streamable HTTP."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from optical_memory.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(
    store: Annotated[str, typer.Option(envvar="OPTICAL_MEMORY_STORE", help="sqlite:///… or redis://…")] = (
        "sqlite:///memory.db"
    ),
    profile: Annotated[str, typer.Option(help="The model that sees the pages.")] = "claude",
    budget: Annotated[int, typer.Option(help="Most tokens of a context.")] = 16_000,
    port: Annotated[
        int | None, typer.Option(help="Serve streamable HTTP at this port, with the service's keys.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
) -> None:
    """Serve the tools remember, context, recall, ask and forget to an MCP client.

    Example: optical-memory mcp --store sqlite:///memory.db

    Example: optical-memory mcp --store redis://localhost:6379/0 --port 8000
    """
    from optical_memory.adapters.mcp import build_server

    if port is None:
        build_server(store=store, profile=profile, budget=budget).run()
        return
    if any(os.environ.get(name) for name in ("OPTICAL_MEMORY_MASTER_KEY", "OPTICAL_MEMORY_MASTER_KEY_FILE")):
        raise InputError("this server cannot read what the service encrypts: give it a store of its own, no master key")
    from optical_memory.service.keys import Keyring
    from optical_memory.service.records import open_records

    keys = Keyring(open_records(store))
    url = f"http://{host}:{port}/mcp"
    server = build_server(store=store, profile=profile, budget=budget, authenticate=keys.find, url=url)
    server.run("streamable-http", host=host, port=port)
