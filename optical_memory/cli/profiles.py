"""``optical-memory profiles``: lists target models, explains one, compares several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Annotated, Any

import typer

from optical_memory.budget import Profile, count_tokens, get_profile
from optical_memory.budget import models as model_names
from optical_memory.budget import profiles as profile_names
from optical_memory.budget.encodings import own_tokenizer
from optical_memory.cli import show

HEADS = ("profile", "page", "cells", "tiers (tokens; legibility)", "gist (cells)", "images, MB", "$ fresh/read/written")
PAGE_HEADS = ("profile", "tier", "characters", "image", "text", "image / text", "$ image", "$ text", "pays")
WIDE = frozenset({"page", "cells", "gist (cells)", "images, MB", "characters", "image / text"})
"""Columns that a terminal has no room for."""
SAMPLE_CHARACTERS = 40_000
"""Of the bundled conversation: what a page is taken to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCost:
    """A full page at one tier, as an image and as the text it stands for. Tokens; dollars for a thousand pages.

    ``known`` is false where nobody has measured how much of it the model reads, ``trusted`` where it is not shown.
    """

    profile: str
    tier: str
    characters: int
    image_tokens: int
    text_tokens: int
    image_dollars: float
    text_dollars: float
    legibility: float | None
    trusted: bool

    @property
    def pays(self) -> bool:
        """Whether the page is shown as an image at all: cheaper than its text, and read well enough."""
        return self.trusted and self.image_tokens < self.text_tokens


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profiles")(profiles)


def profiles(
    names: Annotated[
        list[str] | None, typer.Argument(help="Model ids or TOML files: one is explained, several are compared.")
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="List the models of each profile too.")] = False,
    pages: Annotated[bool, typer.Option("--pages", help="List what a full page costs as image and as text.")] = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="List the shapes that a page could have, by price.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the target models that are known, explain one, or compare several: cost, limits, and what is legible.

    Any id is taken as clients and clouds spell it. An unknown member of a known family is assumed to be like another,
    and that is said.

    Example: optical-memory profiles claude-opus-5-5 gpt-6.2-sol gemini-4-argon
    """
    if names and len(names) == 1 and not (pages or shapes or markdown or as_json):
        explain(get_profile(names[0]))
        return
    chosen = [get_profile(name) for name in (names or (*profile_names(), *(model_names() if models else ())))]
    if as_json:
        show.print_json([facts(profile) for profile in chosen])
    elif shapes:
        _shapes(chosen, markdown)
    elif pages or (names and not markdown):
        _print(PAGE_HEADS, [page_row(cost) for profile in chosen for cost in page_costs(profile)], markdown)
    elif models:
        _print(MODEL_HEADS, [model_row(profile) for profile in chosen if profile.base != profile.name], markdown)
    else:
        _print(HEADS, [row(profile) for profile in chosen], markdown)


def _shapes(chosen: Sequence[Profile], markdown: bool) -> None:
    """Print the shapes that pages of these models could have, and why they have theirs."""
    from optical_memory.cli import shapes

    text = sample()
    rates = [len(text) / count_tokens(text, profile) for profile in chosen]
    _print(
        shapes.HEADS,
        [row for each, rate in zip(chosen, rates, strict=True) for row in shapes.rows(each, rate)],
        markdown,
    )
    for profile in chosen:
        print(f"\n{profile.name}: {shapes.why(profile)}")


def row(profile: Profile) -> tuple[str, ...]:
    """Return a profile's row of the list; tiers that are not trusted are in brackets."""
    from optical_memory.policies import legible_tiers

    legible = {tier.name for tier in legible_tiers(profile)}
    tiers = []
    for tier in profile.tiers:
        share = profile.legibility.get(tier.name)
        text = f"{tier.name} {tier.tokens}" + (f"; {share:g}" if share is not None else "")
        tiers.append(text if tier.name in legible else f"({text})")
    return (
        profile.name,
        f"{profile.grid.width}×{profile.grid.height}",
        f"{profile.grid.columns}×{profile.grid.rows} = {profile.grid.capacity:,}",
        ", ".join(tiers),
        f"{profile.gist.tokens} ({profile.gist_grid.capacity:,})",
        f"{profile.max_images:,}, {profile.max_request_bytes // 1_000_000:,}",
        price(profile),
    )


MODEL_HEADS = ("model", "profile", "$ fresh/read/written", "read / fresh", "above", "context", "confirmed", "date")


def model_row(profile: Profile) -> tuple[str, ...]:
    """Return a model's row: its price and what is particular to it."""
    cost = profile.price
    return (
        profile.name,
        profile.base,
        price(profile),
        f"{cost.cached / cost.fresh:.1%}" if cost.fresh else "",
        f"×{cost.long_factor:g} from {cost.long_from:,}" if cost.long_from else "",
        f"{profile.context_tokens:,}",
        "yes" if profile.confirmed else "no",
        profile.date,
    )


