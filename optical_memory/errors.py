"""Errors of optical_memory: one root, one class for each thing a caller can act on.

::

    OpticalMemoryError
    ├── InputError (ValueError)            what was handed in is wrong; nothing was stored
    │   ├── UnknownRoleError               a role that no provider has
    │   ├── DuplicateTurnError             an id that is taken by a turn with other content
    │   ├── RepeatError                    a request's Idempotency-Key came before with another body
    │   └── LimitError                     larger than a documented limit (size, count, pixels)
    │       └── QuotaError                 a tenant of the service keeps as much as it may
    ├── NotFoundError (KeyError)           no such session, turn, page, profile or reader
    ├── BudgetError                        the least context is larger than the budget
    ├── StoreError                         the store refused; the turn was not acknowledged
    │   ├── StoreUnavailableError          cannot connect, read-only, disk full
    │   ├── StoreCorruptError              what is on disk is not a valid store
    │   ├── ConflictError                  another process changed the session first
    │   └── KeyLostError                   a tenant's data key was destroyed, or no master key opens it
    ├── AccessError                        the service does not know a key, or the key may not do this
    ├── LostPageError                      a page's turns changed under it; it is made anew
    ├── RenderError                        a page could not be drawn
    │   ├── BrowserNotFoundError           no Chromium on this machine
    │   ├── BrowserCrashedError            Chromium died more often than it was restarted
    │   ├── RenderTimeoutError             a page took longer than its limit
    │   └── StaleError                     a tab still showed the page before; it is drawn again
    ├── ReaderError                        a page could not be read
    │   └── GridNotFoundError              no character grid found in an image
    ├── ModelError
    │   ├── CheckpointError                tensors missing, unexpected or mis-shaped; damaged files
    │   ├── UnsupportedConfigError         a config asks for what is not implemented
    │   ├── ImageError                     an image of no size, too large, or not an image
    │   ├── ContextTooLongError            more positions than the decoder has
    │   └── OutOfMemoryError               the device is full; names the mode to try
    ├── EndpointError                      a model's endpoint cannot be reached, refused, or answered nothing usable
    └── MissingExtraError (ImportError)    an optional dependency is not installed
"""

from __future__ import annotations

from typing import Any


class OpticalMemoryError(Exception):
    """Root of every error that this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let every error pass from process to process, whatever arguments its class takes."""
        return _remade, (type(self), self.args), self.__dict__


def _remade(kind: type[OpticalMemoryError], args: tuple[Any, ...]) -> OpticalMemoryError:
    return kind.__new__(kind, *args)


class InputError(OpticalMemoryError, ValueError):
    """What was handed in is wrong; nothing was stored."""


class UnknownRoleError(InputError):
    """A message has a role that no provider has."""


class DuplicateTurnError(InputError):
    """A turn id is already taken by a turn with other content."""


class RepeatError(InputError):
    """A request's Idempotency-Key came before with another body."""


class LimitError(InputError):
    """Larger than a documented limit."""


class QuotaError(LimitError):
    """A tenant of the service keeps as much as it may of ``quota`` ("sessions", "turns" or "bytes")."""

    def __init__(self, message: str, *, quota: str = "", limit: int = 0, used: int = 0) -> None:
        super().__init__(message)
        self.quota, self.limit, self.used = quota, limit, used


class NotFoundError(OpticalMemoryError, KeyError):
    """No such session, turn, page, profile or reader."""

    def __str__(self) -> str:
        """Return the message itself (``KeyError`` would quote it)."""
        return str(self.args[0]) if self.args else ""


class BudgetError(OpticalMemoryError):
    """The least possible context is larger than the budget.

    ``needed`` and ``budget`` are tokens.
    """

    def __init__(self, message: str, *, needed: int, budget: int) -> None:
        """Keep both figures for the caller."""
        super().__init__(message)
        self.needed = needed
        self.budget = budget


class StoreError(OpticalMemoryError):
    """The store refused; what was being written was not acknowledged."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or written: no connection, read-only, disk full."""


class StoreCorruptError(StoreError):
    """What is on disk is not a valid store."""


class ConflictError(StoreError):
    """Another process changed the session first; load it again and repeat."""


class KeyLostError(StoreError):
    """A tenant's data key was destroyed, or no master key at hand opens it: its data cannot be read."""


class AccessError(OpticalMemoryError):
    """The service does not know a key, or the key may not do what was asked."""


class LostPageError(OpticalMemoryError):
    """A page cannot be laid out again: its turns changed under it. The view seals the history anew."""


class RenderError(OpticalMemoryError):
    """A page could not be drawn."""


class BrowserNotFoundError(RenderError):
    """No Chromium was found on this machine."""


class BrowserCrashedError(RenderError):
    """Chromium died more often than it was restarted."""


class RenderTimeoutError(RenderError):
    """A page took longer than its limit."""


class StaleError(RenderError):
    """A tab still showed the page before; it is drawn again."""


class ReaderError(OpticalMemoryError):
    """A page could not be read."""


class GridNotFoundError(ReaderError):
    """No character grid was found in an image."""


class ModelError(OpticalMemoryError):
    """A model could not be built, loaded or run."""


class CheckpointError(ModelError):
    """A checkpoint is damaged or does not fit the model.

    ``missing``, ``unexpected`` and ``misshaped`` list tensor names.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: tuple[str, ...] = (),
        unexpected: tuple[str, ...] = (),
        misshaped: tuple[str, ...] = (),
    ) -> None:
        """Keep the three lists for the caller."""
        super().__init__(message)
        self.missing = missing
        self.unexpected = unexpected
        self.misshaped = misshaped


class UnsupportedConfigError(ModelError):
    """A config asks for what is not implemented."""


class ImageError(ModelError, ValueError):
    """An image of no size, too large, or not an image."""


class ContextTooLongError(ModelError):
    """A sequence is longer than the decoder's positions."""


class OutOfMemoryError(ModelError):
    """The device is full; the message names the mode to try."""


class EndpointError(OpticalMemoryError):
    """A model's endpoint cannot be reached, refused, or answered nothing usable."""


class MissingExtraError(OpticalMemoryError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the package and the command that installs it."""
        super().__init__(f"{package!r} is not installed; run: pip install 'optical-memory[{extra}]'")
        self.package = package
        self.extra = extra
