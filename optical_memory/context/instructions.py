"""Instructions: which of a session's system turns stand, where a script was started anew or its prompt was changed.

An instruction that is said again word for word is one. One that says mostly what an older one said replaces it, and
takes its place; the older stays in the record, and comes back where the talk is rewound. Turns that follow one another
without anything between are one prompt in several parts: they never replace one another. What says something else adds
to what stands: a note amid the talk, a second agent's prompt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from optical_memory.turns import Turn

RUN = 3
"""Words in the runs of words that are compared."""
SAME = 0.5
"""Share of the shorter one's runs of words that must be in both."""
LEAST_RUNS = 6
"""Fewest runs of words that say enough to tell: shorter notes are cheap, and all of them stand."""
MOST_REPLACED = 64
"""Replaced instructions that a past remembers, the newest, so that a rewound talk has them again."""
_WORD = re.compile(r"\w+")


def distinct(instructions: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return instructions, oldest first, without those that say word for word what stood when they came.

    Of those that were replaced only the newest are kept.
    """
    stand, known = _settled(instructions)
    kept = {turn.id for turn in stand}
    replaced = [turn.id for turn in known if turn.id not in kept]
    gone = set(replaced[:-MOST_REPLACED])
    return tuple(turn for turn in known if turn.id not in gone)


def standing(instructions: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the instructions that are shown: each in the place of the one that it replaces."""
    return tuple(_settled(instructions)[0])


def _settled(instructions: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Return the instructions that stand, and all that were new when they came."""
    stand: list[Turn] = []
    runs: list[frozenset[tuple[str, ...]]] = []
    known: list[Turn] = []
    digests: list[str] = []
    places = {turn.seq for turn in instructions}
    for turn in instructions:
        if turn.digest in digests:
            continue
        known.append(turn)
        said = _runs(turn.text)
        for at in range(len(stand) - 1, -1, -1):
            if _mostly_same(runs[at], said) and not _of_one_prompt(stand[at], turn, places):
                stand[at], runs[at], digests[at] = turn, said, turn.digest
                break
        else:
            stand.append(turn)
            runs.append(said)
            digests.append(turn.digest)
    return stand, known


def _of_one_prompt(one: Turn, other: Turn, places: Collection[int]) -> bool:
    """Whether nothing but instructions stands between two of them."""
    return all(place in places for place in range(one.seq, other.seq))


def _mostly_same(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    least = min(len(one), len(other))
    return least >= LEAST_RUNS and len(one & other) >= SAME * least


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return frozenset(zip(*(words[at:] for at in range(RUN)), strict=False))
