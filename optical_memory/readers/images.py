"""From a page or an encoded image to pixels, within limits."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from optical_memory.errors import ReaderError
from optical_memory.model.image import upright
from optical_memory.renderers.base import Page

MAX_PIXELS = 64_000_000
"""Largest image that is opened, in px: some 190 MB as RGB."""


def open_page(page: Page | bytes) -> Image.Image:
    """Return a page's raster, or an encoded image (PNG, JPEG, …), upright (by its EXIF data) and as RGB.

    Raises ReaderError for data that is not an image, is damaged, or has no pixels or more than :data:`MAX_PIXELS`.
    """
    data = page if isinstance(page, bytes) else page.png
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise ReaderError(f"an image of {image.width} x {image.height} px; at most {MAX_PIXELS:,} px are read")
            return upright(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
        raise ReaderError(f"not a readable image: {reason}") from error
