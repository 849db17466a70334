"""A context as the decoder sees it: one atom for each position, pages and text in the context's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from optical_memory.model.cache import Atom
from optical_memory.model.image import Mode
from optical_memory.model.limits import mode_of
from optical_memory.model.prompts import Context, blocks
from optical_memory.model.tokenizer import IMAGE_TOKEN, Tokenizer
from optical_memory.renderers.base import Page

IMAGE_TOKEN_ID = 128815
"""Id of ``<image>`` in the published vocabulary, for tokenizers that do not name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spliced:
    """Atoms in order, and where each page's vision tokens begin."""

    atoms: list[Atom]
    pages: list[tuple[int, Page]] = field(default_factory=list)

    def __len__(self) -> int:
        """Positions."""
        return len(self.atoms)

    @property
    def modes(self) -> list[Mode]:
        """The mode of each page."""
        return [mode_of(page) for _, page in self.pages]

    @property
    def vision_tokens(self) -> int:
        """Positions that are vision tokens."""
        return sum(not isinstance(atom, int) for atom in self.atoms)

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Return a token id for each position, that of ``<image>`` for vision tokens."""
        image = tokenizer.id(IMAGE_TOKEN)
        stand_in = IMAGE_TOKEN_ID if image is None else image
        return [atom if isinstance(atom, int) else stand_in for atom in self.atoms]


def splice(
    context: Context, prompt: str, *, bos: int, tokenizer: Tokenizer, page_key: Callable[[Page], str]
) -> Spliced:
    """Put together the beginning, the blocks of ``context`` and ``prompt``, which alone may use the model's marks.

    ``page_key`` names a page at its tier. Raises InputError for something that is not a context.
    """
    out = Spliced(atoms=[bos])
    text = ""
    for block in blocks(context):
        if isinstance(block, str):
            text += block
            continue
        out.atoms.extend(tokenizer.encode(text))
        text = ""
        out.pages.append((len(out.atoms), block))
        key = page_key(block)
        out.atoms.extend((key, index) for index in range(mode_of(block).tokens(*block.size)))
    out.atoms.extend(tokenizer.encode(text))
    out.atoms.extend(tokenizer.encode(prompt, marks=True))
    return out
