"""Build the fonts that Chromium draws pages with, from Debian's packages, into `optical_memory/renderers/fonts/`.

Every glyph is fitted into the cell of a page: 600 units wide (1200 where the character takes two cells) and 960 high.
So all scripts share one pitch, and a row is one run of text. Packages: fonts-jetbrains-mono, fonts-dejavu-core,
fonts-noto-core, fonts-noto-cjk, fonts-unifont; Python: fonttools, brotli.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deflate
import numpy as np
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

from optical_memory.renderers.visible import COMBINING, ESCAPED, WIDE, bmp_classes

FONTS = Path(__file__).resolve().parents[1] / "optical_memory/renderers/fonts"
DEBIAN = Path("/usr/share/fonts")
CELL, ASCENT, DESCENT = 600, 765, 195
EDGE = 8  # least distance of ink from the cell's edge, in units
OVERHANG = 60  # how far accents of capitals may stand out at the top, so that capitals stay taller than small letters
BOXES = range(0x2500, 0x25A0)  # box drawing and blocks: they fill their cell and meet their neighbours
SHAPED = (range(0x0590, 0x0700), range(0x0750, 0x0780), range(0x08A0, 0x0900))  # Hebrew and Arabic: one font for all
TEXT, CJK, LAST = 1, 2, 3
PRIVATE = 0xF0000
PAINTED = {"8": 0.86, "O": 1.12}  # an 8 narrower and an O wider than drawn, so that small 8 and B, 0 and O differ
FORMS = {"<initial>": "init", "<medial>": "medi", "<final>": "fina"}


@dataclass(slots=True, kw_only=True)
class Source:
    """A font to take glyphs from.

    ``x`` and ``y`` scale it, then ``lift`` moves it up (units); ``box`` is the extent of its full block in 1/1000 em.
    """

    path: str
    x: float = 1.0
    y: float = 0.93
    lift: float = 0
    number: int = 0
    box: tuple[float, float] = (-300, 1020)
    font: TTFont = field(init=False)
    glyphs: Any = field(init=False)
    cmap: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        """Open the file."""
        self.font = TTFont(DEBIAN / self.path, fontNumber=self.number)
        self.glyphs = self.font.getGlyphSet()
        self.cmap = self.font.getBestCmap()
        scale = 1000 / self.font["head"].unitsPerEm
        self.x, self.y = self.x * scale, self.y * scale
        self.box = (self.box[0] / scale, self.box[1] / scale)

    def glyph(self, code: int, kind: int) -> Any:
        """Return the outline of a character, fitted into its cell or cells, as a TrueType glyph."""
        drawn = self.glyphs[self.cmap[code]]
        outline, bounds, pen = DecomposingRecordingPen(self.glyphs), BoundsPen(None), TTGlyphPen(None)
        drawn.draw(outline)
        outline.replay(bounds)
        if bounds.bounds is not None:
            x, dx, y, dy = self._fit(code, kind, bounds.bounds, drawn.width)
            quadratic = Cu2QuPen(pen, 1.0, reverse_direction="glyf" not in self.font)
            outline.replay(TransformPen(quadratic, (x, 0, 0, y, dx, dy)))
        return pen.glyph()

    def _fit(self, code: int, kind: int, ink: tuple[float, ...], advance: float) -> tuple[float, float, float, float]:
        """Return scale and shift in x and in y for ink (left, bottom, right, top) in the font's units."""
        left, bottom, right, top = ink
        width = 2 * CELL if kind == WIDE else CELL
        if code in BOXES:
            y = (ASCENT + DESCENT) / (self.box[1] - self.box[0])
            return width / advance, 0, y, -DESCENT - self.box[0] * y
        if kind == COMBINING:  # on the cell before it; Chromium moves it onto its base
            return self.x, -CELL / 2 - self.x * (left + right) / 2, self.y, 0
        grow = 1.0
        if kind == WIDE and self.x * advance < 1.5 * CELL:  # a narrow symbol in two cells
            grow = min(
                1.4, 0.9 * width / (self.x * (right - left)), 0.9 * (ASCENT + DESCENT) / (self.y * (top - bottom))
            )
        x = min(self.x * grow * PAINTED.get(chr(code), 1.0), (width - 2 * EDGE) / (right - left))
        y = min(self.y * grow, (ASCENT + DESCENT - 2 * EDGE) / (top - bottom), (ASCENT + OVERHANG) / max(top, 1))
        dx = (width - x * advance) / 2
        dy = self.lift if grow == 1 else (ASCENT - DESCENT - y * (bottom + top)) / 2
        dx = min(max(dx, EDGE - x * left), width - EDGE - x * right)
        dy = min(max(dy, EDGE - DESCENT - y * bottom), ASCENT + OVERHANG - y * top)
        return x, dx, y, dy


