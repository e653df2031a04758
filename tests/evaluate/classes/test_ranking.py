"""Areas under curves against scikit-learn's, exactly mergeable however cases are dealt, and bounded in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from lstm_ray.evaluate.classes import ranking as module
from lstm_ray.evaluate.classes.ranking import Ranking, ranking


def _draw(num: int, seed: int = 0, spread: float = 2.0) -> tuple[NDArray, NDArray]:
    """Probabilities of a decent classifier, and what was so."""
    rng = np.random.default_rng(seed)
    is_class = rng.random(num) < 0.2
    return 1 / (1 + np.exp(-spread * rng.normal(size=num) - 1.5 * is_class)), is_class


def _same(one: Ranking, other: Ranking) -> bool:
    return (
        one.level == other.level
        and np.array_equal(one.cell_N, other.cell_N)
        and np.array_equal(one.count_N2, other.count_N2)
    )


@pytest.mark.parametrize("digits", [1, 2, 16])
def test_areas_and_the_curve_are_scikit_learns_with_and_without_ties(digits: int) -> None:
    probability, is_class = _draw(3000)
    probability = probability.round(digits)
    found = ranking(probability, is_class)
    assert found.roc_auc() == pytest.approx(roc_auc_score(is_class, probability), rel=1e-12)
    assert found.pr_auc() == pytest.approx(average_precision_score(is_class, probability), rel=1e-12)
    false, hits, _ = roc_curve(is_class, probability, drop_intermediate=False)
    np.testing.assert_allclose(found.roc(), [false, hits])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=400, max_size=400), st.integers(10, 600), st.integers(0, 99))
def test_any_deal_merges_to_exactly_the_same_though_scores_are_thinned(
    part_of: list[int], limit: int, seed: int
) -> None:
    probability, is_class = _draw(400, seed, spread=8)
    part = np.asarray(part_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_SCORES", limit)
        whole = ranking(probability, is_class)
        pieces = [ranking(probability[part == i], is_class[part == i]) for i in np.unique(part)]
        forth, back = pieces[0], pieces[-1]
        for piece in pieces[1:]:
            forth = forth + piece
        for piece in pieces[-2::-1]:
            back = back + piece
    assert len(whole.cell_N) <= limit
    assert _same(forth, whole)
    assert _same(back, whole)


@pytest.mark.parametrize("spread", [0.1, 2.0, 12.0])
def test_many_scores_take_bounded_room_and_keep_areas_to_a_thousandth(spread: float) -> None:
    probability, is_class = _draw(300_000, spread=spread)
    found = ranking(probability, is_class)
    assert module.MAX_SCORES / 2 < len(found.cell_N) <= module.MAX_SCORES
    assert found.roc_auc() == pytest.approx(roc_auc_score(is_class, probability), abs=1e-3)
    assert found.pr_auc() == pytest.approx(average_precision_score(is_class, probability), abs=1e-3)


def test_scores_keep_their_order_down_to_the_last_bit() -> None:
    value = np.array(
        [0.0, 5e-324, 1e-300, 0.25, np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1), np.nextafter(1, 0), 1.0]
    )
    found = ranking(value, np.arange(len(value)) >= 4)
    assert len(found.cell_N) == len(value)
    assert found.roc_auc() == 1.0
    assert _same(ranking(np.array([-0.0]), np.array([True])), ranking(np.array([0.0]), np.array([True])))


@pytest.mark.parametrize("is_class", [True, False])
def test_one_class_alone_has_no_area(is_class: bool) -> None:
    found = ranking(np.array([0.1, 0.7]), np.array([is_class, is_class]))
    assert found.roc_auc() is None
    assert found.pr_auc() is None
    nothing = ranking(np.zeros(0), np.zeros(0, dtype=bool))
    assert nothing.roc_auc() is None
    assert _same(nothing + found, found)
