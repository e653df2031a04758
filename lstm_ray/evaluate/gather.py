"""Windows' values, times and groups read out of segments. Knows rows and steps; knows no model and no metric.

Legend: R rows, S segments, M windows, L history, H horizon, C target channels, P past inputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lstm_ray.data.steps import StepPlan
from lstm_ray.data.windows import Segments

HOURS = 24


class Forecaster(Protocol):
    """Whatever forecasts windows: a policy or a baseline."""

    @property
    def quantiles(self) -> list[float]:
        """Levels of the forecast's last axis; [0.5] for a point forecast."""

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        """Forecasts in the data's own units, float32 [M, H, C, Q]."""


class Classifier(Protocol):
    """Whatever gives whole sequences class probabilities: a policy or a baseline."""

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        """Probabilities in the order of ``schema.classes``, [M, K]; rows add up to 1."""


class Labeller(Protocol):
    """Whatever labels steps: a policy or a baseline."""

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        """Of each step in a range of rows of every segment, in order: probabilities in the order of ``schema.classes``
        [M, K], or values in the label's own units [M, 1]."""


def history(segments: Segments, origins_M: NDArray, steps: int) -> NDArray:
    """The newest ``steps`` target values up to each origin, [M, L, C]."""
    values_MLC: NDArray = segments.target_RC[origins_M[:, None] + np.arange(1 - steps, 1)]
    return values_MLC


def future_rows(origins_M: NDArray, horizon: int) -> NDArray:
    """Rows of each window's horizon, int64 [M, H]."""
    rows: NDArray = origins_M[:, None] + np.arange(1, horizon + 1)
    return rows


def ahead(values_RC: NDArray, origins_M: NDArray, horizon: int) -> NDArray:
    """What the steps after each origin hold, [M, H, C]; of origins that follow each other by copying overlapping views, several
    times as fast as looking up every step of every window."""
    num = len(origins_M)
    if num > 1 and origins_M[-1] - origins_M[0] == num - 1 and (np.diff(origins_M) == 1).all():
        first = int(origins_M[0]) + 1
        view_MCH = sliding_window_view(values_RC[first : first + num + horizon - 1], horizon, axis=0)
        found: NDArray = np.moveaxis(view_MCH, 1, 2).copy()
        return found
    # take() copies whole rows, several times as fast as an index does.
    return values_RC.take(future_rows(origins_M, horizon), 0)


def series_names(segments: Segments) -> tuple[list[str], NDArray]:
    """The different series, sorted by name, and each segment's index among them, int64 [S]."""
    names, index = np.unique(np.asarray(segments.series, dtype=np.str_), return_inverse=True)
    return names.tolist(), index


def narrow(segments: Segments, origins_M: NDArray, steps: int, horizon: int) -> tuple[Segments, NDArray]:
    """The stretch of rows that some windows, in ascending order, read (views, no copies), and their origins in it. Of
    ``steps`` that reach back beyond a window's segment, those in the segment.

    A forecaster may scale all the segments it is given; given these, a pass in batches reads every row about once.
    """
    first, end = max(0, int(origins_M[0]) - steps + 1), int(origins_M[-1]) + horizon + 1
    head, tail = segments.series_of(np.asarray([first, end - 1]))
    inside = slice(head, tail + 1)
    start = np.maximum(segments.bounds[:-1][inside], first)
    narrowed = replace(
        segments,
        target_RC=segments.target_RC[first:end],
        observed_RC=segments.observed_RC[first:end],
        past_RP=segments.past_RP[first:end],
        known_RK=segments.known_RK[first:end],
        bounds=np.append(start, end) - first,
        series=segments.series[inside],
        first_step=segments.steps(start),
        label=None,
        category_SK=segments.category_SK[inside],
        part_S=None if segments.part_S is None else segments.part_S[inside],
        weight_R=None,
    )
    return narrowed, origins_M - first


def cut_out(segments: Segments, origins_M: NDArray, steps: int, horizon: int) -> tuple[Segments, NDArray]:
    """Copies of some windows as segments of their own, so that they can be damaged alone, and their origins' new rows.

    Args:
        origins_M: their horizon must lie within their segments, as ``data.windows.origins`` gives them.
        steps: read up to the origin, or as many as the segment has.
    """
    first = np.maximum(segments.bounds[segments.series_of(origins_M)], origins_M - steps + 1)
    cut = replace(segments, label=None).stretches(np.stack([first, origins_M + horizon + 1], axis=1))
    return cut, cut.bounds[1:] - horizon - 1


def cut_out_steps(segments: Segments, plan: StepPlan) -> tuple[Segments, NDArray]:
    """Copies of the rows that the sequences of a plan read, as segments of their own, and the range of rows that each
    tells there, int64 [M, 2]."""
    told_first, told_end, start, readable, _ = plan.row_M5.T
    first = np.maximum(start, readable)
    cut = segments.stretches(np.stack([first, told_end], axis=1))
    return cut, np.stack([cut.bounds[:-1] + told_first - first, cut.bounds[1:]], axis=1)


def cut_out_sequences(segments: Segments, ids_M: NDArray, steps: int) -> Segments:
    """Copies of some whole sequences, their last ``steps`` steps at most."""
    end = segments.bounds[ids_M + 1]
    first = np.maximum(segments.bounds[ids_M], end - steps)
    return segments.stretches(np.stack([first, end], axis=1))
