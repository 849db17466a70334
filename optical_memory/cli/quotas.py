"""``optical-memory quotas``: see and set what tenants of the service may keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from optical_memory.cli import show
from optical_memory.cli.keys import DEFAULT_STORE, Json, Store

if TYPE_CHECKING:
    from optical_memory.service.quotas import Quotas

Tenant = Annotated[str, typer.Argument(help="Whose quota.")]
commands = typer.Typer(no_args_is_help=True, help="What tenants of the service may keep.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="quotas")


@commands.command("show")
def show_quota(tenant: Tenant, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Show what a tenant may keep, and what it keeps.

    Example: optical-memory quotas show acme
    """
    with _quotas(store) as quotas:
        _print(quotas, tenant, as_json)


@commands.command("set")
def set_quota(
    tenant: Tenant,
    sessions: Annotated[int | None, typer.Option(min=0, help="Most sessions. Default: no limit.")] = None,
    turns: Annotated[int | None, typer.Option(min=0, help="Most turns. Default: no limit.")] = None,
    size: Annotated[int | None, typer.Option("--bytes", min=0, help="Most bytes of turns. Default: no limit.")] = None,
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Set what a tenant may keep; every replica follows within seconds.

    Example: optical-memory quotas set acme --sessions 1000 --turns 1000000 --bytes 1000000000
    """
    from optical_memory.service.quotas import Quota

    with _quotas(store) as quotas:
        quotas.set(tenant, Quota(sessions=sessions, turns=turns, bytes=size))
        _print(quotas, tenant, as_json)


@commands.command()
def recount(tenant: Tenant, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Count anew what a tenant keeps, by reading all of it; after a replica was killed some may be counted too much.

    Example: optical-memory quotas recount acme
    """
    with _quotas(store) as quotas:
        quotas.recount(tenant)
        _print(quotas, tenant, as_json)


def _print(quotas: Quotas, tenant: str, as_json: bool) -> None:
    limits, used = quotas.of(tenant), quotas.usage(tenant)
    if as_json:
        from dataclasses import asdict

        show.print_json({"tenant": tenant, "quota": asdict(limits), "usage": asdict(used)})
        return
    for kind in ("sessions", "turns", "bytes"):
        limit = getattr(limits, kind)
        most = "no limit" if limit is None else f"at most {limit:,}"
        show.out.print(f"{kind}: {getattr(used, kind):,}, {most}", markup=False, highlight=False)


@contextmanager
def _quotas(store: str) -> Iterator[Quotas]:
    from optical_memory.service.encryption import EncryptingCodec, TenantKeys
    from optical_memory.service.quotas import Quotas
    from optical_memory.service.records import open_records
    from optical_memory.service.settings import ServiceSettings
    from optical_memory.stores import open_store

    settings = ServiceSettings()
    master = settings.master()
    with closing(open_records(store)) as records:
        codec = None if master is None else EncryptingCodec(TenantKeys(records, master))
        with closing(open_store(store, codec=codec)) as opened:
            yield Quotas(records, opened, default=settings.quota, cache_seconds=0.0)
