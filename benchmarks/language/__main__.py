"""How the language model answers from vision tokens: held-out facts, real questions, seconds, memory.

    python -m benchmarks.language [--pages 6] [--questions 5] [--only pages|conversations|real|cost]
                                  [--brief] [--json FILE]

Each way of showing a text is asked the same questions: vision tokens alone at 9, 6 and 3 vectors a row, the same with
the lines that matter read first, the newest text in as many tokens, and the whole text. Needs ../shared/data and Faker.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.language import cases
from benchmarks.language.ask import contains, is_exact, on_text, on_vision, vectors_of
from optical_memory.model.language.model import LanguageModel, load

POSITIONS = 7_800
"""Tokens of text that fit the language model beside a question."""
TIERS = (("base", 9), ("small", 6), ("tiny", 3))
Outcome = tuple[str, str, bool, float]
"""Part and kind, way, whether it was right, and text tokens for one of the language model's."""


def one_page(model: LanguageModel, count: int, questions: int, seed: int, brief: bool) -> Iterator[Outcome]:
    """Ask about single pages, drawn by both renderers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases.drawn(count, 1, Path(folder), seed)):
            renderer = ("dense", "chromium")[number % 2]
            size = len(model.tokenizer.encode(case.text))
            facts = [task for task in case.tasks if task.kind == "fact"][:questions]
            absent = [task for task in case.tasks if task.kind == "absent"][: max(1, questions // 3)]
            for task in (*facts, *absent):
                part = f"page {task.kind}"
                for tier, ratio in TIERS[-1:] if brief else TIERS:
                    pages = cases.shown(case.layouts, (tier,), renderer)
                    many = vectors_of(model, pages)
                    for expand in (False, True):
                        answer = on_vision(model, pages, task.question, expand=expand)
                        way = f"{'expanding' if expand else 'vision'} {ratio}"
                        yield part, way, is_exact(answer, task.answer), size / many
                    if not brief:
                        newest = on_text(model, case.text, task.question, many)
                        yield part, f"newest text {ratio}", is_exact(newest, task.answer), size / many
                if not brief:
                    whole = on_text(model, case.text, task.question, POSITIONS)
                    yield part, "whole text", is_exact(whole, task.answer), 1.0


def ten_pages(model: LanguageModel, count: int, questions: int, seed: int) -> Iterator[Outcome]:
    """Ask about conversations of 10 pages, the newest sharpest."""
    tiers = ("tiny",) * 5 + ("small",) * 3 + ("base",) * 2
    with tempfile.TemporaryDirectory() as folder:
        for case in cases.drawn(count, 10, Path(folder), seed + 1):
            pages = cases.shown(case.layouts, tiers, "dense")
            many, size = vectors_of(model, pages), len(model.tokenizer.encode(case.text))
            for task in [task for task in case.tasks if task.kind == "fact"][: 3 * questions]:
                for expand in (False, True):
                    answer = on_vision(model, pages, task.question, expand=expand)
                    yield "10 pages", "expanding" if expand else "vision", is_exact(answer, task.answer), size / many


def real_questions(model: LanguageModel, questions: int, brief: bool) -> Iterator[Outcome]:
    """Ask the questions of BFCL v4 memory over whole conversations; the newest pages are the sharpest."""
    for scenario in cases.SCENARIOS:
        layouts, text, asked = cases.real(scenario)
        tiers = (*("tiny" for _ in layouts[:-5]), *("small",) * 3, *("base",) * 2)[-len(layouts) :]
        pages = cases.shown(layouts, tiers, "dense")
        many, size = vectors_of(model, pages), len(model.tokenizer.encode(text))
        for each in asked[:questions]:
            for expand in (False, True):
                way = "expanding" if expand else "vision"
                yield "real", way, contains(on_vision(model, pages, each.text, expand=expand), each.truths), size / many
            texts = (("newest text", many), ("whole text, as far as it fits", POSITIONS))
            for way, most in () if brief else texts:
                yield "real", way, contains(on_text(model, text, each.text, most), each.truths), size / min(size, most)


def cost(model: LanguageModel, seed: int) -> dict[str, float]:
    """Return what a new page and a question over ten known ones cost, and bytes kept for a page in both forms."""
    with tempfile.TemporaryDirectory() as folder:
        case = next(cases.drawn(1, 10, Path(folder), seed + 2))
    pages = cases.shown(case.layouts, ("tiny",) * 10, "dense")
    facts = [task for task in case.tasks if task.kind == "fact"]
    torch.set_num_threads(1)  # processor seconds of one thread do not depend on how busy the others are
    [page.png for page in pages]
    vectors = _processor_seconds(lambda: model.sight.vectors(pages[0], 1))
    read = _processor_seconds(lambda: model.sight.rows(pages[0]))
    model.generate(pages, facts[0].question)
    asked = [_processor_seconds(partial(model.generate, pages, task.question)) for task in facts[1:4]]
    config = model.decoder.config
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * model.dtype.itemsize
    tokens = len(model.tokenizer.encode(case.text)) / len(pages)
    return {
        "processor seconds of a page's vectors": vectors,
        "processor seconds of reading a page": read,
        "processor seconds of a question, least": min(asked),
        "processor seconds of a question, most": max(asked),
        "bytes of a page's vision tokens": float(model.sight.mini.encode(pages[0]).nbytes),
        "bytes of a page's text as keys and values": position * tokens,
    }


def _processor_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=6)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", choices=("pages", "conversations", "real", "cost"))
    parser.add_argument(
        "--brief", action="store_true", help="without the ways that read text, which take long on a CPU"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    model = load()
    parts: dict[str, Iterator[Outcome]] = {
        "pages": one_page(model, options.pages, options.questions, options.seed, options.brief),
        "conversations": ten_pages(model, max(1, options.pages // 4), options.questions, options.seed),
        "real": real_questions(model, options.questions, options.brief),
    }
    counts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for name, outcomes in parts.items():
        if options.only in (None, name):
            for part, way, right, ratio in outcomes:
                total = counts[f"{part}: {way}"]
                total[:] = total[0] + right, total[1] + 1, total[2] + ratio
                if options.json:
                    options.json.write_text(json.dumps(counts, indent=1))
    print("| what | right | of | text tokens for one |\n|---|---|---|---|")
    for name, (hits, of, ratios) in counts.items():
        print(f"| {name} | {hits / of:.3f} | {of:.0f} | {ratios / of:.1f} |")
    if options.only in (None, "cost"):
        for name, value in cost(model, options.seed).items():
            print(f"{name}: {value:,.2f}")


if __name__ == "__main__":
    main()
