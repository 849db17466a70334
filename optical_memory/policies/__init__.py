"""Policies: how sharp each page is, and when it leaves. Pure; third parties join through entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optical_memory.errors import InputError, NotFoundError
from optical_memory.policies.age import AgePolicy
from optical_memory.policies.base import PageInfo, Plan, Policy
from optical_memory.policies.budgeted import BudgetedPolicy
from optical_memory.policies.epochs import Watermarks, choose_watermarks
from optical_memory.policies.fixed import FixedTier
from optical_memory.policies.ladder import LADDER, legible_tiers

__all__ = [
    "LADDER",
    "AgePolicy",
    "BudgetedPolicy",
    "FixedTier",
    "PageInfo",
    "Plan",
    "Policy",
    "Watermarks",
    "choose_watermarks",
    "get_policy",
    "legible_tiers",
]

ENTRY_POINTS = "optical_memory.policies"
"""Group of entry points: each a callable that returns a Policy, from one optional text."""

BUILT_IN: Mapping[str, Callable[..., Policy]] = {"age": AgePolicy, "budgeted": BudgetedPolicy, "fixed": FixedTier}


def get_policy(name: str | Policy | None = None) -> Policy:
    """Return a policy: ``None`` the default, a name ("budgeted", "age", "fixed:tiny"), or a Policy as it is.

    What follows a colon is handed to the policy's maker. Raises NotFoundError, with the names there are, for a name
    that neither this library nor an entry point has, and InputError for one that needs more or less than it got.
    """
    if name is None:
        return BudgetedPolicy()
    if not isinstance(name, str):
        return name
    key, _, argument = name.partition(":")
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if key not in BUILT_IN and key not in found:
        raise NotFoundError(f"no policy {name!r}; there are {', '.join(sorted({*BUILT_IN, *found}))}")
    make = BUILT_IN[key] if key in BUILT_IN else found[key].load()
    try:
        return make(argument) if argument else make()
    except TypeError as error:
        raise InputError(f"policy {name!r} cannot be made: {error}") from error
