"""Train the mini: one stage of the config, from nothing or from earlier weights, within a time limit.

A stage keeps its whole state beside its weights, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.mini import MiniNetwork
from optical_memory.model.mini.weights import load_weights, save_plain
from optical_memory.training import data, ranks
from optical_memory.training.ahead import Ahead
from optical_memory.training.config import Stage, TrainingConfig
from optical_memory.training.decode import DecoderTrainer, trainer_of
from optical_memory.training.evaluate import measure, table
from optical_memory.training.optim import optimisers, scheduled, set_rate
from optical_memory.training.pages import Batch, PageMaker

_EARLY = 0.5
"""Weight of the loss on the patches before the compressor."""
_KEPT_EVERY = 120.0
"""Seconds after which weights and state are written again."""


def loss_of(model: MiniNetwork, ink: Tensor, points: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return losses (nats per character) at the tokens and, as deep supervision, at the patches before them.

    ``ink`` is (B, 1, S, S), ``points`` (groups, M) lattice indices, ``codes`` (B, M).
    """
    with torch.autocast(ink.device.type, torch.bfloat16, enabled=ink.is_cuda):
        patches, tokens = model.encoder(ink)
        late = _at(model.head.slots(tokens), points)
        early = _at(model.head.early_slots(patches), points)
        return _nats(model, late, codes), _nats(model, early, codes)


def _at(slots: Tensor, points: Tensor) -> Tensor:
    """Return the slots (B, M, slot) of each group's points; ``slots`` is (B, lattice points, slot)."""
    return torch.cat([part[:, chosen] for part, chosen in zip(slots.chunk(len(points)), points, strict=True)])


def _nats(model: MiniNetwork, slots: Tensor, codes: Tensor) -> Tensor:
    high, low = codes >> 8, codes & 255
    first = F.cross_entropy(model.head.high(slots).float().flatten(0, 1), high.flatten())
    return first + F.cross_entropy(model.head.low_logits(slots, high).float().flatten(0, 1), low.flatten())


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where a stage reads its data and weights and writes its results. ``seconds`` overrides the stage's own.

    With ``decoder``, a new decoder learns beside the encoder, from the tokens that the encoder makes at each step.
    """

    data: Path
    out: Path
    start: Path | None = None
    state: Path | None = None
    seconds: float | None = None
    pages: int = 32
    decoder: bool = False


def train(config: TrainingConfig, stage: Stage, run: Run) -> list[dict[str, object]]:
    """Train one stage and write weights, log and scores to ``run.out``; returns the scores.

    Under ``torchrun`` every GPU draws pages of its own, and the first one writes (the others return nothing).
    """
    device = ranks.begin()
    torch.manual_seed(config.seed)
    torch.set_float32_matmul_precision("high")
    run.out.mkdir(parents=True, exist_ok=True)
    model = MiniNetwork()
    if run.start is not None:
        load_weights(model, run.start)
    model.to(device)
    ranks.share(model)
    seed = config.seed + 1 + 1000 * len(stage.name) + ranks.rank()
    torch.manual_seed(seed)
    sheets, writer = data.load_sheets(run.data, device), data.load_writer(run.data, device)
    maker = PageMaker(sheets, writer, config.side, config.points, seed=seed)
    companion = trainer_of(config.decoder, model, run.data, sheets) if run.decoder else None
    _Loop(config, stage, run, model, maker, companion).run()
    if ranks.rank():
        return []
    if companion is not None:
        save_plain(companion.model, run.out / "decoder")
    scores = table(model, sheets, writer, config.measures, pages=run.pages)
    (run.out / "scores.json").write_text(json.dumps({"stage": stage.name, "scores": scores}, indent=1) + "\n")
    return scores


class _Loop:
    """Steps until the time is up, logging every few seconds."""

    def __init__(
        self,
        config: TrainingConfig,
        stage: Stage,
        run: Run,
        model: MiniNetwork,
        maker: PageMaker,
        companion: DecoderTrainer | None = None,
    ) -> None:
        self.config, self.stage, self.model, self.maker, self.companion = config, stage, model, maker, companion
        self.device = next(model.parameters()).device
        self.seconds = run.seconds if run.seconds is not None else stage.seconds
        self.optimisers = optimisers([model], stage.rate)
        self.out, self.state = run.out, run.state
        self.done, self.step = 0.0, 0
        self.log = (run.out / f"log{ranks.rank() or ''}.jsonl").open("a")
        if run.state is not None and run.state.exists():
            self._resume(run.state)
        self.ahead = Ahead(self._draw, self.device)
        on_gpu = self.device.type == "cuda"
        self.loss = torch.compile(loss_of, dynamic=False) if on_gpu else loss_of

    def run(self) -> None:
        """Train until the stage's seconds are used."""
        before, started, logged, kept = self.done, time.monotonic(), 0.0, self.done
        while (progress := self.done / self.seconds) < 1:
            late, early = self._one(progress)
            self.done = ranks.agreed(before + time.monotonic() - started)
            if ranks.rank() == 0 and self.done - logged > min(20.0, self.seconds / 5):
                logged = self.done
                self._note(progress, late, early)
            if ranks.rank() == 0 and self.done - kept > _KEPT_EVERY:
                kept = self.done
                self._keep()
        if ranks.rank() == 0:
            self._keep()
        self.log.close()
        self.ahead.close()

    def _one(self, progress: float) -> tuple[Tensor, Tensor]:
        rate = self.stage.rate * scheduled(progress, self.step)
        for optimiser in self.optimisers:
            set_rate(optimiser, rate)
        batch = self.ahead.take(progress)
        late, early = self.loss(self.model, batch.ink, batch.points, batch.codes)
        torch.autograd.backward(late + _EARLY * early)
        ranks.average_gradients(self.model)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        if self.companion is not None:
            self.decoder_loss = self.companion.step(self.companion.stage.rate * scheduled(progress, self.step))
        return late, early

    def _draw(self, progress: float) -> Batch:
        return self.maker.batch(self.stage.recipes, self.config.batch, self.config.groups, progress)

    def _note(self, progress: float, late: Tensor, early: Tensor) -> None:
        entry = {"seconds": round(self.done, 1), "step": self.step, "late": late.item(), "early": early.item()}
        self.model.eval()
        self.ahead.rest()  # measures seed the generator that pages are drawn with
        for row in self.config.measures:
            if row.watched and row.sheet in self.maker.sheets:
                sheet = self.maker.sheets[row.sheet]
                score = measure(self.model, sheet, self.maker.writer, row, row.watched, pages=4, threshold=0.9)
                entry[row.name] = score.right
        if self.companion is not None:
            entry |= {"decoder": self.decoder_loss.item(), **self.companion.held_out()}
        self.model.train()
        torch.seed()
        self.log.write(json.dumps(entry) + "\n")
        self.log.flush()
        print({key: round(value, 4) for key, value in entry.items()}, f"{progress:.0%}", flush=True)

    def _keep(self) -> None:
        save_plain(self.model, self.out)
        if self.state is not None:
            states = [optimiser.state_dict() for optimiser in self.optimisers]
            whole = {"model": self.model.state_dict(), "optimisers": states, "step": self.step, "done": self.done}
            part = self.state.with_suffix(".part")
            torch.save(whole, part)
            part.replace(self.state)

    def _resume(self, path: Path) -> None:
        kept = torch.load(path, map_location=self.device)
        self.model.load_state_dict(kept["model"])
        for optimiser, state in zip(self.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.done = kept["step"], kept["done"]
