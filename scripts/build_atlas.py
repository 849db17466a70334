"""Build the glyph files of `optical_memory/renderers/fonts/` from files of Debian packages.

`classes.bin`   how each code point of the BMP is shown (from GNU Unifont and Unicode's properties)
`masters.bin`   DejaVu Sans Mono (and DejaVu Sans for wide symbols) as large one-bit bitmaps
`unifont.bin`   GNU Unifont's bitmaps, 8x16 and 16x16 px
`bitmaps.bin`   the X11 bitmap fonts 4x6, 5x8 and 6x10, with the glyphs of `scripts/glyphs/` painted over

Sources: packages unifont 15.0.01 (SIL OFL 1.1), fonts-dejavu-core 2.37 (Bitstream Vera licence), xfonts-base 1.0.5
(public domain). With these the output is the same to the byte:

    apt-get install unifont fonts-dejavu-core xfonts-base
    python scripts/build_atlas.py
"""

from __future__ import annotations

import argparse
import io
import unicodedata
from pathlib import Path

import deflate
import numpy as np
import numpy.typing as npt
from outlines import Bits, Outlines, marks, repainted
from pcf import read_pcf
from PIL import features

ROOT = Path(__file__).resolve().parents[1]
NARROW, WIDE, COMBINING, ESCAPED = range(4)
VISIBLE_BLANKS = {0x00A0, 0x3000}
X11_ASCENTS = {"4x6": 5, "5x8": 7, "6x10": 8}
Arrays = dict[str, npt.NDArray[np.generic]]


def read_hex(path: Path) -> dict[int, str]:
    """Read a Unifont .hex file: code point -> hex digits, 32 for 8x16 px glyphs and 64 for 16x16."""
    lines = (line.strip().split(":") for line in path.read_text("ascii").splitlines())
    return {int(code, 16): digits for code, digits in lines}


def classes(glyphs: dict[int, str]) -> npt.NDArray[np.uint8]:
    """Say for each code point of the BMP how a page shows it."""
    table = np.full(0x10000, ESCAPED, np.uint8)
    for code, digits in glyphs.items():
        table[code] = _class(code, digits)
    return table


def _class(code: int, digits: str) -> int:
    category = unicodedata.category(chr(code))
    is_hex_box = len(digits) == 64 and digits.startswith("AAAA") and digits.endswith("5555")
    is_blank = int(digits, 16) == 0 and code != 0x20 and code not in VISIBLE_BLANKS
    if category in ("Mn", "Me"):
        return COMBINING
    if category[0] == "C" or category in ("Zl", "Zp") or is_blank or is_hex_box:
        return ESCAPED
    is_wide = len(digits) == 64 or unicodedata.east_asian_width(chr(code)) in "WF"
    return WIDE if is_wide else NARROW


def masters(table: npt.NDArray[np.uint8], folder: Path) -> Arrays:
    """Draw what DejaVu Sans Mono has; wide symbols from DejaVu Sans, whose letters need not be narrow."""
    mono, sans = Outlines(folder / "DejaVuSansMono.ttf"), Outlines(folder / "DejaVuSans.ttf")
    drawn = marks() | repainted(mono)
    for code in sorted(mono.codes):
        if code < 0x10000 and table[code] == NARROW and code != 0x20 and code not in drawn:
            drawn[code] = mono.draw(code, 1)
    for code in sorted(sans.codes):
        if code < 0x10000 and table[code] == WIDE and code not in drawn:
            drawn[code] = sans.draw(code, 2)
    return _stacked({code: bits for code, bits in drawn.items() if bits.any()}, 100)


def unifont(glyphs: dict[int, str], table: npt.NDArray[np.uint8], without: set[int]) -> Arrays:
    """Take the bitmaps of all that is drawn and has no master."""
    codes = [code for code in sorted(glyphs) if table[code] in (NARROW, WIDE) and code not in without]
    drawn = {}
    for code in codes:
        rows = np.frombuffer(bytes.fromhex(glyphs[code]), np.uint8).reshape(16, -1)
        drawn[code] = np.unpackbits(rows, axis=1)
    return _stacked(drawn, 8)


def bitmaps(table: npt.NDArray[np.uint8], folder: Path, art: Path) -> Arrays:
    """Take the narrow characters of the X11 fonts, with our own paintings over them."""
    out: Arrays = {}
    for name, ascent in X11_ASCENTS.items():
        width, height = map(int, name.split("x"))
        drawn = read_pcf(folder / f"{name}.pcf.gz", width, height, ascent)
        drawn = {code: drawn[code] for code in sorted(drawn) if code < 0x10000 and table[code] == NARROW}
        drawn |= read_art(art / f"{name}.txt")
        drawn = {code: bits for code, bits in drawn.items() if bits.any()}
        out |= {f"{name}.{key}": value for key, value in _stacked(drawn, width).items() if "wide" not in key}
    return out


def read_art(path: Path) -> dict[int, Bits]:
    """Read painted glyphs: a line "U+0030", then a row a line, "#" for ink."""
    out = {}
    for block in path.read_text("ascii").split("\n\n"):
        head, *rows = block.split()
        out[int(head[2:], 16)] = np.array([[char == "#" for char in row] for row in rows], np.uint8)
    return out


def _stacked(drawn: dict[int, Bits], narrow_width: int) -> Arrays:
    """Pack glyphs by width, rows XORed with the row above, which deflates better."""
    out: Arrays = {}
    for name in ("narrow", "wide"):
        chosen = [code for code in sorted(drawn) if (drawn[code].shape[1] > narrow_width) == (name == "wide")]
        out[f"{name}.codes"] = np.array(chosen, "<u2")
        if chosen:
            bits = np.packbits(np.stack([drawn[code] for code in chosen]), axis=2)
            bits[:, 1:] ^= bits[:, :-1].copy()
            out[f"{name}.bits"] = bits
    return out


def write(path: Path, arrays: Arrays) -> None:
    """Write arrays as an .npz, deflated as a whole."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    path.write_bytes(deflate.zlib_compress(buffer.getvalue(), 12))
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unifont", type=Path, default=Path("/usr/share/unifont/unifont.hex"))
    parser.add_argument("--dejavu", type=Path, default=Path("/usr/share/fonts/truetype/dejavu"))
    parser.add_argument("--x11", type=Path, default=Path("/usr/share/fonts/X11/misc"))
    parser.add_argument("--out", type=Path, default=ROOT / "optical_memory/renderers/fonts")
    options = parser.parse_args()
    print(f"FreeType {features.version('freetype2')}, Unicode {unicodedata.unidata_version}")
    glyphs = read_hex(options.unifont)
    table = classes(glyphs)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "classes.bin").write_bytes(deflate.zlib_compress(table.tobytes(), 12))
    drawn = masters(table, options.dejavu)
    write(options.out / "masters.bin", drawn)
    has_master = set(drawn["narrow.codes"].tolist()) | set(drawn["wide.codes"].tolist())
    write(options.out / "unifont.bin", unifont(glyphs, table, has_master))
    write(options.out / "bitmaps.bin", bitmaps(table, options.x11, ROOT / "scripts/glyphs"))


if __name__ == "__main__":
    main()