def hanzi() -> dict[str, set[int]]:
    """Return the characters of the national standards in daily use: GB 2312, Big5 level 1, JIS X 0208, KS X 1001."""

    def decode(codec: str, leads: Iterable[int]) -> set[int]:
        pairs = (bytes((lead, trail)).decode(codec, "ignore") for lead in leads for trail in range(0x40, 0xFF))
        return {ord(pair) for pair in pairs if len(pair) == 1}

    high = range(0x81, 0xFF)
    chinese, taiwan, japanese = decode("gb2312", high), decode("big5", range(0xA4, 0xC7)), decode("euc_jp", high)
    korean = {code for code in decode("euc_kr", high) if 0xAC00 <= code < 0xD7A4}
    signs = {*range(0x3000, 0x3400), *range(0xFE30, 0xFE50), *range(0xFF01, 0xFFE7)}
    return {"sc": chinese, "jp": japanese | signs, "tc": taiwan, "kr": korean | set(range(0x3131, 0x3164))}


def choose(sources: Mapping[str, Source], kinds: Mapping[int, int]) -> dict[int, Source]:
    """Say which font draws each character; the first that has it in this order."""
    chosen: dict[int, Source] = {}

    def take(name: str, codes: Iterable[int]) -> None:
        for code in codes:
            if code in kinds and code in sources[name].cmap:
                chosen.setdefault(code, sources[name])

    narrow = [code for code, kind in kinds.items() if kind != WIDE]
    for name, codes in hanzi().items():
        take(name, (code for code in codes if kinds.get(code) == WIDE or 0xFF00 <= code < 0xFFF0))
    take("symbols", (code for code, kind in kinds.items() if kind == WIDE))
    take("text", (code for code in kinds))
    take("mono", (code for code in kinds))
    take("hebrew", range(0x0590, 0x0600))
    take("thai", range(0x0E00, 0x0E80))
    take("last", narrow)
    take("last", kinds)
    return chosen


def joining(codes: set[int]) -> str:
    """Return the OpenType features that give Arabic letters their joined forms, from Unicode's presentation forms."""
    rules: dict[str, list[str]] = {tag: [] for tag in FORMS.values()}
    for form in (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFF00)):
        tag, *letters = unicodedata.decomposition(chr(form)).split() or [""]
        if tag in FORMS and len(letters) == 1 and form in codes and int(letters[0], 16) in codes:
            rules[FORMS[tag]].append(f"sub u{letters[0]} by u{form:04X};")
    body = "\n".join(f"feature {tag} {{ script arab; {' '.join(lines)} }} {tag};" for tag, lines in rules.items())
    return "languagesystem DFLT dflt; languagesystem arab dflt;\n" + body


