from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from optical_memory.errors import InputError, NotFoundError
from optical_memory.policies import AgePolicy, BudgetedPolicy, FixedTier, get_policy


def test_policies_are_found_by_name_or_are_what_they_are() -> None:
    assert get_policy() == get_policy("budgeted") == BudgetedPolicy()
    assert get_policy("age") == AgePolicy()
    assert get_policy("fixed:tiny") == FixedTier("tiny")
    own = BudgetedPolicy(half_life=2)
    assert get_policy(own) is own


def test_third_parties_join_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", "optical_memory.policies.budgeted:BudgetedPolicy", "optical_memory.policies")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry] if group == entry.group else [])
    assert get_policy("theirs") == BudgetedPolicy()


def test_errors_name_the_way_out() -> None:
    with pytest.raises(NotFoundError, match="age, budgeted, fixed"):
        get_policy("nearest")
    with pytest.raises(InputError, match="'fixed'"):
        get_policy("fixed")
    with pytest.raises(InputError, match="'huge'"):
        get_policy("fixed:huge")


def test_policies_are_pure() -> None:
    for policy in (BudgetedPolicy(), AgePolicy(), FixedTier("tiny")):
        assert policy == type(policy)(**{name: getattr(policy, name) for name in policy.__slots__})
        with pytest.raises(AttributeError):
            policy.fan_in = 9
