"""Training of the adapter and the updates, on one GPU or on several of one machine.

``python3 -m torch.distributed.run --nproc_per_node N -m optical_memory.training.language …`` for N of them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optical_memory.model.language import base, weights
from optical_memory.model.language.adapter import Adapter, Seen
from optical_memory.model.language.sequence import SYSTEM
from optical_memory.model.llama import LowRank, with_updates
from optical_memory.model.mini import weights as mini_weights
from optical_memory.model.mini.encoder import Block, EncoderConfig
from optical_memory.model.mini.head import HeadConfig, Lattice
from optical_memory.model.mini.model import WEIGHTS as MINI
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.training import ranks
from optical_memory.training.data import load_sheets
from optical_memory.training.language import evaluate, pictures
from optical_memory.training.language.feed import Feed
from optical_memory.training.language.learner import PAGE_TEXT, Learner
from optical_memory.training.language.recipe import Mode, Recipe, Run
from optical_memory.training.optim import set_rate

_FLOOR = 0.02
_SAY = 10.0
"""Seconds between lines of the log."""
_TEXT_PARTS = 2


def train(recipe: Recipe, run: Run) -> None:
    """Train, write ``language.pt`` now and then, and the scores at the end."""
    run.out.mkdir(parents=True, exist_ok=True)
    language = base.load(recipe.model)
    tokenizer = run.data / "tokenizer.json"
    if not tokenizer.is_file():
        tokenizer.write_text(language.tokenizer_json)
    number = int(os.environ.get("RANK", "0"))
    batch = run.batches[number] if number < len(run.batches) else recipe.batch
    feed = Feed(recipe, run.data, split="train", processes=run.processes, seed=1 + number, batch=batch, plain=False)
    held = _held(recipe, run, batch, number)
    device = ranks.begin()
    try:
        learner = make(recipe, run, language, device)
        _Trainer(recipe, run, learner, feed, device).go()
        evaluate.report(learner, held, recipe, run, device)
    finally:
        feed.close()
        held.close()


def score(recipe: Recipe, run: Run) -> None:
    """Write the scores of weights that are there; pages and questions are those that a run is scored on."""
    run.out.mkdir(parents=True, exist_ok=True)
    language = base.load(recipe.model)
    held = _held(recipe, run, recipe.batch, 0)
    device = ranks.begin()
    try:
        evaluate.report(make(recipe, run, language, device), held, recipe, run, device)
    finally:
        held.close()


def _held(recipe: Recipe, run: Run, batch: int, number: int) -> Feed:
    """Return held-out pages: one process draws one kind, so that they are the same in every run."""
    single = dataclasses.replace(recipe, modes=(Mode(weight=1.0, ratios=(9,)),))
    return Feed(single, run.data, split="val", processes=1, seed=901 + number, batch=batch, plain=True)


def make(recipe: Recipe, run: Run, language: base.Base, device: torch.device) -> Learner:
    """Put the parts together on a device, from nothing or from a checkpoint."""
    torch.manual_seed(recipe.seed)
    torch.set_float32_matmul_precision("high")
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    llama = language.model.to(device, kind)
    with_updates(llama, recipe.rank)
    llama.to(device)
    length = llama.embed.weight.detach().float().norm(dim=1).mean().item()
    adapter = Adapter(dataclasses.replace(recipe.adapter, hidden_size=llama.config.hidden_size), length).to(device)
    network = MiniNetwork()
    mini_weights.load_int8(network, MINI)
    network.to(device, kind).eval().requires_grad_(False)
    pages = pictures.Pictures(network, load_sheets(run.data, device), device)
    token_weights = torch.from_numpy(np.load(run.data / "weights.npy")).to(device)
    system = language.tokenizer.encode(SYSTEM, marks=True)
    learner = Learner(adapter, llama, pages, token_weights, system).to(device)
    if run.start is not None:
        load_state(learner, run.start)
    if device.type == "cuda":
        _compile(learner)
    return learner


def _compile(learner: Learner) -> None:
    import torch._dynamo

    settings: Any = torch._dynamo.config
    settings.recompile_limit = settings.cache_size_limit = 128
    for layer in learner.llama.layers:  # the rest is small, and compiling it takes longer than it saves
        layer.compile(dynamic=False)


def updates_of(learner: Learner) -> dict[str, Tensor]:
    """Return the updates' tensors by name: ``layers.N.MATRIX.a`` and ``.b``."""
    return {
        f"{name}.{part}": getattr(module, part).detach()
        for name, module in learner.llama.named_modules()
        if isinstance(module, LowRank)
        for part in ("a", "b")
    }


