"""Labels of steps that need no network, the bar for one that does. Knows no files and no torch.

Legend: M steps, K classes, L history, P past and known inputs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as LinearRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import labelled_rows
from lstm_ray.data.windows import Segments, chunks, rows_of
from lstm_ray.errors import InputError
from lstm_ray.evaluate.gather import Labeller
from lstm_ray.sections.prepare import WindowConfig

MAX_ITERATIONS = 2000
MAX_ROWS = 20_000
"""Training steps that a baseline is fitted on, spread evenly over more."""
MAX_FEATURES = 1024
"""Values of the history that the ridge reads; of a longer one the newest steps."""
PENALTIES = (1.0, 100.0, 10_000.0)
MAX_CLASS_FEATURES, MAX_VALUES = 256, 2_500_000
"""Values of the history that the logistic regression reads, and all those that it is fitted on: fitting one takes seconds."""
STRENGTHS = (1.0, 0.01)
"""Inverse penalties."""


@dataclass(frozen=True)
class Same:
    """Answers every step alike: with the training part's class shares, or its mean label."""

    answer_A: NDArray

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        return np.tile(self.answer_A, (len(rows_of(range_S2)), 1))


@dataclass(frozen=True)
class StepLogistic:
    """Logistic regression on the inputs of the step and of those before it, or of the step alone."""

    pipeline: Pipeline
    known_classes: NDArray
    """Indices of the classes that the training part has."""
    num_classes: int
    steps: int

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        rows = rows_of(range_S2)
        probabilities = np.zeros((len(rows), self.num_classes))
        for place in chunks(np.arange(len(rows)), MAX_ROWS):
            given = histories(segments, rows[place], self.steps)
            probabilities[np.ix_(place, self.known_classes)] = self.pipeline.predict_proba(given)
        return probabilities


@dataclass(frozen=True)
class HistoryRidge:
    """A linear map from the inputs of the step and of those before it."""

    pipeline: Pipeline
    steps: int

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        parts = [
            self.pipeline.predict(histories(segments, some, self.steps)) for some in chunks(rows_of(range_S2), MAX_ROWS)
        ]
        return np.concatenate([np.empty(0), *parts])[:, None]


def fit_label_baselines(segments: Segments, parts: Boundaries, window: WindowConfig) -> dict[str, Labeller]:
    """The baselines by name, simplest first, fitted on the training part's labelled steps.

    Raises InputError where the training part has fewer than two classes.
    """
    assert segments.label_R is not None, "task label has labels"
    rows, classes = labelled_rows(segments, parts, "train"), segments.schema.classes
    label_M = segments.label_R[rows]
    some = _spread(len(rows))
    if not classes:
        mean = Same(np.array([label_M.mean(dtype=np.float64)]))
        return {"mean": mean, "ridge": _fit_ridge(segments, parts, rows[some], window)}
    count = np.bincount(label_M.astype(np.int64), minlength=len(classes))
    present = np.flatnonzero(count)
    if len(present) < 2:
        raise InputError(
            f"the training part has {len(rows)} labelled steps of the class '{classes[present[0]]}' alone, and telling classes "
            "apart needs two; raise split.train"
        )
    taught = np.unique(np.concatenate([some, *(np.flatnonzero(label_M == code)[:1] for code in present)]))
    alone = _logistic(segments, rows[taught], 1, 1.0)
    return {
        "majority": Same(count / count.sum()),
        "logistic_regression": StepLogistic(alone, present, len(classes), 1),
        "history_logistic": _fit_history_logistic(segments, parts, rows, present, window),
    }


def _fit_history_logistic(
    segments: Segments, parts: Boundaries, rows: NDArray, present: NDArray, window: WindowConfig
) -> StepLogistic:
    """With the strength that tells most of the validation part's steps right, of equals the weakest penalty."""
    assert segments.label_R is not None
    steps = max(1, min(window.history, MAX_CLASS_FEATURES // _inputs(segments).shape[1]))
    limit = MAX_VALUES // (steps * _inputs(segments).shape[1])
    first = [np.flatnonzero(segments.label_R[rows] == code)[:1] for code in present]
    taught = np.unique(np.concatenate([_spread(len(rows), limit), *first]))
    held_out = labelled_rows(segments, parts, "validation")
    held_out = held_out[_spread(len(held_out), limit)]
    fitted = []
    for strength in STRENGTHS:
        pipeline = _logistic(segments, rows[taught], steps, strength)
        wrong = 0.0
        if len(held_out):
            wrong = float((pipeline.predict(histories(segments, held_out, steps)) != segments.label_R[held_out]).mean())
        fitted.append((wrong, pipeline))
    best = min(fitted, key=lambda one: one[0])[1]
    return StepLogistic(best, present, len(segments.schema.classes), steps)


def _logistic(segments: Segments, rows: NDArray, steps: int, strength: float) -> Pipeline:
    assert segments.label_R is not None
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS))
    return pipeline.fit(histories(segments, rows, steps), segments.label_R[rows].astype(np.int64))


def histories(segments: Segments, rows: NDArray, steps: int) -> NDArray:
    """Inputs of each row and of the ``steps`` - 1 before it in its segment, float32 [M, steps * P]; what lies before the
    segment repeats its first step."""
    back = rows[:, None] - np.arange(steps)
    first = segments.bounds[segments.series_of(rows)]
    found: NDArray = _inputs(segments)[np.maximum(back, first[:, None])]
    return found.reshape(len(rows), -1)


def _fit_ridge(segments: Segments, parts: Boundaries, rows: NDArray, window: WindowConfig) -> HistoryRidge:
    """With the penalty that has the least squared error on the validation part."""
    assert segments.label_R is not None
    steps = max(1, min(window.history, MAX_FEATURES // _inputs(segments).shape[1]))
    held_out = labelled_rows(segments, parts, "validation")
    held_out = held_out[_spread(len(held_out))]
    given, asked = histories(segments, rows, steps), histories(segments, held_out, steps)
    fitted = []
    for penalty in PENALTIES:
        pipeline = make_pipeline(StandardScaler(), LinearRidge(alpha=penalty))
        pipeline.fit(given, segments.label_R[rows])
        error = (
            float(((pipeline.predict(asked) - segments.label_R[held_out]) ** 2).mean()) if len(held_out) else penalty
        )
        fitted.append((error, pipeline))
    return HistoryRidge(min(fitted, key=lambda one: one[0])[1], steps)


def _inputs(segments: Segments) -> NDArray:
    """[R, P]"""
    return np.concatenate([segments.past_RP, segments.known_RK], axis=1)


def _spread(number: int, limit: int = MAX_ROWS) -> NDArray:
    """At most MAX_ROWS (or a lower limit) of so many, evenly."""
    return np.unique(np.linspace(0, max(number - 1, 0), min(number, limit, MAX_ROWS)).astype(np.int64))
