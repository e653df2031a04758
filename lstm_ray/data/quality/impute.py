"""Filling what is missing in arrays. NumPy alone, so that a served policy fills exactly as training did.

Arrays are flat, segments back to back; no value ever crosses a segment's bounds. The work grows with what is missing, and
no loop runs over series. Shapes: R rows, F columns, S segments, M missing values, G gaps (runs of them in a segment).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lstm_ray.data.quality.ranks import medians, running
from lstm_ray.sections.prepare import PreprocessConfig, WindowConfig

SEASONS = 3
"""Seasons before a gap, at most, in which its step is looked for where earlier steps are not all at hand."""


class Filling(BaseModel):
    """How missing values are replaced (``preprocess.impute``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["forward", "linear", "seasonal", "mean", "median", "zero", "constant"] = "forward"
    causal: bool = True
    season: int = 1
    value: float = 0.0

    @classmethod
    def of(cls, prepare: PreprocessConfig, window: WindowConfig) -> Filling:
        return cls(how=prepare.impute, causal=prepare.causal, season=window.season, value=prepare.impute_value)

    def reach(self, max_gap: int) -> int | None:
        """Steps before some rows that may decide what is filled into them, where gaps are at most ``max_gap`` long; None:
        all that there are."""
        if self.how in ("mean", "median"):
            return None
        if self.how in ("zero", "constant"):
            return 0
        return self.season * (-(-max_gap // self.season) + SEASONS) if self.how == "seasonal" else max_gap + 1


FORWARD = Filling()


def fill(
    values_RF: NDArray,
    bounds: NDArray,
    filling: Filling,
    *,
    train_R: NDArray | None = None,
    series: NDArray | None = None,
) -> NDArray:
    """Replace NaN by the rule; what no rule reaches, such as steps before any value, stays NaN.

    Measured values are never changed. Causal rules look at earlier rows of the same segment alone.

    Args:
        values_RF: floats [R, F] or [R]; returned as it is where nothing is missing, else as a new array.
        bounds: int64 [S + 1]: the rows of segment s are ``bounds[s]:bounds[s + 1]``.
        train_R: rows of the training part, which alone tell means and medians that are not causal; None: all.
        series: bounds of the series that segments were cut from, for the same; None: each segment is its own.
    """
    if values_RF.ndim == 2:
        columns = [
            fill(values_RF[:, f], bounds, filling, train_R=train_R, series=series) for f in range(values_RF.shape[1])
        ]
        return np.stack(columns, axis=1) if columns else values_RF
    missing_R = np.isnan(values_RF)
    if not missing_R.any():
        return values_RF
    gaps = _gaps(missing_R, bounds)
    if filling.how in ("mean", "median") and not filling.causal:
        wide = bounds if series is None else series
        told_R = ~missing_R if train_R is None else ~missing_R & train_R
        found_M = _of_series(values_RF, told_R, wide, filling.how)[np.searchsorted(wide, gaps.row_M, side="right") - 1]
    else:
        found_M = RULES[filling.how](values_RF, missing_R, gaps, bounds, filling)
    filled: NDArray = values_RF.copy()
    filled[gaps.row_M] = found_M
    return filled


def forward_fill(values_TF: NDArray) -> NDArray:
    """Replace NaN by the last value before it in the same column; what comes before any value stays NaN."""
    return fill(values_TF, np.array([0, len(values_TF)]), FORWARD)


def fill_constant(values_R: NDArray, bounds: NDArray) -> NDArray:
    """A column that is constant in each series: the value before, and before any value the first one."""
    before_R = fill(values_R, bounds, FORWARD)
    return fill(before_R[::-1], bounds[-1] - bounds[::-1], FORWARD)[::-1]


@dataclass(frozen=True)
class _Gaps:
    row_M: NDArray
    of_M: NDArray
    """Gap of each missing value."""
    first_G: NDArray
    end_G: NDArray
    lower_G: NDArray
    """First row of the gap's segment."""
    upper_G: NDArray


def _gaps(missing_R: NDArray, bounds: NDArray) -> _Gaps:
    row_M = np.flatnonzero(missing_R)
    segment_M = np.searchsorted(bounds, row_M, side="right") - 1
    starts_M = np.ones(len(row_M), bool)
    starts_M[1:] = (np.diff(row_M) > 1) | (np.diff(segment_M) > 0)
    first = np.flatnonzero(starts_M)
    segment_G = segment_M[first]
    end_G = row_M[np.append(first[1:], len(row_M)) - 1] + 1
    return _Gaps(row_M, np.cumsum(starts_M) - 1, row_M[first], end_G, bounds[segment_G], bounds[segment_G + 1])


Rule = Callable[[NDArray, NDArray, _Gaps, NDArray, Filling], NDArray]
"""Values, what is missing in them, the gaps, bounds and the filling -> what goes into each missing value, [M]."""


def _forward(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    before_G = np.where(gaps.first_G > gaps.lower_G, values_R[gaps.first_G - 1], np.nan)
    return before_G[gaps.of_M]


def _linear(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    """A line between the neighbours; after the last value, that value."""
    before_M = _forward(values_R, missing_R, gaps, bounds, filling)
    after_G = np.where(gaps.end_G < gaps.upper_G, values_R[np.minimum(gaps.end_G, len(values_R) - 1)], np.nan)
    width_G = gaps.end_G - gaps.first_G + 1
    share_M = (gaps.row_M - gaps.first_G[gaps.of_M] + 1) / width_G[gaps.of_M]
    rise_M = after_G[gaps.of_M] - before_M
    return before_M + np.where(np.isnan(rise_M), 0, rise_M * share_M)


def _constant(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    return np.full(len(gaps.row_M), filling.value if filling.how == "constant" else 0.0)


def _seasonal(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    """The value one season (two, ...) before; where not causal, its mean with that after. Without either, the last value."""
    sources = [_seasons_before(missing_R, gaps.row_M, bounds, filling.season)]
    if not filling.causal:
        last = len(values_R) - 1
        mirrored = _seasons_before(missing_R[::-1], last - gaps.row_M[::-1], last + 1 - bounds[::-1], filling.season)[
            ::-1
        ]
        sources.append(np.where(mirrored >= 0, last - mirrored, -1))
    told = np.stack([np.where(source >= 0, values_R[source], np.nan) for source in sources])
    count_M = (~np.isnan(told)).sum(0)
    mean_M = np.nansum(told, axis=0) / np.maximum(count_M, 1)
    return np.where(count_M > 0, mean_M, _forward(values_R, missing_R, gaps, bounds, filling))


def _seasons_before(missing_R: NDArray, row_M: NDArray, bounds: NDArray, season: int) -> NDArray:
    """Row of the newest measured value whole seasons before each missing one in its segment, [M]; -1: there is none.

    Segments are laid out as tables with a season in each line, so that the newest value above is an accumulated maximum.
    """
    segment_M = np.searchsorted(bounds, row_M, side="right") - 1
    lengths = np.diff(bounds)
    used = np.unique(segment_M)
    used = used[lengths[used] > season]
    source_M = np.full(len(row_M), -1)
    if not len(used):
        return source_M
    lines = -(-lengths[used] // season)
    # 7 rows of a segment from row 20 on, laid out from place 48 on: a row's place is the row plus 28.
    shift = np.zeros(len(lengths), np.int64)
    shift[used] = (np.cumsum(lines) - lines) * season - bounds[used]
    row = np.repeat(bounds[used] - np.cumsum(lengths[used]) + lengths[used], lengths[used]) + np.arange(
        lengths[used].sum()
    )
    table = np.full(int(lines.sum()) * season, -1)
    table[row + np.repeat(shift[used], lengths[used])] = np.where(missing_R[row], -1, row)
    newest = np.maximum.accumulate(table.reshape(-1, season), axis=0).ravel()
    long_M = lengths[segment_M] > season
    found = newest[(row_M + shift[segment_M])[long_M]]
    # What lies before the segment belongs to another one.
    source_M[long_M] = np.where(found >= bounds[segment_M[long_M]], found, -1)
    return source_M


def _mean_before(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    same_G = np.append(False, gaps.lower_G[1:] == gaps.lower_G[:-1])
    start_G = np.where(same_G, np.append(0, gaps.end_G[:-1]), gaps.lower_G)
    count_G = gaps.first_G - start_G
    ends = np.stack([start_G, gaps.first_G], axis=1).ravel()
    sum_G = np.where(count_G > 0, np.add.reduceat(values_R.astype(np.float64), ends)[::2], 0.0)
    total_G, number_G = running(sum_G, ~same_G), running(count_G.astype(np.float64), ~same_G)
    return np.where(number_G > 0, total_G / np.maximum(number_G, 1), np.nan)[gaps.of_M]


def _median_before(values_R: NDArray, missing_R: NDArray, gaps: _Gaps, bounds: NDArray, filling: Filling) -> NDArray:
    place = np.append(0, np.cumsum(~missing_R))
    return medians(values_R[~missing_R], place[gaps.lower_G], place[gaps.first_G])[gaps.of_M]


def _of_series(values_R: NDArray, told_R: NDArray, series: NDArray, how: str) -> NDArray:
    """Mean or median of what is told in each series; NaN where nothing is."""
    place = np.append(0, np.cumsum(told_R))[series]
    told, low, high = values_R[told_R].astype(np.float64), place[:-1], place[1:]
    if how == "median":
        return medians(told, low, high)
    found = np.full(len(low), np.nan)
    some = high > low
    if some.any():
        found[some] = np.add.reduceat(told, low[some]) / (high - low)[some]
    return found


RULES: dict[str, Rule] = {
    "forward": _forward,
    "linear": _linear,
    "seasonal": _seasonal,
    "mean": _mean_before,
    "median": _median_before,
    "zero": _constant,
    "constant": _constant,
}
"""By ``preprocess.impute``."""
