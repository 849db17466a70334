"""One way to find things by name: stores, renderers, policies, readers and formats, built in or another package's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from optical_memory.errors import InputError, NotFoundError, OpticalMemoryError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind of thing and what makes each: built in, or offered by installed packages.

    ``kind`` is its word in errors ("reader"). Packages join through the entry points of ``group``: a name, and what
    is called to make the thing. ``built_in`` maps names to makers, or to "module:attribute" where importing the maker
    takes time; a package cannot take these names. Entry points are looked up only when another name is asked for,
    since that is slow.
    """

    def __init__(self, kind: str, group: str, built_in: Mapping[str, Callable[..., T] | str]) -> None:
        self.group = group
        self._kind = kind
        self._built_in = built_in

    def names(self) -> tuple[str, ...]:
        """Return every name there is on this machine, sorted."""
        return tuple(sorted({*self._built_in, *(point.name for point in self._offered())}))

    def has(self, name: str) -> bool:
        """Whether there is such a name."""
        return name in self._built_in or any(point.name == name for point in self._offered())

    def maker(self, name: str) -> Callable[..., T]:
        """Return what makes the thing of this name.

        Raises NotFoundError with the names there are, InputError for a package's maker that cannot be imported, and
        MissingExtraError where a package that a maker needs is not installed.
        """
        found = self._built_in.get(name) if isinstance(name, str) else None
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            made: Callable[..., T] = getattr(import_module(module), attribute)
            return made
        if found is not None:
            return found
        for point in self._offered():
            if point.name == name:
                return self._load(point)
        raise NotFoundError(f"no {self._kind} {name!r}; there are {', '.join(self.names())}")

    def _load(self, point: EntryPoint) -> Callable[..., T]:
        try:
            loaded: Callable[..., T] = point.load()
        except OpticalMemoryError:
            raise
        except Exception as error:
            whose = f" of the package {point.dist.name!r}" if point.dist else ""
            raise InputError(f"{self._kind} {point.name!r}{whose} cannot be loaded: {error!r}") from error
        return loaded

    def _offered(self) -> Iterable[EntryPoint]:
        from importlib.metadata import entry_points  # slow to import, and seldom needed

        points: Iterable[Any] = entry_points(group=self.group)
        return points
