"""What a policy gets wrong on the validation part: what candidates are chosen by. Reads no test window.

Legend: M cases (windows, sequences to classify, or labelled steps), H horizon, C target channels, K classes, N blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.metrics import class_sums
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.gather import series_names
from lstm_ray.evaluate.labels.metrics import label_metrics, told
from lstm_ray.model.policy import Policy
from lstm_ray.sections.prepare import WindowConfig

Cost = Callable[..., NDArray]
"""Sums over cases, with any axes before the last of each, to something to keep low."""


@dataclass(frozen=True)
class Errors:
    """One policy's errors, case by case. Policies that were measured on the same cases are compared pair by pair."""

    metrics: dict[str, float]
    """All that are defined over the cases, in the data's own units."""
    error_M: NDArray
    """A window's mean absolute error, a labelled step's absolute error, or 1 for a class told wrong and 0 for right."""
    step_M: NDArray
    """Each case's origin, first step or own step on the common time axis."""
    series_M: NDArray
    """Each case's series, by its place among the sorted names."""
    parts: tuple[NDArray, ...]
    """[M, ...] each: what ``cost`` is told the sums of."""
    cost: Cost
    """The metric that candidates are chosen by, as something to keep low."""


def validation_metrics(
    policy: Policy, segments: Segments, bounds: Boundaries, origins_M: NDArray | None = None
) -> dict[str, float]:
    """The metrics of ``validation_errors`` alone."""
    return validation_errors(policy, segments, bounds, origins_M).metrics


def validation_errors(
    policy: Policy, segments: Segments, bounds: Boundaries, origins_M: NDArray | None = None
) -> Errors:
    """Errors of every validation window at stride 1 (or sequence, or labelled step), in the data's own units.

    Windows in which no target was measured are no cases. Metrics that are undefined, such as mase without a season of
    training steps, are left out.

    Args:
        origins_M: windows to measure instead, such as ``common_origins``; sequences and labelled steps are the same for
            every policy.

    Raises:
        InputError: the part holds nothing to measure by.
    """
    config = policy.config
    if config.task == "classify":
        return _of_sequences(policy, segments, bounds)
    if config.task == "label":
        return _of_labels(policy, segments, bounds)
    if origins_M is None:
        origins_M = origins(segments, bounds, "validation", config.window)
    return _of_windows(policy, segments, bounds, origins_M)


def common_origins(segments: Segments, bounds: Boundaries, windows: Iterable[WindowConfig]) -> NDArray:
    """Validation origins that every one of some windows can answer, int64 [M]: those of the longest history."""
    return origins(segments, bounds, "validation", max(windows, key=lambda window: window.history))


def dependence(config: Config) -> int:
    """Steps within which cases share what they are told from or judged by; sequences share nothing."""
    window = config.window
    return {"forecast": max(window.horizon, window.season), "classify": 1, "label": window.history}[config.task]


def _of_windows(policy: Policy, segments: Segments, bounds: Boundaries, origins_M: NDArray) -> Errors:
    config = policy.config
    window = config.window
    if not len(origins_M):
        raise _nothing(bounds, f"no window of {window.history} + {window.horizon} steps lies")
    found = score(
        {"policy": policy},
        segments,
        origins_M,
        Yardstick.of(segments, bounds, window, policy.scaler, config.evaluate.batch),
    )["policy"]
    measured_R = np.concatenate([[0], np.cumsum((segments.observed_RC > 0).sum(1))])
    count_M = measured_R[origins_M + window.horizon + 1] - measured_R[origins_M + 1]
    held = count_M > 0
    if not held.any():
        raise _nothing(bounds, "no target was measured")
    origins_M, absolute_M, count_M = origins_M[held], found.absolute_M[held], count_M[held]
    _, series_S = series_names(segments)
    return Errors(
        metrics=_defined(found.total.metrics()),
        error_M=absolute_M / count_M,
        step_M=segments.steps(origins_M),
        series_M=series_S[segments.series_of(origins_M)],
        parts=(absolute_M, count_M),
        cost=np.divide,
    )


def _of_sequences(policy: Policy, segments: Segments, bounds: Boundaries) -> Errors:
    ids_M = sequences(segments, bounds, "validation")
    if not len(ids_M):
        raise _nothing(bounds, "no sequence begins")
    assert segments.label is not None, "task classify has labels"
    label_M, classes = segments.label[ids_M], segments.schema.classes
    probabilities_MK = policy.class_probabilities(segments, ids_M, policy.config.evaluate.batch)
    metrics = _defined(class_sums(probabilities_MK, label_M, classes).metrics())
    _, series_S = series_names(segments)
    return _of_classes(metrics, probabilities_MK, label_M, segments.first_step[ids_M], series_S[ids_M])


def _of_labels(policy: Policy, segments: Segments, bounds: Boundaries) -> Errors:
    assert segments.label_R is not None, "task label has labels"
    answer_MA, rows = told(policy, segments, bounds, "validation", policy.config.evaluate.batch)
    if not len(rows):
        raise _nothing(bounds, "no step was labelled")
    label_M = segments.label_R[rows]
    metrics = _defined(label_metrics(answer_MA, label_M, segments.schema))
    _, series_S = series_names(segments)
    step_M, series_M = segments.steps(rows), series_S[segments.series_of(rows)]
    if segments.schema.classes:
        return _of_classes(metrics, answer_MA, label_M.astype(np.int64), step_M, series_M)
    error_M = np.abs(answer_MA[:, 0] - label_M).astype(np.float64)
    return Errors(metrics, error_M, step_M, series_M, (error_M, np.ones_like(error_M)), np.divide)


def _of_classes(
    metrics: dict[str, float], probabilities_MK: NDArray, label_M: NDArray, step_M: NDArray, series_M: NDArray
) -> Errors:
    predicted_M = probabilities_MK.argmax(axis=1)
    classes = np.arange(probabilities_MK.shape[1])
    truth_MK, predicted_MK = (one[:, None] == classes for one in (label_M, predicted_M))
    parts = truth_MK & predicted_MK, truth_MK.astype(np.int8) + predicted_MK
    return Errors(metrics, (predicted_M != label_M).astype(np.float64), step_M, series_M, parts, _lost_f1)


def _lost_f1(hits_NK: NDArray, either_NK: NDArray) -> NDArray:
    """Minus the macro F1 of sums; classes in neither truth nor predictions are left out of the mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        cost: NDArray = -np.nanmean(np.where(either_NK > 0, 2 * hits_NK / either_NK, np.nan), axis=-1)
    return cost


def _defined(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None}


def _nothing(bounds: Boundaries, what: str) -> InputError:
    first, end = bounds["validation"]
    return InputError(f"{what} in the validation part, steps {first} to {end}; move the split to where it was")
