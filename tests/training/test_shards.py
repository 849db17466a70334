"""Text to shards: WebDataset and Parquet, deterministic, resumable, in processes and on Ray."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from optical_memory.errors import InputError, NotFoundError
from optical_memory.training.shards import Passage, Settings, _groups, passages, write_shards

TINY = Settings(tier="tiny", shard_characters=6000)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("The quick brown fox. " * 400)
    (folder / "inner/b.md").write_text("# Heading\n\nWords, words.\n")
    (folder / "c.jsonl").write_text(
        json.dumps({"text": "from a line"}) + "\n\n" + json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    )
    (folder / "binary.bin").write_bytes(b"\0\1\2")
    return folder


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_every_character_is_on_a_page(corpus: Path, tmp_path: Path) -> None:
    shards = list(write_shards([corpus], tmp_path / "out", TINY))
    assert len(shards) == 2
    texts: dict[str, str] = {}
    for shard in shards:
        files = members(tmp_path / "out" / shard.path)
        labels = [json.loads(data) for name, data in files.items() if name.endswith(".json")]
        assert len(labels) == shard.pages
        for label in labels:
            texts[label["source"]] = texts.get(label["source"], "") + label["text"]
            image = Image.open(io.BytesIO(files[label["key"] + ".png"]))
            assert image.size == (label["width"], label["height"]) == (512, 512)
            assert label["tokens"] == 73
    wanted = {passage.source: passage.text for passage in passages([corpus])}
    assert len(wanted) == 4
    assert texts == wanted
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["pages"] == sum(shard.pages for shard in shards)
    assert manifest["settings"]["tier"] == "tiny"


def test_the_same_text_gives_the_same_bytes_in_processes_too(corpus: Path, tmp_path: Path) -> None:
    list(write_shards([corpus], tmp_path / "one", TINY))
    list(write_shards([corpus], tmp_path / "two", TINY, workers=2))
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_stopped_run_goes_on_where_it_was(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = next(iter(write_shards([corpus], out, TINY)))
    stamp = (out / first.path).stat().st_mtime_ns
    assert not (out / "manifest.json").exists()
    (out / "pages-000001.tar.77.part").write_bytes(b"half")
    again = list(write_shards([corpus], out, TINY))
    assert [shard.kept for shard in again] == [True, False]
    assert (out / first.path).stat().st_mtime_ns == stamp
    assert all(shard.kept for shard in write_shards([corpus], out, TINY))
    with pytest.raises(InputError, match="other settings"):
        list(write_shards([corpus], out, Settings(tier="base")))


def test_parquet_holds_the_same(corpus: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    settings = Settings(tier="tiny", shard_characters=6000, format="parquet")
    (first, second) = write_shards([corpus], tmp_path / "out", settings)
    table = parquet.read_table(tmp_path / "out" / first.path).to_pylist()
    assert len(table) == first.pages
    assert Image.open(io.BytesIO(table[0]["image"])).size == (512, 512)
    assert table[0]["text"].startswith("The quick brown fox.")
    assert second.path == "pages-000001.parquet"


def test_groups_are_bounded_and_lose_nothing() -> None:
    texts = [Passage(source=str(size), start=0, text="x" * size) for size in (5, 0, 25, 10, 1)]
    groups = list(_groups(texts, 10))
    assert all(0 < sum(len(piece.text) for piece in group) <= 10 for group in groups)
    assert sum(len(piece.text) for group in groups for piece in group) == 41
    assert [(piece.source, piece.start) for group in groups for piece in group if piece.source == "25"] == [
        ("25", 0),
        ("25", 10),
        ("25", 20),
    ]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        list(passages([tmp_path / "nothing"]))
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"other": 1}\n')
    with pytest.raises(InputError, match="line 2"):
        list(passages([tmp_path / "bad.jsonl"]))


def test_on_a_real_ray(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    program = (
        "import ray, sys; from pathlib import Path; from optical_memory.training.shards import Settings, write_shards;"
        "ray.init('local', num_cpus=1, include_dashboard=False, object_store_memory=100 << 20, logging_level='ERROR');"
        f"settings = Settings(tier='tiny', shard_characters=6000);"
        f"print(sum(s.pages for s in write_shards([{str(corpus)!r}], {str(tmp_path / 'ray')!r}, settings, ray=True)))"
    )
    quiet = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}  # ends no worker
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr[-3000:]
    list(write_shards([corpus], tmp_path / "here", TINY))
    for path in sorted((tmp_path / "here").glob("*.tar")):
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes()
