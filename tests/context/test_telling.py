"""What gists say of an agent's steps: what was done and how it ended, for any names of tools, and nothing invented."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from optical_memory import OpticalMemory, Turn
from optical_memory.context.actions import action_of
from optical_memory.context.telling import told
from optical_memory.turns import ToolCall

STEP = re.compile(r"^▮(read|searched|edited|wrote|ran|failed): ", re.MULTILINE)


def step(name: str, arguments: dict[str, Any] | str, result: str) -> tuple[str, str]:
    """Return how a call with its result is told: the verb, and the first line."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = Turn(id="a", role="assistant", tool_calls=(ToolCall(id="c1", name=name, arguments=text),), seq=0)
    (run,) = told([call, Turn(id="b", role="tool", text=result, tool_call_id="c1", seq=1)])
    return run.header.removesuffix(":"), run.text.partition("\n")[0]


# The shapes of Claude Code, SWE-agent, OpenHands, Codex, Gemini CLI and Cursor.
STEPS: list[tuple[str, dict[str, Any] | str, str, str, str]] = [
    (
        "Read",
        {"file_path": "/a/mod.rs", "offset": 40, "limit": 3},
        "40\tuse x;\n41\t\n42\tfn f() {",
        "read",
        "/a/mod.rs from line 40 → 3 lines",
    ),
    (
        "Edit",
        {"file_path": "/a/m.py", "old_string": "x = 1\n", "new_string": "x = 1\ndef area(r):\n    return r\n"},
        "The file has been updated.",
        "edited",
        "/a/m.py — def area",
    ),
    (
        "MultiEdit",
        {"file_path": "m.go", "edits": [{"old_string": "a", "new_string": "func Sum(a int) int {"}]},
        "ok",
        "edited",
        "m.go — func Sum",
    ),
    (
        "Edit",
        {"file_path": "/a/m.py", "old_string": "y", "new_string": "z"},
        "<tool_use_error>String to replace not found in file.</tool_use_error>",
        "failed",
        "/a/m.py → <tool_use_error>String to replace not found in file.</tool_use_error>",
    ),
    (
        "Write",
        {"file_path": "b.ts", "content": "export function parse(s: string) {\n}\n"},
        "File created",
        "wrote",
        "b.ts — 3 lines — function parse",
    ),
    (
        "Grep",
        {"pattern": "TODO", "path": "src"},
        "src/a.py:1:TODO\nsrc/b.py:2:TODO\nsrc/c.py:1:TODO\nsrc/d.py:9:TODO",
        "searched",
        "TODO in src → 4 lines",
    ),
    (
        "Bash",
        {"command": "cd /app && cargo test -p core"},
        "Exit code 101\nerror[E0433]: failed to resolve: use of undeclared type `Foo`",
        "failed",
        "cargo test -p core → exit 101; error[E0433]: failed to resolve: use of undeclared type `Foo`",
    ),
    (
        "bash",
        {"command": "pytest -q"},
        "....\n228 passed, 3 skipped in 1.75s",
        "ran",
        "pytest -q → 228 passed, 3 skipped in 1.75s",
    ),
    ("bash", {"command": "sed -n '1,9p' a.py"}, "a\nb", "read", "sed -n '1,9p' a.py → 2 lines"),
    (
        "str_replace_editor",
        {"command": "view", "path": "/r/a.py", "view_range": [10, 20]},
        "10\tx",
        "read",
        "/r/a.py from line 10 → 1 line",
    ),
    (
        "str_replace_editor",
        {"command": "create", "path": "/r/n.py", "file_text": "class Door:\n    pass"},
        "New file created",
        "wrote",
        "/r/n.py — 2 lines — class Door",
    ),
    (
        "str_replace_editor",
        {"command": "str_replace", "path": "/r/a.py", "old_str": "1", "new_str": "timeout = 30"},
        "The file /r/a.py has been edited.",
        "edited",
        "/r/a.py — timeout = 30",
    ),
    (
        "execute_bash",
        {"command": "python t.py"},
        "Traceback (most recent call last):\n  File \"t.py\"\nKeyError: 'size'\n[completed with exit code 1.]",
        "failed",
        "python t.py → exit 1; KeyError: 'size'",
    ),
    ("shell", {"command": ["bash", "-lc", "ls"]}, "a.py", "ran", "bash -lc ls → a.py"),
    (
        "apply_patch",
        {"input": "*** Begin Patch\n*** Update File: lib/io.py\n+def flush(self):\n+    pass\n*** End Patch"},
        "Success.",
        "edited",
        "lib/io.py — def flush",
    ),
    (
        "run_shell_command",
        {"command": "npm test", "description": "test"},
        "npm ERR! code ELIFECYCLE",
        "failed",
        "npm test → npm ERR! code ELIFECYCLE",
    ),
    ("read_file", {"absolute_path": "/g/x.md"}, "# X", "read", "/g/x.md → 1 line"),
    ("edit_file", {"target_file": "w.js", "code_edit": "const port = 8080;"}, "applied", "edited", "w.js — const port"),
    (
        "get_reservation_details",
        {"reservation_id": "4OG6T3"},
        '{"status": "open",\\n\\t"cabin": "economy"}',
        "called",
        'get_reservation_details {"reservation_id": "4OG6T3"} → {"status": "open", "cabin": "economy"}',
    ),
    ("think", "no json", "noted", "called", "think → noted"),
]


