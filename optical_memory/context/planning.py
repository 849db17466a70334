"""Planning an epoch: from what a view holds to the past that follows. Reads turns and layouts; stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optical_memory.budget import count_message
from optical_memory.context import events
from optical_memory.context.base import Settings
from optical_memory.context.epoch import Entry, Epoch, Sealed
from optical_memory.context.events import Event
from optical_memory.context.instructions import distinct, standing
from optical_memory.context.lineage import Ranges, clipped
from optical_memory.context.notes import Notes
from optical_memory.context.plan import SHARES, Sizes
from optical_memory.context.sealing import Sealer, beside, run_of
from optical_memory.context.tail import Group
from optical_memory.errors import BudgetError
from optical_memory.policies.base import Plan
from optical_memory.policies.limits import PIXEL_BYTES, within_limits
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What an epoch is planned from: the past, the sealed ``instructions``, the oldest ``groups`` of the tail.

    ``path`` holds the places up to the last of them, ``sizes`` what they cost. ``free`` tokens were free then, and are
    taken when the epoch begins. ``reserved`` tokens of the budget are kept for tool schemas.
    """

    epoch: Epoch
    instructions: tuple[Turn, ...]
    groups: tuple[Group, ...]
    path: Ranges
    sizes: Sizes
    reserved: int
    free: int

    @classmethod
    def of(cls, sizes: Sizes, groups: Sequence[Group], path: Ranges, **others: Any) -> Premises:
        """Return the premises that follow from what a view holds now, with all the groups of its tail."""
        count, free = sizes.basis() or (len(groups), 0)
        last = groups[count - 1].turns[-1].seq if count else others["epoch"].sealed_through
        return cls(
            groups=tuple(groups[:count]),
            path=clipped(path, 0, last),
            sizes=sizes.upto(count),
            free=free,
            **others,
        )

    @classmethod
    def early(cls, sizes: Sizes, groups: Sequence[Group], path: Ranges, **others: Any) -> Premises:
        """Return premises like those of the next epoch, from what a view holds before these stand."""
        last = groups[-1].turns[-1].seq
        free = sizes.planned_at() // 2
        return cls(groups=tuple(groups), path=clipped(path, 0, last), sizes=sizes, free=free, **others)

    @property
    def now(self) -> float:
        """The time that policies know: when the newest turn was added, so that a plan follows from the turns."""
        if self.groups:
            return self.groups[-1].turns[-1].created_at
        return max((entry.last_at for entry in self.epoch.entries), default=0.0)

    def are(self, others: Premises) -> bool:
        """Whether an epoch planned from ``others`` is the one that is planned from these."""
        same = self.epoch is others.epoch and len(self.groups) == len(others.groups)
        return (
            same
            and all(one is other for one, other in zip(self.groups, others.groups, strict=True))
            and (self.instructions, self.path, self.reserved) == (others.instructions, others.path, others.reserved)
            and (self.sizes.budget, self.free) == (others.sizes.budget, others.free)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An epoch that is planned and not stored yet.

    It seals the first ``count`` groups of the tail, which are the ``turns``. ``fresh`` are the pages made of them,
    ``gists`` those that replace older pages, ``instructions`` all that are sealed, those that were
    replaced included.
    """

    epoch: Epoch
    plan: Plan
    count: int
    turns: tuple[Turn, ...]
    instructions: tuple[Turn, ...]
    fresh: tuple[Sealed, ...]
    gists: tuple[Sealed, ...]

    def events(self, session: str, tokens: int) -> Iterator[Event]:
        """Yield what to tell observers once the epoch is stored; ``tokens`` is what its past costs."""
        if self.turns:
            yield events.Sealed(
                session=session,
                turns=len(self.turns),
                pages=tuple(sealed.entry.id for sealed in self.fresh),
                first_seq=self.turns[0].seq,
                last_seq=self.turns[-1].seq,
            )
        yield events.EpochStarted(
            session=session,
            number=self.epoch.number,
            tokens=tokens,
            merged=sum(map(len, self.plan.merges)),
            archived=len(self.plan.archived),
        )


class Planner:
    """Plans the epochs of one view."""

    def __init__(
        self,
        settings: Settings,
        sealer: Sealer,
        runs: Callable[[Entry], list[Run]],
        turns_at: Callable[[Ranges], list[Turn]],
        accounts: Callable[[Entry], Sequence[Run]] | None = None,
    ) -> None:
        """Take ``runs``, the text of an entry that was sealed before, and ``turns_at``, the exact turns at places.

        ``accounts`` are what a model told of gists.
        """
        self._accounts = accounts
        self._settings, self._sealer, self._runs, self._turns_at = settings, sealer, runs, turns_at
        self._profile = settings.profile

    def draft(self, premises: Premises) -> Draft:
        """Seal the oldest groups and plan the past anew. Raises BudgetError where even the least does not fit."""
        before, sizes = premises.epoch, premises.sizes
        count = sizes.groups_to_seal(premises.free)
        groups = premises.groups[:count]
        turns = [turn for group in groups for turn in group.turns]
        instructions = distinct([*premises.instructions, *(turn for turn in turns if turn.is_instruction)])
        system = sum(count_message(turn, self._profile) for turn in standing(instructions))
        tail = sizes.tail - sum(group.tokens for group in groups)
        _check_least(system, tail, premises.reserved, self._settings.budget)
        totals = before.totals
        for group in groups:
            totals = totals.plus(group.totals)
        kept, again, skip = self._reopened(before.entries) if turns else (before.entries, [], 0)
        kept, late = self._told(kept)
        sealed = [*again, *turns]
        around = beside(sealed, self._turns_at) if again else []
        made = self._sealer.seal(sealed, totals, skip=skip, beside=around) if turns else []
        fresh = {item.entry.id: item for item in made}
        entries = [*kept, *(item.entry for item in made)]
        room = sizes.room_for_past(system, tail + premises.free)
        runs_of = _Texts(fresh, self._runs)
        notes = self._noted(before, turns, room)
        plan, notes = self._plan_with(premises, notes, entries, room, runs_of)
        planned, gists = self._apply(plan, entries, runs_of)
        epoch = before.next(
            sealed=clipped(premises.path, 0, turns[-1].seq if turns else before.sealed_through),
            entries=tuple(planned),
            instructions=tuple(turn.id for turn in instructions),
            totals=totals,
            archived_pages=before.archived_pages + len(plan.archived),
            notes=notes,
            bare=room < self._sealer.header_tokens,
        )
        return Draft(
            epoch=epoch,
            plan=plan,
            count=count,
            turns=tuple(turns),
            instructions=instructions,
            fresh=tuple(fresh.values()),
            gists=(*late, *gists),
        )

    def _told(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], list[Sealed]]:
        """Return entries with what a model told of older gists since they were made, and those gists."""
        if self._accounts is None:
            return entries, []
        told = {
            entry.id: self._with_account(Sealed(entry=entry, runs=(), layout=None)) for entry in entries if entry.level
        }
        late = [gist for page_id, gist in told.items() if gist.entry.id != page_id]
        return [told[entry.id].entry if entry.id in told else entry for entry in entries], late

    def _with_account(self, gist: Sealed) -> Sealed:
        account = () if self._accounts is None or gist.entry.account else self._accounts(gist.entry)
        return self._sealer.gists.with_account(gist, account) if account else gist

    def _reopened(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], list[Turn], int]:
        """Open the newest page again where it has room left, so that it goes on with what is sealed now.

        Return the entries before it, its turns, and the characters of the first of them that stand on pages before.
        """
        if not entries or entries[-1].open_at < 0:
            return entries, [], 0
        *older, page = entries
        turns = self._turns_at(clipped(page.segment, page.first_seq, page.last_seq))
        return self._sealer.reopened(page, turns, older), turns, page.open_at

    def _noted(self, before: Epoch, turns: Sequence[Turn], room: int) -> Notes:
        """Return the notes with the words of a user among ``turns``, within their share of the past's ``room``."""
        said = [run_of(turn) for turn in turns if turn.role == "user" and turn.pin is False]
        pinned = sum(min(entry.costs.values()) for entry in before.entries if entry.floor is not None)
        free = room - self._sealer.header_tokens - pinned
        budget = self._settings.budget
        share = max(budget * SHARES.words, SHARES.words_least)
        most = int(min(share, free * SHARES.words_of_past))
        notes = before.notes.with_words(said, max(most, 0), self._sealer.count)
        values = int(min(budget * SHARES.values, (free - notes.words.tokens) * SHARES.values_of_past))
        return notes.with_values([t for t in turns if not t.is_instruction], max(values, 0), self._sealer.count)

    def _plan_with(
        self,
        premises: Premises,
        notes: Notes,
        entries: Sequence[Entry],
        room: int,
        runs_of: Callable[[Entry], list[Run]],
    ) -> tuple[Plan, Notes]:
        """Plan the past, and keep a gist in text of pages for which not even one gist page has room."""
        reserved = min(notes.gist.tokens, (room - self._sealer.header_tokens) // 2)
        plan = self._plan(premises, entries, room - notes.words.tokens - notes.ledger.tokens - reserved)
        gone = set(plan.archived)
        runs = [run for entry in entries if entry.id in gone for run in runs_of(entry)]
        if not runs and not notes.gist.runs:
            return plan, notes
        left = room - self._sealer.header_tokens - notes.words.tokens - notes.ledger.tokens - plan.tokens
        most = self._settings.budget * SHARES.text_gist
        return plan, notes.with_gist(runs, max(int(min(left, most)), 0), self._sealer.count)

    def _plan(self, premises: Premises, entries: Sequence[Entry], room: int) -> Plan:
        """Plan the past within ``room`` tokens, its header included, and half of what a request may hold."""
        infos = [entry.info(fresh=place >= len(premises.epoch.entries)) for place, entry in enumerate(entries)]
        gist_tokens = self._sealer.gist_tokens
        budget = max(room - self._sealer.header_tokens, 0) if entries else room
        plan = self._settings.policy.plan(infos, now=premises.now, budget=budget, gist_tokens=gist_tokens)
        tiers = (*self._profile.tiers, self._profile.gist)
        return within_limits(
            plan,
            infos,
            images=int(self._profile.max_images * SHARES.past_images),
            size=int(self._profile.max_request_bytes * SHARES.past_images),
            bytes_of={tier.name: int(tier.width * tier.height * PIXEL_BYTES) for tier in tiers},
            gist_tokens=gist_tokens,
        )

    def _apply(self, plan: Plan, entries: Sequence[Entry], runs_of: _Texts) -> tuple[list[Entry], list[Sealed]]:
        """Return the entries of the next epoch, and the gists made for it."""
        by_id = {entry.id: entry for entry in entries}
        first_of = {ids[0]: ids for ids in plan.merges}
        gone = {page_id for ids in plan.merges for page_id in ids} | set(plan.archived)
        out: list[Entry] = []
        gists: list[Sealed] = []
        for entry in entries:
            if entry.id in first_of:
                covered = [by_id[page_id] for page_id in first_of[entry.id]]
                gist = self._sealer.gists.make([run for part in covered for run in runs_of(part)], covered)
                gist = self._with_account(gist)
                gists.append(gist)
                out.append(gist.entry)
            elif entry.id not in gone:
                out.append(replace(entry, tier=plan.tiers[entry.id]))
        return out, gists


@dataclass(frozen=True, slots=True)
class _Texts:
    """What gists may say of entries, of those that were just sealed as well."""

    fresh: Mapping[str, Sealed]
    older: Callable[[Entry], list[Run]]

    def __call__(self, entry: Entry) -> list[Run]:
        """Return what is told of an entry."""
        return list(self.fresh[entry.id].told) if entry.id in self.fresh else self.older(entry)


def _check_least(system: int, tail: int, reserved: int, budget: int) -> None:
    needed = system + tail + reserved
    if needed > budget:
        tools = f", the tools ({reserved:,})" if reserved else ""
        raise BudgetError(
            f"the system prompt ({system:,} tokens){tools} and the newest turn with its tool results "
            f"({tail:,}) need {needed:,} tokens, more than the budget of {budget:,}; "
            f"raise the budget to at least {needed:,}",
            needed=needed,
            budget=budget,
        )
