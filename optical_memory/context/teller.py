"""A teller: the model that may tell a gist, what it is asked, and the bounds within which it is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

from optical_memory import wording
from optical_memory.context.account import checked
from optical_memory.context.telling import told
from optical_memory.endpoint import Endpoint
from optical_memory.errors import InputError
from optical_memory.excerpt import excerpt
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn, transcript

MOST_READ = 500_000
"""Most characters of the turns of one gist: of more, no account is asked for."""


class Generates(Protocol):
    """A model in this process, such as :func:`optical_memory.load_model` returns."""

    def generate(self, context: Any, prompt: str, **options: Any) -> Any:
        """Answer a prompt on texts; the answer has ``text``."""


@dataclass(frozen=True, slots=True)
class Teller:
    """A model that tells gists, an :class:`optical_memory.endpoint.Endpoint` or one in this process, and its bounds.

    ``seconds`` bounds an account, ``tokens`` its length, ``calls`` the accounts that are asked for while one epoch
    lasts. ``characters`` bounds what is given to the model for one: the most telling lines where there are more.
    """

    model: Endpoint | Generates
    _: KW_ONLY
    seconds: float = 30.0
    tokens: int = 600
    calls: int = 4
    characters: int = 24_000

    def __post_init__(self) -> None:
        """Raise InputError for what is no model, and for bounds that leave nothing."""
        if not isinstance(self.model, Endpoint) and not callable(getattr(self.model, "generate", None)):
            raise InputError(f"gists are told by an Endpoint or a model of load_model, not by {self.model!r}")
        if min(self.seconds, self.tokens, self.calls, self.characters) <= 0:
            raise InputError(f"seconds, tokens, calls and characters of a teller are positive: {self!r}")

    def tell(self, turns: Sequence[Turn], stopped: Callable[[], bool]) -> tuple[Run, ...]:
        """Return what the model tells of turns and what they bear out; nothing where that is too little.

        ``stopped`` is asked where the model can be stopped. Raises what the model raises.
        """
        if not turns or sum(len(transcript(turn)[1]) for turn in turns) > MOST_READ:
            return ()
        record = self._record(told(turns))
        return checked(self._asked(record, stopped), turns) if record else ()

    def _record(self, runs: Sequence[Run]) -> str:
        """Return what the model is given: JSON, so that no text can end what holds it."""
        runs = runs if sum(len(run.text) for run in runs) <= self.characters else excerpt(runs, self.characters)
        entries = [{"from": run.header.rstrip(":"), "says": run.text[: self.characters]} for run in runs]
        return json.dumps(entries, ensure_ascii=False) if entries else ""

    def _asked(self, record: str, stopped: Callable[[], bool]) -> str:
        if isinstance(self.model, Endpoint):
            messages = [{"role": "system", "content": wording.ACCOUNT}, {"role": "user", "content": record}]
            message, _ = self.model.complete(messages, max_tokens=self.tokens, within_seconds=self.seconds)
            return str(message.get("content") or "")
        end = time.monotonic() + self.seconds
        answer = self.model.generate(
            [record],
            wording.ACCOUNT,
            max_new_tokens=self.tokens,
            cancel=lambda: stopped() or time.monotonic() > end,
        )
        return "" if time.monotonic() > end else str(answer.text)


def teller_of(gists: Teller | Endpoint | Generates) -> Teller:
    """Return the teller for what a memory was given. Raises InputError for what is no model."""
    return gists if isinstance(gists, Teller) else Teller(gists)


def covered(turns: Sequence[Turn], doomed: Mapping[int, str]) -> list[Turn]:
    """Return those of the turns between a gist's ends that it stands for."""
    return [turn for turn in turns if not turn.is_instruction and turn.pin is False and turn.seq not in doomed]
