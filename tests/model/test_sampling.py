"""Greedy, sampled, and guarded choice, held to a plain definition and to golden tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from optical_memory.errors import InputError  # noqa: E402
from optical_memory.model.cache import KeyValueCache  # noqa: E402
from optical_memory.model.sampling import Chooser, Guard, Repetitions, Sampling  # noqa: E402
from optical_memory.model.step import make_step, prefill  # noqa: E402

CPU = torch.device("cpu")


@given(
    ids=st.lists(st.integers(0, 3), max_size=60),
    size=st.integers(1, 5),
    window=st.none() | st.integers(1, 20),
    allowed=st.frozensets(st.integers(0, 3), max_size=2),
)
def test_the_guard_bans_what_its_definition_says(
    ids: list[int], size: int, window: int | None, allowed: frozenset[int]
) -> None:
    seen = Repetitions(Guard(size=size, window=window, allowed=allowed), ids)
    banned = set()
    if len(ids) >= size:
        prefix = ids[len(ids) - size + 1 :]
        first = max(0, len(ids) - (len(ids) if window is None else window))
        for start in range(first, len(ids) - size + 1):
            if ids[start : start + size - 1] == prefix:
                banned.add(ids[start + size - 1])
    assert seen.banned() == sorted(banned - allowed)


def test_greedy_takes_the_likeliest_that_is_not_banned() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0], [5.0, 1.0, 0.0]])
    choose = Chooser(Sampling(), CPU)
    assert choose(logits, [[], []]).tolist() == [1, 0]
    assert choose(logits, [[1], [0, 1]]).tolist() == [2, 2]
    assert logits[0, 1] == 3  # the caller's logits stay


def test_sampling_follows_the_probabilities_inside_the_nucleus() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(4000, 1)
    choose = Chooser(Sampling(temperature=1.0, top_p=0.7, seed=0), CPU)
    chosen = choose(logits, [[] for _ in range(4000)]).tolist()
    shares = [chosen.count(token) / 4000 for token in range(4)]
    assert shares[2] == shares[3] == 0
    assert shares[0] == pytest.approx(0.5 / 0.8, abs=0.03)


def test_senseless_settings_are_refused() -> None:
    for wrong in ({"temperature": float("nan")}, {"temperature": float("inf")}, {"top_p": 1.5}):
        with pytest.raises(InputError):
            Sampling(**wrong)
    with pytest.raises(InputError):
        Guard(size=0)


@pytest.mark.parametrize(("name", "guard"), [("greedy_32", None), ("greedy_64_norepeat_ngram2", 2)])
def test_golden_tokens(parity: Path, small_decoder: Any, name: str, guard: int | None) -> None:
    golden, model = np.load(parity / "decoder_small.npz"), small_decoder
    model.ready(model.decoder)
    ids = golden["input_ids"].tolist()
    seen = None if guard is None else Repetitions(Guard(size=guard, window=None, allowed=frozenset()), ids)
    cache = KeyValueCache(model.config.decoder, capacity=128)
    step, choose = make_step(model.decoder, cache), Chooser(Sampling(), CPU)
    out: list[int] = []
    with torch.no_grad():
        logits = prefill(model.decoder, cache, model.decoder.embed(torch.tensor([ids])))
        while len(out) < len(golden[name]):
            out += choose(logits, [seen.banned() if seen else []]).tolist()
            if seen:
                seen.push(out[-1])
            place = len(ids) + len(out) - 1
            logits = step(torch.tensor(out[-1:]), torch.tensor([place]), place + 1)
    assert out == golden[name].tolist()


def test_a_token_begins_an_answer_where_it_is_likely_enough_and_only_there() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [9.0, 0.0, 1.0], [1.0, 1.1, 1.2]])
    choose = Chooser(Sampling(first=(2, 0.2)), CPU)
    assert choose(logits, []).tolist() == [2, 0, 2]  # its probability is 0.24, 0.0003 and 0.37
    assert choose(logits, []).tolist() == [0, 0, 2]  # the first token alone
    strict = Chooser(Sampling(first=(2, 0.4)), CPU)
    assert strict(logits, [[], [], []], logits.argmax(-1)).tolist() == [0, 0, 1]  # the likeliest is not likely enough
    with pytest.raises(InputError, match="first token"):
        Sampling(first=(2, 1.5))
