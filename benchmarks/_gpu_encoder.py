"""Part of ``gpu.py`` on the encoder: pages of every mode, in every way that the encoder can be run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from _gpu_bench import Bench
from _gpu_counts import encoder_flops, squares

from optical_memory.model.blocks import ATTENTION, AttentionKind, Layers, Mlp
from optical_memory.model.image import MODES
from optical_memory.model.ocr import DeepseekOcr


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the encoder runs: its attention, sums in place, GELU within products, torch.compile's mode."""

    attention: AttentionKind = "fused"
    in_place: bool = False
    gelu: bool = False
    compiled: str | None = None

    def set(self, model: DeepseekOcr) -> None:
        """Let the model's encoder run so."""
        for module in model.encoder.modules():
            if hasattr(module, "attend"):
                module.attend = ATTENTION[self.attention]  # type: ignore[assignment]
            if isinstance(module, Mlp):
                module.gelu_in_product = self.gelu
        stacks = (model.encoder.sam.layers, model.encoder.clip.layers)
        for layer in (layer for stack in stacks for layer in stack):
            layer._compiled_call_impl = None
        for stack in stacks:
            stack.in_place = self.in_place and self.compiled is None
        if self.compiled is not None and model.device.type == "cuda":
            import torch._dynamo

            torch._dynamo.reset()
            model.compile(mode=self.compiled)


USUAL = {
    "eager": Way(attention="eager"),
    "fused": Way(in_place=Layers.in_place, gelu=Mlp.gelu_in_product),
    "compiled": Way(gelu=Mlp.gelu_in_product, compiled="default"),
}
"""Measured in every mode; the second is the model as it comes."""
OTHERS = {
    "as written": Way(),
    "gelu": Way(gelu=True),
    "in place": Way(in_place=True),
    "in place, gelu": Way(in_place=True, gelu=True),
    "compiled, gelu": Way(gelu=True, compiled="default"),
    "compiled, no gelu": Way(compiled="default"),
}
"""Measured at Base, to choose from."""
AUTOTUNED = {"autotuned": Way(compiled="max-autotune-no-cudagraphs")}
"""Minutes of compilation: measured where asked for."""


def encoder(bench: Bench, model: DeepseekOcr) -> None:
    """Encode pages of every mode in the usual ways, and of Base in the others."""
    modes = ["base", "small", "gundam", "tiny", "large"] if not bench.tiny else ["tiny"]
    for kind in ("eager", "fused"):
        measure(bench, model, kind, USUAL[kind], modes)
    measure(bench, model, "compiled", USUAL["compiled"], modes)
    variants(bench, model)


def variants(bench: Bench, model: DeepseekOcr) -> None:
    """Encode pages of Base in every way that was not measured yet; compare the tokens with the plain way's."""
    mode = "tiny" if bench.tiny else "base"
    done = [way for kind, way in USUAL.items() if f"encoder {mode} {kind}" in bench.results]
    if not done:
        measure(bench, model, "eager", USUAL["eager"], [mode])
    for kind, way in (OTHERS | (AUTOTUNED if bench.autotune else {})).items():
        if way not in done:
            measure(bench, model, kind, way, [mode])
    USUAL["fused"].set(model)


def measure(bench: Bench, model: DeepseekOcr, kind: str, way: Way, modes: list[str]) -> None:
    """Time one way in some modes; Gundam's squares are those of other modes and not timed anew."""
    way.set(model)
    known: dict[int, float] = {}  # seconds a square, by its side
    for name in modes:
        with bench.section(f"encoder {name} {kind}") as found:
            flops = seconds = 0.0
            for side, count in squares(MODES[name]):
                batch = 2 if bench.tiny else max(1, (4 if kind == "eager" else bench.pages) * 1024**2 // side**2)
                if side not in known:
                    known[side], tokens = timed(bench, model, side, batch)
                    if kind == "eager":
                        bench.tokens[side] = tokens
                    elif side in bench.tokens:
                        found["distance"] = float((tokens - bench.tokens[side]).norm() / bench.tokens[side].norm())
                seconds += known[side] * count
                flops += encoder_flops(model.config, side) * count
                found["batch"] = batch
            found |= {"pages_per_second": 1 / seconds, "tflop_per_page": flops / 1e12}
            found["share_of_matrix_rate"] = flops / seconds / 1e12 / bench.results["ceilings"]["matrix_tflops"]
            plain = found if kind == "eager" else bench.results.get(f"encoder {name} eager", {})
            if "pages_per_second" in plain:
                found["over_eager"] = found["pages_per_second"] / plain["pages_per_second"]


def timed(bench: Bench, model: DeepseekOcr, side: int, batch: int) -> tuple[float, torch.Tensor]:
    """Return the seconds of a square, of a batch of noise, and the first one's tokens, the same noise in every way."""
    known = torch.Generator(bench.device).manual_seed(1)
    pixels = torch.rand(batch, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
    pixels[0] = torch.rand(3, side, side, device=bench.device, dtype=bench.dtype, generator=known) * 2 - 1
    seconds = bench.seconds(lambda: model.vision_tokens(pixels), repeat=5)
    return seconds / batch, model.vision_tokens(pixels)[0].float()


def check_encoder(bench: Bench, model: DeepseekOcr) -> None:
    """Compare the tokens of the encoder as it comes with the plain way's, on random input."""
    with bench.section("check of encoder") as found:
        side = 1024 if bench.device.type == "cuda" else 128
        pixels = torch.rand(1, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
        tokens = []
        for kind in ("eager", "fused"):
            USUAL[kind].set(model)
            tokens.append(model.vision_tokens(pixels).float())
        found["encoder_error"] = float((tokens[0] - tokens[1]).norm() / tokens[0].norm())
