"""Train the decoder on the tokens of a trained, frozen encoder."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from optical_memory.model.mini import MiniNetwork, decoder, vocabulary
from optical_memory.model.mini.decoder import MiniDecoder, glances, places
from optical_memory.model.mini.head import nearest_points
from optical_memory.model.mini.weights import load_weights, save_plain
from optical_memory.training import data, ranks
from optical_memory.training.compose import Sheet, averaged, quantised, raster
from optical_memory.training.config import DecoderStage
from optical_memory.training.optim import scheduled
from optical_memory.training.sentences import SHARES, Sentences, Window, load_sentences, window


def train_decoder(
    stage: DecoderStage, folder: Path, encoder: Path, out: Path, seconds: float, start: Path | None = None
) -> None:
    """Train a decoder, new or from the weights in ``start``, for some seconds; write weights and a log to ``out``."""
    device = ranks.begin()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    network = MiniNetwork()
    load_weights(network, encoder)
    network.to(device).eval().requires_grad_(False)
    trainer = trainer_of(stage, network, folder, data.load_sheets(folder, device), start)
    torch.manual_seed(8 + ranks.rank())
    trainer.run(seconds, out)
    if ranks.rank() == 0:
        save_plain(trainer.model, out)


def trainer_of(
    stage: DecoderStage, network: MiniNetwork, folder: Path, sheets: dict[str, Sheet], start: Path | None = None
) -> DecoderTrainer:
    """Return the trainer of a decoder, new or from the weights in ``start``; the ``network`` stays fixed."""
    device = next(network.parameters()).device
    model = new_decoder(network)
    if start is not None:
        load_weights(model, start, "decoder")
    model.to(device)
    ranks.share(model)
    return DecoderTrainer(stage, network, model, sheets, load_sentences(folder, device), random.Random(ranks.rank()))


def new_decoder(network: MiniNetwork) -> MiniDecoder:
    """Return a decoder with random weights for a network's tokens and slots."""
    words = vocabulary.load()
    return MiniDecoder(decoder.config(len(words)), network.encoder.neck.out_features * 16, network.head.slot)


class _Teacher(torch.nn.Module):
    """The decoder fed with the right text.

    Takes ``tokens`` (B, h, w, width), ``slots`` (B, cells, slot) and a grid of (rows, columns); returns logits
    (B, T, V).
    """

    def __init__(self, model: MiniDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, slots: Tensor, read: Window, shape: tuple[int, int]) -> Tensor:
        page = self.model.page(tokens)  # (B, N, D)
        text = self.model.text(read.inputs, glances(slots, read.offsets), places(read.offsets, shape))  # (B, T, D)
        here = torch.arange(read.inputs.shape[1], device=tokens.device) + decoder.TEXT_FROM
        positions = torch.cat([torch.arange(page.shape[1], device=tokens.device), here])  # (N + T,)
        hidden = self.model(torch.cat([page, text], 1), positions=positions)
        named: Tensor = self.model.core.head(hidden[:, page.shape[1] :])
        return named


class DecoderTrainer:
    """Takes steps: draws pages, looks at them with the encoder, and teaches the decoder to write what they say."""

    def __init__(
        self,
        stage: DecoderStage,
        network: MiniNetwork,
        model: MiniDecoder,
        sheets: dict[str, Sheet],
        streams: dict[str, Sentences],
        chance: random.Random,
    ) -> None:
        self.stage, self.network, self.model, self.teacher = stage, network, model, _Teacher(model)
        self.sheets, self.streams, self.chance = sheets, streams, chance
        self.device = next(model.parameters()).device
        self.kind = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=self.device.type == "cuda"
        )

    def run(self, seconds: float, out: Path) -> None:
        """Train until the time is up, logging every few seconds how many tokens of held-out text are named right."""
        started, logged, step, done = time.monotonic(), 0.0, 0, 0.0
        with (out / f"decoder{ranks.rank() or ''}.jsonl").open("a") as log:
            while done < seconds:
                loss = self.step(self.stage.rate * scheduled(done / seconds, step))
                step += 1
                done = ranks.agreed(time.monotonic() - started)
                if ranks.rank() == 0 and (done - logged > min(12.0, seconds / 5) or done >= seconds):
                    logged = done
                    entry = {"seconds": round(done, 1), "step": step, "loss": loss.item(), **self.held_out()}
                    log.write(json.dumps(entry) + "\n")
                    log.flush()
                    print({key: round(value, 4) for key, value in entry.items()}, flush=True)

    def step(self, rate: float) -> Tensor:
        """Take one step at a learning rate; return the loss in nats a token."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        name = self.chance.choices(list(SHARES), list(SHARES.values()))[0]
        drawn = [page for page in self.stage.pages if name != "wide" or page[0].startswith("scripts")]
        sheet, width = self.chance.choice(drawn)
        loss, _ = self.loss(self.streams[name], self.sheets[sheet], width, self.stage.batch)
        torch.autograd.backward(loss)
        ranks.average_gradients(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    def loss(self, stream: Sentences, sheet: Sheet, width: float, pages: int) -> tuple[Tensor, Tensor]:
        """Return the loss in nats a token, and the share of tokens named right."""
        side, scale = 512, sheet.cell_width / width
        columns = int(side * scale / sheet.cell_width + 1e-6) // 2 * 2
        rows = int(side * scale / sheet.cell_height + 1e-6)
        read = window(stream, pages, rows * columns, self.stage.tokens)
        with torch.no_grad():
            codes = read.codes.view(pages, rows, columns)
            codes = torch.where(sheet.has(codes), codes, 32)
            fonts = torch.randint(0, sheet.fonts, (pages,), device=self.device)
            ink = quantised(averaged(raster(sheet, fonts, codes), side, (scale, scale), (0.0, 0.0)))[:, None]
            tokens, slots = self._look(ink, (width, sheet.cell_height / scale), (rows, columns))
        undrawn = ~sheet.has(read.codes).all(1)  # what a sheet lacks is blank: such pages are not asked for
        targets = read.targets.masked_fill(undrawn[:, None], -100)
        parameters = {name: value.to(self.kind) for name, value in self.teacher.named_parameters()}
        named: Tensor = functional_call(self.teacher, parameters, (tokens, slots, read, (rows, columns)))
        out = named.float().flatten(0, 1)
        asked = (targets.flatten() >= 0).sum().clamp(min=1)
        loss = F.cross_entropy(out, targets.flatten(), ignore_index=-100, reduction="sum") / asked
        return loss, (out.argmax(-1) == targets.flatten()).sum() / asked

    def _look(self, ink: Tensor, cell: tuple[float, float], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return vision tokens (B, h, w, width) and the slots under the middles of the cells (B, cells, slot)."""
        rows, columns = shape
        x = (torch.arange(columns, device=self.device) + 0.5) * cell[0]
        y = (torch.arange(rows, device=self.device) + 0.5) * cell[1]
        points = nearest_points(x.repeat(rows), y.repeat_interleave(columns), ink.shape[-1])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            tokens = self.network.encoder(ink)[1]
            slots = self.network.head.slots(tokens)[:, points]
        return tokens.to(self.kind), slots.to(self.kind)

    @torch.no_grad()
    def held_out(self) -> dict[str, float]:
        """Return the share of right tokens on held-out text at 8 × 12 and 5 × 8 px."""
        scores = {}
        for kind in ("natural", "words", "random"):
            for sheet, width in (("dense-8x12", 8.0), ("dense-12.5x20", 5.0)):
                _, right = self.loss(self.streams[f"held {kind}"], self.sheets[sheet], width, 8)
                scores[f"{kind} {width:g}"] = right.item()
        return scores
