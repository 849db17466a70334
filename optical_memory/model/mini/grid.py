"""Finding the character grid of a page from its image: the beat of the ink, and what the network sees.

The beat (:mod:`~optical_memory.model.mini.rhythm`) proposes the size and the place of the cells, without the network.
Where it leaves a choice, the network decides (:mod:`~optical_memory.model.mini.sight`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from optical_memory.errors import GridNotFoundError
from optical_memory.model.mini.cells import LOWEST, NARROWEST, Cells, filling, known
from optical_memory.model.mini.ink import Ink
from optical_memory.model.mini.rhythm import Beat, beats
from optical_memory.model.mini.sight import SHIFT, Sight

_INKED = 0.2
"""Ink above which a pixel is part of a character."""
_SURE = 0.9
"""Agreement at which a grid is taken without trying shifts."""
_LEAST = 0.6
"""Agreement below which an image without a clear beat has no grid: photographs and noise stay below 0.55."""
_LEAST_STEADY = 0.5
"""The same for a grid whose beat across is there."""
_STRONG = 8.0
"""Strength of both beats at which a grid is taken whatever the network reads: noise and photographs stay below 4."""
_RIVAL = 6.0
"""Grids whose beat is weaker than the best by more than this factor are not judged by the network."""
_UNKNOWN = 0.02
"""What the beat of a grid of no known size counts for against a known one's."""
_WHOLE = 0.1
"""Cells by which a measured grid may miss the page's end and still be taken for one that ends there."""
_DOUBLE = 0.8
"""Share of its agreement that the grid of twice the size must reach to be taken instead."""
_FAINT = 3.0
"""Strength of the beat across from which on a grid is thought of where few rows tell."""
_FITS = 0.1
"""How well ink must fit the rows of a grid that the network cannot confirm: bars without rows are at 0."""
_PER_PIXEL = 0.15
"""What a px of shift down costs a grid where few rows tell."""
_NARROWEST_CLEAR = 4.5
"""Narrower cells, px, hold so few points that they agree with any coarser grid; never looked for by agreement alone."""
_NARROWEST_OWN = 3.5
"""The same for the mini's own grid: narrower ones hold one point, which agrees with itself."""
_TALLEST_SHIFTED = 1.7
"""Taller cells, as a share of their width, fit the lines of other grids by chance at some shift."""
_MIDDLE = (0.47, 0.445)
"""Where the ink of a cell's row and column has its beat, as a share of the cell: the dense renderer's, any size."""
_STRAIGHT = 0.12
"""Share of a cell within which a grid that seems moved is taken to begin at the page's corner."""


def find(ink: Ink, sight: Callable[[], Sight]) -> Cells:
    """Return the grid of a page of ink (S, S), to about a px; ``sight`` is asked where the ink alone does not tell.

    Errors: GridNotFoundError.
    """
    across, down = beats(ink)
    proposals = sorted(_proposals(across, down, ink.shape[0]), key=lambda proposal: -proposal[0])
    top, first = proposals[0]
    rivals = [cells for score, cells in proposals if score * _RIVAL > top]
    if min(across.strength(first.width), down.strength(first.height)) < _STRONG:
        return _of_few_rows(ink, across, down, sight()) or _by_agreement(sight(), ink.shape[0])
    if len(rivals) > 1:
        first = _chosen(sight(), rivals, [_placed(cells, across, down, ink) for cells in rivals])
    return _placed(first, across, down, ink)


def _proposals(across: Beat, down: Beat, side: int) -> Iterator[tuple[float, Cells]]:
    """Yield grids from the corner with their score: strengths and roots of the sizes of both beats multiplied."""
    grids = [(cells, 1.0) for cells in known(side)]
    heights = down.periods(_STRONG)
    for width in across.periods(_STRONG):
        for height in heights:
            for one in (width, width / 2):  # only wide characters: the beat is that of two cells
                cells = filling(side, _dividing(side, one, 2), _dividing(side, height, 1))
                if one >= NARROWEST and height >= LOWEST and _is_new(cells, known(side)):
                    grids.append((cells, _UNKNOWN))
    for cells, trust in grids:
        score = trust
        for beat, size in ((across, cells.width), (down, cells.height)):
            score *= beat.strength(size) * beat.size(size) ** 0.5
        yield score, cells


def _dividing(side: int, size: float, step: int) -> float:
    """Return a measured size (px), or the one near it of which a whole multiple of ``step`` fills the side."""
    number = round(side / size / step) * step
    return side / number if abs(side / size - number) < _WHOLE else size


def _is_new(cells: Cells, others: Iterator[Cells]) -> bool:
    """Return whether cells have a character's proportions, and are not those of a known grid within 3 %."""
    near = (abs(cells.width / one.width - 1) < 0.03 and abs(cells.height / one.height - 1) < 0.03 for one in others)
    return 0.4 < cells.width / cells.height < 0.85 and not any(near)


def _chosen(sight: Sight, rivals: list[Cells], placed: list[Cells]) -> Cells:
    """Return the one of some grids, best beat first, on which the network's answers agree.

    Where cells hold too few points to disagree, they are taken only if no other grid will do; one of half the size
    in both directions agrees with a true grid as well.
    """
    judged = [
        (sight.agreement(there), cells)
        for cells, there in zip(rivals, placed, strict=True)
        if cells.width >= _NARROWEST_CLEAR
    ]
    agreement, best = max(judged, key=lambda one: one[0], default=(0.0, rivals[0]))
    if agreement < _LEAST:
        return rivals[0]
    doubles = [
        cells
        for other, cells in judged
        if other > _DOUBLE * agreement
        and abs(cells.width / best.width - 2) < 0.1
        and abs(cells.height / best.height - 2) < 0.1
    ]
    return doubles[0] if doubles else best


