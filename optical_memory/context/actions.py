"""Actions: what a call of a tool did, told from the names of its arguments, whatever the tool is called.

A path alone was read, a path with an old text edited, with a whole text written; a shell command says by its program
whether it read, searched or ran. So agents' own names (``Edit``, ``str_replace_editor``, ``execute_bash``,
``apply_patch``, ``run_shell_command``) need no list. What fits nowhere is a call with its main argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optical_memory.turns import ToolCall, Turn

Verb = Literal["read", "searched", "edited", "wrote", "ran", "called"]

MOST_PARSED = 2_000_000
"""Characters of arguments up to which they are taken apart."""
_PATHS = (
    "file_path", "filepath", "path", "absolute_path", "file_name", "filename", "file", "target_file", "notebook_path",
)  # fmt: skip
_OLD = ("old_string", "old_str", "old_text", "search", "target")
_NEW = (
    "new_string", "new_str", "new_text", "replace", "replacement", "replacement_text", "code_edit", "new_source",
)  # fmt: skip
_WHOLE = ("content", "file_text", "contents", "text")
_COMMANDS = ("command", "cmd", "script", "code", "commands")
_SOUGHT = ("pattern", "search_term", "regex", "query", "glob")
_PATCHES = ("patch", "input", "diff")
_RANGES = (("offset", "limit"), ("start_line", "end_line"), ("line_start", "line_end"))
_EDITOR = {"view": "read", "open": "read", "create": "wrote", "str_replace": "edited", "insert": "edited"}
"""Commands of an editor that is one tool, as agents of the SWE-agent family have it."""
_PATCHED = re.compile(r"^(?:\*\*\* (?:Update|Add|Delete) File: |\+\+\+ b/)(\S+)", re.MULTILINE)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?(?:^[ \t]*\2\b|\Z)", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"\s*(?:cd\s+[^\s;&|]+\s*(?:&&|;|\n)\s*|export\s+\S+\s*(?:&&|;|\n)\s*|[A-Z_]+=\S*\s+|sudo\s+)")
_READING = re.compile(r"(?:cat|head|tail|less|nl|awk|sed(?!\s+-\w*i))\b")
_SEARCHING = re.compile(r"(?:grep|rg|ag|find|fd|ls|tree|git\s+(?:grep|ls-files))\b")
_FILE = re.compile(r"(?<![\w./~-])[~.\w/-]*[\w-]\.[A-Za-z]\w{0,7}(?![\w/(])")
_WRITTEN = re.compile(
    r"(?:(?:cat|echo|printf)\b[^|;&\n]*?(?<![\d>&])>{1,2}\s*|(?:.*\|\s*)?tee\s(?:-a\s+)?|sed\s+-\w*i\S*\s[^|;&\n]*?\s)"
    r"([~\w./-]*\w\.\w+)(?=[\s;&|]|$)"
)
_SCRIPT = re.compile(r"python[\d.]*\s+-\s*<<|node\s.*<<|ruby\s.*<<|perl\s+-\w*i")
_QUOTED_FILE = re.compile(r"[\"']([~\w./-]*\w\.[A-Za-z]\w{0,7})[\"']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a call did. ``subject`` is what it did it to, on one line; ``paths`` are the files that it names.

    ``old`` and ``new`` are the texts that an edit replaced and wrote; of a ``script`` that edits, ``new`` is its code.
    """

    verb: Verb
    name: str
    subject: str
    paths: tuple[str, ...] = ()
    old: str = ""
    new: str = ""
    script: bool = False


def reading(turns: Iterable[Turn]) -> frozenset[str]:
    """Return the ids of the calls that read a file: their results are what it is edited from."""
    return frozenset(call.id for turn in turns for call in turn.tool_calls if action_of(call).verb == "read")


