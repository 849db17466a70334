"""``optical-memory serve``: the HTTP service, on loopback and SQLite where nothing else is said."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError

if TYPE_CHECKING:
    from optical_memory.service.settings import ServiceSettings

FIRST_TENANT = "default"
"""Whose sessions the key opens that the first start makes."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    store: Annotated[str | None, typer.Option(help="sqlite:///… or redis://…")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen at; 0: a free one.")] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Listen beyond loopback without TLS: a proxy in front has it.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that serve, on one port.")] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="Serve the providers' paths: on, dry-run (only report) or off (pass all through)."),
    ] = None,
    settings: Annotated[bool, typer.Option("--settings", help="Print all settings, as a table, and end.")] = False,
) -> None:
    """Serve sessions over HTTP. The first start on loopback makes a key and shows it, once.

    Every setting can come from the environment: `optical-memory serve --settings`.

    Example: optical-memory serve

    Example: optical-memory serve --store redis://localhost:6379/0 --port 8321

    Example: optical-memory serve --proxy on
    """
    from optical_memory.service.serving import serve_at
    from optical_memory.service.settings import ServiceSettings, settings_table

    if settings:
        print(settings_table())
        return
    given: dict[str, Any] = {"store": store, "host": host, "port": port, "plaintext": plaintext or None}
    given |= {"workers": workers, "proxy": proxy_mode(proxy)}
    chosen = ServiceSettings(**{name: value for name, value in given.items() if value is not None})
    key = prepare(chosen)
    with _listening(chosen) as listening:
        scheme = "https" if chosen.tls_cert else "http"
        address = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        url = f"{scheme}://{address}:{listening.getsockname()[1]}"
        show.out.print(f"listening at {url}", markup=False, highlight=False, soft_wrap=True)
        if key is not None:
            show.out.print(f"key, shown this once: {key}", markup=False, highlight=False, soft_wrap=True)
        else:
            show.out.print("make a key: optical-memory keys create TENANT", markup=False, highlight=False)
        if chosen.dashboard_seconds:
            way_in = f"{url}/dashboard{_link(chosen, key)}"
            show.out.print(f"dashboard: {way_in}", markup=False, highlight=False, soft_wrap=True)
        serve_at(listening, chosen)


def proxy_mode(mode: str | None) -> str | None:
    """Return a mode of the proxy. Raises InputError for any other word."""
    from optical_memory.service.proxy.switch import MODES

    if mode is not None and mode not in MODES:
        raise InputError(f"--proxy is one of {', '.join(MODES)}, not {mode!r}")
    return mode


def prepare(settings: ServiceSettings) -> str | None:
    """Check that the service may listen where it shall; return a new key where there is none on loopback.

    Raises InputError for an address beyond this machine without keys, or without TLS or an explicit flag.
    """
    from optical_memory.service.keys import SCOPES, Keyring
    from optical_memory.service.records import open_records

    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InputError("TLS needs both OPTICAL_MEMORY_TLS_CERT and OPTICAL_MEMORY_TLS_KEY")
    settings.master()
    with closing(open_records(settings.store)) as records:
        ring = Keyring(records)
        if ring.all():
            key = None
        elif settings.is_loopback:
            key = ring.create(FIRST_TENANT, SCOPES, name="first start")[1]
        else:
            raise InputError(
                f"there are no keys, so nobody could use a service at {settings.host}: make one first with"
                f" `optical-memory keys create TENANT --store {settings.store}`"
            )
    if not settings.is_loopback and settings.tls_cert is None and not settings.plaintext:
        raise InputError(
            f"at {settings.host} keys and turns would pass in clear: set OPTICAL_MEMORY_TLS_CERT and"
            " OPTICAL_MEMORY_TLS_KEY, or say --plaintext where a proxy in front of the service has TLS"
        )
    return key


def _link(settings: ServiceSettings, key: str | None) -> str:
    """Return what logs in once with a new key, behind a # that browsers send to no server; nothing without one."""
    if key is None:
        return ""
    from optical_memory.service.dashboard.logins import Logins
    from optical_memory.service.keys import Keyring
    from optical_memory.service.records import open_records

    with closing(open_records(settings.store)) as records:
        ring = Keyring(records)
        return f"#once={Logins(records, ring, seconds=settings.dashboard_seconds).link(ring.find(key))}"


def _listening(settings: ServiceSettings) -> socket.socket:
    """Return a socket that is bound. Raises InputError where the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.workers > 1:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # each worker has a socket of its own
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror}; use --port 0 for a free one"
        ) from error
    return listening
