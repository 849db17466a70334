"""One session replayed turn by turn, with what its context keeps after each turn."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.keep.sessions import Session
from benchmarks.keep.values import runs_of_words, spoken, values_in
from optical_memory import OpticalMemory
from optical_memory.context.base import Context, Piece
from optical_memory.errors import BudgetError
from optical_memory.formats import to_turns
from optical_memory.policies import legible_tiers
from optical_memory.renderers.base import Page
from optical_memory.turns import Turn
from optical_memory.wording import VALUES

CACHED = 4_096


@dataclass(slots=True)
class Kept:
    """Of things looked for: how many are text, only legible pixels, neither."""

    text: int = 0
    pixels: int = 0
    gone: int = 0

    def look(self, wanted: Set[Any], text: Set[Any], pixels: Set[Any]) -> None:
        """Count where each wanted thing stands."""
        as_text, seen = len(wanted & text), len(wanted & (text | pixels))
        self.text += as_text
        self.pixels += seen - as_text
        self.gone += len(wanted) - seen


@dataclass(slots=True)
class Measured:
    """Sums over the turns of a session after its first epoch, and counts.

    ``words`` are the user's own; ``asked`` are values that the next turn of the model uses and that came before it,
    ``known`` all distinct values so far. ``end`` sums the share of the budget used by the last context of each epoch,
    ``used`` that of all contexts. ``fewest`` are the epochs that any plan needs (:func:`fewest_epochs`). ``worst`` is
    the least share of the user's words that any context showed. ``newest_as_text`` counts tool results that arrive as
    their exact text, ``edits_as_text`` calls that replace a text whose lines all stood as text in the context before;
    ``listed`` are the tokens of the ledgers of values.
    """

    turns: int = 0
    calls: int = 0
    raised: int = 0
    epochs: int = 0
    archived: int = 0
    shown: int = 0
    pages: int = 0
    under_half: int = 0
    blank: float = 0.0
    ends: int = 0
    end: float = 0.0
    used: float = 0.0
    user_first: int = 0
    newest_as_text: int = 0
    newest: int = 0
    fewest: int = 0
    edits: int = 0
    edits_as_text: int = 0
    listed: int = 0
    worst: float = 1.0
    words: Kept = field(default_factory=Kept)
    known: Kept = field(default_factory=Kept)
    asked: Kept = field(default_factory=Kept)

    def add(self, other: Measured) -> None:
        """Add the sums of another session."""
        for name, value in asdict(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Kept):
                mine.text, mine.pixels, mine.gone = (getattr(mine, key) + value[key] for key in value)
            else:
                setattr(self, name, min(mine, value) if name == "worst" else mine + value)


class _Memo:
    """What a function says of texts, for the texts asked for last."""

    def __init__(self, function: Callable[[str], set[Any]]) -> None:
        self.function = function
        self.known: OrderedDict[str, set[Any]] = OrderedDict()

    def all_of(self, texts: Iterable[str]) -> set[Any]:
        out: set[Any] = set()
        for text in texts:
            if text not in self.known:
                self.known[text] = self.function(text)
                if len(self.known) > CACHED:
                    self.known.popitem(last=False)
            out |= self.known[text]
        return out


@dataclass(slots=True)
class _Replay:
    memory: OpticalMemory
    legible: frozenset[str]
    measured: Measured = field(default_factory=Measured)
    said: set[Any] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    runs: _Memo = field(default_factory=lambda: _Memo(runs_of_words))
    values: _Memo = field(default_factory=lambda: _Memo(values_in))
    last: Context | None = None
    costs: dict[str, int] = field(default_factory=dict)
    least_past: int | None = None

    def turn(self, message: dict[str, Any]) -> None:
        """Take in one message: what it uses of what came before, then what the context keeps."""
        (turn,) = to_turns([message], "openai")
        exact = values_in(spoken(turn))
        if turn.role == "assistant" and self.last is not None and self.last.epoch:
            self.measured.asked.look(exact & self.known, *self._shown(self.last, self.values))
            self._look_for_edits(turn, self.last)
        self.known |= exact
        if turn.role == "user":
            self.said |= runs_of_words(turn.text)
        (stored,) = self.memory.extend([message])
        self.measured.turns += 1
        self.measured.calls += 1
        try:
            context = self.memory.context()
        except BudgetError:
            self.measured.raised += 1
            return
        self._measure(context, stored)

    def _look_for_edits(self, turn: Turn, context: Context) -> None:
        """Count the calls that replace a text, and those whose text the model could copy from text."""
        shown = "\n".join(map(words_of, context.pieces()))
        for lines in replaced_lines(turn):
            self.measured.edits += 1
            self.measured.edits_as_text += all(line in shown for line in lines)

    def _shown(self, context: Context, memo: _Memo) -> tuple[set[Any], set[Any]]:
        pieces = list(context.pieces())
        pages = [piece.page for piece in pieces if piece.page is not None]
        text = memo.all_of(map(words_of, pieces))
        return text, memo.all_of(page.layout.text for page in pages if page.tier in self.legible)

    def _price(self, context: Context) -> None:
        """Note what the turns of the tail cost as they are shown, and the least that a past cost."""
        latest = [piece for piece in context.latest if piece.kind != "instructions"]
        shown = {turn_id: 0 for piece in latest for turn_id in piece.turn_ids}
        for piece in latest:
            shown[piece.turn_ids[0]] += piece.tokens
        self.costs |= shown
        if context.epoch:
            past = sum(piece.tokens for piece in context.past if piece.kind != "instructions")
            self.least_past = past if self.least_past is None else min(self.least_past, past)

    def _measure(self, context: Context, stored: Turn) -> None:
        measured, budget = self.measured, self.memory.budget
        if self.last is not None and context.epoch != self.last.epoch:
            measured.epochs += context.epoch - self.last.epoch
            if self.last.epoch:
                measured.ends += 1
                measured.end += self.last.tokens / budget
        self.last = context
        self._price(context)
        if stored.role == "tool":
            measured.newest += 1
            measured.newest_as_text += any(piece.turn == stored for piece in context.latest)
        if not context.epoch:
            return
        measured.shown += 1
        measured.used += context.tokens / budget
        sent = [piece for piece in context.pieces() if piece.kind != "instructions"]
        measured.user_first += bool(sent) and sent[0].role == "user"
        past = [piece.page for piece in context.past if piece.page is not None]
        measured.listed += sum(piece.tokens for piece in context.past if piece.text.startswith(VALUES))
        measured.pages += len(past)
        largest = self.memory.profile.tiers[0].tokens
        measured.under_half += sum(_is_half_empty(page, largest) for page in past)
        measured.blank += sum(float(np.mean(page.layout.cells == 0)) for page in past)
        text, pixels = self._shown(context, self.runs)
        if self.said:
            measured.words.look(self.said, text, pixels)
            measured.worst = min(measured.worst, len(self.said & (text | pixels)) / len(self.said))
        text, pixels = self._shown(context, self.values)
        measured.known.look(self.known, text, pixels)


def words_of(piece: Piece) -> str:
    """Return what a piece says in text; of a turn the words, whatever escapes its calls are written with."""
    return piece.text if piece.turn is None else spoken(piece.turn)


def replaced_lines(turn: Turn) -> Iterator[list[str]]:
    """Yield the lines of each text that a call of the turn replaces in a file."""
    for call in turn.tool_calls:
        arguments = json.loads(call.arguments)
        replaced = arguments.get("old_string", arguments.get("old_str", ""))
        if lines := [line.strip() for line in str(replaced).splitlines() if line.strip()]:
            yield lines


def _filled(page: Page) -> float:
    """Return the share of a page's rows down to the last one with text."""
    rows = np.flatnonzero(page.layout.cells.any(axis=1))
    return (int(rows[-1]) + 1) / page.layout.grid.rows if len(rows) else 0.0


