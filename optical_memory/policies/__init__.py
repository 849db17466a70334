"""Policies: how sharp each page is, and when it leaves. Pure functions; other packages join through entry points."""

from __future__ import annotations

from optical_memory.errors import InputError
from optical_memory.policies.age import AgePolicy
from optical_memory.policies.base import PageInfo, Plan, Policy
from optical_memory.policies.budgeted import BudgetedPolicy
from optical_memory.policies.epochs import Watermarks, choose_watermarks
from optical_memory.policies.fixed import FixedTier
from optical_memory.policies.ladder import LADDER, legible_tiers
from optical_memory.registry import Registry

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

POLICIES: Registry[Policy] = Registry(
    "policy", "optical_memory.policies", {"age": AgePolicy, "budgeted": BudgetedPolicy, "fixed": FixedTier}
)
"""What makes a policy, from one optional text."""


def get_policy(name: str | Policy | None = None) -> Policy:
    """Return a policy: ``None`` the default, a name ("budgeted", "age", "fixed:tiny"), or a Policy as it is.

    What follows a colon is handed to the policy's maker. Raises NotFoundError, with the names there are, for a name
    that neither this library nor an entry point has, and InputError where its maker needs more arguments, or fewer.
    """
    if name is None:
        return BudgetedPolicy()
    if not isinstance(name, str):
        return name
    key, _, argument = name.partition(":")
    make = POLICIES.maker(key)
    try:
        return make(argument) if argument else make()
    except TypeError as error:
        raise InputError(f"policy {name!r} cannot be made: {error}") from error
