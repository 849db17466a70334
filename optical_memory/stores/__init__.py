"""Where turns are kept: the protocol, its three implementations and the URLs that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optical_memory.errors import InputError
from optical_memory.registry import Registry
from optical_memory.stores.base import Head, State, Store
from optical_memory.stores.codec import PLAIN, Codec

if TYPE_CHECKING:
    from optical_memory.stores.memory import MemoryStore
    from optical_memory.stores.sqlite import SqliteStore

__all__ = ["Codec", "Head", "MemoryStore", "SqliteStore", "State", "Store", "open_store"]


def __getattr__(name: str) -> Any:
    """Import a store when it is first used, so that importing the package stays quick."""
    if name == "MemoryStore":
        from optical_memory.stores.memory import MemoryStore

        return MemoryStore
    if name == "SqliteStore":
        from optical_memory.stores.sqlite import SqliteStore

        return SqliteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def open_store(store: str | Store, *, codec: Codec | None = None) -> Store:
    """Return the store that a URL names; a Store is returned as it is.

    What it keeps goes through ``codec`` (None: it is kept as it is); a Store has its own already.

    ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``redis://host:6379/0``, ``rediss://…``,
    ``redis+sentinel://host:26379,host:26379/service/0``, or a scheme that an installed package offers. Raises
    NotFoundError for an unknown scheme, InputError for what is no URL, MissingExtraError where redis is not installed,
    and the errors of the store itself.
    """
    if not isinstance(store, str):
        if codec is not None:
            raise InputError("a store that is open has a codec already; give the codec to the store's own class")
        if all(callable(getattr(store, method, None)) for method in ("append", "turns", "search", "save_state")):
            return store
        raise InputError(f"not a store or the URL of one: {store!r}")
    scheme, separator, _ = store.partition("://")
    if not separator:
        raise InputError(f"not the URL of a store: {store!r}; for a file use 'sqlite:///{store}'")
    return STORES.maker(scheme)(store, **({} if codec is None else {"codec": codec}))


def _open_memory(url: str, *, codec: Codec = PLAIN) -> Store:
    if url != "memory://":
        raise InputError(f"{url!r}: stores in memory have no name, each is private to its object; use 'memory://'")
    from optical_memory.stores.memory import MemoryStore

    return MemoryStore(codec=codec)


def _open_sqlite(url: str, *, codec: Codec = PLAIN) -> Store:
    path = url.removeprefix("sqlite:///")
    if path in ("", url, ":memory:"):
        raise InputError(f"{url!r} names no file; use 'sqlite:///relative.db', 'sqlite:////absolute.db' or 'memory://'")
    from optical_memory.stores.sqlite import SqliteStore

    return SqliteStore(path, codec=codec)


def _open_redis(url: str, *, codec: Codec = PLAIN) -> Store:
    from optical_memory.stores.redis import RedisStore

    return RedisStore(url, codec=codec)


STORES: Registry[Store] = Registry(
    "store",
    "optical_memory.stores",
    {
        "memory": _open_memory,
        "sqlite": _open_sqlite,
        "redis": _open_redis,
        "rediss": _open_redis,
        "redis+sentinel": _open_redis,
        "rediss+sentinel": _open_redis,
    },
)
"""What makes a store from its URL, by the URL's scheme; ``codec=`` is handed to it where one is asked for."""
