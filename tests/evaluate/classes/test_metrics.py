"""Classification scores against scikit-learn's, and that they merge."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from lstm_ray.evaluate.classes.metrics import NUM_BINS, class_sums

NAMES = ["a", "b", "c", "d"]


def _draw(seed: int, num: int, classes: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), num)
    return probabilities, rng.integers(0, classes, num)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 4))
def test_scores_are_scikit_learns(seed: int, num: int, classes: int):
    probabilities, label = _draw(seed, num, classes)
    guess = probabilities.argmax(axis=1)
    found = class_sums(probabilities, label, NAMES[:classes]).metrics()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of absent classes; here they are part of the draw
        expected = {
            "accuracy": reference.accuracy_score(label, guess),
            "balanced_accuracy": reference.balanced_accuracy_score(label, guess),
            "macro_f1": reference.f1_score(label, guess, average="macro"),
            "weighted_f1": reference.f1_score(label, guess, average="weighted"),
            "log_loss": reference.log_loss(label, probabilities, labels=range(classes)),
            "brier": reference.brier_score_loss(label, probabilities, labels=range(classes)),
        }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 90), st.integers(2, 4))
def test_areas_are_scikit_learns(seed: int, num: int, classes: int):
    """With many ties, as probabilities are rounded."""
    probabilities, label = _draw(seed, num, classes)
    label[:classes] = np.arange(classes)
    probabilities = np.round(probabilities, 1)
    probabilities[:, -1] = np.maximum(1 - probabilities[:, :-1].sum(axis=1), 0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    sums = class_sums(probabilities, label, NAMES[:classes])
    found = sums.metrics()
    truth = label == 1 if classes == 2 else np.eye(classes)[label]
    score = probabilities[:, 1] if classes == 2 else probabilities
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, score, average="macro"))
    assert found["pr_auc"] == pytest.approx(reference.average_precision_score(truth, score, average="macro"))
    for index, name in enumerate(NAMES[:classes]):
        mine, own = sums.by_class()[name], (label == index, probabilities[:, index])
        assert mine["roc_auc"] == pytest.approx(reference.roc_auc_score(*own))
        assert mine["pr_auc"] == pytest.approx(reference.average_precision_score(*own))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_calibration_error_is_torchmetrics(classes: int):
    probabilities, label = _draw(3, 400, classes)
    found = class_sums(probabilities, label, NAMES[:classes]).metrics()["calibration_error"]
    given, truth = torch.from_numpy(probabilities), torch.from_numpy(label)
    if classes == 2:
        expected = binary_calibration_error(given[:, 1].contiguous(), truth, n_bins=NUM_BINS)
    else:
        expected = multiclass_calibration_error(given, truth, num_classes=classes, n_bins=NUM_BINS)
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_precision_recall_and_confusion_are_scikit_learns():
    probabilities, label = _draw(1, 200, 3)
    guess = probabilities.argmax(axis=1)
    sums = class_sums(probabilities, label, NAMES[:3])
    np.testing.assert_array_equal(sums.confusion_KK, reference.confusion_matrix(label, guess))
    precision, recall, f1, support = reference.precision_recall_fscore_support(label, guess)
    for index, name in enumerate(NAMES[:3]):
        scores = sums.by_class()[name]
        assert [scores[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [precision[index], recall[index], f1[index], support[index]]
        )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=50, max_size=50), st.integers(0, 100))
def test_any_partition_of_the_sequences_merges_to_the_same(part_of: list[int], seed: int):
    probabilities, label = _draw(seed, 50, 3)
    part = np.asarray(part_of)
    pieces = [class_sums(probabilities[part == i], label[part == i], NAMES[:3]) for i in np.unique(part)]
    merged = pieces[0]
    for piece in pieces[1:]:
        merged = merged + piece
    whole = class_sums(probabilities, label, NAMES[:3])
    assert merged.metrics() == pytest.approx(whole.metrics(), rel=1e-12)
    assert merged.by_class() == whole.by_class()
    np.testing.assert_allclose(merged.bins_KB3, whole.bins_KB3)
    np.testing.assert_allclose(merged.top_B3, whole.top_B3)


def test_an_absent_class_has_no_recall_and_does_not_count_in_the_mean():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    sums = class_sums(probabilities, np.array([0, 1]), NAMES[:3])
    assert sums.by_class()["c"] == dict.fromkeys(["precision", "recall", "f1", "roc_auc", "pr_auc"]) | {"support": 0.0}
    assert sums.metrics()["roc_auc"] == 1.0, "of the two that can be told"
    assert sums.metrics()["macro_f1"] == 1.0
    assert sums.metrics()["balanced_accuracy"] == 1.0


def test_no_sequences_give_none_and_never_nan():
    sums = class_sums(np.zeros((0, 2)), np.zeros(0, np.int64), NAMES[:2])
    assert set(sums.metrics().values()) == {None}


def test_a_probability_of_zero_for_what_happened_costs_much_but_not_infinity():
    loss = class_sums(np.array([[1.0, 0.0]]), np.array([1]), NAMES[:2]).metrics()["log_loss"]
    assert 30 < loss < 40


def test_calibration_compares_probability_with_frequency_in_each_bin():
    probabilities = np.array([[0.25, 0.75]] * 4 + [[1.0, 0.0]] * 2)
    sums = class_sums(probabilities, np.array([1, 1, 0, 0, 0, 0]), NAMES[:2])
    said, happened, size = sums.calibration()
    np.testing.assert_allclose(said, [0.0, 0.75])
    np.testing.assert_allclose(happened, [0.0, 0.5])
    np.testing.assert_allclose(size, [2, 4])
    assert sums.metrics()["calibration_error"] == pytest.approx(0.25 * 4 / 6)