@pytest.mark.parametrize(("name", "arguments", "result", "verb", "line"), STEPS, ids=[f"{s[0]}-{s[3]}" for s in STEPS])
def test_a_step_says_what_was_done_and_how_it_ended(
    name: str, arguments: dict[str, Any] | str, result: str, verb: str, line: str
) -> None:
    assert step(name, arguments, result) == (verb, line)


def test_a_script_and_a_redirection_name_the_files_they_write() -> None:
    script = (
        "python3 - <<'EOF'\np = 'src/gen.rs'\ns = open(p).read()\nopen('src/gen.rs', 'w').write(s)\nEOF\ncargo build"
    )
    call = ToolCall(id="c", name="Bash", arguments=json.dumps({"command": script}))
    assert action_of(call).verb == "edited" and action_of(call).paths == ("src/gen.rs",)
    shell = json.dumps({"command": "cat >> vm/lib.rs <<EOF\nfn eat() {}\nEOF"})
    assert step("Bash", shell, "") == ("edited", "cat >> vm/lib.rs <<EOF; — fn eat")


def test_a_call_without_its_result_is_open_and_one_with_it_is_told_once() -> None:
    call = Turn(id="a", role="assistant", text="Now I build.", seq=0,
                tool_calls=(ToolCall(id="c1", name="Bash", arguments='{"command": "make all"}'),))  # fmt: skip
    (run,) = told([call])
    assert run.text == "Now I build.\nno result yet: Bash make all"
    done = told(
        [call, Turn(id="b", role="tool", text="Exit code 2\nmake: *** [all] Error 1", tool_call_id="c1", seq=1)]
    )
    assert [run.text.partition("\n")[0] for run in done] == ["Now I build.", "make all → exit 2"]


def gists_of(memory: OpticalMemory) -> list[str]:
    return [page.text for page in memory.context().pages if page.kind == "gist"]


@pytest.mark.parametrize("profile", ["gpt-5", "deepseek-ocr"])
def test_gists_of_coding_work_can_be_read(profile: str, coding_session: dict[str, Any]) -> None:
    steps = 0
    with OpticalMemory(profile=profile, budget=6_000, renderer="dense") as memory:
        for message in coding_session["messages"]:
            memory.extend([message])
            memory.context()
        gists = gists_of(memory)
        assert gists
        for text in gists:
            assert "\\n" not in text and "\\t" not in text
            for run in text.split("▮")[1:]:
                if STEP.match(f"▮{run}"):
                    steps += 1
                    assert "[…]" not in run and not re.search(r"^\s*\d+[\t→]", run, re.MULTILINE)
        covered = [entry.last_seq - entry.first_seq + 1 for entry in memory._view.epoch.entries if entry.level]
        assert len(covered) == len(gists)
        assert steps >= sum(min(8, turns // 2) for turns in covered)  # a call and its result are one step
        whole = "\n".join(gists)
        assert re.search(r"▮(?:edited|wrote): /app/meta/src/optimizer/\w+\.rs — ", whole)
        assert "▮failed: " in whole


def test_a_gist_of_steps_is_believed_after_an_export(tmp_path: Any, coding_session: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"profile": "deepseek-ocr", "budget": 4_000, "renderer": "dense"}
    with OpticalMemory("s", **settings) as memory:
        for message in coding_session["messages"]:
            memory.extend([message])
            memory.context()
        before = memory.messages()
        path = memory.export(tmp_path / "session.om")
    with OpticalMemory.load(path, **settings) as loaded:
        assert loaded.messages() == before


def test_what_a_gist_says_of_a_forgotten_call_is_gone_too(coding_session: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"profile": "deepseek-ocr", "budget": 4_000, "renderer": "dense"}
    with OpticalMemory("s", **settings) as memory:
        for number, message in enumerate(coding_session["messages"]):
            (turn,) = memory.extend([message])
            memory.context()
            if number == 0:
                first = turn
        assert "display_ranges" in "\n".join(gists_of(memory))
        made = next(t for t in memory.store.turns("s") if any("fn display_ranges" in c.arguments for c in t.tool_calls))
        later = memory.store.turns("s", after=made.seq, limit=1)[0]
        assert later.tool_call_id == made.tool_calls[0].id and first.seq == 0
        memory.forget(turn_id=made.id)
        assert not any("— fn display_ranges" in text for text in gists_of(memory))
