"""Keys and values, prefixes, and vision tokens in memory and on disk."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from optical_memory.model.cache import KeyValueCache, Prefix, PrefixStore, common_prefix  # noqa: E402
from optical_memory.model.config import DecoderConfig  # noqa: E402
from optical_memory.model.decoder import Decoder  # noqa: E402
from optical_memory.model.step import make_step, prefill  # noqa: E402
from optical_memory.model.vision_cache import VisionCache, vision_key  # noqa: E402

CONFIG = DecoderConfig(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    moe_intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    n_routed_experts=4,
    num_experts_per_tok=2,
)


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_prefill_in_parts_and_steps_equal_one_run(cut: int) -> None:
    torch.manual_seed(0)
    decoder = Decoder(CONFIG).eval()
    ids = torch.randint(50, (2, 12))
    with torch.no_grad():
        whole = decoder.head(decoder(decoder.embed(ids)))  # (2, 12, V)
        cache = KeyValueCache(CONFIG, capacity=16, batch=2)
        prefill(decoder, cache, decoder.embed(ids[:, :cut]))
        logits = prefill(decoder, cache, decoder.embed(ids[:, cut:10]), cut)
        torch.testing.assert_close(logits, whole[:, 9], rtol=1e-4, atol=1e-5)
        step = make_step(decoder, cache)
        for place in (10, 11):
            logits = step(ids[:, place], torch.tensor([place, place]), place + 1)
            torch.testing.assert_close(logits, whole[:, place], rtol=1e-4, atol=1e-5)


def test_rows_of_different_lengths_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    decoder = Decoder(CONFIG).eval()
    ids = torch.randint(50, (2, 12))
    with torch.no_grad():
        cache = KeyValueCache(CONFIG, capacity=16, batch=2)
        cache.keys.fill_(9.0)  # what an earlier, longer sequence left behind
        cache.values.fill_(9.0)
        prefill(decoder, cache.rows(0, 1), decoder.embed(ids[:1, :4]))
        prefill(decoder, cache.rows(1, 2), decoder.embed(ids[1:, :9]))
        logits = make_step(decoder, cache)(torch.stack([ids[0, 4], ids[1, 9]]), torch.tensor([4, 9]), 10)
        first = decoder.head(decoder(decoder.embed(ids[:1, :5])))[0, -1]
        second = decoder.head(decoder(decoder.embed(ids[1:, :10])))[0, -1]
    torch.testing.assert_close(logits, torch.stack([first, second]), rtol=1e-4, atol=1e-5)


def test_enlarging_keeps_what_is_asked_for() -> None:
    cache = KeyValueCache(CONFIG, capacity=4)
    cache.keys.normal_()
    before = cache.keys.clone()
    cache.enlarge(8, keep=3)
    assert cache.capacity == 8
    assert torch.equal(cache.keys[:, :, :, :3], before[:, :, :, :3])
    assert not cache.keys[:, :, :, 3:].any()
    cache.enlarge(2, keep=0)
    assert cache.capacity == 8


def test_atoms_of_a_demoted_page_differ() -> None:
    old = [0, ("a@base", 0), ("a@base", 1), 5]
    assert common_prefix(old, old) == 4
    assert common_prefix(old, [0, ("a@base", 0), ("a@tiny", 1), 5]) == 2
    assert common_prefix(old, old[:2]) == 2


def test_prefixes_are_bounded_and_the_best_is_taken() -> None:
    cache = KeyValueCache(CONFIG, capacity=4)
    store = PrefixStore(max_bytes=2 * cache.nbytes)
    for atoms in ([0, 1, 1, 1], [0, 1, 2, 3], [0, 1, 2, 4]):
        store.put(Prefix(KeyValueCache(CONFIG, capacity=4), list(atoms)))
    assert store.take([0, 1, 1, 1]) == (None, 0) or store.take([0, 1, 1, 1])[1] < 4  # the oldest went
    store.clear()
    store.put(Prefix(cache, [0, 1, 2, 3]))
    found, shared = store.take([0, 1, 2, 9])
    assert found is not None and found.cache is cache and shared == 3
    assert store.take([0, 1, 2, 9]) == (None, 0)  # in use


def test_vision_tokens_are_bounded_in_memory() -> None:
    cache = VisionCache(max_bytes=3 * 400)
    cpu = torch.device("cpu")
    for index in range(3):
        cache.put(str(index), torch.full((10, 10), float(index)))
    assert cache.get("0", cpu) is not None  # now the most recently used
    cache.put("3", torch.zeros(10, 10))
    assert cache.get("1", cpu) is None
    assert cache.get("0", cpu) is not None
    cache.put("huge", torch.zeros(100, 100))
    assert cache.get("huge", cpu) is None


def test_vision_tokens_outlive_the_process_on_disk(tmp_path: Path) -> None:
    tokens = torch.randn(7, 5, dtype=torch.bfloat16)
    VisionCache(folder=tmp_path).put("key", tokens)
    found = VisionCache(folder=tmp_path).get("key", torch.device("cpu"))
    assert found is not None and found.dtype == torch.bfloat16 and torch.equal(found, tokens)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_damaged_file_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / "key.safetensors").write_bytes(b"\x00\x01 not tensors")
    assert VisionCache(folder=tmp_path).get("key", torch.device("cpu")) is None
    assert not list(tmp_path.iterdir())


def test_the_disk_is_bounded_least_recently_used_first(tmp_path: Path) -> None:
    cache = VisionCache(max_bytes=0, folder=tmp_path, max_disk_bytes=2500)
    for index, name in enumerate("abc"):
        cache.put(name, torch.zeros(250))  # 1,000 bytes and a header
        os.utime(tmp_path / f"{name}.safetensors", (index, index))
    assert cache.get("b", torch.device("cpu")) is not None
    cache.put("d", torch.zeros(250))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["b", "d"]
    cache.clear()
    assert not list(tmp_path.iterdir())


def test_keys_depend_on_model_page_and_tier() -> None:
    keys = {vision_key(*parts) for parts in (("m", "p", "t"), ("n", "p", "t"), ("m", "q", "t"), ("m", "p", "u"))}
    assert len(keys) == 4


def test_a_step_is_not_kept_with_memory_that_was_given_up() -> None:
    cache = KeyValueCache(CONFIG, capacity=4)
    cache.recorded = (None, None)
    cache.enlarge(4, keep=2)
    assert cache.recorded is not None
    cache.enlarge(8, keep=2)
    assert cache.recorded is None and cache.capacity == 8
