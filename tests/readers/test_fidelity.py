"""What counts as read right, read wrong, and wrong without a sign of it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.readers.base import Reading
from optical_memory.readers.fidelity import compare, precision, score
from optical_memory.renderers.base import Grid, Layout, Page

GRID = Grid(width=512, height=512, cell_width=8, cell_height=16)


def page(text: str, tier: str = "tiny") -> Page:
    layout = Layout(id=text, grid=GRID, cells=np.zeros((1, 1), np.uint32), text=text)
    return Page(id=text, layout=layout, tier=tier, size=(512, 512), tokens=73, source=lambda page: b"")


class Parrot:
    """Returns given texts, one after the other."""

    name = "parrot"

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def read(self, page: Page | bytes) -> Reading:
        return Reading(text=self.texts.pop(0), seconds=0.5, tokens=73)


def test_precision_is_one_minus_the_share_of_edits() -> None:
    assert precision("abcd", "abcd") == 1
    assert precision("abcd", "abXd") == 0.75
    assert precision("abcd", "") == 0
    assert precision("", "") == 1
    assert precision("ab", "abab") == 0.5


@pytest.mark.parametrize(
    ("reading", "exact", "wrong"),
    [
        ("id 3f9c2a end", 1, 0),
        ("id 3f9e2a end", 0, 1),
        ("id 3f9\ufffd2a end", 0, 0),
        ("id 3f9c2 end", 0, 1),
        ("id 3f9c22a end", 0, 1),
        ("id 3f9c2a7 end", 0, 1),
        ("id x3f9c2a end", 0, 1),
        ("id 3f9c2a\n end", 1, 0),
        ("id: 3f9c2a. end", 1, 0),
        ("id \ufffd3f9c2a end", 0, 0),
        ("id end", 0, 1),
        ("", 0, 1),
        ("something before id 3f9c2a end", 1, 0),
    ],
)
def test_identifiers_are_judged_where_they_stand(reading: str, exact: int, wrong: int) -> None:
    result = compare("id 3f9c2a end", reading, ["3f9c2a"])
    assert (result.identifiers, result.exact, result.silently_wrong) == (1, exact, wrong)


def test_every_occurrence_counts() -> None:
    result = compare("a1b2 and a1b2 and c3d4", "a1b2 and a1b8 and c3d4", ["a1b2", "c3d4"])
    assert (result.identifiers, result.exact, result.silently_wrong) == (3, 2, 1)


def test_scores_keep_the_order_of_the_tiers() -> None:
    pages = {"base": [page("alpha 1f2e"), page("beta")], "tiny": [page("alpha  1f2e")], "gist": []}
    seen: list[tuple[str, int]] = []
    reader = Parrot(["alpha 1f2e", "bet\ufffd", "alpha 1f3e"])
    scores = score(pages, reader, identifiers=lambda text: ["1f2e"], progress=lambda *place: seen.append(place))
    assert list(scores) == ["base", "tiny"]
    base, tiny = scores["base"], scores["tiny"]
    assert (base.pages, base.characters, base.tokens, base.seconds) == (2, 14, 146, 1.0)
    assert base.precision == pytest.approx(1 - 1 / 14)
    assert (base.identifiers, base.exact, base.silently_wrong) == (1, 1, 0)
    assert tiny.precision == pytest.approx(1 - 2 / 11)
    assert tiny.precision_folded == pytest.approx(1 - 1 / 10)
    assert (tiny.exact, tiny.silently_wrong) == (0, 1)
    assert seen == [("base", 1), ("base", 2), ("tiny", 1)]


def test_shares_are_none_without_identifiers() -> None:
    only = score({"tiny": [page("words")]}, Parrot(["words"]), identifiers=lambda text: [])["tiny"]
    assert only.exact is None and only.silently_wrong is None


def test_an_endless_reading_counts_as_wrong() -> None:
    text = "The quick brown fox 0f3a9b. " * 400
    result = compare(text, "fox " * 5_000_000, ["0f3a9b"])
    assert result.edits > 0.99 * result.length
    assert result.length == 20_000_000


@given(st.text(), st.text())
def test_any_texts_can_be_compared(text: str, reading: str) -> None:
    result = compare(text, reading, [text[1:4], text[:1]])
    assert 0 <= result.edits <= result.length
    assert result.exact + result.silently_wrong <= result.identifiers
    assert compare(text, text, [text[1:4]]).exact == compare(text, text, [text[1:4]]).identifiers
