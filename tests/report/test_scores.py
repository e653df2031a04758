"""Who is best, and by how much."""

from __future__ import annotations

import pytest

from lstm_ray.report.scores import Scores, comparison, metric, ordered, verdict


def _scores(**changes: object) -> Scores:
    known = {
        "task": "forecast", "policy": "train", "split": "test", "num_windows": 10, "metrics": {"mae": 3.0},
        "baselines": {"ridge": {"mae": 4.0}, "last_value": {"mae": 6.0}},
    }  # fmt: skip
    return Scores.model_validate(known | changes)


def test_skill_is_the_share_of_the_best_baselines_error_that_is_gone() -> None:
    found = verdict(_scores())
    assert found is not None
    assert found.best_baseline == "ridge"
    assert found.skill == pytest.approx(0.25)
    assert found.standing == "ahead"


def test_skill_of_a_score_is_measured_on_what_it_lacks_to_one() -> None:
    baselines = {"majority": {"macro_f1": 0.4}, "logistic_regression": {"macro_f1": 0.6}}
    found = verdict(_scores(task="classify", metrics={"macro_f1": 0.7, "accuracy": 0.9}, baselines=baselines))
    assert found is not None
    assert found.best_baseline == "logistic regression"
    assert found.skill == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("mae", "interval", "standing"),
    [
        (3.0, [0.1, 0.4], "ahead"),
        (3.9, [-0.05, 0.1], "level"),
        (4.0, None, "level"),
        (5.0, None, "behind"),
        (4.1, [-0.1, 0.05], "level"),
    ],
)
def test_a_difference_that_may_be_luck_is_a_draw(mae: float, interval: list[float] | None, standing: str) -> None:
    found = verdict(_scores(metrics={"mae": mae}, skill_interval=interval))
    assert found is not None
    assert found.standing == standing


def test_a_perfect_baseline_leaves_no_skill_to_measure() -> None:
    found = verdict(_scores(baselines={"ridge": {"mae": 0.0}}))
    assert found is not None
    assert found.skill is None
    assert found.standing == "behind"


def test_without_baselines_there_is_a_number_and_no_verdict() -> None:
    found = verdict(_scores(baselines={}))
    assert found is not None
    assert (found.value, found.skill, found.standing) == (3.0, None, None)


def test_scores_without_a_known_headline_have_no_verdict() -> None:
    assert verdict(_scores(metrics={"mae": None, "coverage": 0.8})) is None


def test_ties_are_all_best_and_unknown_metrics_have_no_best() -> None:
    own = {"mae": 3.0, "accuracy": 0.5, "strange": 1.0}
    found = comparison("tune", own, {"ridge": {"mae": 3.0, "accuracy": 0.7, "strange": 0.5}}, ["ridge"])
    assert found.best == {(0, "mae"), (1, "mae"), (1, "accuracy")}
    assert [who for who, _ in found.rows] == ["policy (tune)", "ridge"]


def test_metrics_of_the_policy_alone_are_not_columns() -> None:
    found = comparison("train", {"mae": 3.0, "coverage": 0.8}, {"ridge": {"mae": 4.0, "coverage": None}}, [])
    assert found.names == ["mae"]
    assert found.alone == ["coverage"]


def test_what_its_root_says_already_is_no_column() -> None:
    own, other = {"mae": 3.0, "mse": 16.0, "rmse": 4.0}, {"mae": 4.0, "mse": 25.0, "rmse": 5.0}
    assert comparison("train", own, {"ridge": other}, []).names == ["mae", "rmse"]
    assert comparison("train", {"mse": 1.0}, {"ridge": {"mse": 2.0}}, []).names == ["mse"]


def test_known_metrics_come_first_and_unknown_ones_keep_their_name() -> None:
    assert ordered(["zeta", "bias", "mae", "mae"]) == ["mae", "bias", "zeta"]
    assert metric("my_score").label == "my score"
    assert metric("my_score").better is None
