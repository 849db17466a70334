"""The language model as an object, at a small size with random weights: what it takes, gives, keeps and refuses."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from optical_memory import OpticalMemory, load_model, render  # noqa: E402
from optical_memory.asking import reply_in_process  # noqa: E402
from optical_memory.errors import CheckpointError, ContextTooLongError, InputError, NotFoundError  # noqa: E402
from optical_memory.model.answer import Usage  # noqa: E402
from optical_memory.model.language import lines  # noqa: E402
from optical_memory.model.language.model import ABSENT, Answer, LanguageModel, load  # noqa: E402
from optical_memory.model.language.sight import rows_of  # noqa: E402
from optical_memory.renderers.base import Page  # noqa: E402

TEXT = "The port of billing-api is 8042. " * 3 + "\nMy seat is 14C, said the user."


@pytest.fixture(scope="module")
def page() -> Page:
    return render(TEXT, tier="base", profile="mini")[0]


def test_older_pages_get_fewer_vectors(language: Any) -> None:
    counts = []
    for tier in ("base", "small", "tiny", "nano"):
        page = render(TEXT * 20, tier=tier, profile="mini")[0]
        vectors = language.encode(page)
        rows = int((page.layout.cells > 32).any(1).sum())
        counts.append(len(vectors) / rows)
        assert vectors.shape[1] == 3 * 64 and torch.isfinite(vectors).all()
    assert counts == [9, 6, 3, 1]


def test_an_answer_names_lines_tokens_and_certainty(language: Any, page: Page) -> None:
    answer = language.answer([page], "Which port?")
    assert 0.0 <= answer.certainty <= 1.0 and answer.usage.new_tokens <= 96
    assert answer.usage.vision_tokens == len(language.encode(page))
    assert answer.sources and all(source.page == 1 for source in answer.sources)
    assert all(page.layout.spans[0].turn_id == source.turn_id for source in answer.sources)
    found = language.lines([page], "Which port?")
    assert "billing-api is 8042" in "".join(line.text for line in found)
    alone = language.answer([page], "Which port?", expand=False)
    assert alone.sources == () and alone.usage.text_tokens < answer.usage.text_tokens


def test_a_stream_gives_the_same_and_a_second_question_reuses_the_pages(language: Any, page: Page) -> None:
    language.prefixes.clear()
    first = language.generate([page], "Which seat?", expand=False, max_new_tokens=12)
    stream = language.generate([page], "Which seat?", expand=False, max_new_tokens=12, stream=True)
    assert "".join(stream) == first.text == stream.text
    again = language.generate([page], "Which port?", expand=False, max_new_tokens=4)
    assert again.usage.reused_tokens >= len(language.encode(page))


def test_what_is_reused_changes_no_answer(language: Any, page: Page) -> None:
    kept = language.generate([page], "And the seat?", expand=False, max_new_tokens=16)
    language.prefixes.clear()
    fresh = language.generate([page], "And the seat?", expand=False, max_new_tokens=16)
    assert kept.ids == fresh.ids and fresh.usage.reused_tokens == 0


def test_it_stops_when_it_is_cancelled(language: Any, page: Page) -> None:
    stopped = threading.Event()
    stopped.set()
    assert language.generate([page], "Which port?", cancel=stopped).ended == "cancelled"
    calls: list[int] = []
    later = language.generate([page], "Which port?", expand=False, cancel=lambda: len(calls) > 3 or calls.append(0))
    assert later.ended in ("cancelled", "stop") and len(later.ids) <= 4


def test_damaged_vision_tokens_are_made_anew(language: Any, page: Page) -> None:
    whole = language.encode(page)
    language.sight.cache.put(language.sight.key(page, 9), torch.zeros(3, 5))
    torch.testing.assert_close(language.encode(page), whole)


def test_what_cannot_be_asked(language: Any, page: Page) -> None:
    for question in ("", " \n", "why " * 25_000):
        with pytest.raises(InputError, match="question"):
            language.answer([page], question)
    other = render(TEXT, profile="gpt-5")[0]
    with pytest.raises(InputError, match="mini's profile"):
        language.answer([other], "Which port?")
    with pytest.raises(InputError, match="pages and text"):
        language.answer([1, 2], "Which port?")
    with pytest.raises(ContextTooLongError, match="one vector a row"):
        language.answer(render(TEXT * 2200, tier="tiny", profile="mini"), "Which port?", expand=False)


def test_a_memory_of_the_minis_profile_is_a_context_and_an_empty_one_says_nothing(language: Any) -> None:
    memory = OpticalMemory(profile="mini", renderer="dense", budget=900)
    nothing = language.answer(memory.context(), "What is my seat?")
    assert nothing.text == ABSENT and not nothing.found and nothing.sources == ()
    for number in range(30):
        memory.add("assistant", f"Note {number}: the code of door {number} is {number * 7919}. " * 4)
    context = memory.context()
    assert context.pages
    answer = language.answer(context, "What is the code of door 3?")
    assert answer.usage.vision_tokens > 0 and answer.usage.text_tokens > 0
    reply = memory.ask("What is the code of door 3?", model=language)
    assert reply.text == answer.text and reply.found and reply.usage.input_tokens > answer.usage.vision_tokens
    known = {turn.id for turn in memory.turns()}
    assert {source.turn_id for source in reply.sources} <= known


def test_text_that_does_not_fit_loses_its_oldest(language: Any, page: Page) -> None:
    answer = language.answer(["old words " * 900 + "the newest words", page], "Which port?", expand=False)
    used = answer.usage.vision_tokens + answer.usage.text_tokens
    assert answer.usage.vision_tokens >= 2 and 1_700 < used < 2_048


def test_lines_are_grouped_cited_and_doubt_is_said(page: Page) -> None:
    rows = rows_of(page.layout.cells)
    said = lines.written([(0, 1), (0, 0), (2, 5)], lambda p, first, last: f"{p}/{first}-{last}")
    assert said == "[1:1] 0/0-1\n[3:6] 2/5-5"
    read = [lines.Line(page=0, row=row, text=text, share=0.5 - row / 10) for row, text in enumerate(rows[:2])]
    (source, *_) = lines.cited("14C", read, [page])
    assert "14C" in source.text and source.page_id == page.id


def test_an_answer_about_a_name_stands_by_that_name() -> None:
    said = [(0, "The port of mail-api is 8042, and Ann Lee"), (1, "leads it."), (9, "Bo Park works on billing-api.")]
    read = [lines.Line(page=0, row=row, text=text, share=0.1) for row, text in said]
    about = lambda question, answer: lines.about_another(answer, lines.names_in(question), read)  # noqa: E731
    assert not about("Wait a minute, which port does mail-api use?", "8042")
    assert about("Wait a minute, which port does billing-api use?", "8042"), "it is read, and elsewhere"
    assert not about("Which well-known port is it?", "8042"), "no name: it is read nowhere"
    assert not about("What does Ann Lee lead?", "mail-api") and about("What does Bo Park lead?", "mail-api")
    assert about("What does Cy Fox lead?", "mail-api"), "a name that was looked for and not found"
    assert not about("Which port does it use? Answer in the form PORT: Number.", "8042")
    assert not about("Who leads it?", "Dee Row"), "in no line: nothing is known"
    assert not about("WHICH PORT DOES BILLING USE?", "8042") and lines.names_in("I'm where, by I’d?") == frozenset()
    assert not lines.about_another("8042", frozenset({"Bo"}), [])


def test_an_answer_that_stands_in_no_line_is_doubtful() -> None:
    said = [(0, "The port of mail-api is 80"), (1, "42 for Ann Lee."), (9, "Bo Park came.")]
    read = [lines.Line(page=0, row=row, text=text, share=0.1) for row, text in said]
    assert lines.is_read("8042", read) and lines.is_read("Ann Lee", read) and lines.is_read("ann lee.", read)
    assert lines.is_read("She uses 8042.", read), "of a sentence, names and numbers"
    assert not lines.is_read("Ann Park", read) and not lines.is_read("She uses 8043.", read)
    assert not lines.is_read("8042", [])


def test_what_stands_by_another_name_is_not_said(language: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = language.answer([page], "Which port does shop-api use?")
    monkeypatch.setattr("optical_memory.model.language.model.about_another", lambda answer, names, lines: bool(names))
    for question in ("Which port does shop-api use?", "Which port?"):
        answer = language.answer([page], question)
        stream = language.generate([page], question, stream=True)
        assert "".join(stream) == answer.text == stream.text
        assert (answer.text == ABSENT) is ("shop" in question) and (answer.sources == ()) is ("shop" in question)
    refused = language.answer([page], "Which port does shop-api use?")
    assert refused.certainty == pytest.approx(1 - plain.certainty) and not refused.doubtful
    monkeypatch.setattr("optical_memory.model.language.model.is_refusal", lambda text: True)
    own = language.answer([page], "Which port does shop-api use?")
    assert (own.text, own.certainty) == (plain.text, plain.certainty), "the model's own refusal stays as sure as it was"


def test_weights_that_are_missing_or_another_models(llama_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no language model 'nothing-of-that-name'"):
        load("nothing-of-that-name")
    with pytest.raises(CheckpointError, match="was trained for"):
        load_model("smollm2", path=llama_folder)
    with pytest.raises(CheckpointError, match=r"language\.json"):
        load(str(llama_folder), folder=tmp_path)


def test_what_is_probably_not_there_is_refused_where_lines_were_read(language: Any, page: Page) -> None:
    wary = LanguageModel(language.decoder, language.tokenizer, language.sight, refuses=0.0)
    refusal = language.tokenizer.encode(ABSENT)[0]
    assert 0 < wary.absence([page], "Which port?") < 1
    assert wary.generate([page], "Which port?", max_new_tokens=2).ids[0] == refusal
    for expand, careless in ((False, wary), (True, language)):
        assert careless.generate([page], "Which port?", expand=expand, max_new_tokens=2).ids[0] != refusal


def test_what_was_read_is_held_against_the_exact_turns() -> None:
    memory = OpticalMemory(profile="mini", renderer="dense", budget=900)
    memory.add("user", "Note this: the code of my locker is QX7-4402-TT.", id="locker")
    memory.add("user", "The code of my bicycle is BB3-9171-LK.", id="bicycle")
    used = Usage(vision_tokens=9, text_tokens=4, reused_tokens=0, new_tokens=3, seconds=0.1)
    read = partial(Answer, usage=used, ended="stop", ids=(1,), certainty=0.75)
    source = lines.Source(turn_id="locker", page=1, line=2, text="code of my locker is QX7-4402-\ufffdT")
    right = reply_in_process(memory, read(text="QX7-4402-TT", sources=(source,), doubtful=True))
    assert right.unproven == () and right.doubtful and right.caution == "not surely read"
    part = reply_in_process(memory, read(text="QX7-4402-TT at 16:45", sources=(source, source)))
    assert part.found and part.unproven == ("16:45",) and not part.doubtful
    other = reply_in_process(memory, read(text="BB3-9171-LK", sources=(source,)))
    assert other.unproven == () and [each.turn_id for each in other.sources] == ["locker", "bicycle"]
    nowhere = reply_in_process(memory, read(text="QX7-9171-TT", sources=(source,)))
    assert (nowhere.text, nowhere.found, nowhere.sources, nowhere.certainty) == (ABSENT, False, (), 0.25)
    assert reply_in_process(memory, read(text="Monday", sources=())).unproven == ()
    memory.forget(turn_id="locker")
    assert not reply_in_process(memory, read(text="QX7-4402-TT", sources=(source,))).found, "what was forgotten"
