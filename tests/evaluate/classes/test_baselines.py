"""Simple classifiers answer what they say, fitted on the training part alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.baselines import SUMMARIES, fit_class_baselines, summaries


def test_summaries_are_those_of_each_sequence_alone(sequences_data):
    segments, ids = sequences_data.segments, np.array([0, 7, 120, 199])
    found = summaries(segments, ids, 12).reshape(len(ids), len(SUMMARIES), 2)
    for index, s in enumerate(ids):
        values = segments.past_RP[segments.bounds[s] : segments.bounds[s + 1]][-12:].astype(float)
        slope = [np.polyfit(np.arange(len(values)), column, 1)[0] for column in values.T]
        rows = [values.mean(0), values.std(0), values.min(0), values.max(0), values[-1], slope]
        np.testing.assert_allclose(found[index], rows, atol=1e-9)


def test_the_summary_of_one_step_has_no_slope(sequences_data):
    found = summaries(sequences_data.segments, np.array([4]), 1).reshape(len(SUMMARIES), 2)
    np.testing.assert_array_equal(found[SUMMARIES.index("slope")], 0)
    np.testing.assert_array_equal(found[SUMMARIES.index("mean")], found[SUMMARIES.index("last")])


def test_the_majority_is_the_training_parts_shares(sequences_data):
    segments, parts = sequences_data.segments, sequences_data.parts
    majority = fit_class_baselines(segments, parts, sequences_data.window)["majority"]
    label = segments.label[sequences(segments, parts, "train")]
    found = majority.class_probabilities(segments, np.arange(5))
    np.testing.assert_allclose(found, np.tile([(label == 0).mean(), (label == 1).mean()], (5, 1)))


def test_logistic_regression_finds_a_drift_and_reads_no_test_label(sequences_data):
    segments, parts = sequences_data.segments, sequences_data.parts
    test = sequences(segments, parts, "test")
    logistic = fit_class_baselines(segments, parts, sequences_data.window)["logistic_regression"]
    probabilities = logistic.class_probabilities(segments, test)
    assert (probabilities.argmax(axis=1) == segments.label[test]).mean() > 0.85
    flipped = segments.label.copy()
    flipped[test] = 1 - flipped[test]
    again = fit_class_baselines(replace(segments, label=flipped), parts, sequences_data.window)["logistic_regression"]
    np.testing.assert_array_equal(again.class_probabilities(segments, test), probabilities)


def test_a_class_missing_in_training_gets_no_probability(sequences_data):
    schema = sequences_data.segments.schema.model_copy(update={"classes": ["down", "never", "up"]})
    label = np.where(sequences_data.segments.label == 1, 2, 0)
    segments = replace(sequences_data.segments, label=label, schema=schema)
    logistic = fit_class_baselines(segments, sequences_data.parts, sequences_data.window)["logistic_regression"]
    found = logistic.class_probabilities(segments, np.arange(6))
    np.testing.assert_array_equal(found[:, 1], 0)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert logistic.class_probabilities(segments, np.arange(0)).shape == (0, 3)


def test_a_training_part_of_one_class_is_refused_by_name(sequences_data):
    segments = replace(sequences_data.segments, label=np.zeros_like(sequences_data.segments.label))
    with pytest.raises(InputError, match=r"120 sequences of the classes \['down'\]"):
        fit_class_baselines(segments, sequences_data.parts, sequences_data.window)
