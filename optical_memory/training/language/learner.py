"""The parts that learn, put together: losses of a batch in each of its modes, and the scores of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optical_memory.model.decoder import causal
from optical_memory.model.language.adapter import Adapter, Seen, Tokens
from optical_memory.model.llama import Llama
from optical_memory.training.language.pictures import Pictures
from optical_memory.training.language.tasks import KINDS

WEIGHTS = {"quote": 0.35, "said": 0.35}
"""Weight of an answer's tokens where it is not 1: long quotes would else outweigh short facts."""
PAGE_TEXT = 2304
"""Tokens of a page read as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What stands before a batch's questions: (B, V, (1 + levels)·D), and the keys of its pages, or none."""

    vectors: Tensor
    keys: Tensor | None


class Learner(nn.Module):
    """Adapter, language model with updates, and the looks at pages that both learn from."""

    def __init__(self, adapter: Adapter, llama: Llama, pictures: Pictures, weights: Tensor, system: list[int]) -> None:
        super().__init__()
        self.adapter, self.llama, self.pictures = adapter, llama, pictures
        self.register_buffer("weights", weights)
        self.weights: Tensor
        self.register_buffer("system", torch.tensor(system))
        self.system: Tensor
        embeddings = llama.embed.weight.detach().float()
        self.register_buffer("units", F.normalize(embeddings, dim=1).to(llama.embed.weight.dtype), persistent=False)
        self.units: Tensor
        counted = torch.ones(1 + len(KINDS))
        for kind, weight in WEIGHTS.items():
            counted[1 + KINDS.index(kind)] = weight
        self.register_buffer("counted", counted)
        self.counted: Tensor

    def true_tokens(self, tokens: Tensor, cells: Tensor, count: int) -> Tokens:
        """Return the tokens (P, W) that begin in ``cells`` (P, W) as a reader without a fault would see them."""
        p, there = len(tokens), cells >= 0
        place = torch.where(there, cells, count)  # (P, W)
        begun = torch.zeros(p, count + 1, dtype=torch.bool, device=tokens.device).scatter(1, place, there)
        weights = torch.zeros(p, count + 1, device=tokens.device).scatter(1, place, self.weights[tokens])
        directions = torch.zeros(p, count + 1, self.units.shape[1], dtype=self.units.dtype, device=tokens.device)
        index = place[..., None].expand(-1, -1, self.units.shape[1])
        directions = directions.scatter(1, index, F.embedding(tokens, self.units))
        return Tokens(directions[:, :count], begun[:, :count], weights[:, :count])

    def reading_loss(self, seen: Seen, tokens: Tensor, cells: Tensor, asked: int) -> tuple[Tensor, Tensor]:
        """Return the reader's loss on pages, and the share of tokens that it names right among those asked."""
        count = seen.starts.shape[1]
        true = self.true_tokens(tokens, cells, count)
        begun = true.begun.float()
        loss = F.binary_cross_entropy_with_logits(seen.starts, begun)
        weighed = F.binary_cross_entropy_with_logits(seen.weights, true.weights.clamp(0.001, 0.999), reduction="none")
        loss = loss + (weighed * begun).sum() / begun.sum()
        page, place = (cells >= 0).nonzero(as_tuple=True)
        chosen = torch.randint(0, len(page), (asked,), device=page.device)
        page, place = page[chosen], place[chosen]
        direction = seen.directions[page, cells[page, place]]  # (asked, D)
        wanted = tokens[page, place]
        logits = F.linear(direction.to(self.units.dtype), self.units).float() * self.adapter.sharpness.exp()
        own = (direction * F.embedding(wanted, self.units).float()).sum(-1)
        loss = loss + F.cross_entropy(logits, wanted) + (1 - own).mean()
        return loss, (logits.argmax(-1) == wanted).float().mean().detach()

    def show(self, batch: dict[str, Tensor], ratios: tuple[int, ...], sees: list[Seen], true: bool) -> Shown:
        """Return the vectors of each sample's pages, oldest first, at these ratios; ``true`` takes the true tokens."""
        vectors, keys = [], []
        for number, (ratio, seen) in enumerate(zip(ratios, sees, strict=True)):
            features = seen.features.detach()
            if true:
                tokens = self.true_tokens(batch["tokens"][:, number], batch["cells"][:, number], seen.starts.shape[1])
            else:
                tokens = Tokens(*(each.detach() for each in Adapter.tokens(seen)))
            vectors.append(self.adapter(features, tokens, ratio)[0])
            keys.append(self.adapter.keys(features).flatten(1, 2))
        return Shown(vectors=torch.cat(vectors, 1), keys=torch.cat(keys, 1))

    def pooled(self, batch: dict[str, Tensor], ratios: tuple[int, ...]) -> Shown:
        """Return the vectors of pages that nobody looks at: means of the true tokens' embeddings, and no keys."""
        config, vectors = self.adapter.config, []
        for number, ratio in enumerate(ratios):
            cells = batch["codes"].shape[2]
            tokens = self.true_tokens(batch["tokens"][:, number], batch["cells"][:, number], cells)
            rows = cells // config.columns
            blank = self.weights.new_zeros(len(tokens.begun), rows, config.columns // 2, config.width)
            vectors.append(self.adapter(blank, tokens, ratio)[0])
        return Shown(vectors=torch.cat(vectors, 1), keys=None)

    def as_text(self, batch: dict[str, Tensor], most: int, *, newest: bool) -> Shown:
        """Return the first page as text: its first tokens, or its ``newest``."""
        tokens, length = batch["tokens"][:, 0], (batch["cells"][:, 0] >= 0).sum(1)
        if newest:
            index = (length[:, None] - most + torch.arange(most, device=tokens.device)).clamp(min=0)
            tokens = tokens.gather(1, index)
        return Shown(vectors=F.embedding(tokens[:, :most], self.llama.embed.weight), keys=None)

    def hidden(self, shown: Shown, text: Tensor) -> Tensor:
        """Run system, what is shown and text (B, T) through the language model: the text's last states (B, T, D)."""
        llama, kind = self.llama, self.llama.embed.weight.dtype
        width = llama.config.hidden_size
        before = F.embedding(self.system, llama.embed.weight).expand(len(text), -1, -1)  # (B, S, D)
        after = F.embedding(text, llama.embed.weight)  # (B, T, D)
        vector, *additions = torch.split(shown.vectors.to(kind), width, dim=-1)  # (B, V, D) each
        x = torch.cat([before, vector, after], 1)
        room = (0, 0, before.shape[1], after.shape[1])
        rotary = llama.rotary(torch.arange(x.shape[1], device=x.device))
        for index, layer in enumerate(llama.layers):
            if 0 < index <= len(additions):
                x = x + F.pad(additions[index - 1], room)
            x = layer(x, rotary, causal, 0)
        normal: Tensor = llama.norm(x[:, -text.shape[1] :])
        return normal

    def answers(self, hidden: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, V) of the answers' tokens, those tokens (N,), and which (B, T) they are."""
        chosen = batch["kind"] > 0
        chosen[:, 0] = False
        before = torch.cat([hidden[:, :1], hidden[:, :-1]], 1)  # the position before names a token
        logits = F.linear(before[chosen], self.llama.embed.weight).float()
        return logits, batch["text"][chosen], chosen

    def answer_loss(self, hidden: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of the answers' tokens by weight."""
        logits, wanted, chosen = self.answers(hidden, batch)
        weight = self.counted[batch["kind"][chosen]]
        return (F.cross_entropy(logits, wanted, reduction="none") * weight).sum() / weight.sum()

    def taught_loss(self, hidden: Tensor, batch: dict[str, Tensor], teacher: Tensor, share: float) -> Tensor:
        """Return :meth:`answer_loss`, a ``share`` of it against a ``teacher``'s probabilities: its logits (N, V)."""
        logits, wanted, chosen = self.answers(hidden, batch)
        weight = self.counted[batch["kind"][chosen]]
        own = logits.log_softmax(-1)
        apart = F.kl_div(own, teacher.log_softmax(-1), reduction="none", log_target=True).sum(-1)
        loss = (1 - share) * F.nll_loss(own, wanted, reduction="none") + share * apart
        return (loss * weight).sum() / weight.sum()

    def pointing(self, hidden: Tensor, shown: Shown, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return scores of all keys (B, Q, N) by each question, and which of them are right (B, Q, N)."""
        assert shown.keys is not None
        place = batch["question"].clamp(min=0)[..., None].expand(-1, -1, hidden.shape[-1])
        scores = self.adapter.scores(hidden.gather(1, place), shown.keys)  # (B, Q, N)
        keys = batch["keys"]
        right = torch.zeros(*scores.shape[:2], scores.shape[2] + 1, dtype=torch.bool, device=scores.device)
        right.scatter_(2, torch.where(keys >= 0, keys, scores.shape[2]), True)
        return scores, right[..., :-1]

    def pointing_loss(self, hidden: Tensor, shown: Shown, batch: dict[str, Tensor]) -> Tensor:
        """Return how surprised the scorer is by the places of the answers."""
        scores, right = self.pointing(hidden, shown, batch)
        has = right.any(-1) & (batch["question"] >= 0)  # (B, Q)
        wanted = scores.masked_fill(~right, -1e9).logsumexp(-1)
        return ((scores.logsumexp(-1) - wanted) * has).sum() / has.sum().clamp(min=1)