def _of_few_rows(ink: Ink, across: Beat, down: Beat, sight: Sight) -> Cells | None:
    """Return a known grid whose beat across is clear, and whose rows fit the ink and agree best; None if none does."""
    judged = []
    for cells in known(ink.shape[0]):
        strength = across.strength(cells.width)
        if strength < _FAINT:
            continue
        moved = _placed(cells, across, down, ink)
        for there in (moved, replace(moved, top=0.0)):
            agreement = sight.agreement(there) if cells.width >= _NARROWEST_CLEAR else _LEAST
            clear = min(1.0, strength / _STRONG)
            fit = _fit(ink, there)
            judged.append((agreement + fit + clear - _PER_PIXEL * abs(there.top), agreement, fit, there))
    if not judged:
        return None
    wide = [one for one in judged if one[3].width >= _NARROWEST_CLEAR]
    readable = [one for one in wide if one[1] >= _LEAST_STEADY and one[2] > 0]
    _, agreement, fit, best = max(readable or wide or judged, key=lambda one: one[0])
    is_clear = across.strength(best.width) > 2 * _STRONG and fit > _FITS
    is_read = agreement >= _LEAST and best.width >= _NARROWEST_CLEAR and sight.has_borders(best)
    return best if is_clear or is_read else None


def _fit(ink: Ink, cells: Cells) -> float:
    """Return how far the ink lies in the middle of the rows, 1, rather than between them, -1."""
    rows = ink.sum(1, dtype=np.float64)
    y = (np.arange(len(rows)) + 0.5 - cells.top) / cells.height
    return float((rows * np.cos(2 * np.pi * (y - _MIDDLE[1]))).sum() / max(rows.sum(), 1e-9))


def _moved(cells: Cells, across: Beat, down: Beat) -> tuple[float, float]:
    """Return how far, in shares of a cell from -0.5 to 0.5, the beat lies from where a page's corner would put it."""
    x, y = across.middle(cells.width) - _MIDDLE[0], down.middle(cells.height) - _MIDDLE[1]
    return (x + 0.5) % 1 - 0.5, (y + 0.5) % 1 - 0.5


def _placed(cells: Cells, across: Beat, down: Beat, ink: Ink) -> Cells:
    """Return the grid moved by whole px to where the beat puts it and the ink begins."""
    shares = _moved(cells, across, down)
    inked = ink > _INKED
    left = _begin(shares[0], cells.width, int(inked.any(0).argmax()))
    top = _begin(shares[1], cells.height, int(inked.any(1).argmax()))
    return replace(cells, left=left, top=top)


def _begin(share: float, size: float, first: int) -> float:
    """Return the px at which the first cell begins; ``first`` is the first px with ink.

    The beat tells it but for whole cells: a page moved by 3 px and one moved by 3 px less a cell are told apart by
    the ink, which lies inside the first cell.
    """
    moves = np.arange(-SHIFT, SHIFT + 1)
    away = np.abs((moves - share * size + size / 2) % size - size / 2)
    if abs(share) < _STRAIGHT and abs(share * size) < 1.5:
        away[SHIFT] = 0.0
    ranked = sorted(zip(away.tolist(), np.abs(moves).tolist(), moves.tolist(), strict=True))
    fitting = [move for off, _, move in ranked if off <= max(0.8, ranked[0][0])]
    begun = (move for move in fitting if move - 1 <= first < move + max(1.0, size / 2) and (move >= 0 or first == 0))
    return float(next(begun, fitting[0]))


def _by_agreement(sight: Sight, side: int) -> Cells:
    """Return the grid on which the network's answers agree best, at any shift. Errors: GridNotFoundError."""
    clear = [
        cells
        for number, cells in enumerate(known(side))
        if cells.width >= (_NARROWEST_CLEAR if number else _NARROWEST_OWN)
    ]
    judged = [(sight.agreement(cells), cells) for cells in clear]
    if max(agreement for agreement, _ in judged) < _SURE:
        shifts = [(dx, dy) for dx in range(-SHIFT, SHIFT + 1) for dy in range(-SHIFT, SHIFT + 1)]
        for cells in clear:
            if cells.width >= _NARROWEST_CLEAR and cells.height < _TALLEST_SHIFTED * cells.width:
                moved = [replace(cells, left=float(dx), top=float(dy)) for dx, dy in shifts]
                judged += [(sight.agreement(one), one) for one in moved]
    best = _coarsest(judged, _LEAST)
    placed = best and sight.centred(best)
    if placed is None or sight.agreement(placed) < _LEAST or not sight.has_borders(placed):
        raise GridNotFoundError("no character grid was found in the image; pass the page itself, or its grid")
    return placed


def _coarsest(judged: list[tuple[float, Cells]], least: float) -> Cells | None:
    """Return the coarsest of the best: a finer grid than the true one agrees as well."""
    top = max(agreement for agreement, _ in judged)
    if top < least:
        return None
    close = [(cells.width * cells.height, agreement, cells) for agreement, cells in judged if agreement > top - 0.025]
    return _best(close, max(area for area, _, _ in close))


def _best(close: list[tuple[float, float, Cells]], area: float) -> Cells:
    """Of the grids of one size the one that agrees best; of equals the least shifted."""
    return max(
        (
            (round(25 * agreement), -abs(cells.left) - abs(cells.top), cells)
            for size, agreement, cells in close
            if size == area
        ),
        key=lambda entry: entry[:2],
    )[2]
