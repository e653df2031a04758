"""Outliers found, and clipped or masked in what a network reads. NumPy alone; segments and truth keep their raw values.

A column's fences (z, iqr) come with the scaler, fitted on the training part; Hampel's are those of each step, from the steps
before it. Shapes: R rows of segments back to back, F columns of one role, W steps of a rolling window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lstm_ray.data import room
from lstm_ray.data.quality.impute import Filling, fill
from lstm_ray.sections.prepare import PreprocessConfig, WindowConfig

if TYPE_CHECKING:
    from lstm_ray.data.schema import Role, Scaler
    from lstm_ray.data.windows import Segments

NORMAL = 1.4826
"""Deviations of a normal distribution in one median absolute deviation."""
FEW = 5
"""Values of a rolling window, at least, that tell an outlier."""
AT_A_TIME = 4_000_000
"""Values of rolling windows that are held at a time."""
MOST = 1_000
"""Steps before a history that are read, at most, where means and medians are of all that came before."""
LONGEST = 200
"""Steps in a row that are masked, beyond which what stood before them is not looked for."""
Counts = dict[str, tuple[int, int]]
"""By column: how many outliers, of how many values."""


class Cleaning(BaseModel):
    """What is done to outliers (``preprocess.outliers``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["z", "iqr", "hampel"]
    action: Literal["clip", "mask"]
    deviations: float
    steps: int
    """Steps that the method hampel looks at: the step itself and those before it."""
    filling: Filling
    """What goes into the place of masked values, and into gaps beside values that were changed."""
    max_gap: int = 24
    """Steps in a row that miss every target, at most."""

    @classmethod
    def of(cls, prepare: PreprocessConfig, window: WindowConfig) -> Cleaning | None:
        if prepare.outliers == "keep":
            return None
        return cls(
            method=prepare.outlier_method,
            action=prepare.outliers,
            deviations=prepare.outlier_deviations,
            steps=prepare.outlier_steps,
            filling=Filling.of(prepare, window),
            max_gap=prepare.max_gap_steps,
        )

    @property
    def reach(self) -> int:
        """Steps before some rows that may decide what they are read as: those that are looked at, and those that fill gaps in
        these, which runs of masked values make longer; MOST of them where fillings reach back without end."""
        if self.action == "clip" and self.method != "hampel":
            return 0
        looked_at = self.steps - 1 if self.method == "hampel" else 0
        masked = LONGEST if self.action == "mask" else 0
        filled = self.filling.reach(self.max_gap + masked)
        return looked_at + (MOST if filled is None else filled)


def seen(segments: Segments, scaler: Scaler) -> Segments:
    """Unscaled segments as a network may see them: outliers of targets and past inputs clipped, or masked: imputed and, where
    ``observed`` tells of their role, unobserved. What fences clip, the scaler does; so it does for known inputs, which are
    plans that nobody measured wrongly, and are never masked."""
    cleaning, is_label = scaler.cleaning, segments.schema.label is not None
    if cleaning is None or (cleaning.action == "clip" and scaler.fences is not None):
        return segments
    raw = segments.target_RC, segments.past_RP, segments.observed_RC
    target_RC, past_RP, observed_RC = (room.empty(values.shape, np.float32) for values in raw)
    for rows, bounds in _chunks(segments.bounds):
        told_RF = observed_RC[rows] = segments.observed_RC[rows]
        of_target, of_past = (None, told_RF) if is_label else (told_RF, None)
        target_RC[rows], target_out = cleaned(segments.target_RC[rows], of_target, bounds, scaler, "target")
        past_RP[rows], past_out = cleaned(segments.past_RP[rows], of_past, bounds, scaler, "past")
        if cleaning.action == "mask" and told_RF.shape[1]:
            observed_RC[rows] = np.where(past_out if is_label else target_out, np.float32(0), told_RF)
        room.let_go(target_RC, past_RP, observed_RC, *raw)
    return replace(segments, target_RC=target_RC, past_RP=past_RP, observed_RC=observed_RC)


def lookback(scaler: Scaler) -> int:
    """Steps before a window that may decide what its outliers are read as."""
    return 0 if scaler.cleaning is None else scaler.cleaning.reach


def cleaned(
    values_RF: NDArray, observed_RF: NDArray | None, bounds: NDArray, scaler: Scaler, role: Role
) -> tuple[NDArray, NDArray]:
    """Targets or past inputs as a network may read them, float32, and where outliers were, bool.

    Args:
        values_RF: imputed; NaN stands for the typical value, and may be in what is returned.
        observed_RF: above 0 where a value was measured; None: nobody tells, and all count as measured.
    """
    cleaning, values_RF = scaler.cleaning, values_RF.astype(np.float32, copy=False)
    if cleaning is None or not values_RF.shape[1]:
        return values_RF, np.zeros(values_RF.shape, bool)
    if observed_RF is None:
        measured_RF = np.where(np.isnan(values_RF), np.asarray(scaler.centre(role), np.float32), values_RF)
    else:
        measured_RF = np.where(observed_RF > 0, values_RF, np.float32(np.nan))
    low_RF, high_RF = limits(measured_RF, bounds, scaler, role)
    out_RF = (measured_RF < low_RF) | (measured_RF > high_RF)
    if cleaning.action == "clip" and scaler.fences is not None:
        return values_RF, out_RF
    put_RF = np.clip(measured_RF, low_RF, high_RF) if cleaning.action == "clip" else np.float32(np.nan)
    filling, told_RF = cleaning.filling, measured_RF
    if filling.how in ("mean", "median") and not filling.causal:
        # The series' training part is not at hand: gaps keep what they were given, and masked values read what came before.
        filling, told_RF = filling.model_copy(update={"causal": True}), values_RF
    return fill(np.where(out_RF, put_RF, told_RF), bounds, filling), out_RF


def limits(values_RF: NDArray, bounds: NDArray, scaler: Scaler, role: Role) -> tuple[NDArray, NDArray]:
    """Lowest and highest value that is no outlier: of each column [F], or of each value [R, F]."""
    cleaning = scaler.cleaning
    if cleaning is not None and cleaning.method == "hampel":
        found = [rolling(values_RF[:, f], bounds, cleaning.steps) for f in range(values_RF.shape[1])]
        centre_RF, spread_RF = (np.stack(part, axis=1) for part in zip(*found, strict=True))
        # Where more than half of a window is one value, nothing is told: a sparse series' every other value would be out.
        spread_RF = np.where(spread_RF > 0, spread_RF * np.float32(NORMAL * cleaning.deviations), np.float32(np.inf))
        return centre_RF - spread_RF, centre_RF + spread_RF
    assert scaler.fences is not None, "z and iqr have fences"
    fence = scaler.fences[role]
    return np.asarray(fence.low, np.float32), np.asarray(fence.high, np.float32)


def rolling(values_R: NDArray, bounds: NDArray, steps: int) -> tuple[NDArray, NDArray]:
    """Median and median absolute deviation of each row's last ``steps`` rows, itself included, in its segment; the latter
    0 where fewer than FEW of them hold a value."""
    median_R, spread_R = np.zeros_like(values_R), np.zeros_like(values_R)
    if not len(values_R):
        return median_R, spread_R
    age_R = np.arange(len(values_R)) - np.repeat(bounds[:-1], np.diff(bounds))
    padded = np.concatenate([np.full(steps - 1, np.nan, values_R.dtype), values_R])
    windows_RW = np.lib.stride_tricks.sliding_window_view(padded, steps)
    back_W = np.arange(steps)[::-1]
    for rows in _runs(len(values_R), max(1, AT_A_TIME // steps)):
        window = windows_RW[rows].copy()
        young = np.flatnonzero(age_R[rows] < steps - 1)
        window[young] = np.where(back_W > age_R[rows][young, None], np.nan, window[young])
        window.sort(axis=1)
        count = steps - np.isnan(window).sum(1)
        median = _middle(window, count)
        distance = np.abs(window - median[:, None])
        distance.sort(axis=1)
        median_R[rows] = np.where(count < FEW, 0, median)
        spread_R[rows] = np.where(count < FEW, 0, _middle(distance, count))
    return median_R, spread_R


def count(segments: Segments, scaler: Scaler) -> Counts:
    """Outliers of unscaled segments by column, of measured values; where nobody tells which were, of all. Counts of other
    segments are joined by ``add``."""
    found: Counts = {}
    if scaler.cleaning is None:
        return found
    schema = segments.schema
    roles: dict[Role, NDArray] = {"target": segments.target_RC, "past": segments.past_RP}
    if scaler.fences is not None:
        roles["known"] = segments.known_RK[:, : len(schema.known)]
    for role, values_RF in roles.items():
        names: list[str] = getattr(schema, role)
        if names and names == schema.observed:
            values_RF = np.where(segments.observed_RC > 0, values_RF, np.float32(np.nan))
        if names:
            low, high = limits(values_RF, segments.bounds, scaler, role)
            outside = ((values_RF < low) | (values_RF > high)).sum(0)
            told = (~np.isnan(values_RF)).sum(0)
            found |= {name: (int(n), int(of)) for name, n, of in zip(names, outside, told, strict=True)}
    return found


def add(first: Mapping[str, tuple[int, int]], second: Mapping[str, tuple[int, int]]) -> Counts:
    """Counts of two sets of segments together."""
    pairs = {name: (first.get(name, (0, 0)), second.get(name, (0, 0))) for name in {**first, **second}}
    return {name: (one[0] + other[0], one[1] + other[1]) for name, (one, other) in pairs.items()}


def _middle(sorted_NW: NDArray, count_N: NDArray) -> NDArray:
    """Median of the first ``count`` values of each line; NaN where there are none."""
    line = np.arange(len(sorted_NW))
    middle: NDArray = (sorted_NW[line, (count_N - 1) // 2] + sorted_NW[line, count_N // 2]) / 2
    return middle


def _chunks(bounds: NDArray) -> Iterator[tuple[slice, NDArray]]:
    """Rows of some whole segments, about ``room.CHUNK_ROWS`` of them or one long segment, and these segments' bounds."""
    first = 0
    while first < len(bounds) - 1:
        end = max(first + 1, int(np.searchsorted(bounds, bounds[first] + room.CHUNK_ROWS, side="right")) - 1)
        yield slice(int(bounds[first]), int(bounds[end])), bounds[first : end + 1] - bounds[first]
        first = end


def _runs(length: int, size: int) -> Iterator[slice]:
    for first in range(0, length, size):
        yield slice(first, min(first + size, length))