def action_of(call: ToolCall) -> Action:
    """Return what a call did."""
    arguments = _arguments(call.arguments)
    path = _first(arguments, _PATHS)
    command = arguments.get(next((key for key in _COMMANDS if arguments.get(key)), ""), "")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    command = str(command)
    if patch := next((text for text in _patches(arguments, command) if _PATCHED.search(text)), ""):
        paths = tuple(dict.fromkeys(_PATCHED.findall(patch)))
        return Action(verb="edited", name=call.name, subject=", ".join(paths), paths=paths, new=_added(patch))
    if path and (not command or command in _EDITOR):
        return _on_file(call.name, path, command, arguments)
    if command:
        return _in_shell(call.name, command)
    if sought := _first(arguments, _SOUGHT):
        places = _first(arguments, ("dir", "directory", "dir_path", "include"))
        return Action(verb="searched", name=call.name, subject=_line(f"{sought} {places}"))
    return Action(verb="called", name=call.name, subject=_line(call.arguments if arguments else ""))


def _on_file(name: str, path: str, command: str, arguments: Mapping[str, Any]) -> Action:
    edits = [edit for edit in arguments.get("edits") or () if isinstance(edit, Mapping)]
    old = "\n".join(_text(edit, _OLD) for edit in edits) or _text(arguments, _OLD)
    new = "\n".join(_text(edit, _NEW) for edit in edits) or _text(arguments, _NEW)
    whole = _text(arguments, _WHOLE)
    subject = path
    verb: Verb = "read"
    if command in _EDITOR:
        verb = "wrote" if command == "create" else "read" if _EDITOR[command] == "read" else "edited"
    elif old or new:
        verb = "edited"
    elif whole:
        verb = "wrote"
    elif sought := _first(arguments, _SOUGHT):
        return Action(verb="searched", name=name, subject=_line(f"{sought} in {path}"), paths=(path,))
    if verb == "read":
        span = arguments.get("view_range") or next(
            ([arguments.get(a), arguments.get(b)] for a, b in _RANGES if arguments.get(a) or arguments.get(b)), None
        )
        if isinstance(span, list) and span:
            subject = f"{path} from line {span[0] or 1}"
    return Action(verb=verb, name=name, subject=_line(subject), paths=(path,), old=old, new=new or whole)


def _in_shell(name: str, command: str) -> Action:
    bare = _HEREDOC.sub(lambda found: f"<<{found[2]};", command)
    while before := _BEFORE.match(bare):
        bare = bare[before.end() :]
    if _SCRIPT.match(bare) and "write" in command and (files := _QUOTED_FILE.findall(command)):
        files = list(dict.fromkeys(files))
        return Action(
            verb="edited", name=name, subject=", ".join(files), paths=tuple(files), new=_body(command), script=True
        )
    if written := _WRITTEN.match(bare):
        return Action(verb="edited", name=name, subject=_line(bare), paths=(written[1],), new=_body(command))
    verb: Verb = "read" if _READING.match(bare) else "searched" if _SEARCHING.match(bare) else "ran"
    return Action(verb=verb, name=name, subject=_line(bare), paths=tuple(dict.fromkeys(_FILE.findall(bare))))


def _body(command: str) -> str:
    """Return what a command writes: its here-document without the lines around it."""
    found = _HEREDOC.search(command)
    return "" if found is None else "\n".join(found.group().splitlines()[1:-1])


def _arguments(text: str) -> Mapping[str, Any]:
    if len(text) > MOST_PARSED:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _patches(arguments: Mapping[str, Any], command: str) -> list[str]:
    return [command, *(str(arguments.get(key) or "") for key in _PATCHES)]


def _added(patch: str) -> str:
    return "\n".join(line[1:] for line in patch.splitlines() if line.startswith("+") and not line.startswith("+++"))


def _first(arguments: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((value for key in keys if isinstance(value := arguments.get(key), str) and value), "")


def _text(arguments: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(value) for key in keys if (value := arguments.get(key))), "")


def _line(text: str) -> str:
    return " ".join(text.split())
