"""Clients of the service, sync and async; requests sent again after a failure store nothing twice."""

from __future__ import annotations

from optical_memory.client.asynchronous import AsyncOpticalMemoryClient
from optical_memory.client.sync import OpticalMemoryClient

__all__ = ["AsyncOpticalMemoryClient", "OpticalMemoryClient"]
