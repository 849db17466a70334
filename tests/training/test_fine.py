from pathlib import Path

import pytest
import torch

from optical_memory.model.mini import fine, load
from optical_memory.renderers import ChromiumRenderer
from optical_memory.training.fine import pages as paging
from optical_memory.training.fine.sessions import Sessions
from optical_memory.training.fine.train import measured, train_fine

PACKAGE = Path(fine.__file__).parents[3]


def sessions(seed: int = 0) -> Sessions:
    return Sessions(sorted(PACKAGE.glob("docs/*.md")), sorted(PACKAGE.glob("optical_memory/*.py")), seed)


def test_sessions_are_drawn_from_the_seed_alone_and_hold_calls_with_their_results() -> None:
    first, again, other = sessions().messages(), sessions().messages(), sessions(1).messages()
    assert first == again != other
    calls = [call["id"] for message in first for call in message.get("tool_calls", ())]
    assert calls == [message["tool_call_id"] for message in first if message["role"] == "tool"] and calls


@pytest.mark.skipif(not ChromiumRenderer.available(), reason="no Chromium here")
def test_a_head_is_trained_packed_and_loaded_and_says_more_than_an_untrained_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    train_fine([PACKAGE / "docs", PACKAGE / "benchmarks"], tmp_path, count=1, seconds=0.0)
    trained = fine.load(tmp_path, torch.device("cpu"))
    assert set(dict(trained.named_parameters())) == set(dict(fine.FineHead().named_parameters()))
    drawn = list(paging.pages(sessions(5), 1))
    assert {len(layout.text) > 0 for layout, _ in drawn} == {True}
    known = paging.samples(load().network, drawn, 0)
    assert int(known.classes.max()) <= fine.REST and known.around.shape[1] == 15 * 64 + fine.PLACES
    bundled = load().finer
    assert bundled is not None
    assert measured(bundled, [known]) < measured(trained, [known])
