"""The rules by which providers price images, one file a provider."""

from optical_memory.budget.formulas.base import Formula

__all__ = ["Formula"]
