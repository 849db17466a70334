"""Encoder and read-out head together."""

from __future__ import annotations

from torch import Tensor, nn

from optical_memory.model.mini.encoder import Encoder, EncoderConfig
from optical_memory.model.mini.head import HeadConfig, ReadoutHead

TOKEN_WIDTH = EncoderConfig().token_width
"""Values of a vision token of the bundled model."""


class MiniNetwork(nn.Module):
    """The network whose weights ship: pages in, vision tokens and characters out."""

    def __init__(self, encoder: EncoderConfig | None = None, head: HeadConfig | None = None) -> None:
        super().__init__()
        config = encoder or EncoderConfig()
        self.encoder = Encoder(config)
        self.head = ReadoutHead(config.code, config.width, head or HeadConfig())

    def forward(self, ink: Tensor) -> Tensor:
        """Ink (B, 1, S, S) -> slots (B, lattice points, slot)."""
        return self.head.slots(self.encoder(ink)[1])