def build(name: str, chosen: Mapping[int, Source], kinds: Mapping[int, int], *, shift: int = 0) -> bytes:
    """Return a WOFF2 file with these characters, moved up by ``shift`` code points."""
    outlines = {f"u{code:04X}": source.glyph(code, kinds[code]) for code, source in sorted(chosen.items())}
    advances = {f"u{code:04X}": (0, CELL, 2 * CELL)[_cells(kinds[code])] for code in sorted(chosen)}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *outlines])
    builder.setupCharacterMap({code + shift: f"u{code:04X}" for code in chosen})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), **outlines})
    table = builder.font["glyf"]
    lefts = {glyph: getattr(table[glyph], "xMin", 0) for glyph in builder.font.getGlyphOrder()}
    builder.setupHorizontalMetrics({glyph: (advances.get(glyph, CELL), lefts[glyph]) for glyph in lefts})
    builder.setupHorizontalHeader(ascent=ASCENT, descent=-DESCENT)
    builder.setupOS2(
        sTypoAscender=ASCENT, sTypoDescender=-DESCENT, sTypoLineGap=0, usWinAscent=ASCENT, usWinDescent=DESCENT
    )
    builder.setupNameTable({"familyName": f"Optical Memory {name.title()}", "styleName": "Regular"})
    builder.setupPost(keepGlyphNames=False, underlinePosition=-110, underlineThickness=45)
    if not shift and name == "text":
        addOpenTypeFeaturesFromString(builder.font, joining(set(chosen)))
    builder.font["head"].created = builder.font["head"].modified = 0
    builder.font.recalcTimestamp = False
    builder.font.flavor = "woff2"
    path = FONTS / f"{name}.woff2"
    builder.save(path)
    return path.read_bytes()


def _cells(kind: int) -> int:
    return 0 if kind == COMBINING else 2 if kind == WIDE else 1


def main() -> None:
    """Write the fonts, and the table of which of them draws which character."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    classes = bmp_classes()[:0x10000]
    kinds = {int(code): int(classes[code]) for code in np.flatnonzero(classes != ESCAPED)}
    cjk, mono = "opentype/noto/NotoSansCJK-Regular.ttc", "truetype/jetbrains-mono/JetBrainsMono-"
    sources = {
        "text": Source(path=f"{mono}Regular.ttf"),
        "mono": Source(path="truetype/dejavu/DejaVuSansMono.ttf", x=600 / 602, box=(-240, 945)),
        "symbols": Source(path="truetype/dejavu/DejaVuSans.ttf", x=1.1),
        "hebrew": Source(path="truetype/noto/NotoSansHebrew-Regular.ttf"),
        "thai": Source(path="truetype/noto/NotoSansThai-Regular.ttf"),
        **{
            name: Source(path=cjk, number=index, x=1.08, lift=-20)
            for index, name in enumerate(("jp", "kr", "sc", "tc"))
        },
        "last": Source(path="opentype/unifont/unifont.otf", x=1.2, y=0.96, lift=-75, box=(-125, 875)),
    }
    chosen = choose(sources, kinds)
    east = {id(sources[name]) for name in ("jp", "kr", "sc", "tc")}
    table = np.zeros(0x10000, np.uint8)
    files: dict[int, dict[int, Source]] = {TEXT: {}, CJK: {}, LAST: {}}
    for code, source in chosen.items():
        is_last = source is sources["last"] and not any(code in block for block in SHAPED)
        table[code] = LAST if is_last else CJK if id(source) in east else TEXT
        files[int(table[code])][code] = source
    sizes = {"text": build("text", files[TEXT], kinds), "cjk": build("cjk", files[CJK], kinds)}
    sizes["last"] = build("last", files[LAST], kinds, shift=PRIVATE)
    for name in ("bold", "italic"):
        source = Source(path=f"{mono}{name.title()}.ttf")
        styled = {code: source for code in files[TEXT] if files[TEXT][code] is sources["text"] and code in source.cmap}
        sizes[name] = build(name, styled, kinds)
    (FONTS / "faces.bin").write_bytes(deflate.zlib_compress(table.tobytes(), 12))
    for name, data in sizes.items():
        print(f"{name}: {len(data):,} bytes")
    for face, codes in files.items():
        print(face, len(codes))


if __name__ == "__main__":
    main()