def save_state(learner: Learner, path: Path) -> None:
    """Write the adapter, the updates and the lattice that the adapter reads, in 16 bits."""
    head = learner.pictures.network.head.state_dict()
    state = {
        "lattice": {name: head[name].half().cpu() for name in lattice_names()},
        "adapter": {name: t.detach().half().cpu() for name, t in learner.adapter.state_dict().items()},
        "updates": {name: t.half().cpu() for name, t in updates_of(learner).items()},
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def lattice_names() -> list[str]:
    """Return the names of the parts of the mini's head that the adapter reads from."""
    return list(Lattice(EncoderConfig().code, HeadConfig()).state_dict())


def load_state(learner: Learner, path: Path) -> None:
    """Read what :func:`save_state` wrote, or a folder of packed weights."""
    if path.is_dir():
        trained, _ = weights.load(path)
        state = {
            "adapter": trained.adapter.state_dict(),
            "updates": trained.named_updates(),
            "lattice": trained.lattice.state_dict(),
        }
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    learner.adapter.load_state_dict({name: t.float() for name, t in state["adapter"].items()})
    head = learner.pictures.network.head
    head.load_state_dict({**head.state_dict(), **state["lattice"]})
    with torch.no_grad():
        for name, tensor in updates_of(learner).items():
            tensor.copy_(state["updates"][name])


class _Trainer:
    """One run's steps."""

    def __init__(self, recipe: Recipe, run: Run, learner: Learner, feed: Feed, device: torch.device) -> None:
        self.recipe, self.run, self.learner, self.feed, self.device = recipe, run, learner, feed, device
        self.common = random.Random(recipe.seed)  # the same in all processes
        self.own = random.Random(recipe.seed * 100 + ranks.rank())
        updates = [module for module in learner.llama.modules() if isinstance(module, LowRank)]
        self.updates = [p for module in updates for p in (module.a, module.b)]
        self.learned = nn.ModuleList([learner.adapter, *updates])
        blocks = [block for block in learner.adapter.modules() if isinstance(block, Block)]
        matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
        known = {id(p) for p in matrices}
        self.rest = [p for p in learner.adapter.parameters() if id(p) not in known]
        muon = torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.optimisers = [muon, self._adam(self.rest, recipe.rate)]
        self.of_updates = self._adam(self.updates, recipe.update_rate)
        self.said: dict[str, list[Tensor]] = {}

    def _adam(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.AdamW:
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.97), weight_decay=0.0, fused=fused)

    def schedule(self) -> Iterator[Mode]:
        """Yield modes, the same in all processes."""
        chance = random.Random(self.recipe.seed + 7)
        modes = self.recipe.modes
        while True:
            yield chance.choices(modes, [mode.weight for mode in modes])[0]

    def go(self) -> None:
        """Train until the time is over."""
        ranks.share(self.learned)
        started = time.perf_counter()
        spoken, saved = 0.0, 0.0
        for step, (mode, batch) in enumerate(self.feed.batches(self.schedule(), self.device)):
            elapsed = ranks.agreed(time.perf_counter() - started)
            progress = elapsed / self.run.seconds
            if progress >= 1 or step == self.run.steps:
                break
            self._rate(progress, step)
            self._step(mode, batch, progress, step)
            if step + 1 == self.run.keep and ranks.rank() == 0:
                save_state(self.learner, self.run.out / f"step-{self.run.keep}.pt")
            if elapsed - spoken > _SAY:
                spoken = elapsed
                self._say(elapsed, step)
            if elapsed - saved > self.run.save_every and ranks.rank() == 0:
                saved = elapsed
                save_state(self.learner, self.run.out / "language.pt")
        if ranks.rank() == 0:
            save_state(self.learner, self.run.out / "language.pt")
            print(f"steps {step}", flush=True)

    def _rate(self, progress: float, step: int) -> None:
        level = self.recipe.level
        share = min(1.0, (step + 1) / 150) * min(1.0, max(_FLOOR, (1 - progress) / (1 - level)))
        for optimiser in self.optimisers:
            set_rate(optimiser, self.recipe.rate * share)
        set_rate(self.of_updates, self.recipe.update_rate * share)

    def _true(self, progress: float) -> bool:
        if progress < self.recipe.true_tokens:
            return True
        return progress < self.recipe.mixed_tokens and self.common.random() < 0.4

    def _sees(self, batch: dict[str, Tensor], pages: int, learns: bool) -> list[Seen]:
        """Look at each page of the samples; the first ones with gradients where the reader ``learns``."""
        out = []
        for number in range(pages):
            sheet = self.own.choices(pictures.SHEETS, [0.45, 0.55])[0]
            side = self.own.choices(pictures.SIDES, [0.6, 0.25, 0.15])[0]
            styles = sheet.startswith("chromium") and self.own.random() < 0.5
            slots = self.learner.pictures.slots(batch["codes"][:, number], sheet, side, styles=styles)
            with torch.set_grad_enabled(learns and number == 0):
                out.append(self.learner.adapter.see(slots))
        return out

    def _step(self, mode: Mode, batch: dict[str, Tensor], progress: float, step: int) -> None:
        learner, true = self.learner, self._true(progress)
        learns = step % 2 == 0 and not self.recipe.pooled
        name = "text" if not mode.ratios else "+".join(map(str, mode.ratios)) + ("t" if true else "")
        with torch.autocast(self.device.type, torch.bfloat16):
            if learns or (mode.ratios and not self.recipe.pooled):
                sees = self._sees(batch, mode.pages, learns)
            if learns:
                loss, right = learner.reading_loss(
                    sees[0], batch["tokens"][:, 0], batch["cells"][:, 0], self.recipe.asked
                )
                loss.backward()  # type: ignore[no-untyped-call]
                self._note("reader", loss, right)
            if not mode.ratios:
                self._read_text(batch)
            elif self.recipe.pooled:
                self._read_pooled(name, mode, batch)
            else:
                shown = learner.show(batch, mode.ratios, sees, true)
                hidden = learner.hidden(shown, batch["text"])
                loss = self._loss(hidden, batch, taught=mode.pages == 1 and not learns)
                pointing = learner.pointing_loss(hidden, shown, batch)
                (loss + self.recipe.pointer * pointing).backward()  # type: ignore[no-untyped-call]
                self._note(name, loss, pointing)
        ranks.average_gradients(self.learned)
        for some in (self.rest, self.updates):
            torch.nn.utils.clip_grad_norm_(some, 1.0)
        for optimiser in (*self.optimisers, self.of_updates):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def _loss(self, hidden: Tensor, batch: dict[str, Tensor], *, taught: bool) -> Tensor:
        """Return the answers' loss; where ``taught``, partly against the model's own where it reads the text."""
        if not (taught and self.recipe.teach):
            return self.learner.answer_loss(hidden, batch)
        with torch.no_grad():
            teacher = [self.learner.answers(states, some)[0] for states, some in self._text_states(batch)]
        return self.learner.taught_loss(hidden, batch, torch.cat(teacher), self.recipe.teach)

    def _read_pooled(self, name: str, mode: Mode, batch: dict[str, Tensor]) -> None:
        hidden = self.learner.hidden(self.learner.pooled(batch, mode.ratios), batch["text"])
        loss = self.learner.answer_loss(hidden, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self._note(name, loss)

    def _text_states(self, batch: dict[str, Tensor]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the states behind a batch's pages as text, and the samples they are of, in parts."""
        size = len(batch["text"]) // _TEXT_PARTS or 1
        for part in range(0, len(batch["text"]), size):
            some = {name: tensor[part : part + size] for name, tensor in batch.items()}
            yield self.learner.hidden(self.learner.as_text(some, PAGE_TEXT, newest=False), some["text"]), some

    def _read_text(self, batch: dict[str, Tensor]) -> None:
        for hidden, some in self._text_states(batch):
            loss = self.learner.answer_loss(hidden, some)
            (loss / _TEXT_PARTS).backward()  # type: ignore[no-untyped-call]
        self._note("text", loss, loss)

    def _note(self, name: str, *values: Tensor) -> None:
        self.said.setdefault(name, []).append(torch.stack([value.detach().float() for value in values]))

    def _say(self, elapsed: float, step: int) -> None:
        if ranks.rank() == 0:
            means = {
                name: [round(v, 3) for v in torch.stack(values).mean(0).tolist()] for name, values in self.said.items()
            }
            waiting = [each.qsize() for each in self.feed.queues.values()]
            print(f"{elapsed:.0f}s step {step} queues {waiting} {json.dumps(means)}", flush=True)
        self.said = {}
