"""Classifiers that need no network, the bar for one that does. NumPy and scikit-learn; knows no files and no torch.

Legend: M sequences, K classes, P past inputs, F summary features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.gather import Classifier, cut_out_sequences
from lstm_ray.sections.prepare import WindowConfig

SUMMARIES = ("mean", "std", "min", "max", "last", "slope")
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Majority:
    """Answers with the training part's class shares, whatever the sequence: always its commonest class."""

    share_K: NDArray

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        return np.tile(self.share_K, (len(ids_M), 1))


@dataclass(frozen=True)
class Logistic:
    """Logistic regression on summaries of each past input over the sequence."""

    pipeline: Pipeline
    known_classes: NDArray
    """Indices of the classes that the training part has."""
    num_classes: int
    history: int

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        probabilities = np.zeros((len(ids_M), self.num_classes))
        if len(ids_M):
            features_MF = summaries(segments, ids_M, self.history)
            probabilities[:, self.known_classes] = self.pipeline.predict_proba(features_MF)
        return probabilities


def fit_class_baselines(segments: Segments, parts: Boundaries, window: WindowConfig) -> dict[str, Classifier]:
    """The baselines by name, simplest first, fitted on the training part's sequences.

    Raises InputError where the training part has fewer than two classes.
    """
    assert segments.label is not None, "task classify has labels"
    ids_M, classes = sequences(segments, parts, "train"), segments.schema.classes
    label_M = segments.label[ids_M]
    count = np.bincount(label_M, minlength=len(classes))
    present = np.flatnonzero(count)
    if len(present) < 2:
        names = [classes[i] for i in present]
        raise InputError(
            f"the training part has {len(ids_M)} sequences of the classes {names}, and a classifier needs two; "
            "raise split.train or shuffle out long runs of one class"
        )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    pipeline.fit(summaries(segments, ids_M, window.history), label_M)
    return {
        "majority": Majority(count / count.sum()),
        "logistic_regression": Logistic(pipeline, present, len(classes), window.history),
    }


def summaries(segments: Segments, ids_M: NDArray, history: int) -> NDArray:
    """SUMMARIES of each past input over each sequence's last ``history`` steps, float64 [M, 6 * P]; slope per step."""
    cut = cut_out_sequences(segments, ids_M, history)
    values_RP, first = cut.past_RP.astype(np.float64), cut.bounds[:-1]
    length = np.diff(cut.bounds)[:, None]
    mean = np.add.reduceat(values_RP, first) / length
    of = np.repeat(np.arange(len(ids_M)), length[:, 0])
    centred = values_RP - mean[of]
    position = (np.arange(len(values_RP)) - first[of] - (length[of, 0] - 1) / 2)[:, None]
    spread = np.maximum(np.add.reduceat(position**2, first), 1e-12)
    columns = [
        mean,
        np.sqrt(np.add.reduceat(centred**2, first) / length),
        np.minimum.reduceat(values_RP, first),
        np.maximum.reduceat(values_RP, first),
        values_RP[cut.bounds[1:] - 1],
        np.add.reduceat(position * centred, first) / spread,
    ]
    return np.concatenate(columns, axis=1)
