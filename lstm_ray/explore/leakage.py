"""Inputs that know what they should not: the target under another name, its future, the clock, a series' own number.

Knows nothing of rows that repeat, which ``repeats`` looks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, number, percent, representative, values_of, varies, within
from lstm_ray.explore.gaps import without
from lstm_ray.explore.lags import MOST_COLUMNS, correlation, without_season
from lstm_ray.sections.data import DataConfig

LEAK = 0.999
"""Correlation above which an input is the target under another name."""
REPEATS = 0.99
"""A target that correlates this much with itself at a lag excuses an input that does so at the same lag."""
KNOWS = 0.95
"""Share of a one-step forecast's squared error that no honest measurement takes away."""
OWN_STEPS, INPUT_STEPS = 4, 4
"""Newest steps of the target and of the input that the one-step forecast reads."""
RISES = 0.9995
"""Rank correlation with time from which a column is a clock or a counter."""
FEWEST_ROWS, FEWEST_SERIES = 60, 5
MOST_ROWS = 20_000


def leaks(frame: pl.DataFrame, data: DataConfig, season: int, max_lag_steps: int, clock: Clock) -> Analysis:
    """Inputs that equal a target now or later, and past inputs that know its next step.

    The second is measured, for it needs no equality: a centred mean, a column dated a step late, or a difference with what
    comes next take away nearly all of what a forecast from the target's own past misses. Each target is looked at in its
    representative series.

    Args:
        frame: the regular grid.

    Table: ``leakage`` (target, input, series, knows_next: the share of the squared error).
    """
    result, table = Analysis(), []
    for target in data.target[:MOST_COLUMNS]:
        series = representative(frame, target)
        target_T = values_of(frame, series, target)
        # A target that is nothing but its season meets any input of that season again, some steps on.
        lags = min(max_lag_steps, len(target_T) // 2) if varies(without_season(target_T, season)) else 0
        for column in [*data.past, *data.known][:MOST_COLUMNS]:
            input_T = values_of(frame, series, column)
            if _says_equal(result, column, target, input_T, target_T, lags, data):
                continue
            share = knows_next(target_T, input_T, season) if column in data.past else None
            if share is None:
                continue
            table.append({"target": target, "input": column, "series": series, "knows_next": share})
            if share >= KNOWS:
                result.say(
                    "warning",
                    f"'{column}' takes away {percent(share)} of the squared error that {target}'s own past leaves, "
                    f"{clock.span(1)} ahead{within(series)}: it may hold what is measured later (a centred mean, a date "
                    "too early). If it is known in advance name it in data.known; otherwise leave it out.",
                    without(column, data),
                )
    result.tables["leakage"] = table
    return result


def knows_next(target_T: NDArray, input_T: NDArray, season: int) -> float | None:
    """Share of the squared error of a linear one-step forecast from the target's past that the input's past takes away.

    None where there is too little to fit, or where the target's own past leaves nothing.
    """
    size = len(target_T)
    back = max(season, OWN_STEPS)
    origins = np.arange(back, size - 1)
    if len(origins) < FEWEST_ROWS or not varies(input_T):
        return None
    own = [target_T[origins - k] for k in range(OWN_STEPS)] + [
        target_T[origins + 1 - season],
        target_T[origins - season],
    ]
    added = [input_T[origins - k] for k in range(INPUT_STEPS)]
    wanted = target_T[origins + 1]
    design = np.stack([np.ones(len(origins)), *own, *added], axis=1)
    rows = np.isfinite(design).all(axis=1) & np.isfinite(wanted)
    if rows.sum() < FEWEST_ROWS or not varies(wanted[rows]):
        return None
    design, wanted = design[rows], wanted[rows] - wanted[rows].mean()
    scale = design.std(axis=0)
    design = (design - design.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    before, after = (_error(design[:, :width], wanted) for width in (1 + len(own), design.shape[1]))
    return max(0.0, 1 - after / before) if before > 1e-9 * float(np.var(wanted)) else None


def clocks_and_ids(frame: pl.DataFrame, data: DataConfig) -> Analysis:
    """Inputs that only tell what time it is, or which series: later parts hold values that training never had.

    Args:
        frame: rows as they came.
    """
    result = Analysis()
    some = frame.gather_every(-(-frame.height // MOST_ROWS))
    num_series = frame[SERIES].n_unique()
    for column in [*data.past, *data.known]:
        seen = some.select(pl.col(TIME).cast(pl.Int64), value=pl.col(column)).drop_nulls()
        if seen.height < FEWEST_ROWS or seen["value"].n_unique() < FEWEST_ROWS // 2:
            continue
        rank = float(spearmanr(seen[TIME].to_numpy(), seen["value"].to_numpy()).statistic)
        if abs(rank) >= RISES:
            result.say(
                "warning",
                f"'{column}' goes {'up' if rank > 0 else 'down'} with time all the way (rank correlation {rank:.4f}): it is a "
                "clock or a counter, whose values in later parts training has never seen. Time is told by "
                "preprocess.calendar; of a counter, give its differences.",
                without(column, data),
            )
    if num_series >= FEWEST_SERIES:
        for column in [*data.past, *data.known, *data.static]:
            _say_id(result, frame, column, num_series, data)
    return result


def _say_id(result: Analysis, frame: pl.DataFrame, column: str, num_series: int, data: DataConfig) -> None:
    """A dense run of whole numbers, one for each series, is its number; a place or a size is not dense."""
    c = pl.col(column)
    by_series = frame.group_by(SERIES).agg(low=c.min(), high=c.max()).drop_nulls()
    if by_series.height < num_series or (by_series["low"] != by_series["high"]).any():
        return
    values = by_series["low"]
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    whole = bool((values == values.round(0)).all())
    if whole and values.n_unique() == num_series and high - low < 2 * num_series:
        result.say(
            "warning",
            f"'{column}' is a different whole number in each of {num_series:,} series, {number(low)} to {number(high)}: it "
            "names the series, and says nothing of one that training has not seen.",
            without(column, data),
        )


def _says_equal(
    result: Analysis, column: str, target: str, input_T: NDArray, target_T: NDArray, lags: int, data: DataConfig
) -> bool:
    for lag in range(lags + 1):
        found = correlation(input_T[: len(input_T) - lag], target_T[lag:])
        if found is None or abs(found) <= LEAK:
            continue
        own = correlation(target_T[: len(target_T) - lag], target_T[lag:])
        if lag and (own is None or abs(own) > REPEATS):
            continue
        if not lag and column in data.past:
            # It is read up to the origin, as the target is: nothing of the future is in it, and nothing new.
            text = f"'{column}' correlates {found:.4f} with '{target}' at the same step: it says the same once more."
            result.say("advice", text, without(column, data))
            return True
        what = "at the same step" if lag == 0 else f"{lag} steps later"
        result.say(
            "warning",
            f"'{column}' correlates {found:.4f} with '{target}' {what}: it is the target under another name, or holds "
            "what will not be known when a forecast is made (leakage).",
            without(column, data),
        )
        return True
    return False


def _error(design: NDArray, wanted: NDArray) -> float:
    weights: Any = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return float(np.mean((wanted - design @ weights) ** 2))
