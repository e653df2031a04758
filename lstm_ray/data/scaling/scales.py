"""From sums of a training part to the units that columns are read in. Knows tables of series; reads no segments.

Shapes: F columns, C targets, N sampled rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.scaling.sums import Moments, Sketch
from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.schema import (
    MIN_DEVIATION,
    MIN_OWN,
    MIN_OWN_DEVIATION,
    NORMAL_QUARTILES,
    ColumnScale,
    Fence,
    Role,
    SeriesUnits,
    Units,
)
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.sections.prepare import PreprocessConfig

DIGITS = 9
"""Significant digits of training statistics: more than float32 inputs have."""
QUARTILES = (0.25, 0.5, 0.75)


def column_scale(moments: Moments) -> ColumnScale:
    """A column without values in training gets mean 0 and deviation 1, one that never varies deviation 1."""
    deviation = np.sqrt(moments.squares_F / np.maximum(moments.count_F, 1))
    constant = deviation <= MIN_DEVIATION * np.abs(moments.mean_F)
    return ColumnScale(mean=rounded(moments.mean_F, deviation), deviation=rounded(np.where(constant, 1.0, deviation)))


def rounded(values: NDArray, beside: NDArray | None = None) -> list[float]:
    """To DIGITS, so that the order in which blocks are summed leaves no trace in a run that must repeat; to those of the
    number ``beside``, where that is larger: a mean near 0 is known no better than its values are."""
    sizes = np.abs(values) if beside is None else np.maximum(np.abs(values), np.abs(beside))
    return [
        float(f"{round(float(v), _places(s)):.{DIGITS}g}") if s else 0.0 for v, s in zip(values, sizes, strict=True)
    ]


def _places(size: float) -> int:
    return DIGITS - 1 - int(np.floor(np.log10(size)))


def units_of(
    moments: Moments, quartile_3F: NDArray | None, prepare: PreprocessConfig, typical_F: NDArray | None = None
) -> Units:
    """How columns are read (preprocess.scale).

    Args:
        moments: of each column as it is learned; where all share one scale, of all of them.
        quartile_3F: of the same values, where the scale is robust; NaN of columns without any.
        typical_F: each column's own mean, or median where the scale is robust; none: what the others tell.
    """
    scale = column_scale(moments)
    zero, unit, typical = np.array(scale.mean), np.array(scale.deviation), np.array(scale.mean)
    if prepare.scale == "none":
        zero, unit = np.zeros_like(zero), np.ones_like(unit)
    elif prepare.scale == "minmax":
        held = moments.high_F > moments.low_F
        zero = np.where(held, moments.low_F, zero)
        unit = np.where(held, moments.high_F - moments.low_F, unit)
    elif prepare.scale == "robust":
        assert quartile_3F is not None, "the robust scale is made of quartiles"
        quarter, median, last = quartile_3F
        zero = typical = np.where(np.isnan(median), zero, median)
        wide = (last - quarter) / NORMAL_QUARTILES
        # Where half the values are alike, the deviation stays.
        unit = np.where(wide > MIN_DEVIATION * np.abs(zero), wide, unit)
    if typical_F is not None:
        typical = np.where(np.isnan(typical_F), typical, typical_F)
    return Units(zero=rounded(zero, unit), unit=rounded(unit), typical=rounded(typical, unit), spread=scale.deviation)


def series_units(
    series: pl.DataFrame, pooled: tuple[NDArray, NDArray], prepare: PreprocessConfig, steps: int
) -> SeriesUnits:
    """By the name of each series of which enough was measured; ``pooled`` zero and unit [C] for a target that is constant
    there."""
    scale = prepare.scale
    assert scale != "none", "the config refuses it"
    assert series[SERIES].is_unique().all(), "a block holds whole series"
    zeros, units, fit = [], [], []
    for c, (pooled_zero, pooled_unit) in enumerate(zip(*pooled, strict=True)):
        n, mean, squares, low, high = (pl.col(f"{c}{name}") for name in ("n", "mean", "squares", "low", "high"))
        deviation = (squares / n).sqrt()
        varies = deviation > MIN_OWN_DEVIATION * pl.max_horizontal(low.abs(), high.abs())
        fits = ((n >= MIN_OWN) & varies).fill_null(False)
        zero, unit = mean, deviation
        if scale == "minmax":
            zero, unit = low, high - low
        elif scale == "robust":
            wide = (pl.col(f"{c}q{QUARTILES[2]}") - pl.col(f"{c}q{QUARTILES[0]}")) / NORMAL_QUARTILES
            zero, unit = pl.col(f"{c}q{QUARTILES[1]}"), pl.when(wide > 0).then(wide).otherwise(deviation)
        zeros.append(pl.when(fits).then(zero).otherwise(float(pooled_zero)).alias(f"zero{c}"))
        units.append(pl.when(fits).then(unit).otherwise(float(pooled_unit)).alias(f"unit{c}"))
        fit.append(fits)
    numbers_of = [expression.round_sig_figs(DIGITS) for expression in (*zeros, *units)]
    told = series.sort(SERIES).filter(pl.any_horizontal(fit)).select(SERIES, *numbers_of)
    return SeriesUnits(of={name: list(numbers) for name, *numbers in told.iter_rows()}, scale=scale, steps=steps)


def transformed(moments: Moments, sketches: list[Sketch], transform: Transform) -> Moments:
    """Moments of the transformed targets."""
    columns = []
    low, high = (np.where(np.isfinite(v), v, 0.0)[None] for v in (moments.low_F, moments.high_F))
    low_C, high_C = transform.apply(low)[0], transform.apply(high)[0]
    for c, sketch in enumerate(sketches):
        points_N, weight_N = sketch.points()
        one = Transform(**{k: v[c : c + 1] if isinstance(v, list) else v for k, v in transform})
        found_N = one.apply(points_N[:, None])[:, 0].astype(np.float64)
        columns.append(Moments.weighted(found_N, weight_N, float(low_C[c]), float(high_C[c])))
    return Moments.beside(columns)


def quartiles(values_NF: NDArray, pooled: bool = False) -> NDArray:
    """[3, F] of a sample, NaN of columns without values; ``pooled``: those of all columns, said of each."""
    columns: Sequence[NDArray] = [values_NF.ravel()] * values_NF.shape[1] if pooled else list(values_NF.T)
    told = [column[~np.isnan(column)] for column in columns]
    found = [np.quantile(column, QUARTILES) if len(column) else np.full(3, np.nan) for column in told]
    return np.stack(found, axis=1) if found else np.empty((3, 0))


def fences_of(
    own: Mapping[Role, ColumnScale], quartile_3F: Mapping[Role, NDArray], prepare: PreprocessConfig
) -> dict[Role, Fence] | None:
    """Where outliers begin, in the data's own units; None where they are kept, or looked for in their neighbourhood.

    Args:
        own: the columns' own statistics.
        quartile_3F: theirs too, where the method is iqr.
    """
    if prepare.outliers == "keep" or prepare.outlier_method == "hampel":
        return None
    found: dict[Role, Fence] = {}
    for role, scale in own.items():
        mean, reach = np.array(scale.mean), prepare.outlier_deviations * np.array(scale.deviation)
        low = high = mean
        if prepare.outlier_method == "iqr":
            quarter, _, last = quartile_3F[role]
            # Where half the values are alike, the deviation stays: any other value would be an outlier.
            held = last - quarter > MIN_DEVIATION * np.abs(quarter)
            low, high = np.where(held, quarter, low), np.where(held, last, high)
            reach = np.where(held, prepare.outlier_deviations * (last - quarter), reach)
        found[role] = Fence(low=rounded(low - reach, reach), high=rounded(high + reach, reach))
    return found
