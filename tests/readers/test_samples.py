"""Texts that show what a reader reads."""

from __future__ import annotations

import pytest

from optical_memory.errors import InputError
from optical_memory.readers.samples import identifiers, kinds, sample


@pytest.mark.parametrize("kind", kinds())
def test_a_sample_is_long_enough_and_the_same_each_time(kind: str) -> None:
    text = sample(kind, 20_000)
    assert len(text) >= 20_000 and text == sample(kind, 20_000) != sample(kind, 20_000, seed=1)
    assert text.isascii() == (kind in ("identifiers", "prose", "code"))


def test_identifiers_are_random_hexadecimal() -> None:
    found = identifiers(sample("identifiers", 5_000))
    assert len(found) > 300 and len(set(found)) == len(found) and all(int(each, 16) >= 0 for each in found)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="'poems'; there are identifiers"):
        sample("poems", 10)
