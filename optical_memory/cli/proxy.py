"""``optical-memory proxy``: the operator's switch of the proxy, for all tenants and replicas of a store."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from optical_memory.cli import show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("proxy")(proxy)


def proxy(
    mode: Annotated[str | None, typer.Argument(help="on, dry-run or off; none: only say what is set.")] = None,
    store: Annotated[str | None, typer.Option(help="sqlite:///… or redis://…, as the service has it.")] = None,
    tenant: Annotated[str, typer.Option(help="For this tenant alone; none: for all.")] = "",
) -> None:
    """Turn the proxy down or up while it runs, on every replica within seconds. `off` passes all requests through.

    `optical-memory serve --proxy on` starts it (docs/proxy.md). The lowest of the setting, this and the tenant's own is
    in force.

    Example: optical-memory proxy off

    Example: optical-memory proxy dry-run --tenant acme --store redis://localhost:6379/0
    """
    from optical_memory.service.proxy.switch import Switch
    from optical_memory.service.records import open_records
    from optical_memory.service.settings import ServiceSettings

    settings = ServiceSettings() if store is None else ServiceSettings(store=store)
    with closing(open_records(settings.store)) as records:
        switch = Switch(records, settings.proxy or "on", seconds=0.0)
        if mode is not None:
            switch.set(mode, tenant)
        said = switch.stored(tenant)
    whose = f"tenant {tenant}" if tenant else "all tenants"
    show.out.print(f"proxy of {whose}: {said}", markup=False, highlight=False)
