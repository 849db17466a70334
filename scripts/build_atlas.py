"""Build what `optical_memory/renderers/fonts/` ships, from files of Debian packages."""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

import deflate
import numpy as np
import numpy.typing as npt

FONTS = Path(__file__).resolve().parents[1] / "optical_memory/renderers/fonts"
NARROW, WIDE, MARK, ESCAPE = range(4)
VISIBLE_BLANKS = {0x00A0, 0x3000}
HEX_BOX = ("AAAA", "5555")


def read_hex(path: Path) -> dict[int, str]:
    """Read a Unifont .hex file: code point -> hex digits, 32 for 8x16 px glyphs and 64 for 16x16."""
    lines = (line.strip().split(":") for line in path.read_text("ascii").splitlines())
    return {int(code, 16): digits for code, digits in lines}


def classes(glyphs: dict[int, str]) -> npt.NDArray[np.uint8]:
    """Say for each code point of the BMP how a page shows it."""
    table = np.full(0x10000, ESCAPE, np.uint8)
    for code, digits in glyphs.items():
        table[code] = _class(code, digits)
    return table


def _class(code: int, digits: str) -> int:
    category = unicodedata.category(chr(code))
    is_box = digits.startswith(HEX_BOX[0]) and digits.endswith(HEX_BOX[1]) and len(digits) == 64
    is_blank = int(digits, 16) == 0 and code != 0x20 and code not in VISIBLE_BLANKS
    if category in ("Mn", "Me"):
        return MARK
    if category[0] == "C" or category in ("Zl", "Zp") or is_blank or is_box:
        return ESCAPE
    is_wide = len(digits) == 64 or unicodedata.east_asian_width(chr(code)) in "WF"
    return WIDE if is_wide else NARROW


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unifont", type=Path, default=Path("/usr/share/unifont/unifont.hex"))
    parser.add_argument("--out", type=Path, default=FONTS)
    options = parser.parse_args()
    table = classes(read_hex(options.unifont))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "classes.bin").write_bytes(deflate.zlib_compress(table.tobytes(), 12))


if __name__ == "__main__":
    main()