def price(profile: Profile) -> str:
    """Return the three prices of input, in dollars for a million tokens."""
    cost = profile.price
    return f"{cost.fresh:g}/{cost.cached:g}/{cost.written:g}" if cost.fresh else "runs here"


def page_costs(profile: Profile) -> Iterator[PageCost]:
    """Yield what a full page of conversation costs at each tier and as a gist."""
    from optical_memory.policies import legible_tiers

    rate = count_tokens(sample(), profile) / len(sample())
    legible = {tier.name for tier in legible_tiers(profile)}
    for tier in (*profile.tiers, profile.gist):
        grid = profile.gist_grid if tier is profile.gist else profile.grid
        text = round(rate * grid.capacity)
        yield PageCost(
            profile=profile.name,
            tier=tier.name,
            characters=grid.capacity,
            image_tokens=tier.tokens,
            text_tokens=text,
            image_dollars=tier.tokens * profile.price.fresh / 1_000,
            text_dollars=text * profile.price.fresh / 1_000,
            legibility=profile.legibility.get(tier.name),
            trusted=tier.name in legible or tier is profile.gist,
        )


def sample() -> str:
    """Return the text that a page is taken to hold: what was said in the bundled conversation."""
    lines = resources.files("optical_memory.examples").joinpath("airline-shift.jsonl").read_text("utf-8").splitlines()
    said = [json.loads(line) for line in lines[:400]]
    texts = [each["content"] for each in said if each["role"] in ("user", "assistant") and each.get("content")]
    return "\n".join(texts)[:SAMPLE_CHARACTERS]


def page_row(cost: PageCost) -> tuple[str, ...]:
    """Return a row of the table of page costs."""
    dollars = (f"{cost.image_dollars:.2f}", f"{cost.text_dollars:.2f}") if cost.text_dollars else ("", "")
    return (
        cost.profile,
        cost.tier,
        f"{cost.characters:,}",
        f"{cost.image_tokens:,}",
        f"{cost.text_tokens:,}",
        f"{cost.image_tokens / cost.text_tokens:.2f}",
        *dollars,
        "yes" if cost.pays else "no" if cost.trusted else "not known to be legible",
    )


def explain(profile: Profile) -> None:
    """Print all that is known of one model, and from where."""
    lines = [
        ("profile", profile.base + ("" if profile.base == profile.name else " (its page, tiers and image rule)")),
        ("assumed", profile.assumed),
        (
            "price",
            f"$ {price(profile)} for a million tokens fresh/read/written" if profile.price.fresh else "runs here",
        ),
        ("", _long(profile)),
        ("context", f"{profile.context_tokens:,} tokens"),
        ("a request", f"{profile.max_images:,} images, {profile.max_request_bytes:,} bytes"),
        ("image rule", _rule(profile)),
        ("text", _text(profile)),
        ("legibility", profile.legibility_source or "not measured"),
        ("confirmed", "yes" if profile.confirmed else "no"),
        ("note", profile.note.strip()),
        ("source", f"{profile.source}, {profile.date}"),
    ]
    show.out.print(profile.name, markup=False, highlight=False, style="bold")
    for head, text in lines:
        if text:
            show.out.print(f"  {head:<12} {text}", markup=False, highlight=False, soft_wrap=True)
    heads, rows = PAGE_HEADS[1:], [page_row(cost)[1:] for cost in page_costs(profile)]
    show.table("a full page of conversation (tokens; dollars for a thousand pages)", heads, rows)


def facts(profile: Profile) -> dict[str, Any]:
    """Return what a program may want to know."""
    costs = [asdict(cost) | {"pays": cost.pays} for cost in page_costs(profile)]
    plain = asdict(profile) | {"formula": {"kind": type(profile.formula).__name__} | asdict(profile.formula)}  # type: ignore[call-overload]
    return plain | {"pages": costs}


def _long(profile: Profile) -> str:
    cost = profile.price
    return f"times {cost.long_factor:g} for a request of more than {cost.long_from:,} tokens" if cost.long_from else ""


def _rule(profile: Profile) -> str:
    says = (type(profile.formula).__doc__ or "").splitlines()[0]
    settings = ", ".join(profile.formula.settings)
    return says + (f" Settings: {settings}." if settings else "")


def _text(profile: Profile) -> str:
    if profile.tokenizer and own_tokenizer(profile.tokenizer):
        return f"exact: the tokenizer {profile.tokenizer}"
    if profile.text_factor == 1.0 and not profile.text_weights:
        return f"exact: {profile.encoding}"
    extra = f", and more for {', '.join(profile.text_weights)}" if profile.text_weights else ""
    own = f" Exact with the package of {profile.tokenizer!r}." if profile.tokenizer else ""
    return f"an upper estimate: {profile.text_factor:g} × {profile.encoding}{extra}.{own}"


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    if not markdown:
        kept = [place for place, head in enumerate(heads) if head not in WIDE]
        show.table("", [heads[place] for place in kept], [[cells[place] for place in kept] for cells in rows])
        return
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for cells in rows:
        print(f"| {' | '.join(cells)} |")
