import random
import string

import numpy as np
import pytest

from optical_memory import OpticalMemory
from optical_memory.errors import InputError
from optical_memory.model import load_model
from optical_memory.model.mini import find as finding
from optical_memory.model.mini.commands import ABILITIES, Command, parse
from optical_memory.model.mini.model import MiniModel
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid, Layout
from optical_memory.renderers.layout import Run, lay_out

GRID = Grid(width=512, height=512, cell_width=8, cell_height=12)


@pytest.fixture(scope="module")
def model() -> MiniModel:
    found = load_model("mini")
    assert isinstance(found, MiniModel)
    return found


def page(text: str, header: str = "") -> Layout:
    return lay_out([Run(turn_id="t", role="user", text=text, header=header)], GRID, renderer_key="test")[0]


def image(text: str, header: str = "") -> bytes:
    return png.encode(DenseRenderer().draw([page(text, header)], size=(512, 512))[0])


def listing(seed: int, lines: int = 60) -> list[tuple[str, str]]:
    """Keys and values that nobody can guess."""
    chance = random.Random(seed)
    key = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(6, 12))) for _ in range(lines)]
    return [
        (f"{name}-{n}", "".join(chance.choices(string.ascii_lowercase + string.digits, k=20)))
        for n, name in enumerate(key)
    ]


def test_prompts_are_understood() -> None:
    assert parse(" Read ") == Command(kind="read")
    assert parse("read page 2") == Command(kind="read", page=2)
    assert parse("read page 2 line 5.") == Command(kind="read", page=2, row=5)
    assert parse('find "the key"') == Command(kind="find", words="the key")
    assert parse("Find: order id ") == Command(kind="find", words="order id")
    for prompt in ("find", "read my mind", "who are you?", "finder"):
        assert parse(prompt) == Command(kind="other")


def test_lines_are_found_by_their_keys(model: MiniModel) -> None:
    entries = listing(1)
    picture = image("\n".join(f"{key}: {value}" for key, value in entries))
    for key, value in entries[:40:10]:
        assert model.generate([picture], f"find {key.upper()}").text.startswith(f"{key}: {value[:2]}")
    assert all(model.generate([picture], f"find {key}").text == "none" for key, _ in listing(2)[:4])


def test_words_are_found_across_the_end_of_a_row_and_the_line_is_whole(model: MiniModel) -> None:
    line = "a line that goes on for a while before much happens, and the words cross the end of a row in it"
    assert line.index("words") < GRID.columns < line.index("end of")
    assert model.generate([image(f"{line}\nafter")], "find words cross the end").text == line


@pytest.mark.parametrize("header", ["", "user:"])
def test_a_line_that_runs_over_to_the_next_page_is_whole(model: MiniModel, header: str) -> None:
    chance = random.Random(3)
    word = ["".join(chance.choices(string.ascii_lowercase, k=7)) for _ in range(540)]
    rows = [" ".join(word[n : n + 6]) + "." for n in range(0, 540, 6)]
    run = Run(turn_id="t", role="user", text="\n".join(rows), header=header)
    layouts = lay_out([run], GRID, renderer_key="test")
    pages = [png.encode(raster) for raster in DenseRenderer().draw(layouts, size=(512, 512))]
    tail, head = layouts[0].text.rpartition("\n")[2], layouts[1].text.removeprefix("▮… user:\n").partition("\n")[0]
    assert tail + head in rows and min(len(tail), len(head)) > 8
    for words in (tail[:10].strip(), head[-8:]):
        assert model.generate(pages, f"find {words}").text == tail + head
    assert model.generate([pages[0], image("anew", "user:")], f"find {tail[:8].strip()}").text.rstrip() == tail.rstrip()


def test_the_newest_place_goes_first_and_whole_words_before_parts(model: MiniModel) -> None:
    old, new = image("token: old\nother"), image("tokens: part\ntoken: new\nmonotoken: part")
    assert model.generate([old, new], "find token").text == "token: new"
    assert model.generate([new, old], "find token").text == "token: old"
    assert model.generate([image("key: here\nx"), image("monkey: there")], "find key").text == "key: here"
    assert (
        model.generate([old, "and in words: token: newest\nlast"], "find token").text == "and in words: token: newest"
    )


def test_recent_turns_of_a_context_are_searched_as_text(model: MiniModel) -> None:
    with OpticalMemory(profile="mini", renderer="dense", budget=2000) as memory:
        for number in range(60):
            memory.add(
                "user", f"Record {number}: the depot of parcel P{number:03d}K is number {number * 37 % 101}. " * 4
            )
        memory.add("user", "Please keep the delivery word zanzibar in mind.")
        context = memory.context()
        assert context.pages
        assert model.generate(context, "find zanzibar").text == "user: Please keep the delivery word zanzibar in mind."
        answer = model.generate(context, "find quixotic-unicorn")
        assert answer.text == "none" and answer.usage.vision_tokens == sum(
            (p.size[0] // 64) ** 2 for p in context.pages
        )


def test_a_row_of_a_page_is_read(model: MiniModel) -> None:
    picture = image("a" * 64 + "b" * 64 + "c" * 10)
    assert model.generate([picture], "read page 1 line 2").text == "b" * 64
    with pytest.raises(InputError, match="no line 99"):
        model.generate([picture], "read page 1 line 99")
    with pytest.raises(InputError, match="no page 2"):
        model.generate([picture], "read page 2")
    assert model.generate([picture], "what is the weather?").text == ABILITIES


def test_wide_characters_and_headers_are_runs(model: MiniModel) -> None:
    layout = page("你好 world\nnext", header="user:")
    sheet = model.read(image("你好 world\nnext", "user:"))
    run = finding.run_of(sheet)
    assert len(run.text) == len(run.cells) == len(run.wide)
    assert run.wide.sum() == (layout.cells == 0xFFFFFFFF).sum() == 2
    assert run.line(run.text.index("next"), 4) == "next"
    assert np.all(np.diff(run.cells) > 0)


def test_a_character_read_wrong_but_thought_possible_is_found(model: MiniModel) -> None:
    clean = page("The quick brown fox\njumps over\nthe lazy dog 7f3a9c\n" * 12)
    raster = DenseRenderer().draw([clean], size=(512, 512))[0].astype(np.float32)
    noisy = np.clip(raster + np.random.default_rng(0).normal(0, 50, raster.shape), 0, 255).astype(np.uint8)
    assert "lazy" in model.generate([png.encode(noisy)], "find lazy dog 7f3a9c").text
