"""``optical-memory doctor``: looks at all that the service stands on, and says the way out of what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from optical_memory.cli import show
from optical_memory.errors import OpticalMemoryError

if TYPE_CHECKING:
    from optical_memory.service.settings import ServiceSettings

MOST_CLOCK_SECONDS = 5.0
"""How far this machine's clock may be from the store's before keys expire at the wrong time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at: "ok", "warning" or "wrong", what was found, and the way out."""

    about: str
    state: str
    found: str
    way_out: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    store: Annotated[str | None, typer.Option(help="Default: OPTICAL_MEMORY_STORE, or sqlite:///memory.db.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check store, durability, keys, master key, browser, fonts and clock. Status 1 where something is wrong.

    Example: optical-memory doctor --store redis://localhost:6379/0
    """
    from optical_memory.service.settings import ServiceSettings

    settings = ServiceSettings() if store is None else ServiceSettings(store=store)
    findings = examine(settings)
    if as_json:
        show.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            line = f"{finding.state:<8}{finding.about:<12}{finding.found}"
            show.out.print(line, markup=False, highlight=False, soft_wrap=True)
            if finding.way_out:
                show.out.print(f"{'':<20}→ {finding.way_out}", markup=False, highlight=False, soft_wrap=True)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def examine(settings: ServiceSettings) -> list[Finding]:
    """Return what was found, one finding for each thing."""
    looks: tuple[tuple[str, Callable[[ServiceSettings], Finding], str], ...] = (
        ("store", _store, "check OPTICAL_MEMORY_STORE, and that its server runs or its folder can be written"),
        ("durability", _durability, "see docs/stores.md"),
        ("keys", _keys, "optical-memory keys create TENANT"),
        ("master key", _master, "optical-memory keys master, into a file of mode 600"),
        ("browser", _browser, "pip install 'optical-memory[chromium]' and install Chromium"),
        ("fonts", _fonts, "install the package again"),
        ("clock", _clock, "let this machine's and the store's clocks follow one time server"),
    )
    findings = []
    for about, look, way_out in looks:
        try:
            findings.append(look(settings))
        except OpticalMemoryError as error:
            findings.append(Finding(about=about, state="wrong", found=str(error), way_out=way_out))
    return findings


def _store(settings: ServiceSettings) -> Finding:
    from optical_memory.service.records import open_records

    with closing(open_records(settings.store)) as records:
        records.put("doctor", b"written", seconds=60)
        there = records.get("doctor") == b"written"
        described = records.describe()
    if not there:
        return Finding(about="store", state="wrong", found=f"what was written was not read back: {described}")
    found = f"written to, and read back: {described}"
    if "without TLS" in described and not is_near(settings.store):
        way_out = "rediss:// or rediss+sentinel://, with ?ssl_ca_certs=CA.pem where the certificate is of your own CA"
        return Finding(about="store", state="warning", found=f"{found}: turns pass in clear", way_out=way_out)
    return Finding(about="store", state="ok", found=found)


def is_near(store: str) -> bool:
    """Whether all hosts of a Redis URL are this machine."""
    from optical_memory.stores.redis_url import parse_redis_url

    url = parse_redis_url(store)
    hosts = [host for host, _ in url.sentinels] or [urlsplit(url.url).hostname or ""]
    return all(host in ("127.0.0.1", "::1", "localhost") for host in hosts)


def _durability(settings: ServiceSettings) -> Finding:
    from optical_memory.stores import open_store

    with closing(open_store(settings.store)) as store:
        promise = store.durability
    weak = promise.startswith(("none", "unknown", "a crash of the machine")) or "evicts" in promise
    way_out = "appendonly yes, appendfsync everysec or always, maxmemory-policy noeviction" if weak else ""
    return Finding(about="durability", state="warning" if weak else "ok", found=promise, way_out=way_out)


def _keys(settings: ServiceSettings) -> Finding:
    from optical_memory.service.keys import Keyring
    from optical_memory.service.records import open_records

    with closing(open_records(settings.store)) as records:
        valid = [key for key in Keyring(records).all() if key.state(time.time()) == "valid"]
    if not valid:
        return Finding(about="keys", state="warning", found="no valid key", way_out="optical-memory keys create TENANT")
    return Finding(about="keys", state="ok", found=f"{len(valid):,} valid, of {len({k.tenant for k in valid})} tenants")


def _master(settings: ServiceSettings) -> Finding:
    from optical_memory.service.encryption import TenantKeys
    from optical_memory.service.records import open_records

    master = settings.master()
    if master is None:
        return Finding(
            about="master key",
            state="warning",
            found="none: nothing is encrypted at rest",
            way_out="optical-memory keys master, into a file of mode 600; set OPTICAL_MEMORY_MASTER_KEY_FILE",
        )
    with closing(open_records(settings.store)) as records:
        count = TenantKeys(records, master).check()
    return Finding(about="master key", state="ok", found=f"opens the data keys of {count:,} tenants")


def _browser(settings: ServiceSettings) -> Finding:
    from optical_memory.errors import RenderError
    from optical_memory.renderers import default_renderer, get_renderer

    renderer = default_renderer() if settings.renderer is None else get_renderer(settings.renderer)
    try:
        from optical_memory.pages import render

        started = time.perf_counter()
        png = render("doctor", tier=None, profile="mini", renderer=renderer)[0].png
        seconds = time.perf_counter() - started
    except RenderError as error:
        return Finding(about="browser", state="wrong", found=str(error), way_out="set OPTICAL_MEMORY_RENDERER=dense")
    finally:
        renderer.close()
    found = f"{renderer.key} drew a page of {len(png):,} bytes in {seconds:.2f} s"
    if settings.renderer is None and not renderer.key.startswith("chromium"):
        way_out = "pip install 'optical-memory[chromium]' and install Chromium for scripts that dense lacks"
        return Finding(about="browser", state="warning", found=f"no Chromium; {found}", way_out=way_out)
    return Finding(about="browser", state="ok", found=found)


def _fonts(settings: ServiceSettings) -> Finding:
    from importlib.resources import files

    fonts = [entry for entry in files("optical_memory.renderers").joinpath("fonts").iterdir() if entry.is_file()]
    size = sum(len(entry.read_bytes()) for entry in fonts)
    state = "ok" if size else "wrong"
    return Finding(about="fonts", state=state, found=f"{len(fonts)} files, {size:,} bytes, in the package")


def _clock(settings: ServiceSettings) -> Finding:
    from optical_memory.service.records import open_records

    with closing(open_records(settings.store)) as records:
        apart = abs(records.clock() - time.time())
    state = "ok" if apart <= MOST_CLOCK_SECONDS else "wrong"
    way_out = "" if state == "ok" else "let both clocks follow one time server: keys expire by them"
    return Finding(about="clock", state=state, found=f"{apart:.1f} s from the store's", way_out=way_out)
