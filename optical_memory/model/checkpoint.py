"""Checkpoints: published tensors into the model's parameters, from safetensors files, sharded or not.

Files are memory-mapped and read tensor by tensor, straight to the device and type wanted: the peak is the model
itself and one tensor. A model is filled completely or, where a name or shape does not fit, not at all.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optical_memory.errors import CheckpointError, MissingExtraError, OutOfMemoryError
from optical_memory.model.config import OcrConfig
from optical_memory.model.initialise import random_values
from optical_memory.model.names import IGNORED, Piece, pieces

INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
Report = Callable[[int], None]
"""Told the bytes read since the last call."""


class Checkpoint(Mapping[str, Tensor]):
    """The tensors of a folder of safetensors files, by published name; each is read when it is asked for.

    Raises CheckpointError for files that are missing, cut short or damaged, OutOfMemoryError where there is no room to
    map one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise MissingExtraError("safetensors", "model") from error
        self._files: dict[str, Any] = {}
        for path in self._paths():
            try:
                file: Any = safe_open(path, framework="pt")
                names = file.keys()
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error
            except (MemoryError, RuntimeError) as error:
                if "Cannot allocate memory" not in str(error):
                    raise
                size = f"{path.stat().st_size / 1e9:.2f} GB"
                raise OutOfMemoryError(f"{path}: no room to map this file ({size}); free some memory") from error
            twice = sorted(self._files.keys() & set(names))
            if twice:
                raise CheckpointError(f"{path}: tensors that another file has too: {_few(twice)}")
            self._files |= dict.fromkeys(names, file)
        lost = sorted(self._indexed.keys() - self._files.keys())
        if lost:
            message = f"{self.folder}: the index lists tensors that no file has: {_few(lost)}"
            raise CheckpointError(message, missing=tuple(lost))

    @property
    def config(self) -> OcrConfig:
        """The sizes in the folder's ``config.json``. Raises CheckpointError, UnsupportedConfigError."""
        return OcrConfig.from_published(_json_object(self.folder / CONFIG))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return tuple(self._files[name].get_slice(name).get_shape())

    @property
    def nbytes(self) -> int:
        """Bytes of all tensor files."""
        return sum(path.stat().st_size for path in self._paths())

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def _indexed(self) -> Mapping[str, str]:
        """File of each tensor, where the folder has an index."""
        path = self.folder / INDEX
        if not path.is_file():
            return {}
        found = _json_object(path).get("weight_map")
        if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
            raise CheckpointError(f"{path}: 'weight_map' must map tensor names to files")
        return found

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            raise CheckpointError(f"no checkpoint folder at {str(self.folder)!r}")
        listed = sorted(set(self._indexed.values()))
        for name in listed:
            if Path(name).name != name or not (self.folder / name).is_file():
                raise CheckpointError(f"{self.folder}: the index lists the file {name!r}, which is not in the folder")
        found = [self.folder / name for name in listed] or sorted(self.folder.glob("*.safetensors"))
        if not found:
            raise CheckpointError(f"{str(self.folder)!r} has no safetensors file")
        return found


def fill(
    model: nn.Module,
    config: OcrConfig,
    tensors: Mapping[str, Any],
    *,
    strict: bool = True,
    check: bool = True,
    device: torch.device,
    report: Report = lambda count: None,
) -> None:
    """Put published tensors (torch or NumPy) into the model's parameters, on ``device``, in the parameters' type.

    With ``strict`` every published tensor of the model must be there; without, any subset will do. ``check``
    refuses NaN and infinity. Where tensors fill a parameter in part, the rest stays as it was.
    Raises CheckpointError with the names that are missing, unexpected or mis-shaped; nothing is changed then.
    """
    wanted = {piece.name: piece for piece in pieces(config)}
    _compare(wanted, tensors, strict=strict)
    given: dict[str, list[Piece]] = {}
    whole: dict[str, int] = {}
    for piece in wanted.values():
        whole[piece.parameter] = whole.get(piece.parameter, 0) + 1
        if piece.name in tensors:
            given.setdefault(piece.parameter, []).append(piece)
    fresh: dict[str, Tensor] = {}
    bad: list[str] = []
    for name, parts in given.items():
        values = _values(model.get_parameter(name), name, parts, tensors, device, complete=len(parts) == whole[name])
        if check and not torch.isfinite(values.sum(dtype=torch.float32)):
            bad += [part.name for part in parts if not torch.isfinite(part.view(values)).all()]
        fresh[name] = values
        report(sum(math.prod(part.shape) for part in parts) * values.element_size())
    if bad:
        raise CheckpointError(f"{len(bad)} tensors hold NaN or infinity: {_few(bad)}")
    for name, values in fresh.items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(values, requires_grad=False))


