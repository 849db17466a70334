"""``optical-memory pages`` and ``transcribe`` as a user runs them: one makes what the other reads."""

import json
import tarfile
from pathlib import Path

import pytest
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
