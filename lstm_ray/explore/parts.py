"""Which part of the split each row lies in, as later stages will cut it. Knows nothing of values."""

from __future__ import annotations

import polars as pl

from lstm_ray.data.split import PART, boundaries
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Clock
from lstm_ray.sections.prepare import SplitConfig


def with_parts(
    frame: pl.DataFrame,
    split: SplitConfig,
    clock: Clock,
    axis: tuple[int, int],
    *,
    whole_sequences: bool = False,
    test_start: int | None = None,
    time_zone: str | None = None,
    dealt: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The frame with a column ``part``: train, validation, test, or null in a gap between them.

    Args:
        axis: first and last time of the whole table, of which the frame may be a sample.
        whole_sequences: a series belongs, whole, to the part its first step is in.
        test_start: as for ``boundaries``.
        time_zone: of dates in the split that name none.
        dealt: ``split.deal``, where whole series are dealt: series, part.
    """
    if dealt is not None:
        return frame.join(dealt.select(SERIES, PART), on=SERIES, how="left", maintain_order="left")
    ticks = pl.col(TIME).cast(pl.Int64)
    first, last = axis
    at = ((ticks.min().over(SERIES) if whole_sequences else ticks) - first) // clock.step
    common = Axis(first, clock.step, clock.is_time, time_zone, clock.in_months)
    part = pl.lit(None, pl.String)
    for name, (start, end) in boundaries(split, (last - first) // clock.step + 1, test_start, common).items():
        part = pl.when(at.is_between(start, end, closed="left")).then(pl.lit(name)).otherwise(part)
    return frame.with_columns(part.alias(PART))
