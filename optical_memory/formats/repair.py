"""Pairs of calls and results, mended so that no provider refuses the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from optical_memory.formats.base import Format
from optical_memory.formats.checked import LONE, stable_id
from optical_memory.turns import Part, ToolCall, Turn
from optical_memory.wording import NO_RESULT, lone_result


def repaired(turns: Sequence[Turn], target: Format) -> list[Turn]:
    """Return ``turns`` with every call and result paired as ``target`` demands.

    - A result without a call before it, or one that comes after the conversation has gone on, becomes a user's
      record. What was sent before it therefore never changes.
    - A call without a result gets NO_RESULT once later turns follow.
    - Ids of calls that ``target`` would refuse, or that are taken, are replaced in call and result alike. A result
      without an id answers the oldest open call of its name.
    - An instruction between a call and its result stands after the result, where they must be neighbours.

    A turn that came in ``target``'s own format leaves as it came, except where its pair is broken.
    """
    return _Repair(turns, target).run()


class _Repair:
    def __init__(self, turns: Sequence[Turn], target: Format) -> None:
        self.turns = turns
        self.target = target
        self.out: list[Turn] = []
        self.open: dict[str, list[ToolCall]] = {}  # id as it came -> calls as they leave
        self.held: list[Turn] = []  # records that wait for the results around them
        self.used: set[str] = set()
        self.to_come = Counter(turn.tool_call_id for turn in turns if turn.role == "tool")
        self.answering = False

    def run(self) -> list[Turn]:
        for turn in self.turns:
            if turn.role == "tool":
                self._result(turn)
            elif turn.is_instruction and (self.target.system_apart or self.open):
                (self.held if self.open and self.target.adjacent else self.out).append(turn)
            else:
                records = any(not held.is_instruction for held in self.held)
                if turn.role != "assistant" or self.answering or records:
                    self._close()
                self.out.append(self._called(turn) if turn.tool_calls else turn)
                self.answering = False
        if all(turn.is_instruction for turn in self.held):
            self.out += self.held  # the last calls still wait for their results
        else:
            self._close()
        return self.out

    def _result(self, turn: Turn) -> None:
        self.to_come[turn.tool_call_id] -= 1
        call = self._take(turn)
        if call is None:
            self.held.append(_record(turn))
            if not self.open:
                self._close()
            return
        self.answering = True
        if call.id != turn.tool_call_id:
            turn = replace(turn, tool_call_id=call.id)
        turn = self._identified(turn)
        if self.target.named_results and turn.name != call.name and not self.target.is_own(turn):
            turn = replace(turn, name=call.name)
        self.out.append(turn)
        if not self.open:
            self._close()

    def _take(self, turn: Turn) -> ToolCall | None:
        """Take the open call that a result answers: of its id, or without one the oldest of its name."""
        key = turn.tool_call_id
        waiting = [(each, call) for each, calls in self.open.items() for call in calls if key in (None, "", each)]
        fitting = [pair for pair in waiting if key or turn.name in (None, pair[1].name)]
        if not fitting:
            return None
        found, call = fitting[0]
        self.open[found] = [each for each in self.open[found] if each is not call]
        if not self.open[found]:
            del self.open[found]
        return call

    def _close(self) -> None:
        """End a run of results: the turns that follow come after the answers to all calls."""
        for call_id, calls in list(self.open.items()):
            late = 0 if self.target.adjacent else self.to_come[call_id]
            self.out += [_no_result(call) for call in calls[late:]]
            self.open[call_id] = calls[:late]
            if not late:
                del self.open[call_id]
        self.out += self.held
        self.held = []

    def _called(self, turn: Turn) -> Turn:
        own = self.target.is_own(turn)
        calls = []
        for call in turn.tool_calls:
            leaving = replace(call, id=self._free_id(call.id, legal=own))
            self.used.add(leaving.id)
            self.open.setdefault(call.id, []).append(leaving)
            calls.append(leaving)
        made = tuple(calls)
        return self._identified(turn if made == turn.tool_calls else replace(turn, tool_calls=made))

    def _identified(self, turn: Turn) -> Turn:
        """Return a turn whose own message, where it has one in this format, carries its ids."""
        return self.target.identified(turn) if self.target.is_own(turn) else turn

    def _free_id(self, call_id: str, *, legal: bool) -> str:
        if LONE.search(call_id) or not (legal or self.target.call_id.fullmatch(call_id)):
            call_id = stable_id(call_id)
        taken = self.used if self.target.unique_ids else {call.id for calls in self.open.values() for call in calls}
        return stable_id(call_id, str(len(self.used))) if call_id in taken else call_id


def _record(turn: Turn) -> Turn:
    head = lone_result(turn.name, turn.tool_call_id)
    text = f"{head}\n{turn.text}" if turn.text else head
    parts = (Part(kind="text", text=head), *turn.content) if turn.parts else ()
    return Turn(id=turn.id, role="user", text=text, parts=parts, created_at=turn.created_at, seq=turn.seq)


def _no_result(call: ToolCall) -> Turn:
    return Turn(id=f"{call.id}-no-result", role="tool", text=NO_RESULT, name=call.name, tool_call_id=call.id)
