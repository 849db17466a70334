"""The adapter: segments that weigh alike, means and order of their tokens, and vectors for every ratio."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from optical_memory.model.language.adapter import RATIOS, Adapter, AdapterConfig, Tokens  # noqa: E402


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    torch.manual_seed(0)
    config = AdapterConfig(hidden_size=32, width=64, row_blocks=1, page_blocks=1, rank_width=8, key=16)
    return Adapter(config, 3.0).eval().requires_grad_(False)


def tokens(weights: list[float], begun: list[int], cells: int, hidden: int = 32) -> Tokens:
    """Return tokens that begin in some of the cells."""
    where = torch.zeros(1, cells, dtype=torch.bool)
    where[0, begun] = True
    weighed = torch.zeros(1, cells)
    weighed[0, begun] = torch.tensor(weights)
    directions = torch.nn.functional.normalize(torch.randn(1, cells, hidden), dim=-1)
    return Tokens(directions, where, weighed)


def test_rare_tokens_get_segments_of_their_own_and_common_ones_share(adapter: Adapter) -> None:
    weights = [0.1] * 10 + [1.0] * 3
    segments, ranks = adapter.segments(tokens(weights, list(range(13)), 102), 4)
    assert segments[0, :10].unique().tolist() == [0]
    assert segments[0, 10:13].tolist() == [1, 2, 3]
    assert ranks[0, :10].tolist() == list(range(10))
    assert segments[0, 13:].unique().tolist() == [4]  # where no token begins


def test_more_tokens_than_ranks_keep_their_order(adapter: Adapter) -> None:
    _, ranks = adapter.segments(tokens([1.0] * 40, list(range(40)), 102), 1)
    own = ranks[0, :40]
    assert own.min() == 0 and own.max() == adapter.config.ranks - 1 and (own.diff() >= 0).all()


def test_a_vector_is_the_mean_by_weight_until_something_is_learned(adapter: Adapter) -> None:
    given = tokens([0.5, 1.0, 1.0], [3, 9, 50], 102)
    features = torch.randn(1, 1, 51, 64)
    vectors, segments = adapter(features, given, 1)
    assert vectors.shape == (1, 1, 5 * 32) and segments[0, [3, 9, 50]].tolist() == [0, 0, 0]
    wanted = (given.directions[0, [3, 9, 50]] * torch.tensor([0.5, 1.0, 1.0])[:, None]).sum(0) / 2.5 * 3.0
    torch.testing.assert_close(vectors[0, 0, :32], wanted)
    assert not vectors[0, 0, 32:].any()


def test_every_ratio_gives_its_vectors_and_a_page_without_tokens_gives_zeros(adapter: Adapter) -> None:
    seen = adapter.see(torch.randn(2, 4, 102, 64))
    assert adapter.keys(seen.features).shape == (2, 4, 17, 16)
    torch.testing.assert_close(seen.directions.norm(dim=-1), torch.ones(2, 408))
    for ratio in RATIOS:
        vectors, _ = adapter(seen.features, Adapter.tokens(seen), ratio)
        assert vectors.shape == (2, 4 * ratio, 5 * 32) and torch.isfinite(vectors).all()
    nothing = Tokens(seen.directions, torch.zeros(2, 408, dtype=torch.bool), torch.zeros(2, 408))
    vectors, _ = adapter(seen.features, nothing, 3)
    assert not vectors[..., :32].any() and torch.isfinite(vectors).all()


def test_scores_point_to_the_key_that_is_asked_for(adapter: Adapter) -> None:
    keys = torch.nn.functional.rms_norm(torch.randn(1, 30, 16), (16,))
    hidden = torch.randn(1, 1, 32)
    scores = adapter.scores(hidden, keys)
    query = torch.nn.functional.rms_norm(adapter.query(hidden), (16,))
    assert scores.shape == (1, 1, 30)
    assert int(scores.argmax()) == int((query[0] @ keys[0].T).argmax())
