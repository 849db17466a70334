"""A request as it was understood, and what leaves in its place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optical_memory import errors
from optical_memory.asynchronous import AsyncOpticalMemory
from optical_memory.budget import Profile
from optical_memory.service.proxy.body import Body, Item, Pieces
from optical_memory.service.proxy.chains import Chain
from optical_memory.service.proxy.compose import answers_in
from optical_memory.service.proxy.report import Report
from optical_memory.service.proxy.sessions import Lineage
from optical_memory.service.proxy.shapes import RESPONSES, Shape

_log = logging.getLogger(__name__)
Key = tuple[str, str, str]
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (errors.BudgetError, "budget"),
    (errors.LimitError, "limit"),
    (errors.InputError, "not-understood"),
    (errors.KeyLostError, "key-lost"),
    (errors.StoreError, "store"),
    (errors.RenderError, "drawing"),
    (errors.ConflictError, "conflict"),
)
"""Why a request passes on as it came where compression failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that may be compressed, as it was understood."""

    tenant: str
    shape: Shape
    body: Body
    profile: Profile
    session: str
    lineage: Lineage | None
    streams: bool
    items: tuple[Item, ...]
    chain: Chain | None = None
    """What stands before the items, where the Responses API's ``previous_response_id`` says so."""

    @property
    def key(self) -> Key:
        """The view of the session: tenant, session, and the profile whose pages it has."""
        return self.tenant, self.session, self.profile.base or self.profile.name

    @property
    def characters(self) -> int:
        """The length of the request's text, with what stands before it."""
        more = 0 if self.chain is None else sum(len(item.raw) for item in self.items)
        return len(self.body.text) + more

    def with_items(self, raws: Sequence[bytes], texts: Mapping[str, str]) -> Pieces:
        """Return the body with these messages, which are all there are."""
        alone = {"previous_response_id": "null"} if self.chain is not None else {}
        return self.body.with_items(raws, alone | dict(texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What leaves. ``body`` None: what came.

    ``raws`` are its messages where the recall tool is in the request, ``tracks`` says that the answer goes on a chain.
    """

    report: Report
    body: Pieces | None = None
    key: Key | None = None
    asked: Asked | None = None
    raws: tuple[bytes, ...] = ()
    texts: Mapping[str, str] | None = None
    memory: AsyncOpticalMemory | None = None
    tracks: bool = False


def passed(reason: str = "", session: str = "") -> Made:
    """Return that the original goes."""
    return Made(report=Report(reason=reason, session=session))


def tracks(asked: Asked) -> bool:
    """Whether a later request may name this one's answer.

    Not where nothing is stored and the list holds answers already: such a client sends all of it each time.
    """
    if asked.shape is not RESPONSES:
        return False
    return asked.chain is not None or asked.body.get("store") is not False or not answers_in(asked.items)


def failed(error: Exception) -> Made:
    """Return that the original goes because compression failed; the log says how, without content."""
    reason = next((reason for kind, reason in REASONS if isinstance(error, kind)), "failed")
    if reason == "failed":
        _log.error("compression failed: %s", type(error).__name__, exc_info=error)
    else:
        _log.warning("not compressed: %s", type(error).__name__)
    return passed(reason)
