"""What is said of a classifier's mistakes: pairs, thresholds, clocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2_contingency
from sklearn.metrics import f1_score

from lstm_ray.data.schema import Schema
from lstm_ray.evaluate.classes import patterns
from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.classes.clocks import by_clocks

SCHEMA = Schema(
    target=[], past=["a"], known=[], calendar=[], classes=[], step=3_600_000_000, is_time=True, axis_start=0
)


def _cases(truth: list[int], said: list[int], num: int = 3) -> Cases:
    answer = np.eye(num)[said] * 0.8 + 0.2 / num
    return Cases(
        classes=["a", "b", "c"][:num],
        unit="sequences",
        label_M=np.asarray(truth),
        probabilities={"policy": answer, "majority": np.full((len(truth), num), 1 / num)},
        step_M=np.arange(len(truth)),
        schema=SCHEMA,
        taught_K=np.ones(num, np.int64),
    )


def test_the_commonest_pairs_have_a_sentence_each_with_their_share() -> None:
    cases = _cases([0] * 10 + [1] * 10 + [2] * 10, [0] * 7 + [1] * 3 + [1] * 8 + [2] * 2 + [2] * 8 + [0, 1])
    found = [one.text for one in patterns.confusions(cases)]
    assert len(found) == 3
    assert "The commonest mistake is 'a' taken for 'b': 3 of 10 'a' (30 %), and 42.9 % of all mistakes." in found[0]
    assert "The other way round it happens 0 times." in found[0]
    assert "Next comes 'b' taken for 'c': 2 of 10" in found[1]


def test_a_classifier_without_mistakes_is_said_to_have_none() -> None:
    found = patterns.confusions(_cases([0, 1, 2], [0, 1, 2]))
    assert [one.text for one in found] == ["The policy tells all 3 test sequences right."]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=2, max_size=40))
def test_the_best_threshold_is_that_of_trying_them_all(drawn: list[tuple[int, int]]) -> None:
    probability, label = np.array(drawn).T[0] / 20, np.array(drawn).T[1]
    if len(np.unique(label)) < 2:
        return

    def score(threshold: float) -> float:
        return float(f1_score(label, probability >= threshold, average="macro", labels=[0, 1], zero_division=0))

    best = patterns.best_threshold(probability, label)
    edges = [0.0, *(sum(pair) / 2 for pair in pairwise(np.unique(probability))), 1.01]
    assert score(best if best < 1 else 1.01) == pytest.approx(max(score(edge) for edge in edges))


def test_a_threshold_that_gains_nothing_is_said_to() -> None:
    cases = _cases([0, 1, 0, 1], [0, 1, 0, 1], num=2)
    told = patterns.threshold(cases, np.array([0.1, 0.9, 0.2]), np.array([0, 1, 0]))
    assert told is not None
    assert told.severity == "info"
    assert "as good as any" in told.text
    assert patterns.threshold(cases, np.array([0.1, 0.9]), np.array([1, 1])) is None, "one class tells no threshold"


def _times(days: NDArray) -> NDArray:
    return np.datetime64("2024-01-01T00") + days * np.timedelta64(24, "h")


def test_mistakes_by_weekday_are_means_with_pearsons_p() -> None:
    days = np.arange(280)
    wrong = ((days % 7 == 6) & (days % 2 == 0) | (days % 11 == 0)).astype(float)
    found = {one.clock: one for one in by_clocks(_times(days), {"policy": wrong, "other": 1 - wrong})}
    assert set(found) == {"weekday", "month"}, "all begin at the same hour"
    weekday = found["weekday"]
    assert weekday.names[6] == "Sunday"
    np.testing.assert_allclose(weekday.error_G["policy"], [wrong[days % 7 == d].mean() for d in range(7)])
    np.testing.assert_allclose(weekday.error_G["other"], 1 - weekday.error_G["policy"])
    counts = [[wrong[days % 7 == d].sum(), (1 - wrong[days % 7 == d]).sum()] for d in range(7)]
    assert weekday.p == pytest.approx(chi2_contingency(counts, correction=False).pvalue)
    assert weekday.when(weekday.extremes("policy")[1]) == "on Sunday"


def test_cases_at_the_same_time_count_as_one() -> None:
    days = np.arange(140)
    wrong = (days % 7 == 2).astype(float) * (days % 3 == 0) + (days % 5 == 0) * 0.5
    once = {one.clock: one.p for one in by_clocks(_times(days), {"policy": wrong})}
    thrice = {one.clock: one.p for one in by_clocks(_times(np.repeat(days, 3)), {"policy": np.repeat(wrong, 3)})}
    assert thrice == pytest.approx(once)


def test_no_times_and_few_cases_have_no_clock() -> None:
    assert by_clocks(None, {"policy": np.zeros(100)}) == []
    assert by_clocks(_times(np.arange(10)), {"policy": np.zeros(10)}) == []
