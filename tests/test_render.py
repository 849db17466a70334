from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transcripts import Transcripts

import optical_memory
from optical_memory.errors import NotFoundError
from optical_memory.renderers import DenseRenderer, get_renderer, png
from optical_memory.renderers.layout import unescape

ROOT = Path(__file__).resolve().parents[1]
TEXT = "".join(f"def f{number}():\n\treturn 'naïve 中文'\n" for number in range(400))


@pytest.mark.parametrize("profile", ["deepseek-ocr", "mini"])
@pytest.mark.parametrize("flow", ["reflow", "lines"])
def test_pages_hold_the_text(profile: str, flow: Any) -> None:
    pages = optical_memory.render(TEXT, profile=profile, flow=flow)
    assert len(pages) > 1
    assert "".join(page.text for page in pages) == TEXT
    assert len({page.id for page in pages}) == len(pages)


@pytest.mark.parametrize("profile", ["deepseek-ocr", "mini"])
def test_pages_are_as_their_tier_says(profile: str) -> None:
    target = optical_memory.get_profile(profile)
    for tier in (*target.tiers, target.gist):
        page = optical_memory.render("Hello\n", tier=tier.name, profile=target)[0]
        assert (page.tier, page.size, page.tokens) == (tier.name, (tier.width, tier.height), tier.tokens)
        assert png.decode(page.png).shape == (tier.height, tier.width)
        assert page.png is page.png


def test_the_examples_in_the_docs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/pages.md").read_text("utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(example, {})
    assert png.decode((tmp_path / "page.png").read_bytes()).shape == (1024, 1024)


def test_without_a_tier_pages_are_sharpest() -> None:
    assert optical_memory.render("Hello")[0].tier == optical_memory.get_profile("deepseek-ocr").tiers[0].name


def test_no_text_no_pages() -> None:
    assert optical_memory.render("") == []


def test_hostile_text_comes_back() -> None:
    source = "\x1b[2J\0\u202e\ud800<script>alert(1)</script>\\u{1b}↵▮" * 50
    pages = optical_memory.render(source, profile="mini", tier="tiny")
    assert unescape("".join(page.text for page in pages)) == source
    assert all(page.png.startswith(b"\x89PNG") for page in pages)


def test_real_sessions_come_back(transcripts: Transcripts) -> None:
    for session in transcripts.coding[:2]:
        source = json.dumps(session["messages"], ensure_ascii=False)
        pages = optical_memory.render(source, profile="mini")
        assert unescape("".join(page.text for page in pages)) == source


@pytest.mark.parametrize(("argument", "value"), [("tier", "huge"), ("profile", "gpt-0"), ("renderer", "crayon")])
def test_unknown_names_are_refused(argument: str, value: str) -> None:
    with pytest.raises(NotFoundError, match=repr(value)):
        optical_memory.render("a", **{argument: value})


def test_a_renderer_is_taken_as_it_is() -> None:
    renderer = DenseRenderer(theme="dark")
    assert get_renderer(renderer) is renderer
    page = optical_memory.render("a", renderer=renderer)[0]
    assert png.decode(page.png)[-1, -1] == 0
    assert page.id != optical_memory.render("a")[0].id


def test_renderers_of_third_parties_are_found(tmp_path: Path) -> None:
    (tmp_path / "crayons.py").write_text(
        "from optical_memory.renderers import DenseRenderer\nclass Crayon(DenseRenderer):\n    key = 'crayon-1'\n"
    )
    folder = tmp_path / "crayons-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: crayons\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[optical_memory.renderers]\ncrayon = crayons:Crayon\n")
    code = "from optical_memory.renderers import get_renderer; print(get_renderer('crayon').key)"
    paths = f"import sys; sys.path[:0] = {[str(tmp_path), *sys.path]!r}; "
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "crayon-1"


def test_renderers_need_neither_playwright_nor_pillow_to_be_imported() -> None:
    code = (
        "import sys; import optical_memory.renderers as r; r.DenseRenderer;"
        "print([m for m in ('playwright', 'torch', 'fontTools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_both_renderers_have_names_to_import() -> None:
    from optical_memory.renderers import ChromiumRenderer, DenseRenderer

    assert ChromiumRenderer.__name__ == "ChromiumRenderer"
    assert isinstance(get_renderer("dense"), DenseRenderer)
