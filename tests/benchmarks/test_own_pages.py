import numpy as np
import pytest

from benchmarks.own_pages.calibration import LEAST, Judged, least, upper


def test_the_bound_is_wilsons() -> None:
    found = upper(np.array([0, 12]), 25_546)
    assert found == pytest.approx([0.0001059, 0.0007522], rel=1e-3)


def test_the_certainty_is_the_least_at_which_few_enough_words_are_wrong() -> None:
    sure = np.linspace(0.96, 0.9999, 20_000)
    wrong = np.zeros(len(sure), np.bool_)
    wrong[[100, 200, 5_000, 5_001, 5_002, 5_003, 5_004, 5_005, 5_006, 5_007, 5_008, 19_000]] = True
    page = Judged(sure=sure, wrong=wrong)
    assert least([page], 0.0005) == pytest.approx(sure[5_006])
    assert least([page], 0.001) == pytest.approx(sure[0])
    assert least([page], 0.00001) == 1.0
    assert least([Judged(sure=sure - 0.5, wrong=wrong)], 0.001) == LEAST
