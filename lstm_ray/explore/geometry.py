"""A window, a season and a preparation that fit a table, each with its reason. Knows nothing of which column means what.

What is measured is said as measured; what is habit (a week of history) is said as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.data.timeline.frequency import MICROSECONDS
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import CLIPPED, Clock, counted, number, percent, values_of
from lstm_ray.explore.periods import decompose, find_periods, without_spikes
from lstm_ray.explore.seasonality import SAME, STRONG, WEAK, pairs
from lstm_ray.sections.prepare import PreprocessConfig, SplitConfig

MOST_EXAMINED = 5
SEASONS_SEEN = 7
"""Seasons of history where there is room: a week of days."""
FEWEST_SEASONS, FEWEST_STRONG = 5, 3
"""Seasons below which a series does not show whether a habitual one is there, and from which a strong one shows."""
PATCHES_SEEN = 4
"""Patches that a history holds at least, where a season is read as one."""
LONGEST_PATCH = 48
MOST_HISTORY, MOST_HORIZON = 1440, 168
"""Steps beyond which a window costs more than it tells: a day of minutes to look back on, a week of hours ahead."""
SKEWED, TENFOLD = 2.0, 10.0
PART_OF_SERIES = 0.3
"""Share of a typical series that a window takes at most, so that training has many."""


@dataclass
class Geometry:
    """Fields of the sections with their reasons: ``fields[section][field] = (value, reason)``."""

    fields: dict[str, dict[str, tuple[Any, str]]] = field(default_factory=lambda: defaultdict(dict))
    unsure: list[str] = field(default_factory=list)

    def set(self, section: str, name: str, value: Any, reason: str) -> None:
        self.fields[section][name] = (value, reason)


def of_forecast(frame: pl.DataFrame, targets: Sequence[str], clock: Clock, *, is_whole: bool = True) -> Geometry:
    """Season, window and preparation for forecasts of some columns.

    Args:
        frame: the regular grid.
        is_whole: it is all there is, and no sample of it.
    """
    found, axis = Geometry(), _axis_steps(frame, clock)
    season, reason = season_of(frame, targets, clock, found)
    _prepare(found, frame, targets, season)
    length = _typical_length(frame, targets, found.fields["preprocess"]["max_gap_steps"][0])
    split = SplitConfig()
    assert isinstance(split.train, float)
    assert isinstance(split.validation, float)
    room = max(2, min(int(PART_OF_SERIES * length), int(split.validation * axis) - 1))
    horizon = season if 1 < season <= min(room // 2, MOST_HORIZON) else max(1, min(12, room // 2))
    whole = f"one season of {clock.span(season)}" if horizon == season else f"of a season of {clock.span(season)}"
    if season > MOST_HORIZON:
        horizon = max(1, min(season // 24, room // 2))
    elif season == 1:
        whole = f"there is room in {clock.span(length)} of a series"
    history, patch = window_of(season, max(1, int(PART_OF_SERIES * length) - horizon))
    if season > MOST_HORIZON and history < SEASONS_SEEN * season:
        coarser = "a longer data.frequency with data.irregular: resample sees further at less cost"
        found.unsure.append(f"window.history is short of {SEASONS_SEEN} seasons of {clock.span(season)}: {coarser}")
    seasons = f", {number(history / season)} seasons" if season > 1 else ""
    found.set("window", "history", history, f"{clock.span(history)}{seasons}; a habit, try others")
    found.set("window", "horizon", horizon, f"{whole}: set it to what you need")
    found.set("window", "patch", patch, f"{history // patch} LSTM steps read the history")
    found.set("window", "season", season, reason)
    found.unsure.append(f"window.horizon is {horizon}: how far ahead you need to see, no table tells")
    parts = [round(axis * share) for share in (split.train, split.validation)]
    rest = f"{parts[0]:,} steps, {parts[1]:,} to choose by and {axis - sum(parts):,} to test on"
    rest = rest if is_whole else "of the time, the oldest"
    found.set("split", "train", split.train, rest)
    found.set("split", "validation", split.validation, "in order of time, nothing shuffled")
    return found


def of_sequences(frame: pl.DataFrame, inputs: Sequence[str], clock: Clock, *, has_time: bool, steps: bool) -> Geometry:
    """Window, preparation and split for labels.

    Args:
        has_time: the table has times; without, each sequence starts at 0.
        steps: each step has a label, not the whole sequence.
    """
    found, axis = Geometry(), _axis_steps(frame, clock)
    lengths = frame.group_by(SERIES).len()["len"]
    length = int(lengths.median())  # type: ignore[arg-type]
    if steps:
        season, reason = season_of(frame, inputs, clock, found)
        history = max(1, min(season, int(PART_OF_SERIES * length)))
        found.set(
            "window",
            "history",
            history,
            f"{clock.span(history)} before the first label that is told; a habit, try others",
        )
        found.set("window", "patch", 1, "a step is told from itself and those before it, never from later ones")
        found.set("window", "season", season, reason)
    else:
        patch = max(1, round(length / 64))
        history = max(patch, length // patch * patch)
        found.set("window", "history", history, f"a sequence has {clock.span(length)} at the median")
        found.set("window", "patch", patch, f"about {-(-length // patch)} LSTM steps read a sequence")
        found.set("window", "season", max(1, min(24, length)), "no season is looked for in labelled sequences")
    _prepare(found, frame, inputs, found.fields["window"]["season"][0], targets=False)
    if not steps and axis < 4 * int(lengths.max()):  # type: ignore[arg-type]
        found.set("split", "by", "group", "all sequences lie at the same time, so whole ones are dealt")
        if has_time:
            found.unsure.append("split.by is group, for all sequences lie at about the same time")
    else:
        split = SplitConfig()
        found.set("split", "train", split.train, f"{axis:,} steps in order of time; a sequence lies where it starts")
        found.set("split", "validation", split.validation, "nothing is shuffled in time")
    return found


def season_of(frame: pl.DataFrame, columns: Sequence[str], clock: Clock, found: Geometry) -> tuple[int, str]:
    """The season that some series show, by periodogram and autocorrelation, with its strength by STL; or a habit."""
    usual = _usual_season(clock)
    totals: dict[int, float] = defaultdict(float)
    examined = pairs(frame, columns, MOST_EXAMINED)
    for series, column in examined:
        values_T = values_of(frame, series, column)
        longest = min(len(values_T) // 6, max(60, SEASONS_SEEN * usual))
        for period in find_periods(values_T, longest):
            known = [steps for steps in totals if abs(steps - period.steps) <= SAME * steps]
            totals[known[0] if known else period.steps] += period.share / len(examined)
    season = max(totals, key=lambda steps: totals[steps], default=0)
    of = f"in {counted(len(examined), 'series', 'series')} looked at"
    if season:
        # A slow drift of days shows as a long cycle beside the daily one that people plan by.
        near = [
            steps for steps in totals if abs(steps - usual) <= SAME * usual and totals[steps] > 0.3 * totals[season]
        ]
        season = usual if near else season
    length = int(frame.group_by(SERIES).len()["len"].median())  # type: ignore[arg-type]
    if season != usual and usual * FEWEST_SEASONS > length:
        few = _strength(frame, examined, usual) if usual * FEWEST_STRONG <= length else None
        if few is None or few < STRONG:
            usual = 1
    strengths = {steps: _strength(frame, examined, steps) for steps in {season, usual} if steps > 1}
    if season > 1 and strengths[season] is not None:
        return season, f"{clock.span(season)}: strength {strengths[season]:.2f} {of}"
    if usual > 1 and (strengths.get(usual) or 0.0) >= WEAK:
        return (
            usual,
            f"{clock.span(usual)}, by its strength {strengths[usual]:.2f} {of}; no cycle stands out of the noise",
        )
    fallback = usual
    found.unsure.append(f"window.season is {fallback}: no cycle stands out {of}")
    return fallback, f"{clock.span(fallback)}, by habit: no cycle stands out {of}"


def window_of(season: int, room: int) -> tuple[int, int]:
    """History and patch, in steps: seven seasons as there is room, read a season (or a part of it) at a time."""
    room = min(room, MOST_HISTORY)
    season = max(1, min(season, room))
    if season == 1:
        history = max(1, min(48, room))
        return history, 1
    seasons = max(1, min(SEASONS_SEEN, room // season))
    history = seasons * season
    parts = [patch for patch in range(1, min(season, LONGEST_PATCH) + 1) if season % patch == 0]
    patch = max(p for p in parts if history // p >= PATCHES_SEEN or p == 1)
    return history, patch


def _strength(frame: pl.DataFrame, examined: Sequence[tuple[str, str]], season: int) -> float | None:
    parts = [decompose(values_of(frame, series, column), season) for series, column in examined]
    known = [part.seasonal_strength for part in parts if part is not None and part.seasonal_strength is not None]
    return float(np.mean(known)) if known else None


def _usual_season(clock: Clock) -> int:
    """What people plan by: a day of shorter steps, a week of days, a year of longer ones."""
    day = MICROSECONDS["d"]
    if clock.in_months:
        return max(1, 12 // clock.step)
    if not clock.is_time:
        return 1
    if clock.step < day:
        return max(1, round(day / clock.step))
    return 7 if clock.step < 7 * day else 52 if clock.step < 28 * day else 1


def _axis_steps(frame: pl.DataFrame, clock: Clock) -> int:
    ticks = frame["time"].cast(pl.Int64)
    return (int(ticks.max()) - int(ticks.min())) // clock.step + 1  # type: ignore[arg-type]


def _typical_length(frame: pl.DataFrame, columns: Sequence[str], most: int) -> int:
    """Length of the segments that half of all steps lie in, or in longer ones; longer gaps than ``most`` cut series."""
    missing = pl.any_horizontal(pl.col(c).is_null() for c in columns)
    runs = frame.select(SERIES, missing=missing, run=pl.struct(SERIES, missing.alias("_missing")).rle_id())
    cuts = pl.col("missing") & (pl.len().over("run") > most)
    marked = runs.with_columns(cut=cuts).with_columns(part=pl.struct(SERIES, "cut").rle_id())
    lengths = marked.filter(~pl.col("cut")).group_by("part").len()["len"].sort()
    at = (lengths.cum_sum() * 2 >= lengths.sum()).arg_max()
    return int(lengths[at]) if at is not None else 1


def _prepare(found: Geometry, frame: pl.DataFrame, columns: Sequence[str], season: int, targets: bool = True) -> None:
    """Gaps that are worth filling, far values, and how targets are learned."""
    longest = 0
    for column in columns:
        runs = frame.select(
            SERIES, missing=pl.col(column).is_null(), run=pl.col(column).is_null().rle_id().over(SERIES)
        )
        counts = runs.filter("missing").group_by(SERIES, "run").len()["len"]
        longest = max(longest, int(counts.max() or 0))  # type: ignore[arg-type]
    usual = PreprocessConfig().max_gap_steps
    most = max(1, min(longest, max(season, usual))) if longest else usual
    words = (
        f"the longest run of missing steps is {longest:,}; longer ones cut a series"
        if longest
        else "nothing is missing"
    )
    found.set("preprocess", "max_gap_steps", most, words)
    far = {}
    for column in columns:
        c = pl.col(column)
        # Clipping acts on distances from the mean of all series, which are large where series differ in size.
        pooled, own = ((c - mean).abs() > CLIPPED * spread for mean, spread in _scales(c))
        share = frame.select((pooled & own).mean()).item()
        if share:
            far[column] = float(share)
    if far:
        worst = max(far, key=lambda column: far[column])
        reason = f"{percent(far[worst])} of {worst} lies over {number(CLIPPED)} deviations from its mean"
        found.set("preprocess", "outliers", "clip", reason)
    if targets:
        found.set("preprocess", "transform", *_transform(frame, columns))


def _transform(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[str, str]:
    low = min(float(frame[column].min() or 0.0) for column in columns)  # type: ignore[arg-type]
    if low < 0:
        return "auto", f"values below 0 (least {number(low)}) have no logarithm"
    skewed, sizes = {}, 1.0
    for column in columns:
        c = pl.col(column)
        _, (mean, spread) = _scales(c)
        # A few spikes make no skewed distribution. They are looked for in all series, one after the other.
        seen = frame.select(SERIES, column).drop_nulls()
        calm = seen.with_columns(pl.Series(column, without_spikes(seen[column].to_numpy())))
        skewed[column] = float(calm.select(((c - mean) / spread).fill_nan(None)).to_series().skew() or 0.0)
        means = frame.group_by(SERIES).agg(c.mean())[column].drop_nulls()
        sizes = max(sizes, float(means.max()) / float(means.min())) if means.min() else sizes  # type: ignore[arg-type]
    worst = max(skewed, key=lambda column: skewed[column])
    if sizes >= TENFOLD:
        return "auto", f"the largest series is {number(sizes)} times the smallest: logarithms, if all are above 0"
    if skewed[worst] > SKEWED:
        return "log1p", f"never below 0, and {worst} is skewed ({skewed[worst]:.1f})"
    return "auto", f"skewness is {round(skewed[worst], 1) + 0:.1f} at most, and series are alike in size"


def _scales(column: pl.Expr) -> tuple[tuple[pl.Expr, pl.Expr], tuple[pl.Expr, pl.Expr]]:
    """Mean and deviation of all series together, and of each its own."""
    return (column.mean(), column.std()), (column.mean().over(SERIES), column.std().over(SERIES))
