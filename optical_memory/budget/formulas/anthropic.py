"""Anthropic's images: patches of 28 px."""

from __future__ import annotations

from dataclasses import dataclass

from optical_memory.budget.formulas.base import Formula, ceil_div, check_detail


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicPatches(Formula):
    """Claude: ⌈w / 28⌉ · ⌈h / 28⌉ of the largest size that fits in ``side`` px and ``cap`` tokens, shape kept.

    Standard models have 1568 px and 1568 tokens, Claude 4.7 and later 2576 px and 4784 tokens. An image with a side
    over 2000 px was measured to cost ``note`` tokens more (32 on Claude 4.5, 40 on 5.5, whose image was also seen at
    2000 px and so cost less than the rule says): huggingface.co/datasets/JOHNISKING/image-token-cost, 2026-11-28.

    Source: platform.claude.com/docs/en/build-with-claude/vision, 2026-08.
    """

    side: int = 1568
    cap: int = 1568
    note: int = 40

    @property
    def unit(self) -> int:
        """A patch."""
        return 28

    @property
    def most(self) -> int:
        """The cap and the note."""
        return self.cap + self.note

    def is_whole(self, width: int, height: int) -> bool:
        """Return whether it fits in the side and the cap."""
        return max(width, height) <= self.side and ceil_div(width, 28) * ceil_div(height, 28) <= self.cap

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches of the image as the model sees it."""
        check_detail(self, detail)
        long, short = max(width, height), min(width, height)
        note = self.note if long > 2000 else 0
        for edge in range(min(long, self.side), 0, -1):
            patches = ceil_div(edge, 28) * ceil_div(max(1, round(short * edge / long)), 28)
            if patches <= self.cap:
                return patches + note
        raise AssertionError("one patch always fits")
