"""Chains of the Responses API: what stands before ``previous_response_id``, also where the provider stores nothing.

Items lie in the session itself, as turns; a record says for a response's id which session it is in and where it ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optical_memory.formats import from_turns
from optical_memory.memory import OpticalMemory
from optical_memory.service.proxy.body import Item
from optical_memory.service.records import Records

CHAIN_SECONDS = 30 * 86_400.0
"""How long a response's id is known: as long as OpenAI keeps responses (platform.openai.com, 2026-11)."""
ENDS = ("response.completed", "response.incomplete")
"""Events with the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where a response ends: its session, the place of its last turn, and whether the provider has it as well."""

    session: str
    tip: int
    at_provider: bool


class Chains:
    """Finds and keeps chains by tenant and response id."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def find(self, tenant: str, response_id: str) -> Chain | None:
        """Return the chain that ends with a response, or None."""
        held = self._records.get(_name(tenant, response_id))
        return None if held is None else Chain(**json.loads(held))

    def keep(self, tenant: str, response_id: str, chain: Chain) -> None:
        """Remember where a response ends."""
        self._records.put(_name(tenant, response_id), json.dumps(asdict(chain)).encode(), seconds=CHAIN_SECONDS)


def items_of(memory: OpticalMemory, chain: Chain) -> tuple[Item, ...]:
    """Return the items of a chain, oldest first.

    Reasoning that only the provider can look up is left out where it stores nothing: it would refuse the item.
    """
    values = from_turns(memory.turns(through=chain.tip), "responses", repair=False)
    kept = [value for value in values if chain.at_provider or not _is_bare(value)]
    return tuple(Item(json.dumps(value, separators=(",", ":")), value) for value in kept)


def follow_answer(memory: OpticalMemory, items: Sequence[Item], answer: Mapping[str, Any]) -> int | None:
    """Store a list and what the model answered; return the place of the last turn, or None where there is none."""
    output = [item for item in answer.get("output") or () if isinstance(item, dict)]
    followed = memory.follow([*(item.value for item in items), *output], format="responses")
    places = [place for turns in followed.places for place in turns]
    return places[-1] if places else None


def _is_bare(value: Mapping[str, Any]) -> bool:
    return value.get("type") == "reasoning" and not value.get("encrypted_content")


def _name(tenant: str, response_id: str) -> str:
    digest = hashlib.sha256("\0".join((tenant, response_id)).encode()).hexdigest()
    return f"proxy/response/{digest[:48]}"
