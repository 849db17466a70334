"""``optical-memory keys``: make, list, rotate and revoke the keys of the service's callers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError

if TYPE_CHECKING:
    from optical_memory.service.encryption import TenantKeys
    from optical_memory.service.keys import Key, Keyring

DAY_SECONDS = 86_400
Store = Annotated[
    str, typer.Option(envvar="OPTICAL_MEMORY_STORE", help="Where the service keeps its sessions, and its keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")]
DEFAULT_STORE = "sqlite:///memory.db"
commands = typer.Typer(no_args_is_help=True, help="Keys of the service's callers.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="keys")


@commands.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Whose sessions the key opens.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write, forget or admin; may be repeated. Default: read and write.")
    ] = None,
    name: Annotated[str, typer.Option(help="What people call the key.")] = "",
    days: Annotated[float | None, typer.Option(help="How long it is valid. Default: for ever.")] = None,
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once.

    Example: optical-memory keys create acme --scope read --scope write --days 90
    """
    with _keyring(store) as ring:
        seconds = None if days is None else days * DAY_SECONDS
        _show_new(*ring.create(tenant, scope or ("read", "write"), name=name, seconds=seconds), as_json)


@commands.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """List keys, without their secrets.

    Example: optical-memory keys list --tenant acme
    """
    with _keyring(store) as ring:
        keys = ring.all(tenant)
    if as_json:
        show.print_json([key.shown(time.time()) for key in keys])
        return
    for key in keys:
        line = f"{key.id}  {key.tenant}  {','.join(key.scopes)}  {key.state(time.time())}  {key.name}".rstrip()
        show.out.print(line, markup=False, highlight=False, soft_wrap=True)


@commands.command()
def revoke(key_id: KeyId, store: Store = DEFAULT_STORE) -> None:
    """End a key; every replica refuses it within seconds.

    Example: optical-memory keys revoke 0123456789abcdef
    """
    with _keyring(store) as ring:
        key = ring.revoke(key_id)
    show.out.print(f"revoked {key.id} of {key.tenant}", markup=False, highlight=False)


@commands.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[float, typer.Option(help="How long the old key still works.")] = 24.0,
    store: Store = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Make a key that may do the same, show it, and let the old one expire after the overlap.

    Example: optical-memory keys rotate 0123456789abcdef --overlap-hours 1
    """
    with _keyring(store) as ring:
        _show_new(*ring.rotate(key_id, overlap_seconds=overlap_hours * 3_600), as_json)


@commands.command()
def master() -> None:
    """Make a master key and print it. Put it into a file of mode 600, above older ones.

    Example: (umask 077; optical-memory keys master > master.key); export OPTICAL_MEMORY_MASTER_KEY_FILE=$PWD/master.key
    """
    from optical_memory.service.master import new_master_key

    show.out.print(new_master_key(), markup=False, highlight=False, soft_wrap=True)


@commands.command("rotate-data")
def rotate_data(tenant: Annotated[str, typer.Argument(help="Whose data key.")], store: Store = DEFAULT_STORE) -> None:
    """Make a new data key for a tenant: what is written from now on is encrypted under it.

    Example: optical-memory keys rotate-data acme
    """
    with _tenant_keys(store) as keys:
        number = keys.rotate(tenant)
    show.out.print(f"{tenant} now writes under its data key {number}", markup=False, highlight=False)


@commands.command()
def rewrap(store: Store = DEFAULT_STORE) -> None:
    """Wrap all data keys under the newest master key; afterwards older master keys are not needed.

    Example: optical-memory keys rewrap
    """
    with _tenant_keys(store) as keys:
        count = keys.rewrap()
    show.out.print(f"data keys of {count:,} tenants wrapped under the newest master key", highlight=False)


@commands.command()
def destroy(
    tenant: Annotated[str, typer.Argument(help="Whose data keys.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Destroy a tenant's data keys: nothing that it stored can ever be read again.

    Example: optical-memory keys destroy acme --yes
    """
    if not yes:
        typer.confirm(f"Destroy all data of {tenant}?", abort=True)
    with _tenant_keys(store) as keys:
        when = keys.destroy(tenant)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    show.out.print(f"the data keys of {tenant} were destroyed at {at}, and its data with them", highlight=False)


@contextmanager
def _tenant_keys(store: str) -> Iterator[TenantKeys]:
    from optical_memory.service.encryption import TenantKeys
    from optical_memory.service.records import open_records
    from optical_memory.service.settings import ServiceSettings

    master_key = ServiceSettings().master()
    if master_key is None:
        raise InputError("no master key: set OPTICAL_MEMORY_MASTER_KEY_FILE or OPTICAL_MEMORY_MASTER_KEY")
    with closing(open_records(store)) as records:
        yield TenantKeys(records, master_key)


@contextmanager
def _keyring(store: str) -> Iterator[Keyring]:
    from optical_memory.service.keys import Keyring
    from optical_memory.service.records import open_records

    with closing(open_records(store)) as records:
        yield Keyring(records)


def _show_new(key: Key, text: str, as_json: bool) -> None:
    if as_json:
        show.print_json({**key.shown(time.time()), "key": text})
        return
    show.out.print(text, markup=False, highlight=False, soft_wrap=True)
    show.out.print(
        f"key {key.id} of {key.tenant} ({', '.join(key.scopes)}); it is not shown again", markup=False, highlight=False
    )
