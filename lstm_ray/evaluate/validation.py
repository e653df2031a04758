"""A policy's metrics on the validation part: what candidates are chosen by. Reads no test window."""

from __future__ import annotations

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.class_metrics import class_sums
from lstm_ray.evaluate.label_scores import label_metrics, told
from lstm_ray.evaluate.metrics import seasonal_scale
from lstm_ray.evaluate.score import score
from lstm_ray.model.policy import Policy


def validation_metrics(policy: Policy, segments: Segments, bounds: Boundaries) -> dict[str, float]:
    """Metrics over every validation window at stride 1 (or sequence, or labelled step), in the data's own units.

    Metrics that are undefined there, such as mase without a season of training steps, are left out.
    Raises InputError where the part holds nothing to measure by.
    """
    config = policy.config
    if config.task == "classify":
        ids_M = sequences(segments, bounds, "validation")
        assert segments.label is not None, "task classify has labels"
        probabilities_MK = policy.class_probabilities(segments, ids_M, config.evaluate.batch)
        found = class_sums(probabilities_MK, segments.label[ids_M], segments.schema.classes).metrics()
    elif config.task == "label":
        assert segments.label_R is not None, "task label has labels"
        answer_MA, rows = told(policy, segments, bounds, "validation", config.evaluate.batch)
        found = label_metrics(answer_MA, segments.label_R[rows], segments.schema) if len(rows) else {}
    else:
        origins_M = origins(segments, bounds, "validation", config.window)
        scale_NC = seasonal_scale(segments, bounds, config.window.season)
        deviation_C = policy.scaler.target_deviation
        batch = config.evaluate.batch
        before = lookback(policy.scaler)
        scores = score(
            {"policy": policy}, segments, origins_M, config.window, scale_NC, deviation_C, batch, before=before
        )
        found = scores["policy"].total.metrics()
    metrics = {name: value for name, value in found.items() if value is not None}
    if not metrics:
        first, end = bounds["validation"]
        what = "no step was labelled" if config.task == "label" else "no target was measured"
        raise InputError(f"{what} in the validation part, steps {first} to {end}; move the split to where it was")
    return metrics
