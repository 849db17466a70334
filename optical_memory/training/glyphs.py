"""Sheets of the dense renderer's own tiles."""

from __future__ import annotations

from optical_memory.training.data import Arrays


def dense_sheets() -> Arrays:
    return {}
