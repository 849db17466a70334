"""Text with facts, tasks on it, and samples as arrays: what is asked is there, and the labels are the answers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from bytes_tokenizer import bytes_tokenizer

from optical_memory.errors import InputError
from optical_memory.model.language.sequence import ASSISTANT
from optical_memory.renderers.visible import NEWLINE_MARK
from optical_memory.training.language import recipe
from optical_memory.training.language.conversation import ABSENT, Story
from optical_memory.training.language.layout import pages_of
from optical_memory.training.language.prepare import DIGIT, LEAST, pools, token_weights
from optical_memory.training.language.samples import MORE_TEXT, TEXT, Sampler
from optical_memory.training.language.tasks import KINDS, Asker, lines_for, of_another

DOCUMENTS = [("A document about rivers and bridges. It has many sentences that say little. " * 60)[:4000]] * 2


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faker")
    file = tmp_path_factory.mktemp("names") / "pools.json"
    file.write_text(json.dumps(pools(3)))
    return file


def test_pages_say_what_the_turns_say_and_know_where(names: Path) -> None:
    story = Story(random.Random(1), DOCUMENTS, names)
    page = pages_of(story.turns(7000))[0]
    assert len(page.text) == len(page.cells) and (np.diff(page.cells) > 0).all()
    drawn = page.codes.reshape(-1)[page.cells]
    marks = np.array([ord(letter) for letter in page.text])
    assert (drawn[marks != 10] == marks[marks != 10]).all()
    assert {chr(code) for code in drawn[marks == 10]} <= {NEWLINE_MARK, "\u25ae"}


def test_answers_stand_where_their_tasks_say(names: Path) -> None:
    seen = set()
    for seed in range(30):
        story = Story(random.Random(seed), DOCUMENTS, names)
        pages = pages_of(story.turns(14_000))[:2]
        for task in Asker(story, pages).tasks(8, 8):
            seen.add(task.kind)
            said = "".join(pages[number].text[start:end] for number, start, end in task.spans if number >= 0)
            if task.kind in ("fact", "before", "quote", "gap", "said"):
                assert task.answer in said
            if task.kind == "absent":
                assert task.answer == ABSENT and not task.spans
            if task.kind == "fact" and task.spans:
                rows = lines_for(task, pages, random.Random(0), [])
                assert rows.startswith("[") and ":" in rows
    assert seen >= {"fact", "two", "sentence", "quote", "absent", "yes-no", "said", "occurs", "order"}


def test_a_sample_asks_for_its_answers_and_points_to_their_cells(names: Path) -> None:
    inner = bytes_tokenizer()
    sampler = Sampler(4, DOCUMENTS, names, inner, expand=0.0, plain=True)
    pointed = 0
    for _ in range(6):
        sample = sampler.sample(2)
        assert sample.codes.shape == (2, 6528) and sample.text.shape == (TEXT,)
        for number in range(1, int(sample.number.max()) + 1):
            own = sample.number == number
            assert set(sample.kind[own].tolist()) <= set(range(1, len(KINDS) + 1))
            answer = inner.decode(sample.text[own].tolist(), skip_special_tokens=False)
            assert answer.endswith("<|im_end|>")
            place = int(sample.question[number - 1])
            before = inner.decode(sample.text[: place + 1].tolist(), skip_special_tokens=False)
            assert before.endswith(ASSISTANT) and own[place + 1] and not own[place]
            keys = sample.keys[number - 1]
            cells = [key % (64 * 17) // 17 * 102 + key % 17 * 6 for key in keys[keys >= 0].tolist()]
            if KINDS[sample.kind[own][0] - 1] == "fact" and len(cells):
                page = sample.codes[int(keys[0]) // (64 * 17)]
                near = "".join(chr(code) for cell in cells for code in page[cell : cell + 6])
                pointed += answer[: -len("<|im_end|>")] in near.replace(NEWLINE_MARK, "\n")
    assert pointed > 3


def test_rare_tokens_weigh_more_and_digits_much(names: Path) -> None:
    inner = bytes_tokenizer()
    weights = token_weights(DOCUMENTS, names, inner)
    assert weights[inner.token_to_id("7")] == np.float32(DIGIT)
    assert weights[inner.token_to_id("e")] == np.float32(LEAST) < weights[inner.token_to_id("Q")]
    assert weights.min() >= np.float32(LEAST) and weights.max() <= 1.0


def test_a_recipe_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    assert recipe.load().adapter.hidden_size == 576
    bundled = Path(recipe.__file__).with_name("language.toml").read_text()
    for old, new, said in (("rank = 12", "ranks = 12", "unknown"), ("ratios = [9]", "ratios = [7]", "ratios")):
        assert old in bundled
        (tmp_path / "wrong.toml").write_text(bundled.replace(old, new))
        with pytest.raises(InputError, match=said):
            recipe.load(tmp_path / "wrong.toml")


def test_a_recipe_may_say_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('like = "language.toml"\nrank = 3\n')
    own, bundled = recipe.load(tmp_path / "own.toml"), recipe.load()
    assert own.rank == 3 and own.sources == bundled.sources and own.modes == bundled.modes
    again = recipe.load(Path(recipe.__file__).with_name("again.toml"))
    assert again.true_tokens == 0 and again.adapter == bundled.adapter


def test_what_is_close_to_what_is_asked_for_is_near(names: Path) -> None:
    seen = 0
    for seed in range(12):
        story = Story(random.Random(seed), DOCUMENTS, names)
        pages = pages_of(story.turns(7_000))[:1]
        asker = Asker(story, pages)
        for task in filter(None, (asker.absent() for _ in range(6))):
            for number, start, end in task.near:
                seen += 1
                said = pages[number].text[start:end]
                assert any(found.fact.words in said and found.fact.key[0] != "me" for found in asker.found)
    assert seen > 10


def test_a_quote_says_where_it_ends(names: Path) -> None:
    story = Story(random.Random(3), DOCUMENTS, names)
    asker = Asker(story, pages_of(story.turns(7_000))[:1])
    tasks = [task for task in (asker.quote() for _ in range(40)) if task is not None]
    assert len(tasks) > 10
    for task in tasks:
        numbers = [int(word) for word in task.question.split('"')[0].split() if word.isdigit()]
        if numbers:
            assert len(task.answer.split()) == numbers[0]
        elif "sentence" in task.question:
            assert task.answer[-1] in ".!?"


def test_a_common_kind_does_not_starve_a_rare_one(names: Path, tmp_path: Path) -> None:
    import lzma
    import shutil
    from dataclasses import replace

    from optical_memory.training.language.feed import Feed
    from optical_memory.training.language.recipe import Mode

    with lzma.open(tmp_path / "train.txt.xz", "wt") as file:
        file.write("\0".join(DOCUMENTS))
    shutil.copy(names, tmp_path / "pools.json")
    (tmp_path / "tokenizer.json").write_text(bytes_tokenizer().to_str())
    common, rare = Mode(weight=0.95, ratios=(1,)), Mode(weight=0.05, ratios=(1, 1))
    feed = Feed(
        replace(recipe.load(), modes=(common, rare)),
        tmp_path,
        split="train",
        processes=1,
        seed=1,
        batch=1,
        plain=True,
    )
    try:
        for _ in range(4):  # nobody takes of the common kind, whose queue fills
            assert feed.get(rare).codes.shape == (1, 2, 6528)
        assert feed.queues[1].qsize() <= feed.most
    finally:
        feed.close()


def test_a_question_of_oneself_is_asked_of_another() -> None:
    assert of_another("Where do I live?", "user") == "Where does the user live?"
    assert of_another("What am I allergic to?", "patient") == "What is the patient allergic to?"
    assert of_another("What was my LDL?", "patient") == "What was the patient's LDL?"
    assert of_another("Which port does billing-api use?", "user") == "Which port does billing-api use?"


def test_wider_stories_hold_passages_more_kinds_and_more_forms(names: Path) -> None:
    passage = "I keep a blue notebook by the window. It was a gift. " * 8
    story = Story(random.Random(5), DOCUMENTS, names, [passage], natural=1.0)
    scopes, questions, said = set(), "", ""
    for _ in range(6):
        pages = pages_of(story.turns(7_000))
        asker = Asker(story, pages[:1])
        scopes |= {key[0] for key in asker.by_key}
        questions += " ".join(task.question for task in asker.tasks(12, 6))
        said += pages[0].text
    assert {"lab", "doing", "me"} <= scopes and "blue notebook" in said
    assert "the user" in questions or "the patient" in questions or "the customer" in questions
    assert not {"lab", "doing"} & Story(random.Random(5), DOCUMENTS, names).weights.keys()
    sampler = Sampler(2, DOCUMENTS, names, bytes_tokenizer(), passages=[passage], natural=0.5)
    assert sampler.sample(3).text.shape == (MORE_TEXT,) and sampler.sample(1).text.shape == (TEXT,)
