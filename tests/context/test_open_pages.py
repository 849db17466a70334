"""Pages that go on over the ends of segments, and the shape of a page that its text does not fill."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from optical_memory import Context, OpticalMemory
from optical_memory.budget import get_profile
from optical_memory.context.shapes import Typesetter, tier_on
from optical_memory.renderers import get_renderer
from optical_memory.renderers.base import Page
from optical_memory.renderers.layout import Run, lay_out, unescape, used_rows
from optical_memory.renderers.visible import HEADER_MARK

PROFILES = ["deepseek-ocr", "claude", "gpt-5", "gemini-3", "qwen3-vl", "mini"]
TURNS = 150

_LEAD = re.compile(f"(?:^|\n){HEADER_MARK}… [^\n]*\n")


def said(number: int) -> str:
    chance = random.Random(number)
    words = (chance.choice(["ferry", "oslo", "seat_12", "$310.50", "the", "a", "of"]) for _ in range(200))
    return f"turn-{number:04d} begins " + " ".join(words) + f" turn-{number:04d} ends"


def messages(count: int) -> list[dict[str, str]]:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": said(n)} for n in range(count)]


def leaves(context: Context) -> list[Page]:
    return [piece.page for piece in context.past if piece.page is not None]


def text_of_pages(context: Context) -> str:
    """Return what pages, and what is text because that is cheaper, say; repeated headers are left out."""
    first = next((at for at, piece in enumerate(context.past) if piece.page is not None), 0)
    shown = [piece.text if piece.page is None else piece.page.text for piece in context.past[first:]]
    return _LEAD.sub("", "\n".join(shown)).replace("\n", " ")


def budget_of(profile: str) -> int:
    return {"deepseek-ocr": 12_000, "mini": 12_000, "gpt-5": 24_000}.get(profile, 40_000)


@pytest.mark.parametrize("profile", PROFILES)
def test_pages_go_on_over_the_ends_of_segments(profile: str) -> None:
    with OpticalMemory(profile=profile, budget=budget_of(profile), renderer="dense", policy="fixed:base") as memory:
        before: list[Page] = []
        epochs = 0
        for number, message in enumerate(messages(TURNS)):
            memory.extend([message])
            context = memory.context()
            pages = leaves(context)
            if [page.id for page in pages] == [page.id for page in before]:
                continue
            epochs += 1
            if any(page.kind == "gist" for page in pages) or context.archived_pages:
                break
            older = [page.id for page in before[:-1]]
            assert [page.id for page in pages[: len(older)]] == older
            shown = text_of_pages(context)
            for turn in range(number + 1 - len(context.recent)):
                assert shown.count(f"turn-{turn:04d} begins") == shown.count(f"turn-{turn:04d} ends") == 1
            for page in pages[:-1]:
                assert used_rows(page.layout) >= 0.9 * page.layout.grid.rows
            before = pages
        assert epochs > 1


@pytest.mark.parametrize("profile", ["deepseek-ocr", "claude", "gemini-3"])
def test_a_past_with_open_pages_is_believed_and_shown_again(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with OpticalMemory(profile=profile, budget=budget_of(profile), renderer="dense") as memory:
        for message in messages(TURNS):
            memory.extend([message])
            memory.context()
        first = memory.context()
        assert first.epoch > 1
        memory.export(path)
    with OpticalMemory.load(path, profile=profile, budget=budget_of(profile), renderer="dense") as again:
        second = again.context()
    assert [page.id for page in second.pages] == [page.id for page in first.pages]
    assert second.tokens == first.tokens


@pytest.mark.parametrize("kept", range(60, 148, 6))
def test_nothing_is_lost_where_the_path_leaves_an_open_page(kept: int) -> None:
    history = messages(TURNS)
    with OpticalMemory(profile="deepseek-ocr", budget=16_000, renderer="dense", policy="fixed:tiny") as memory:
        for message in history:
            memory.extend([message])
            memory.context()
        memory.follow([*history[:kept], {"role": "user", "content": "something else"}])
        context = memory.context()
        shown = text_of_pages(context) + " ".join(turn.text for turn in context.recent)
    for number in range(TURNS):
        assert (f"turn-{number:04d} begins" in shown) == (number < kept)
        assert (f"turn-{number:04d} ends" in shown) == (number < kept)


@pytest.mark.parametrize("gone", [3, 41, 76, 77, 78, 79, 80, 90])
def test_what_is_forgotten_leaves_pages_that_go_on(gone: int) -> None:
    with OpticalMemory(profile="deepseek-ocr", budget=16_000, renderer="dense", policy="fixed:tiny") as memory:
        for message in messages(TURNS):
            memory.extend([message])
            memory.context()
        memory.forget(turn_id=f"#{gone + 1}")
        context = memory.context()
        shown = text_of_pages(context) + " ".join(turn.text for turn in context.recent)
    assert f"turn-{gone:04d}" not in shown
    for number in range(TURNS):
        assert (f"turn-{number:04d} ends" in shown) == (number != gone)


def few(profile: str) -> tuple[Context, list[Page]]:
    """Return a context whose only sealed turn is the oldest: one page that is far from full."""
    with OpticalMemory(profile=profile, budget=12_000, renderer="dense") as memory:
        for message in messages(TURNS):
            memory.extend([message])
            memory.context()
        context = memory.context()
        return context, leaves(context)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_page_costs_what_its_size_costs(profile: str) -> None:
    target = get_profile(profile)
    for page in few(profile)[1]:
        assert page.tokens == target.image_tokens(*page.size, target.detail.get(page.tier))


@pytest.mark.parametrize("profile", ["claude", "claude-4.7", "gpt-5", "gpt-5.4", "gemini-2.5", "qwen3-vl", "mistral"])
@pytest.mark.parametrize("rows", [1, 7, 20, 39])
def test_blank_rows_are_not_paid_for(profile: str, rows: int) -> None:
    from optical_memory.context.sealing import Sealer
    from optical_memory.renderers import DenseRenderer
    from optical_memory.turns import Turn

    target = get_profile(profile)
    sealer = Sealer(target, DenseRenderer())
    text = "word " * (target.grid.columns // 5 * (rows - 1)) + "x"
    (sealed,) = sealer.seal([Turn(id="t", seq=0, role="user", text=text)])
    layout = sealed.layout
    assert layout is not None and used_rows(layout) >= rows - 1
    for tier in target.tiers:
        own = tier_on(target, tier, layout.grid)
        assert own.height <= tier.height and own.width == tier.width
        assert own.height % target.formula.unit == 0 or own.height == tier.height
        assert own.tokens == target.image_tokens(own.width, own.height, target.detail.get(tier.name))
        needed = used_rows(layout) * layout.grid.cell_height * tier.height / target.grid.height
        assert needed <= own.height
    whole, own = target.tiers[0], tier_on(target, target.tiers[0], layout.grid)
    if layout.grid.height < target.grid.height:
        assert own.tokens < whole.tokens
        (raster,) = DenseRenderer().draw([layout], size=(own.width, own.height))
        full = lay_out(
            [Run(turn_id="t", role="user", text=text, header="user:", place=0)], target.grid, renderer_key="dense-2"
        )
        (page,) = DenseRenderer().draw(full, size=(whole.width, whole.height))
        assert np.array_equal(raster, page[: own.height])
        assert (page[own.height :] == 255).all()


def test_a_page_is_in_larger_cells_where_every_image_costs_the_same() -> None:
    from optical_memory.context.sealing import Sealer
    from optical_memory.renderers import DenseRenderer
    from optical_memory.turns import Turn

    target = get_profile("gemini-3")
    (sealed,) = Sealer(target, DenseRenderer()).seal([Turn(id="t", seq=0, role="user", text="word, " * 1500)])
    layout = sealed.layout
    assert layout is not None
    assert layout.grid.cell_width >= 1.25 * target.grid.cell_width
    assert (layout.grid.width, layout.grid.height) == (target.grid.width, target.grid.height)
    assert unescape(layout.text) == f"{HEADER_MARK}user: {'word, ' * 1500}"


@pytest.mark.parametrize("profile", ["mini", "deepseek-ocr"])
def test_a_page_of_few_rows_is_not_sent_where_they_cost_over_twice_their_share(profile: str) -> None:
    target = get_profile(profile)
    setter = Typesetter(target, get_renderer("dense"))
    dropped = 0
    for words in (20, 200, 600, 1_200):
        text = " ".join(f"seat-{number:04d}" for number in range(words))
        layout = setter.lay_out([Run(turn_id="a", role="tool", text=text, header="tool:")], target.grid)[0]
        every, kept = setter.affordable(layout, pinned=True), setter.affordable(layout, pinned=False)
        most = 2 * every[0].tokens * used_rows(layout) / layout.grid.rows
        assert (kept and all(tier.tokens <= most for tier in kept)) or kept == every[-1:]
        assert all(tier.tokens > most for tier in every if tier not in kept)
        dropped += len(every) - len(kept)
    assert dropped


@pytest.mark.parametrize("profile", ["gpt-5", "claude", "gemini-3"])
def test_a_page_whose_price_follows_its_shape_keeps_every_tier(profile: str) -> None:
    target = get_profile(profile)
    setter = Typesetter(target, get_renderer("dense"))
    run = Run(turn_id="a", role="tool", text="few words", header="tool:")
    layout = setter.fitted([run], target.grid)[0]
    assert setter.affordable(layout, pinned=False) == setter.affordable(layout, pinned=True)
