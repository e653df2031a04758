"""What labels of steps are worth: answers beside the truth, by class or by value. Knows arrays; knows no model and no file.

Legend: M steps, K classes, A answers for one step: its classes, or its value alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.schema import Schema
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments, rows_of
from lstm_ray.evaluate.classes.metrics import ClassSums, class_sums
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.sums import forecast_sums
from lstm_ray.evaluate.gather import Labeller

VALUE_METRICS = ("mae", "mse", "rmse", "bias", "smape", "wape")
"""Of a forecast's, those that need no season."""


def told(model: Labeller, segments: Segments, bounds: Boundaries, part: Part, batch: int) -> tuple[NDArray, NDArray]:
    """A model's answers for the labelled steps of a part, [M, A], and their rows, int64 [M]."""
    assert segments.label_R is not None, "task label has labels"
    range_S2 = step_ranges(segments, bounds, part)
    rows = rows_of(range_S2)
    labelled = ~np.isnan(segments.label_R[rows])
    return model.tell_steps(segments, range_S2, batch)[labelled], rows[labelled]


def label_metrics(answer_MA: NDArray, label_M: NDArray, schema: Schema) -> dict[str, float | None]:
    """Every metric of answers beside true labels; None where there is nothing to divide by."""
    if schema.classes:
        return class_scores(answer_MA, label_M, schema).metrics()
    found = value_scores(answer_MA, label_M).metrics()
    variance = float(np.var(label_M, dtype=np.float64)) if len(label_M) else 0.0
    mse = found["mse"]
    r2 = None if mse is None or variance == 0 else 1 - mse / variance
    return {name: found[name] for name in VALUE_METRICS} | {"r2": r2}


def class_scores(probabilities_MK: NDArray, label_M: NDArray, schema: Schema) -> ClassSums:
    return class_sums(probabilities_MK, label_M.astype(np.int64), schema.classes)


def value_scores(value_M1: NDArray, label_M: NDArray) -> ForecastSums:
    """Sums of a forecast of one step and one channel."""
    actual_M11 = label_M[:, None, None]
    told_M111 = value_M1[:, :, None, None]
    no_scale = np.full((len(label_M), 1), np.nan)
    return forecast_sums(actual_M11, np.ones_like(actual_M11), told_M111, [0.5], no_scale)["horizon"]
