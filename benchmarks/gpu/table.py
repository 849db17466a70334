"""The figures of ``benchmarks.gpu`` as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]


def table(results: Found) -> str:
    """Lay the figures out; a section that failed or did not run has a dash, and its error stands below."""
    rates = results.get("ceilings", {})
    lines = [
        f"{results['device']}, PyTorch {results['torch']}, {results['date']}; {results['seconds']:.0f} s in all."
        f" Matrix product: {number(rates.get('matrix_tflops'))} TFLOP/s."
        f" Copy: {number(rates.get('copy_tbps'), 2)} TB/s.",
        *encoder(results),
        *decoding(results),
        *prefill(results),
        *whole(results),
        "",
        *(
            f"{name}: {found['error']}"
            for name, found in results.items()
            if isinstance(found, dict) and "error" in found
        ),
    ]
    return "\n".join(lines)


def encoder(results: Found) -> list[str]:
    """Pages a second by mode; the distance is of the tokens, from the eager way's."""
    lines = ["", "| mode | eager | default | compiled | shares of the matrix rate | over eager | distance | peak GiB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for mode in ("tiny", "small", "base", "large", "gundam"):
        ways = [results.get(f"encoder {mode} {way}", {}) for way in ("eager", "default", "compiled")]
        speeds = " | ".join(number(found.get("pages_per_second")) for found in ways)
        shares = " / ".join(percent(found.get("share_of_matrix_rate"), 1) for found in ways)
        default = ways[1]
        over, distance = number(default.get("over_eager"), 1), number(default.get("distance"), 4)
        memory = f"{number(default.get('peak_gib'), 1)} ({default.get('batch', '–')})"
        lines.append(f"| {mode} | {speeds} | {shares} | {over} | {distance} | {memory} |")
    return lines


def decoding(results: Found) -> list[str]:
    """Tokens a second, one sequence and batches."""
    theirs = results.get("transformers", {})
    lines = ["", "| rows | tokens/s | share of the limit | pages/day | plain | plain, loop | transformers | peak GiB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    names = [name for name in results if name.startswith("decode ")]
    for name in names:
        found = results[name]
        rows = name.removeprefix("decode ").split()[0]
        fast, share = number(found.get("tokens_per_second")), percent(found.get("share_of_limit"))
        pages = number(found.get("pages_per_day_decoding_alone"))
        plain, loop = number(found.get("plain")), number(found.get("plain_loop_over_experts"))
        other = number(theirs.get(f"decode_{rows}_tokens_per_second"))
        label = name.removeprefix("decode ")
        memory = number(found.get("peak_gib"), 1)
        lines.append(f"| {label} | {fast} | {share} | {pages} | {plain} | {loop} | {other} | {memory} |")
    return lines


def prefill(results: Found) -> list[str]:
    """Tokens a second of prefill."""
    theirs = results.get("transformers", {}).get("prefill_64_pages_tokens_per_second")
    lines = ["", "| prefill, tokens/s | grouped | loop | transformers | peak GiB |", "|---|---|---|---|---|"]
    for name in ("64 pages", "one sequence"):
        found = results.get(f"prefill {name}", {})
        ours, loop = found.get("tokens_per_second"), found.get("loop_over_experts_tokens_per_second")
        other = number(theirs) if name == "64 pages" else "–"
        lines.append(f"| {name} | {number(ours)} | {number(loop)} | {other} | {number(found.get('peak_gib'), 1)} |")
    return lines


def whole(results: Found) -> list[str]:
    """Pages from PNG to text."""
    lines = ["", "| whole pages | seconds | tokens/s | pages/day | peak GiB |", "|---|---|---|---|---|"]
    for name, found in results.items():
        if name.startswith("whole "):
            figures = [number(found.get("seconds"), 1), number(found.get("tokens_per_second"))]
            figures += [number(found.get("pages_per_day")), number(found.get("peak_gib"), 1)]
            lines.append(f"| {name.removeprefix('whole ')} | {' | '.join(figures)} |")
    return lines


def number(value: float | None, digits: int = 0) -> str:
    """Write a number, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """Write a share, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}%}"
