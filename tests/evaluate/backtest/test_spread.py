from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.evaluate.backtest.spread import Stretch, deviations, spread_of


def stretch(*scores, baselines=(4.0, 2.0), metric="mae", first=100):
    return Stretch(
        test=(first, first + 40),
        trained=(0, first - 30),
        num=35,
        policies={seed: {metric: score} for seed, score in enumerate(scores, 7)},
        epochs={seed: 3 for seed, _ in enumerate(scores, 7)},
        baselines={name: {metric: score} for name, score in zip(("last_value", "ridge"), baselines, strict=True)},
    )


def test_the_best_baseline_of_each_stretch_is_the_bar():
    found = spread_of([stretch(1.0, 3.0), stretch(2.0, 1.0, baselines=(2.5, 5.0))], "values")
    assert found.rivals == ["ridge", "last_value"]
    np.testing.assert_allclose(found.skills, [[0.5, -0.5], [0.2, 0.6]])
    assert found.won.tolist() == [False, True], "a mean as good as the baseline's is no better"


def test_of_classes_more_is_better():
    found = spread_of([stretch(0.8, 0.9, baselines=(0.5, 0.6), metric="macro_f1")], "classes")
    assert found.rivals == ["ridge"]
    np.testing.assert_allclose(found.skills, [[0.5, 0.75]])
    assert found.won.all()


def test_a_baseline_without_error_has_no_skill_over_it_and_is_not_beaten():
    found = spread_of([stretch(0.1, baselines=(0.0, 1.0))], "values")
    assert np.isnan(found.skills).all()
    assert not found.won.any()


def test_stretches_in_which_nothing_was_measured_are_left_out_and_all_of_them_are_an_error():
    empty = stretch(None, None, baselines=(None, None))
    found = spread_of([empty, stretch(1.0, 2.0)], "values")
    assert found.score_FS.tolist() == [[1.0, 2.0]]
    with pytest.raises(InputError, match="nothing was measured"):
        spread_of([empty], "values")


def test_deviations_of_seeds_are_pooled_within_stretches_and_those_of_stretches_are_of_means():
    random = np.random.default_rng(3)
    season_F1, luck_FS = 2.0 * random.normal(size=(400, 1)), 0.5 * random.normal(size=(400, 9))
    between, within = deviations(season_F1 + luck_FS)
    assert within == pytest.approx(0.5, rel=0.05)
    assert between == pytest.approx(2.0, rel=0.1)
    assert deviations(np.ones((1, 3))) == (None, 0.0)
    assert deviations(np.array([[1.0], [3.0]])) == (pytest.approx(2**0.5), None)
    assert deviations(np.ones((1, 1))) == (None, None)
