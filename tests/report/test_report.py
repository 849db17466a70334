"""The report in a real Chromium: a captured and a printed page show every picture, without scrolling."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.asking import AskUsage, Reply, Source
from optical_memory.report.build import write_report
from optical_memory.report.demo import play

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jinja2")

from optical_memory.renderers import ChromiumRenderer  # noqa: E402
from optical_memory.renderers.executable import find_executable  # noqa: E402


@pytest.fixture
def report(tmp_path: Path, airline_sessions: list[dict[str, Any]]) -> Path:
    messages = [message for session in airline_sessions[:8] for message in session["messages"][1:]]
    with OpticalMemory("shift", profile="mini", budget=4_000, renderer="dense") as memory:
        return write_report(tmp_path, memory, play(memory, messages), {})


def test_every_picture_is_there_once_the_page_has_loaded(report: Path, tmp_path: Path) -> None:
    if not ChromiumRenderer.available():
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing")
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as chromium:
        browser = chromium.chromium.launch(executable_path=str(find_executable()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 600})
        page.goto(report.as_uri(), wait_until="load")
        pictures = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().top])")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1047})  # px of A4 between Chromium's margins
        overflow = page.evaluate("[...document.querySelectorAll('.row')].map(r => r.scrollWidth - r.clientWidth)")
        browser.close()
    assert len(pictures) > 30 and max(top for _, top in pictures) > 2_000, "far more than the window shows"
    assert all(width for width, _ in pictures)
    assert overflow and max(overflow) <= 0


def test_an_answer_stands_beside_its_page_with_the_line_marked(
    tmp_path: Path, airline_sessions: list[dict[str, Any]]
) -> None:
    messages = [message for session in airline_sessions[:4] for message in session["messages"][1:]]
    with OpticalMemory("shift", profile="mini", budget=4_000, renderer="dense") as memory:
        run = play(memory, messages)
        page = run.last.pages[0]
        usage = AskUsage(input_tokens=1_234, output_tokens=5, requests=1, seconds=0.5)
        source = Source(turn_id=page.turn_ids[0], page=page.id, line=17)
        reply = Reply(text="<b>4NQLHD</b>", sources=(source,), certainty=0.875, usage=usage, unproven=("4NQLHD",))
        path = write_report(tmp_path, memory, run, {}, answers=[("Which <i>reservation</i>?", reply)])
    html = path.read_text("utf-8")
    assert "Which &lt;i&gt;reservation&lt;/i&gt;?" in html and "&lt;b&gt;4NQLHD&lt;/b&gt;" in html
    assert "certainty 0.88 (in none of these turns word for word: 4NQLHD), 1,234 tokens, line 17" in html
    assert 'style="top: 25.00%; height: 1.56%"' in html
    assert (tmp_path / "pages" / f"{page.id[:16]}-{page.tier}.png").is_file()
