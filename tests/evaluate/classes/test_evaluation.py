"""The test part of a classification run, with a stand-in for the policy."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.config import parse
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.evaluation import evaluate_classes
from lstm_ray.run_dir import to_json

CONFIG = parse(
    {
        "name": "t",
        "task": "classify",
        "data": {"source": "x.csv", "time": "t", "series_id": ["id"], "past": ["a", "b"], "label": "c"},
        "window": {"history": 48, "horizon": 12, "patch": 12},
        "evaluate": {"batch": 20, "missing": [0.3], "noise": [0.5]},
    }
)


class Oracle:
    """Knows the label; wrong for every ``wrong``-th test sequence."""

    def __init__(self, data, wrong: int) -> None:
        self.label, self.series, self.wrong = data.segments.label, data.segments.series, wrong

    def class_probabilities(self, segments, ids_M, batch=512):
        found = np.array([self.series.index(segments.series[i]) for i in ids_M])
        guess = np.where(found % self.wrong == 0, 1 - self.label[found], self.label[found])
        return np.where(guess[:, None] == [0, 1], 0.9, 0.1)


def _evaluate(data, policy):
    return evaluate_classes(CONFIG, "train", policy, data.scaler, data.segments, data.parts)


def test_a_classifier_is_scored_beside_its_baselines(sequences_data):
    found = _evaluate(sequences_data, Oracle(sequences_data, wrong=50))
    assert found.num_windows == 50
    assert found.metrics["accuracy"] == pytest.approx(0.98)
    assert list(found.baselines) == ["majority", "logistic_regression"]
    assert found.scaled == {}
    other = found.baselines["logistic_regression"]["macro_f1"]
    assert found.skill == pytest.approx(1 - (1 - found.metrics["macro_f1"]) / (1 - other))
    assert np.sum(found.details["confusion"]["rows_are_truth"]) == 50
    assert "on 50 test sequences" in found.summary.lower()
    assert "above the logistic regression's" in found.summary
    assert found.tables[0]["best"] == 0
    assert {len(row) for row in found.tables[0]["rows"]} == {len(found.tables[0]["columns"])}
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def test_a_classifier_that_loses_is_said_to(sequences_data):
    found = _evaluate(sequences_data, Oracle(sequences_data, wrong=2))
    assert found.skill < 0
    assert found.findings[0].severity == "warning"
    assert "Serve the logistic regression instead" in found.findings[0].advice
    assert any("'down'" in f.text and "commonest mistake" in f.text for f in found.findings)


def test_the_figures_show_confusion_recall_time_calibration_and_robustness(sequences_data, fake_classifier):
    figures = {figure.id: figure for figure in _evaluate(sequences_data, fake_classifier()).figures}
    assert list(figures) == [
        "confusion",
        "recall",
        "probability-over-time",
        "calibration",
        "robustness-missing",
        "robustness-noise",
    ]
    assert sum(sum(row) for row in figures["confusion"].traces[0]["z"]) == 50
    points = [sum(y is not None for y in trace["y"]) for trace in figures["probability-over-time"].traces]
    assert sum(points) == 50
    assert "'up'" in figures["probability-over-time"].title, "the rarer class is shown"


def test_probabilities_that_are_not_finite_are_refused(sequences_data):
    class Broken:
        def class_probabilities(self, segments, ids_M, batch=512):
            return np.full((len(ids_M), 2), np.nan)

    with pytest.raises(InputError, match="'policy' gives probabilities that are not finite, first for 'day150'"):
        _evaluate(sequences_data, Broken())


def test_a_test_part_without_a_sequence_is_refused(sequences_data, fake_classifier):
    sequences_data.parts["test"] = (10_000, 10_001)
    with pytest.raises(InputError, match="no sequence begins in the test part, steps 10000 to 10001"):
        _evaluate(sequences_data, fake_classifier())
