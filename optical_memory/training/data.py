"""Prepared data: streams of text and sheets of glyphs in two npz files that travel to the GPU."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from optical_memory.training.compose import Sheet
from optical_memory.training.text import Writer

Arrays = dict[str, npt.NDArray[np.generic]]


def save(folder: Path, streams: Arrays, sheets: Arrays, pools: Arrays, manifest: dict[str, object]) -> None:
    """Write streams, sheets, pools of code points and the manifest of sources."""
    folder.mkdir(parents=True, exist_ok=True)
    pack(folder / "streams.npz", streams)
    pack(folder / "sheets.npz", sheets)
    pack(folder / "pools.npz", pools)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def pack(file: Path, arrays: Arrays) -> None:
    """Write an npz compressed with bzip2: a quarter smaller than NumPy's own, and ``numpy.load`` reads it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array))


def load_sheets(folder: Path, device: torch.device) -> dict[str, Sheet]:
    """Sheets by name. An array is named "NAME/left", "NAME/right" (where it differs) or "NAME/codes"."""
    with np.load(folder / "sheets.npz") as arrays:
        names = [key[: -len("/codes")] for key in arrays if key.endswith("/codes")]
        sheets = {}
        for name in names:
            left = arrays[f"{name}/left"]
            right = arrays[f"{name}/right"] if f"{name}/right" in arrays else left
            sheets[name] = Sheet.of_parts(left, right, arrays[f"{name}/codes"].astype(np.int64), device)
    return sheets


def load_writer(folder: Path, device: torch.device) -> Writer:
    """Return the writer with its streams, marks and pools."""
    with np.load(folder / "streams.npz") as arrays:
        streams = {name: torch.from_numpy(arrays[name].astype(np.int32)).to(device) for name in arrays}
    with np.load(folder / "pools.npz") as arrays:
        pools = {name: torch.from_numpy(arrays[name].astype(np.int64)).to(device) for name in arrays}
    return Writer(
        streams=streams,
        marks=pools.pop("marks"),
        wide=_of_width("wide", pools),
        narrow=_of_width("narrow", pools),
    )


def _of_width(width: str, pools: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{width}/"): pool for name, pool in pools.items() if name.startswith(f"{width}/")}
