"""The report: one folder with an HTML page, its charts inside, and the page images beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optical_memory.asking import Reply
from optical_memory.errors import MissingExtraError
from optical_memory.memory import OpticalMemory
from optical_memory.readers.fidelity import Score
from optical_memory.renderers.base import Page
from optical_memory.report.charts import Series, line_chart, stacked_bars
from optical_memory.report.demo import Run

SHOWN_PAGES = 64
"""Most pages shown at every tier: the newest ones."""


def write_report(
    folder: Path,
    memory: OpticalMemory,
    run: Run,
    scores: Mapping[str, Mapping[str, Score]],
    step: Callable[[], object] = lambda: None,
    answers: Sequence[tuple[str, Reply]] = (),
) -> Path:
    """Write the report and return the path of its ``index.html``.

    ``scores`` maps a reader's name to what it read at each tier; ``answers`` are questions with their replies. Turn
    content is escaped; the page runs no script and loads nothing from elsewhere. Errors: MissingExtraError without
    jinja2.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise MissingExtraError("jinja2", "demo") from error
    images = Images(folder / "pages", step)
    template = Environment(loader=PackageLoader("optical_memory.report", "."), autoescape=True).get_template(
        "report.html.j2"
    )
    html = template.render(
        stats=memory.stats(),
        explain=run.last.explain(),
        run=run,
        moments=[_moment(moment.turns, moment.context, images) for moment in run.moments],
        ladder=_ladder(memory, images),
        left_out=max(len(run.last.pages) - SHOWN_PAGES, 0),
        cost_chart=_cost_chart(run),
        age_chart=_age_chart(run),
        reading_chart=_reading_chart(scores),
        tier_chart=_tier_chart(memory),
        scores=scores,
        answers=[_answered(question, reply, run, images) for question, reply in answers],
        profile=memory.profile,
    )
    path = folder / "index.html"
    path.write_text(html, "utf-8")
    return path


class Images:
    """Writes page images into a folder, each once, and gives their relative names."""

    def __init__(self, folder: Path, step: Callable[[], object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._step = folder, step

    def name(self, page: Page) -> str:
        """Return the name of a page's image relative to the report."""
        path = self._folder / f"{page.id[:16]}-{page.tier}.png"
        if not path.exists():
            path.write_bytes(page.png)
        self._step()
        return f"pages/{path.name}"


def _moment(turns: int, context: Any, images: Images) -> dict[str, Any]:
    pages = [_view(page, images) for page in context.pages]
    ratio = context.text_tokens / max(context.tokens, 1)
    has_system = any(piece.kind == "instructions" for piece in context.pieces())
    return {"turns": turns, "context": context, "pages": pages, "ratio": ratio, "has_system": has_system}


def _ladder(memory: OpticalMemory, images: Images) -> list[dict[str, Any]]:
    """Return the newest pages of the context in its order, each at every tier; a gist has one."""
    by_tier = memory.pages_by_tier(SHOWN_PAGES)
    order = {page.id: place for place, page in enumerate(memory.context().pages)}
    rows: dict[str, dict[str, Any]] = {}
    for page in (page for pages in by_tier.values() for page in pages if page.id in order):
        is_gist = page.kind == "gist"
        row = rows.setdefault(page.id, {"id": page.id[:12], "text": page.text, "is_gist": is_gist, "tiers": []})
        row["tiers"].append(_view(page, images))
    return [rows[page_id] for page_id in sorted(rows, key=order.__getitem__)]


def _answered(question: str, reply: Reply, run: Run, images: Images) -> dict[str, Any]:
    """Return a question and its reply, with the page that the first source stands on and where its line is on it."""
    pages = {page.id: page for page in run.last.pages}
    source = next((each for each in reply.sources if each.page in pages), None)
    shown: dict[str, Any] = {"question": question, "reply": reply, "page": None}
    if source is not None and source.page is not None and source.line is not None:
        page = pages[source.page]
        rows = page.layout.grid.rows
        shown |= {"page": _view(page, images), "top": 100 * (source.line - 1) / rows, "height": 100 / rows}
        shown["line"] = source.line
    return shown


def _view(page: Page, images: Images) -> dict[str, Any]:
    """Return what the report shows of a page at one tier."""
    width, height = page.size
    return {
        "src": images.name(page),
        "tier": page.tier,
        "tokens": page.tokens,
        "width": width,
        "height": height,
        "facts": page.facts,
    }


def _cost_chart(run: Run) -> str:
    text = [(float(turn), float(tokens)) for turn, tokens, _ in run.history]
    context = [(float(turn), float(tokens)) for turn, _, tokens in run.history]
    return line_chart(
        [Series(name="whole history as text", points=text), Series(name="optical memory", points=context)],
        x_label="turns",
        y_label="tokens in the context",
    )


def _age_chart(run: Run) -> str:
    sizes = {page.tier: (page.kind == "leaf", page.tokens) for moment in run.moments for page in moment.context.pages}
    tiers = sorted(sizes, key=lambda tier: sizes[tier])  # from the bottom: gists, then pages from small to large
    bars = []
    for moment in run.moments:
        parts: dict[str, float] = dict.fromkeys(tiers, 0.0)
        for page in moment.context.pages:
            parts[page.tier] += page.tokens
        parts["text"] = moment.context.tokens - sum(parts.values())
        bars.append((f"{moment.turns} turns", parts))
    return stacked_bars(bars, y_label="tokens by form")


def _tier_chart(memory: OpticalMemory) -> str:
    tiers = memory.profile.tiers
    names = {float(place): tier.name for place, tier in enumerate(tiers)}
    points = [(float(place), float(tier.tokens)) for place, tier in enumerate(tiers)]
    return line_chart(
        [Series(name="tokens a page", points=points)], x_label="tier", y_label="tokens a page", x_names=names
    )


def _reading_chart(scores: Mapping[str, Mapping[str, Score]]) -> str:
    tiers = list(dict.fromkeys(tier for result in scores.values() for tier in result))
    names = {float(place): tier for place, tier in enumerate(tiers)}
    series = []
    for reader, result in scores.items():
        at = [(float(place), result[tier]) for place, tier in enumerate(tiers) if tier in result]
        series.append(Series(name=f"{reader}: characters", points=[(x, s.precision * 100) for x, s in at]))
        exact = [(x, s.exact * 100) for x, s in at if s.exact is not None]
        if exact:
            series.append(Series(name=f"{reader}: identifiers exact", points=exact, dashed=True))
    return line_chart(series, x_label="tier", y_label="read right, %", x_names=names) if series else ""
