"""Values that stand still: constant columns and flat lines. Knows nothing of spikes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, counted, named, number, when, within
from lstm_ray.explore.gaps import without
from lstm_ray.sections.data import DataConfig

SHORTEST_FLAT = 8
MOSTLY_ONE = 0.5
"""Share of one value from which standing still is a column's nature, as dry hours are of rain."""
KEPT = 10


def flat_lines(frame: pl.DataFrame, columns: Sequence[str], data: DataConfig, season: int, clock: Clock) -> Analysis:
    """Columns of one value, and runs of one value over a season or longer.

    Args:
        frame: the regular grid.

    Tables: ``commonest`` (column, value, share), ``flat_lines`` (the longest runs of each column: series, value, start,
    steps).
    """
    result, commonest, runs = Analysis(), [], []
    longest: list[tuple[dict[str, Any], int]] = []
    for column in columns:
        seen = frame.select(SERIES, TIME, value=pl.col(column))
        counts = seen["value"].drop_nulls().value_counts().sort("count", "value", descending=True)
        if counts.is_empty():
            continue
        value, count = counts.row(0)
        share = count / counts["count"].sum()
        commonest.append({"column": column, "value": value, "share": share})
        if share == 1:
            text = f"'{column}' is constant: every value is {number(value)}. It teaches nothing."
            result.say("warning", text, without(column, data))
            continue
        found = _runs(seen, max(SHORTEST_FLAT, season))
        runs += [{"column": column, **run} for run in found.head(KEPT).to_dicts()]
        if found.height and share < MOSTLY_ONE:
            longest.append(({"column": column, **found.row(0, named=True)}, found.height))
    result.tables = {"commonest": commonest, "flat_lines": runs}
    for is_target in (True, False):
        _say(result, [pair for pair in longest if (pair[0]["column"] in data.target) == is_target], is_target, clock)
    return result


def _runs(seen: pl.DataFrame, shortest: int) -> pl.DataFrame:
    """Runs of one value, longest first: series, value, start, steps."""
    runs = seen.with_columns(run=pl.col("value").rle_id().over(SERIES)).drop_nulls("value")
    runs = runs.group_by(SERIES, "run").agg(value=pl.col("value").first(), start=pl.col(TIME).min(), steps=pl.len())
    long = runs.filter(pl.col("steps") >= shortest).drop("run")
    return long.sort("steps", SERIES, "start", descending=[True, False, False])


def _say(result: Analysis, longest: list[tuple[dict[str, Any], int]], is_target: bool, clock: Clock) -> None:
    if not longest:
        return
    longest = sorted(longest, key=lambda pair: -pair[0]["steps"])
    words = [f"{run['column']} {counted(num, 'time')}" for run, num in longest]
    run = longest[0][0]
    result.say(
        "warning" if is_target else "info",
        f"{'Targets' if is_target else 'Inputs'} stand still for a season or longer: {named(words)}; the longest, "
        f"{run['column']} at {number(run['value'])} for {clock.span(run['steps'])}, starts at {when(run['start'], clock)}"
        f"{within(run['series'])}. A stuck sensor or filled gap looks like this.",
    )
