"""Harm, overtaking and sampling error are those of the scores, and scores are those of the task's own metrics."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lstm_ray.evaluate.damage.curve import MACRO_F1, MAE, Cases, Curve, class_counts, curve_of, macro_f1, mean_absolute


def curve(policy, naive, metric=MAE, severity=(0.0, 0.1, 0.3, 0.5), kind="missing") -> Curve:
    nothing = [None] * len(severity)
    return Curve(kind, metric, list(severity), {"policy": policy, "naive": naive}, nothing, {"naive": nothing})


def test_a_baseline_overtakes_where_the_lines_cross():
    crossing = curve([1.0, 1.2, 2.0, 3.0], [1.5, 1.5, 1.6, 1.7])
    assert crossing.overtaken_at("naive") == pytest.approx(0.1 + 0.2 * 0.3 / (0.3 + 0.4))
    assert crossing.overtakers == ["naive"]
    assert curve([1.0, 1.2, 1.3, 1.4], [1.5] * 4).overtaken_at("naive") is None
    behind = curve([2.0, 2.2, 2.3, 2.4], [1.5] * 4)
    assert behind.overtaken_at("naive") == 0
    assert behind.overtakers == [], "it was ahead before"


def test_a_tie_that_breaks_at_once_is_overtaking():
    tied = curve([1.0, 1.2, 1.3, 1.4], [1.0] * 4)
    assert tied.overtaken_at("naive") == 0
    assert tied.overtakers == ["naive"]


def test_of_scores_that_should_be_high_the_lower_is_overtaken_and_harmed():
    falling = curve([0.9, 0.8, 0.6, 0.3], [0.7] * 4, MACRO_F1)
    assert falling.overtaken_at("naive") == pytest.approx(0.1 + 0.2 * 0.1 / 0.2)
    assert falling.harm("policy") == pytest.approx([0, 1 / 9, 1 / 3, 2 / 3])


def test_harm_is_a_share_of_the_undamaged_score_and_its_mean_the_area_under_it():
    found = curve([2.0, 2.2, 3.0, 4.0], [2.0] * 4)
    assert found.harm("policy") == pytest.approx([0, 0.1, 0.5, 1.0])
    assert found.loss == pytest.approx((0.1 * 0.05 + 0.2 * 0.3 + 0.2 * 0.75) / 0.5)
    perfect = curve([0.0, 0.2, 0.3, 0.4], [2.0] * 4)
    assert perfect.harm("policy") == [None] * 4
    assert perfect.loss is None
    assert perfect.worse(2) == 0.3
    assert perfect.is_harmed(2)


def cases(error_M, other_M) -> Cases:
    both = {"policy": error_M, "naive": other_M}
    sums = {who: np.stack([error, np.ones(len(error))], axis=1) for who, error in both.items()}
    return Cases(sums, np.arange(len(error_M)), 10)


def test_the_band_holds_a_difference_that_is_luck_and_leaves_out_one_that_is_not():
    random = np.random.default_rng(0)
    error_M, other_M = random.random(400) + 1, random.random(400) + 1.2
    noise_M = random.standard_normal(400)
    luck = cases(error_M + 0.1 * (noise_M - noise_M.mean()) + 0.001, other_M)
    worse = cases(error_M + 0.5 + 0.1 * noise_M, other_M)
    found = curve_of("noise", MAE, [0.0, 0.1, 1.0], [cases(error_M, other_M), luck, worse])
    assert found.harm_interval[0] == (0, 0)
    low, high = found.harm_interval[1]
    assert low < 0 < high
    low, high = found.harm_interval[2]
    assert 0 < low < found.harm("policy")[2] < high
    assert [found.is_harmed(at) for at in range(3)] == [False, False, True]
    assert found.is_clearly_overtaken("naive")


def test_cases_of_few_blocks_have_no_band():
    few = cases(np.ones(5), np.ones(5))
    found = curve_of("noise", MAE, [0.0, 1.0], [few, few])
    assert found.harm_interval[1] is None
    assert found.details()["harm_interval"][1] is None


def test_macro_f1_is_that_of_scikit_learn_for_every_sum_of_cases():
    random = np.random.default_rng(1)
    label_N, predicted_N, case_N = (random.integers(0, 4, 300) for _ in range(3))
    predicted_N[label_N == 3] = 3
    counts_MX = class_counts(label_N, predicted_N, case_N, (4, 5))  # the fifth class never occurs
    assert counts_MX.shape == (4, 10)
    for chosen in ([0], [1, 3], [0, 1, 2, 3]):
        mine = np.isin(case_N, chosen)
        expected = f1_score(label_N[mine], predicted_N[mine], average="macro")
        assert macro_f1(counts_MX[chosen].sum(0)) == pytest.approx(expected)
    np.testing.assert_allclose(macro_f1(counts_MX), [macro_f1(counts) for counts in counts_MX])


def test_nothing_measured_has_no_score():
    assert np.isnan(mean_absolute(np.zeros(2)))
    assert np.isnan(macro_f1(np.zeros(6)))
    assert not cases(np.empty(0), np.empty(0)).is_told(MAE)
