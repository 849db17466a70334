"""Small charts as SVG text: lines and stacked bars, with axes that people can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 36, 44
COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c", "#5f3dc4", "#c2255c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart: its name and its points, x ascending."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, x_names: Mapping[float, str] | None = None
) -> str:
    """Draw lines. ``x_names`` puts words instead of numbers on the x axis."""
    xs = [x for line in series for x, _ in line.points] or [0.0]
    ys = [y for line in series for _, y in line.points] or [0.0]
    low_x, high_x, high_y = min(xs), max(xs), _ceiling(max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / ((high_x - low_x) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / (high_y or 1) * (HEIGHT - TOP - BOTTOM)

    body = [_y_axis(high_y, y_label, lambda y: place(low_x, y)[1])]
    ticks = x_names or {x: f"{x:,.0f}" for x in _ticks(low_x, high_x)}
    for x, name in ticks.items():
        body.append(_text(place(x, 0)[0], HEIGHT - BOTTOM + 18, name, "middle"))
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    for colour, line in zip(COLOURS, series, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if len(line.points) <= 12:
            body += [_dot(*place(*point), colour) for point in line.points]
    return _svg([*body, *_legend([line.name for line in series])])


def stacked_bars(bars: Sequence[tuple[str, Mapping[str, float]]], *, y_label: str) -> str:
    """Draw one bar for each (label, parts); parts of the same name share a colour."""
    names = list(dict.fromkeys(name for _, parts in bars for name in parts))
    high = _ceiling(max((sum(parts.values()) for _, parts in bars), default=1))
    scale = (HEIGHT - TOP - BOTTOM) / (high or 1)
    slot = (WIDTH - LEFT - RIGHT) / max(len(bars), 1)
    body = [_y_axis(high, y_label, lambda y: HEIGHT - BOTTOM - y * scale)]
    for place, (label, parts) in enumerate(bars):
        x, y = LEFT + slot * (place + 0.2), float(HEIGHT - BOTTOM)
        for name in names:
            tall = parts.get(name, 0) * scale
            y -= tall
            colour = COLOURS[names.index(name) % len(COLOURS)]
            body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{slot * 0.6:.1f}" height="{tall:.1f}" fill="{colour}"/>')
        body.append(_text(x + slot * 0.3, HEIGHT - BOTTOM + 18, label, "middle"))
    return _svg([*body, *_legend(names)])


def _svg(body: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="12" fill="currentColor">{escape(words)}</text>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def _y_axis(high: float, label: str, place: object) -> str:
    assert callable(place)
    out = []
    for y in _ticks(0, high):
        at = place(y)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#8884" />')
        out.append(_text(LEFT - 6, at + 4, f"{y:,.0f}" if high >= 5 else f"{y:.1f}", "end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<g transform="rotate(-90 14 {middle})">{_text(14, middle, label, "middle")}</g>')
    return "".join(out)


def _legend(names: Sequence[str]) -> list[str]:
    out = []
    x, gap = LEFT, 34
    letter = min(7.0, (WIDTH - LEFT - gap * len(names)) / max(sum(map(len, names)), 1))  # px; squeezed where many
    for place, name in enumerate(names):
        out.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{COLOURS[place % len(COLOURS)]}"/>')
        out.append(_text(x + 18, 18, name, "start"))
        x += gap + round(letter * len(name))
    return out


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    step = (high - low) / count
    return [low + step * place for place in range(count + 1)]


def _ceiling(value: float) -> float:
    """Round up to a number that divides into five readable steps."""
    if value <= 1:
        return 1.0
    unit = 10.0 ** (len(str(int(value))) - 1)
    return next(unit * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if unit * factor >= value)
