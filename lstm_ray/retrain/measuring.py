"""Champion and challenger on the same windows (or labelled steps) of a stretch. Knows policies and segments.

Legend: M cases, H horizon, T targets, C cells (leads in thirds by targets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.schema import Schema
from lstm_ray.data.windows import Segments, chunks, origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate import paired
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.gather import ahead, narrow, series_names
from lstm_ray.evaluate.labels.metrics import told
from lstm_ray.model.policy import Policy
from lstm_ray.retrain.gate import Errors, Stretch, Test

THIRDS = 3
"""Parts of the horizon, near ones first."""


def test_of(config: Config) -> Test:
    """What tells a gain from luck, where cases share what they are told from."""
    if config.task == "forecast":
        return partial(paired.over_times, horizon=config.window.horizon)
    return partial(paired.over_blocks, dependence_steps=config.window.history)


def stretch_of(name: str, champion: Policy, challenger: Policy, segments: Segments, steps: tuple[int, int]) -> Stretch:
    """Both policies' errors on all cases of a stretch.

    Args:
        segments: in the data's own units, as the challenger's run prepared them.
        steps: the first and the one after the last on their axis.

    Raises InputError where it holds no case.
    """
    bounds: Boundaries = {"train": steps, "validation": steps, "test": steps}
    names, series_S = series_names(segments)
    as_read = [(policy, _coded(segments, policy.schema)) for policy in (champion, challenger)]
    if champion.config.task == "label":
        found = [_of_labels(policy, own, bounds) for policy, own in as_read]
        rows = found[0][1]
        before, after = (errors for errors, _ in found)
        cells: Mapping[str, NDArray] = {}
    else:
        rows = origins(segments, bounds, "test", champion.config.window)
        if not len(rows):
            raise _nothing(name, steps)
        deviation_T = champion.scaler.target_deviation
        before, after = (_of_windows(policy, own, rows, deviation_T) for policy, own in as_read)
        cells = _cells(champion.config.window.horizon, segments.schema.target)
    if not len(rows) or not before.count_MC.any():
        raise _nothing(name, steps)
    return Stretch(name, before, after, segments.steps(rows), series_S[segments.series_of(rows)], names, cells)


def _of_windows(policy: Policy, segments: Segments, origins_M: NDArray, deviation_T: NDArray) -> Errors:
    window = policy.config.window
    before = reach(window) + lookback(policy.scaler)
    third_H = _thirds(window.horizon)
    sums: list[NDArray] = []
    counts: list[NDArray] = []
    middle, wrong = median_index(policy.quantiles), 0
    for some in chunks(origins_M, policy.config.evaluate.batch):
        nearby, origin_M = narrow(segments, some, before, window.horizon)
        forecast_MHT = policy.forecast_windows(nearby, origin_M)[..., middle]
        actual_MHT, observed_MHT = (
            ahead(values, some, window.horizon) for values in (segments.target_RC, segments.observed_RC)
        )
        error_MHT = np.abs(actual_MHT - forecast_MHT).astype(np.float64) / deviation_T
        measured_MHT = observed_MHT > 0
        wrong += int((~np.isfinite(forecast_MHT)).sum())
        error_MHT = np.where(measured_MHT & np.isfinite(error_MHT), error_MHT, 0.0)
        for found, values_MHT in ((sums, error_MHT), (counts, measured_MHT)):
            thirds = [values_MHT[:, third_H == third].sum(axis=1) for third in range(THIRDS)]
            found.append(np.concatenate(thirds, axis=1).astype(np.float64))
    return Errors(np.concatenate(sums), np.concatenate(counts), wrong)


def _of_labels(policy: Policy, segments: Segments, bounds: Boundaries) -> tuple[Errors, NDArray]:
    """Errors of every labelled step, and their rows."""
    assert segments.label_R is not None, "task label has labels"
    answer_MA, rows = told(policy, segments, bounds, "test", policy.config.evaluate.batch)
    label_M = segments.label_R[rows]
    if segments.schema.classes:
        error_M = (answer_MA.argmax(axis=1) != label_M).astype(np.float64)
    else:
        assert policy.scaler.label is not None, "values have units"
        error_M = np.abs(answer_MA[:, 0] - label_M).astype(np.float64) / policy.scaler.label.deviation[0]
    wrong = int((~np.isfinite(answer_MA)).sum())
    error_MC = np.where(np.isfinite(error_M), error_M, 0.0)[:, None]
    return Errors(error_MC, np.ones_like(error_MC), wrong), rows


def _thirds(horizon: int) -> NDArray:
    """Which third each lead lies in, int64 [H]."""
    third_H: NDArray = np.minimum(np.arange(horizon) * THIRDS // horizon, THIRDS - 1)
    return third_H


def _cells(horizon: int, targets: list[str]) -> dict[str, NDArray]:
    """Thirds of the leads, and targets where there are several."""
    num, third_H = len(targets), _thirds(horizon)
    third_C, target_C = np.repeat(np.arange(THIRDS), num), np.tile(np.arange(num), THIRDS)
    found = {}
    for third in range(THIRDS):
        leads = np.flatnonzero(third_H == third) + 1
        if len(leads) and horizon > 1:
            found[f"leads {leads[0]} to {leads[-1]}"] = third_C == third
    if num > 1:
        found |= {f"target '{name}'": target_C == place for place, name in enumerate(targets)}
    return found


def _coded(segments: Segments, schema: Schema) -> Segments:
    """The segments with their categories in the codes of a policy."""
    if segments.schema.categories == schema.categories:
        return segments
    codes_SK = np.zeros_like(segments.category_SK)
    for k, (column, values) in enumerate(segments.schema.categories.items()):
        own = {value: code for code, value in enumerate(schema.categories[column], 1)}
        code = np.array([0, *(own.get(value, 0) for value in values)])
        codes_SK[:, k] = code[segments.category_SK[:, k]]
    return replace(segments, category_SK=codes_SK, schema=schema)


def _nothing(name: str, steps: tuple[int, int]) -> InputError:
    return InputError(
        f"the {name} stretch, steps {steps[0]} to {steps[1]} of the joined table, holds nothing that was measured and that "
        "both policies can answer; bring rows without gaps"
    )
