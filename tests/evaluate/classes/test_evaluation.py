"""The test part of a classification run, with a stand-in for the policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.config import parse
from lstm_ray.data.windows import sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes import neighbours
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
    assert list(found.baselines) == ["majority", "logistic_regression", "nearest_neighbour"]
    assert found.baselines["nearest_neighbour"]["log_loss"] is None, "it tells no probabilities"
    assert found.scaled == {}
    assert found.details["skill_against"] == max(found.baselines, key=lambda who: found.baselines[who]["macro_f1"])
    other = found.baselines[found.details["skill_against"]]["macro_f1"]
    assert found.skill == pytest.approx(1 - (1 - found.metrics["macro_f1"]) / (1 - other))
    assert np.sum(found.details["confusion"]["rows_are_truth"]) == 50
    assert "on 50 test sequences" in found.summary.lower()
    assert "the best baseline" in found.summary
    table = next(table for table in found.tables if table["title"] == "Class by class")
    assert [row[0] for row in table["rows"]] == ["down", "up"]
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def test_a_classifier_that_loses_is_said_to(sequences_data):
    found = _evaluate(sequences_data, Oracle(sequences_data, wrong=2))
    assert found.skill < 0
    assert found.findings[0].severity == "warning"
    assert f"Serve the {found.details['skill_against'].replace('_', ' ')} instead" in found.findings[0].advice
    assert any("'down'" in f.text and "commonest mistake" in f.text for f in found.findings)


def test_the_figures_show_how_it_stands_and_where_it_errs(sequences_data, fake_classifier):
    told = _evaluate(sequences_data, fake_classifier()).told
    figures = {figure.id: figure for part in told for figure in part.figures}
    assert [figure.id for figure in told[0].figures] == ["recall", "roc", "precision-recall"]
    assert [figure.id for figure in told[1].figures] == [
        "confusion",
        "surest-mistakes",
        "calibration",
        "probability-over-time",
        "error-by-weekday",
        "error-by-month",
    ]
    np.testing.assert_allclose(np.sum(figures["confusion"].traces[0]["z"], axis=1), 1, rtol=1e-5)
    for figure in figures.values():
        assert figure.caption.endswith(".")
    assert len(figures["surest-mistakes"].layout["annotations"]) <= 6
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


def _with_test_labels(data, change):
    """The data, the labels of its test sequences changed."""
    label, test = data.segments.label.copy(), sequences(data.segments, data.parts, "test")
    label[test] = change(label[test])
    return replace(data, segments=replace(data.segments, label=label))


def test_a_test_part_of_one_class_has_no_auc_and_says_why(sequences_data, fake_classifier):
    data = _with_test_labels(sequences_data, np.zeros_like)
    found = _evaluate(data, fake_classifier())
    assert {name for name, value in found.metrics.items() if value is None} == {"roc_auc", "pr_auc"}
    assert [f.severity for f in found.findings if "All 50 test sequences are 'down'" in f.text] == ["warning"]
    assert not {"roc", "precision-recall"} & {figure.id for figure in found.figures}
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def _three_classes(data, of_train, of_test):
    """The data with a third class that some of the training and of the test sequences are of."""
    schema = data.segments.schema.model_copy(update={"classes": ["down", "never", "up"]})
    label = np.where(data.segments.label == 1, 2, 0)
    for part, number in (("train", of_train), ("test", of_test)):
        label[sequences(data.segments, data.parts, part)[:number]] = 1
    return replace(data, segments=replace(data.segments, label=label, schema=schema))


class OfThree:
    """Sure of nothing."""

    def class_probabilities(self, segments, ids_M, batch=512):
        rng = np.random.default_rng(len(ids_M))
        return rng.dirichlet(np.ones(3), len(ids_M))


def test_a_class_absent_from_the_test_part_is_named_and_left_out_of_averages(sequences_data):
    data = _three_classes(sequences_data, 10, 0)
    found = _evaluate(data, OfThree())
    assert found.metrics["roc_auc"] is not None
    assert found.details["by_class"]["never"]["roc_auc"] is None
    assert any("The test part has no sequences of 'never'" in f.text for f in found.findings)
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def test_a_class_absent_from_the_training_part_is_named(sequences_data):
    found = _evaluate(_three_classes(sequences_data, 0, 7), OfThree())
    told = [f.text for f in found.findings if "The training part has no sequences of 'never'" in f.text]
    assert len(told) == 1
    assert "the test part has 7" in told[0]
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def test_a_set_too_large_for_the_nearest_neighbour_says_so(sequences_data, fake_classifier, monkeypatch):
    monkeypatch.setattr(neighbours, "WORK", 1e-9)
    found = _evaluate(sequences_data, fake_classifier())
    assert "nearest_neighbour" not in found.baselines
    assert any("is no baseline here: comparing 50 test with 120 training sequences" in f.text for f in found.findings)


def test_the_threshold_is_chosen_on_the_validation_part_alone(sequences_data, fake_classifier):
    """Changing every test label changes what the threshold gives there, not the threshold."""
    told = []
    for data in (sequences_data, _with_test_labels(sequences_data, lambda label: 1 - label)):
        texts = [f.text for f in _evaluate(data, Shy(fake_classifier())).findings if "on the validation part" in f.text]
        told.append(next(text for text in texts if "from a probability of" in text))
    assert told[0].split(" the test part has")[0] == told[1].split(" the test part has")[0]
    assert told[0] != told[1]


class Shy:
    """Gives the second class a fifth of the probability that another gives it."""

    def __init__(self, other) -> None:
        self.other = other

    def class_probabilities(self, segments, ids_M, batch=512):
        second = self.other.class_probabilities(segments, ids_M)[:, 1] / 5
        return np.stack([1 - second, second], axis=1)