def _is_half_empty(page: Page, largest: int) -> bool:
    """Tell whether a page costs more than twice what its rows would cost at the price of a full page at its largest."""
    full = page.tokens if page.kind == "gist" else largest
    filled = _filled(page)
    return filled < 0.5 and page.tokens > 2 * filled * full


def fewest_epochs(costs: Iterable[int], room: int, past: int) -> int:
    """Count the epochs that any plan needs for turns of these costs: each seals all but what came last.

    ``room`` are the tokens beside the system prompt, ``past`` the least that a past cost. A tail holds what fits beside
    that, so the greedy division has the fewest epochs, and no epochs of today's contexts are longer on average.
    """
    epochs, tail, most = 0, 0, room
    for cost in costs:
        tail += cost
        if tail > most:
            epochs, tail, most = epochs + 1, cost, room - past
    return epochs


def replay(session: Session, profile: str, budget: int) -> Measured:
    """Replay a session and return what its contexts kept."""
    with OpticalMemory(session.id, profile=profile, budget=budget, renderer="dense") as memory:
        names = frozenset(tier.name for tier in legible_tiers(memory.profile)) | {"gist"}
        run = _Replay(memory, names)
        for message in session.messages:
            run.turn(message)
        if run.last is not None and run.least_past is not None:
            system = sum(piece.tokens for piece in run.last.pieces() if piece.kind == "instructions")
            run.measured.fewest = fewest_epochs(run.costs.values(), budget - system, run.least_past)
        if run.last is not None:
            run.measured.archived = run.last.archived_pages
        return run.measured
