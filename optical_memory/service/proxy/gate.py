"""The gate: a history is compressed where that pays, what the cache loses counted; and what each request saved or lost.

Pure. All figures are input; the answer costs the same each way. Both ways are billed alike: what stands as it stood in
the request before is read from the provider's cache, the rest is written to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from optical_memory.budget import Price
from optical_memory.budget.advice import request_dollars, seal_pays

Sent = tuple[tuple[int, int], ...]
"""The messages of a request as they left: a hash and the tokens of each."""
GROWTH = 1.1
"""After a "no" it is asked again once the history has grown by this factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Tokens of one request: beside the conversation, of its full text, and of what stands for it."""

    beside: int
    text: int
    shown: int

    @property
    def before(self) -> int:
        """Tokens of the request as it came."""
        return self.beside + self.text

    @property
    def after(self) -> int:
        """Tokens of the request as it leaves."""
        return self.beside + self.shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a session has gone so far. ``begun``: its requests leave compressed.

    ``text`` are the tokens of the request before as it came (0: not known here), ``sent`` its messages as they left:
    a hash and the tokens of each. ``asked`` are the characters at which the gate last said no; ``refused``: a provider
    refused what was made.
    """

    begun: bool = False
    text: int = 0
    sent: Sent = ()
    asked: int = 0
    refused: bool = False
    saved: float = 0.0

    def waits(self, characters: int) -> bool:
        """Whether the gate said no lately, to a request hardly shorter than this one."""
        return not self.begun and characters < self.asked * GROWTH

    def stays(self, sizes: Sizes, characters: int) -> Course:
        """Return the course after the gate said no."""
        return replace(self, asked=characters, text=sizes.before, sent=())

    def goes(self, sizes: Sizes, sent: Sent, saved: float) -> Course:
        """Return the course after a compressed request."""
        return replace(self, begun=True, text=sizes.before, sent=sent, saved=self.saved + saved)

    def read(self, sent: Sent) -> int:
        """Return the tokens of a list that stand as they stood in the request before, from its beginning on."""
        same = 0
        for (one, tokens), (other, _) in zip(sent, self.sent, strict=False):
            if one != other:
                break
            same += tokens
        return same


def pays(price: Price, sizes: Sizes, *, requests: int, window: int) -> bool:
    """Return whether to begin: it pays within as many requests as there were, or the window demands it.

    All that is shown must be written to the cache once, in place of the text that is read from it; see
    :func:`optical_memory.budget.advice.payback`. ``window`` is the most input that the model takes.
    """
    if sizes.shown >= sizes.text:
        return False
    return seal_pays(
        price, sealed=sizes.text, pages=sizes.shown, rest=0, requests=requests, tokens=sizes.before, window=window
    )


def saved_dollars(price: Price, sizes: Sizes, course: Course, sent: Sent) -> float:
    """Return what a compressed request saves against full text; below 0 where it costs more.

    Where the request before is not known here, both are taken as read from the cache: the least that is saved.
    """
    if not course.text:
        return _dollars(price, sizes.before, sizes.before) - _dollars(price, sizes.after, sizes.after)
    full = _dollars(price, min(course.text, sizes.before), sizes.before)
    return full - _dollars(price, min(sizes.beside + course.read(sent), sizes.after), sizes.after)


def uncached(price: Price) -> Price:
    """Return the price for a client that asks for no cache where the provider has none unasked."""
    return replace(price, cached=price.fresh, written=price.fresh)


def _dollars(price: Price, read: int, total: int) -> float:
    return request_dollars(price, read=read, written=total - read)