def _values(
    old: nn.Parameter,
    name: str,
    parts: Sequence[Piece],
    tensors: Mapping[str, Any],
    device: torch.device,
    *,
    complete: bool,
) -> Tensor:
    """Return the new values of a parameter: given tensors where there are some, elsewhere what it had."""
    if parts[0].shape == tuple(old.shape):
        own = not isinstance(tensors, Checkpoint)  # a caller may change its tensors later; mapped files stay
        return as_tensor(tensors[parts[0].name]).to(device, old.dtype, copy=own)
    if complete:
        values = torch.empty(old.shape, device=device, dtype=old.dtype)
    elif old.is_meta:
        values = random_values(name, old.shape, device=device, dtype=old.dtype)
    else:
        values = old.detach().clone()
    for part in parts:
        part.view(values).copy_(as_tensor(tensors[part.name]))
    return values


def as_tensor(values: Any) -> Tensor:
    """Take a tensor as it is, and anything that NumPy takes as a tensor in the same memory where it may be written."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _compare(wanted: Mapping[str, Piece], tensors: Mapping[str, Any], *, strict: bool) -> None:
    """Raise CheckpointError unless the names and shapes given are those wanted."""
    shape_of = tensors.shape if isinstance(tensors, Checkpoint) else lambda name: tuple(tensors[name].shape)
    missing = [name for name in wanted if name not in tensors] if strict else []
    unexpected = [name for name in tensors if name not in wanted and name not in IGNORED]
    misshaped = {name: shape_of(name) for name in tensors if name in wanted and shape_of(name) != wanted[name].shape}
    if not (missing or unexpected or misshaped):
        return
    shapes = [f"{name} {given} instead of {wanted[name].shape}" for name, given in misshaped.items()]
    kinds = {"missing": missing, "unexpected": unexpected, "mis-shaped": shapes}
    said = "; ".join(f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names)
    raise CheckpointError(
        f"the tensors do not fit the model: {said}",
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        misshaped=tuple(misshaped),
    )


def save(model: nn.Module, config: OcrConfig, folder: str | Path, *, shard_bytes: int = 5_000_000_000) -> None:
    """Write a model to a folder as the published checkpoint is: names, index, config. ``shard_bytes`` a file at most.

    Raises MissingExtraError.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise MissingExtraError("safetensors", "model") from error
    shards: list[dict[str, Tensor]] = [{}]
    filled = total = 0
    for piece in pieces(config):
        tensor = piece.view(model.get_parameter(piece.parameter).detach()).cpu().contiguous()
        if filled and filled + tensor.nbytes > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][piece.name] = tensor.clone()
        filled, total = filled + tensor.nbytes, total + tensor.nbytes
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):06d}.safetensors"
        save_file(shard, path / file, metadata={"format": "pt"})
        files |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": files}
    (path / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    (path / CONFIG).write_text(json.dumps(config.to_published(), indent=2), encoding="utf-8")


def fetch(repository: str) -> Path:
    """Download a checkpoint from the Hugging Face hub, or find it in its cache, and return its folder.

    Raises CheckpointError where it cannot be had, and MissingExtraError.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "model") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"cannot get {repository!r} from the Hugging Face hub ({type(error).__name__}); with no network, copy the"
            " checkpoint's folder to this machine and give its path"
        ) from error


@contextmanager
def progress_bar(label: str, total: int, *, show: bool | None = None) -> Iterator[Report]:
    """Show a bar of ``total`` bytes on standard error while the block runs; by default where that is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.update(task, advance=count)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return found


def _few(names: Sequence[str], count: int = 8) -> str:
    """Join the first names; the whole list is on the error."""
    rest = len(names) - count
    return ", ".join(names[:count]) + (f", and {rest} more" if rest > 0 else "")
