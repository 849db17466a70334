"""``optical-memory pages`` and ``transcribe`` as a user runs them: one makes what the other reads."""

import json
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from optical_memory.cli import app

pytest.importorskip("rapidocr")


def test_pages_of_text_are_transcribed_again(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Words that are drawn and read again.")
    run = CliRunner()
    made = run.invoke(
        app, ["pages", str(tmp_path / "text.txt"), "-o", str(tmp_path / "shards"), "--tier", "base", "--json"]
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {"path": "pages-000000.tar", "pages": 1, "kept": False}
    with tarfile.open(tmp_path / "shards/pages-000000.tar") as tar:
        tar.extractall(tmp_path / "scans", filter="data")
    (tmp_path / "scans/broken.png").write_bytes(b"")
    command = ["transcribe", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "--reader", "rapidocr", "--json"]
    read = run.invoke(app, command)
    assert read.exit_code == 1  # one is broken
    done = {Path(each["source"]).name: each for each in map(json.loads, read.stdout.splitlines())}
    assert "not a readable image" in done["broken.png"]["error"]
    assert (tmp_path / "out/000000-000000.png.txt").read_text().strip() == "Words that are drawn and read again."


@pytest.mark.parametrize(
    "arguments",
    [["pages", ".", "-o", "x", "--format", "csv"], ["transcribe", ".", "-o", "x", "--option", "no sign"]],
)
def test_bad_arguments_are_named(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "must be" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["pages", "transcribe"])
def test_progress_is_shown_on_a_terminal(command: str, tmp_path: Path) -> None:
    """In a process whose standard error is a terminal; standard output stays clean for programs."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/text.txt").write_text("Words.")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "in/blank.png")
    reader = ["--reader", "rapidocr"] if command == "transcribe" else []
    arguments = [command, str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json", *reader]
    ours, theirs = pty.openpty()
    program = "from optical_memory.cli import main; main()"
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # what Linux says at the end
                break
            if not data:
                break
            shown += data
        assert run.stdout is not None
        out = run.stdout.read()
    os.close(ours)
    assert run.returncode == 0, shown
    assert (b"1 pages in 1 shards" if command == "pages" else b"transcribing") in shown
    assert [json.loads(line) for line in out.splitlines()]
