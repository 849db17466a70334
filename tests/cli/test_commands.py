"""The command line on real input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optical_memory import OpticalMemory
from optical_memory.cli import app, main
from optical_memory.errors import InputError, MissingExtraError, NotFoundError

run = CliRunner().invoke


@pytest.mark.parametrize("command", ["demo", "render", "inspect", "read", "bench"])
def test_help_teaches(command: str) -> None:
    result = run(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_demo_runs_the_main_job_and_writes_a_report(tmp_path: Path) -> None:
    arguments = ["demo", "--no-ask", "--renderer", "dense", "--reader", "none", "-o", str(tmp_path), "--json"]
    result = run(app, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["turns"] == 741
    assert figures["context_tokens"] <= 8_000 < figures["text_tokens"]
    html = (tmp_path / "index.html").read_text("utf-8")
    assert html.count("<svg") == 3 and "<script" not in html
    images = list((tmp_path / "pages").glob("*.png"))
    assert len(images) >= sum(figures["pages"].values())
    assert all(f'src="pages/{image.name}"' in html for image in images)
    assert html.count('<section class="age">') == 4
    for tier in ("large", "base", "small", "tiny", "micro", "nano"):  # every page but gists at every tier
        of_tier = [image for image in images if image.name.endswith(f"-{tier}.png")]
        assert len(of_tier) >= sum(count for name, count in figures["pages"].items() if name != "gist") - 2


def test_demo_takes_any_openai_transcript(tmp_path: Path) -> None:
    hostile = {"role": "user", "content": "<script>alert(1)</script> " + "hello " * 3000}
    lines = [hostile] + [{"role": "assistant", "content": f"reply {n} " * 80} for n in range(80)]
    (tmp_path / "my.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    arguments = [
        "demo",
        str(tmp_path / "my.jsonl"),
        "--renderer",
        "dense",
        "--reader",
        "none",
        "-o",
        str(tmp_path / "r"),
    ]
    result = run(app, arguments)
    assert result.exit_code == 0, result.output
    assert "81" in result.stdout
    assert "<script" not in (tmp_path / "r/index.html").read_text("utf-8")


def test_render_writes_pages_manifest_and_facts(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("Order 4F2A91C7 was shipped on 2026-11-24 to https://example.org/a?b=1.\n" * 200)
    result = run(app, ["render", str(source), "-o", str(tmp_path / "pages"), "--tier", "tiny", "--profile", "mini"])
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "pages/manifest.json").read_text())
    assert all((tmp_path / "pages" / page["file"]).read_bytes().startswith(b"\x89PNG") for page in manifest["pages"])
    assert all(page["size"] == [512, 512] for page in manifest["pages"])
    assert "4F2A91C7" in [fact["value"] for fact in manifest["pages"][0]["facts"]]


def test_render_refuses_a_file_for_its_folder_before_it_works(tmp_path: Path) -> None:
    source, taken = tmp_path / "notes.txt", tmp_path / "out.png"
    source.write_text("words")
    taken.write_bytes(b"mine")
    result = run(app, ["render", str(source), "-o", str(taken)])
    assert isinstance(result.exception, InputError) and "-o out-pages" in str(result.exception)
    assert taken.read_bytes() == b"mine"


def test_demo_says_before_it_works_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    report = tmp_path / "report"
    refused = run(app, ["demo", str(empty), "-o", str(report)])
    assert isinstance(refused.exception, InputError) and "no messages" in str(refused.exception)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    lacking = run(app, ["demo", "-o", str(report)])
    assert isinstance(lacking.exception, MissingExtraError) and "optical-memory[demo]" in str(lacking.exception)
    assert not report.exists()


def test_inspect_shows_now_and_an_earlier_age(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with OpticalMemory("trip", store=store, profile="mini", renderer="dense", budget=3_000) as memory:
        for number in range(80):
            memory.add("user", f"Message {number}: gate {number} opens at noon for everyone. " * 8)
        now = memory.context()
    common = ["inspect", "trip", "--store", store, "--profile", "mini", "--budget", "3000", "--renderer", "dense"]
    result = run(app, [*common, "-o", str(tmp_path / "seen")])
    assert result.exit_code == 0, result.output
    assert f"{now.text_tokens:,}" in result.stdout
    assert list((tmp_path / "seen").glob("*.png"))
    missing = tmp_path / "none.db"
    refused = run(app, ["inspect", "trip", "--store", f"sqlite:///{missing}"])
    assert isinstance(refused.exception, NotFoundError) and not missing.exists()
    early = run(app, [*common, "--at", "3", "--json"])
    assert len(json.loads(early.stdout)) == 3


def test_read_gives_the_text_of_a_rendered_page_back(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "notes.txt").write_text("The boat leaves at noon and comes back before the storm. " * 60)
    folder = tmp_path / "pages"
    made = run(app, ["render", str(tmp_path / "notes.txt"), "-o", str(folder), "--tier", "base", "--profile", "mini"])
    assert made.exit_code == 0, made.output
    page = next(folder.glob("*.png"))
    read = run(app, ["read", str(page)])
    assert read.exit_code == 0, read.output
    assert read.stdout.count("The boat leaves at noon and comes back before the storm.") >= 58
    figures = json.loads(run(app, ["read", str(page), "--json"]).stdout)
    assert figures["text"].startswith("The boat leaves") and figures["seconds"] > 0


def test_errors_are_one_clear_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["optical-memory", "read", "no-such-page.png"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "NotFoundError: no file 'no-such-page.png'" in capsys.readouterr().err


def test_bench_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(app, ["bench"])
    assert "scale" in result.stdout and "coding" in result.stdout
    assert run(app, ["bench", "nothing"]).exit_code != 0
