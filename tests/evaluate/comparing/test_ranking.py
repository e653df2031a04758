"""Ranks over series and blocks of time, held against scipy and the published example."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from lstm_ray.evaluate.comparing.ranking import rank


def test_friedman_is_scipys_as_the_f_of_iman_and_davenport() -> None:
    error = np.random.default_rng(0).random((14, 4)) + np.asarray([0, 0.1, 0.2, 0.3])
    found = rank(error, list("abcd"), "14 series")
    chi = friedmanchisquare(*error.T).statistic
    from scipy.stats import f

    assert found.p == pytest.approx(float(f.sf(13 * chi / (14 * 3 - chi), 3, 39)))
    assert found.ranks == sorted(found.ranks)
    assert sum(found.ranks) == pytest.approx(10)


def test_nemenyis_difference_is_that_of_demsar() -> None:
    # Demsar (2006), section 3.2.2: four classifiers on 14 data sets, q = 2.569, CD = 1.25.
    found = rank(np.random.default_rng(0).random((14, 4)), list("abcd"), "14 series")
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


def test_contenders_that_differ_stand_in_no_group_and_equals_share_one() -> None:
    base = np.random.default_rng(0).random((30, 1)) + 1
    error = np.concatenate([base, base, 2 * base], axis=1)
    found = rank(error, ["same", "twin", "far"], "30 series")
    assert found.ranks == [1.5, 1.5, 3.0]
    assert found.groups == [["same", "twin"]]
    assert found.adjusted["same", "twin"] == 1.0
    assert found.adjusted["same", "far"] < 1e-6


def test_all_alike_is_no_difference() -> None:
    found = rank(np.ones((10, 3)), list("abc"), "10 series")
    assert (found.p, found.groups, found.ranks) == (1.0, [["a", "b", "c"]], [2.0, 2.0, 2.0])
