"""Any text as pages, with no memory around it."""

from __future__ import annotations

from optical_memory.budget import Profile, get_profile
from optical_memory.renderers import get_renderer, png
from optical_memory.renderers.base import Layout, Page, Renderer, Tier
from optical_memory.renderers.layout import Flow, Run, lay_out


def render(
    text: str,
    tier: str | None = None,
    profile: str | Profile = "deepseek-ocr",
    renderer: str | Renderer = "dense",
    flow: Flow = "reflow",
) -> list[Page]:
    """Lay ``text`` out on as many pages as it needs, shown at one tier; pixels are drawn when they are asked for.

    ``tier`` None is the profile's sharpest. Where the text needs no escapes (see renderers/visible.py), the texts of
    the pages, joined, are ``text``. An empty text gives no pages. Errors: NotFoundError for an unknown tier, profile or
    renderer.
    """
    target = get_profile(profile)
    shown_at = target.tiers[0] if tier is None else target.tier(tier)
    painter = get_renderer(renderer)
    grid = target.gist_grid if shown_at == target.gist else target.grid
    runs = [Run(turn_id="text", role="user", text=text)]
    layouts = lay_out(runs, grid, renderer_key=painter.key, flow=flow, repertoire=painter.repertoire)
    return [page_of(layout, shown_at, painter) for layout in layouts]


def page_of(layout: Layout, tier: Tier, renderer: Renderer) -> Page:
    """Return a layout as a page at one tier, drawn when its PNG is first asked for."""
    size = (tier.width, tier.height)

    def draw(page: Page) -> bytes:
        return png.encode(renderer.draw([page.layout], size=size)[0])

    return Page(id=layout.id, layout=layout, tier=tier.name, size=size, tokens=tier.tokens, source=draw)
