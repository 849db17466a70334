"""Telling: what a gist says of a turn. Of an agent's steps what was done and how it ended, on one line each.

What people and models say stays as they said it. A call stands with its result, as a verb and what it was done to:
files and functions that were changed, commands and how they ended, the line that says what failed. Under it stand names
in what was written or came back, for gists that have room. No model is needed, and equal turns are told alike, so that
what a gist says can be checked against the turns that it covers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from optical_memory import wording
from optical_memory.context.actions import Action, action_of
from optical_memory.renderers.layout import Run
from optical_memory.turns import ToolCall, Turn, join_text, transcript

SUBJECT, OUTCOME = 110, 110
"""Most characters of what something was done to, and of how it ended."""
SCANNED = 6_000
"""Characters at each end of a result that are looked at for how it ended."""
SHORT = 3
"""Lines of a command's output that are told whole."""
NAMES = 6
"""Most names of what an edit added."""
QUOTED = "  "
"""What a line of a file or an output begins with, where an agent's step is told."""
MORE, LEAST = 100, 12
"""Most lines of a file or an output that are told for gists that have room, and the fewest characters of one."""
_SECTION = re.compile(r"\n+\[(?:stdout|stderr|metadata)\](?:\n| )")
_STATUS = re.compile(
    r"(?:exit(?:ed with)?[ _](?:code|status)\W{0,3}|<returncode>|exit status |non-zero exit status )(-?\d{1,3})",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"""^(?:(?:[\w./:-]+:\s)?(?:fatal|error|Error|ERROR)\b(?:\[\w+\])?[:\s].*
    |(?:E\s{2,})?[\w.]*(?:Error|Exception|Panic|Failure)\b(?::|\s*$).*
    |.*\b(?:panicked\sat|command\snot\sfound|[Nn]o\ssuch\sfile|[Pp]ermission\sdenied|[Ss]yntax\s?[Ee]rror)\b.*
    |(?:---\s)?FAIL(?:ED)?\b.*|npm\s(?:ERR!|error).*|Traceback\s.*|.*\(\d+,\d+\):\serror\s.*|.*:\d+:\d+:?\s+error\b.*
    |<tool_use_error>.*|(?:String|File|Text)\b.*\bnot\s(?:found|exist).*|AssertionError.*)$""",
    re.VERBOSE | re.MULTILINE,
)
_SUMMARY = re.compile(
    r"^.*\b(?:\d+\s+(?:passed|failed|passing|failing|errors?|tests?)\b|test\sresult:|Tests?:\s|BUILD\s|PASS\b|ok\s+\S+).*$",
    re.MULTILINE,
)
_COUNTED_FAILED = re.compile(r"(\d{1,9})\s+(?:failed|failing|errors?)\b")
_DEFINED = re.compile(
    r"^\s*(?:(?:pub(?:\(\w+\))?|export|default|async|static|public|private|protected|final|abstract|unsafe|local)\s+)*"
    r"((?:def|class|fn|func|function|struct|enum|trait|interface|type|impl|mod|module|const|macro_rules!|describe|it|test)"
    r"\b[ (]\s*(?:\([^)\n]{0,60}\)\s*)?[\"'`]?[\w.:<>$ -]{1,60}?)(?=[\"'`(){:;=<,\n]|\s*$)",
    re.MULTILINE,
)
_NUMBERED = re.compile(r"^\s*\d+[\t→|]", re.MULTILINE)
_NAMED = re.compile(
    r"(?<![\w/.-])(?:(?:[\w.-]{1,40}/){1,12}[\w-]{1,60}\.\w{1,8}|[A-Za-z]\w{0,60}_\w{1,60}|[a-z]{1,40}[A-Z]\w{1,60}"
    r"|[A-Z][a-z0-9]{1,40}[A-Z]\w{1,60}|[\w-]{1,60}\.[a-z]{2,4}(?=[\s:,;)\"'`]|$)|v?\d{1,5}(?:\.\d{1,5}){2})(?![\w/])"
)
"""Files, names of code and versions: what is asked for by its exact letters."""
_ESCAPED = re.compile(r"(?:\\[nrt])+")
_COMMENTS = ("//", "#", "/*", "*", "--", "<!--")
_FENCED = re.compile(r"^(```|~~~).*?(?:^\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)


def told(turns: Sequence[Turn], among: Iterable[Turn] | None = None) -> list[Run]:
    """Return what a gist may say of each turn, in order; nothing of calls whose results are among the turns.

    Calls are looked for ``among`` these turns (default: the same).
    """
    around = turns if among is None else tuple(among)
    calls = {call.id: call for turn in around for call in turn.tool_calls}
    answered = {turn.tool_call_id for turn in around if turn.role == "tool"}
    runs = [tell(turn, calls, answered) for turn in turns if not turn.is_instruction]
    return [run for run in runs if run.text]


def tell(turn: Turn, calls: Mapping[str, ToolCall], answered: Iterable[str | None] = ()) -> Run:
    """Return what a gist says of one turn: ``calls`` by id are those that results may answer."""
    place = turn.seq if turn.seq >= 0 else None
    run = Run(turn_id=turn.id, role=turn.role, text="", header=f"{transcript(turn)[0]}:", place=place)
    if turn.role == "tool":
        call = calls.get(turn.tool_call_id or "")
        text = join_text(turn.role, turn.content, labels=True)
        if call is None:
            return replace(run, text=_ESCAPED.sub(" ", text))
        action = action_of(call)
        verb, line = _done(action, text)
        return replace(run, header=f"{verb}:", text="\n".join([line, *_details(verb, action, text)]))
    said = join_text(turn.role, turn.content, labels=True)
    if turn.role == "assistant":
        said = _FENCED.sub("", said).strip()
    waiting = [action_of(call) for call in turn.tool_calls if call.id not in answered]
    lines = [f"{wording.STILL_OPEN} {act.name} {_cut(act.subject, SUBJECT)}" for act in waiting]
    return replace(run, text="\n".join([said, *lines] if said else lines))


def _done(action: Action, result: str) -> tuple[str, str]:
    """Return the verb, and what was done to what, with how it ended."""
    result = _SECTION.split(result)[0].strip() or result.strip()
    if action.verb == "called":
        asked = f"{action.name} {action.subject}".strip()
        return "called", f"{_cut(asked, 2 * SUBJECT)} → {_ESCAPED.sub(' ', result)}"
    ends = result if len(result) <= 2 * SCANNED else f"{result[:SCANNED]}\n{result[-SCANNED:]}"
    status = _STATUS.search(ends[:200]) or _STATUS.search(ends[-200:])
    code = int(status[1]) if status else 0
    failure = _failure(ends) if code or action.verb != "read" else ""
    subject = _cut(action.subject, SUBJECT)
    if action.verb in ("edited", "wrote") and not code and not (failure and len(result) < 400):
        new = _changed(action)
        size = f"{action.new.count(chr(10)) + 1:,} lines" if action.verb == "wrote" else ""
        return action.verb, subject + "".join(f" — {part}" for part in (size, new) if part)
    failed = code or (failure and action.verb in ("ran", "edited", "wrote"))
    if failed:
        how = "; ".join(part for part in (f"exit {code}" if code else "", _cut(failure, OUTCOME)) if part)
        return "failed", f"{subject} → {how}" if how else subject
    return action.verb, f"{subject} → {_outcome(action, ends, result.count(chr(10)) + 1 if result else 0)}"


def _details(verb: str, action: Action, result: str) -> list[str]:
    """Return lines of what else is worth knowing where there is room: other failures, names in a text, its lines."""
    if verb == "called":
        return []
    result = _SECTION.split(result)[0]
    ends = result if len(result) <= 2 * SCANNED else f"{result[:SCANNED]}\n{result[-SCANNED:]}"
    out: list[str] = []
    if verb in ("ran", "failed"):
        found = [match.group() for match in (*_FAILED.finditer(ends), *_SUMMARY.finditer(ends))]
        out = list(dict.fromkeys(_cut(line, OUTCOME) for line in found[: 2 * NAMES]))
    line = ""
    for name in dict.fromkeys(_NAMED.findall(action.new[: 2 * SCANNED] or ends)):
        if line and len(line) + len(name) + 2 > OUTCOME:
            out.append(line)
            line = ""
        line = f"{line}, {name}" if line else name
    out += [line] if line else []
    return list(dict.fromkeys([*out, *_lines_of(action.new[: 2 * SCANNED] or ends)]))


def _lines_of(text: str) -> list[str]:
    """Return lines of a text in order: what it defines, and as many others, from its beginning to its end."""
    lines = [" ".join(line.split()) for line in _NUMBERED.sub("", text).splitlines()]
    telling = [place for place, line in enumerate(lines) if len(line) >= LEAST and not line.startswith(_COMMENTS)]
    defined = [place for place in telling if _DEFINED.match(lines[place])][:MORE]
    others = [place for place in telling if place not in set(defined)]
    left = MORE - len(defined)
    if len(others) > left:
        others = [others[at * len(others) // left] for at in range(left)]
    return [f"{QUOTED}{_cut(lines[place], OUTCOME)}" for place in sorted({*defined, *others})]


def _outcome(action: Action, text: str, lines: int) -> str:
    many = "nothing" if not lines else "1 line" if lines == 1 else f"{lines:,} lines"
    if action.verb == "read":
        return many
    if summary := _SUMMARY.findall(text):
        return _cut(max(summary, key=_weight).strip(), OUTCOME)
    if 0 < lines <= SHORT:
        return _cut("; ".join(line.strip() for line in text.splitlines() if line.strip()), OUTCOME)
    return many


def _weight(summary: str) -> tuple[bool, int]:
    """Return what a line of counts says: failures first, then the most that was counted."""
    failed = any(int(number) for number in _COUNTED_FAILED.findall(summary))
    return failed, max(map(int, re.findall(r"\d{1,9}", summary)), default=0)


def _failure(text: str) -> str:
    """Return the line that says what failed: the last of a traceback, else the first that looks like one."""
    found = [match.group().strip() for match in _FAILED.finditer(text)]
    if not found:
        return ""
    if found[0].startswith("Traceback"):
        return found[-1] if len(found) > 1 else ""
    return found[0]


def _changed(action: Action) -> str:
    """Return what an edit added: names of what it defines, else its first line that is new."""
    new = _NUMBERED.sub("", action.new)
    before = set(_DEFINED.findall(action.old))
    names = [" ".join(name.split()).strip(" (") for name in _DEFINED.findall(new) if name not in before]
    if names := list(dict.fromkeys(names)):
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        return _cut(", ".join(names[:NAMES]), OUTCOME) + more
    if action.script:
        return ""
    if line := _first_new(new, action.old):
        return _cut(line, OUTCOME)
    gone = _first_new(action.old, new)
    return f"removed {_cut(gone, OUTCOME)}" if gone else ""


def _first_new(text: str, other: str) -> str:
    """Return the first line of a text that is not in the other; comments where nothing else is."""
    known = {line.strip() for line in other.splitlines()}
    fresh = [line for line in map(str.strip, text.splitlines()) if len(line) > 3 and line not in known]
    return next((line for line in fresh if not line.startswith(_COMMENTS)), fresh[0] if fresh else "")


def _cut(text: str, most: int) -> str:
    """Return a text in so many characters, cut at a blank where there is one near."""
    text = " ".join(_ESCAPED.sub(" ", text).split())
    if len(text) <= most:
        return text
    end = text.rfind(" ", most * 2 // 3, most)
    return f"{text[: end if end > 0 else most - 1]}…"
