"""Seasons of the targets against the configured window: strengths, the cycles found, and what to change in the YAML."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import (
    Analysis,
    Clock,
    advise,
    named,
    number,
    representative,
    times_of,
    values_of,
    within,
)
from lstm_ray.explore.periods import Decomposition, Period, decompose, find_periods
from lstm_ray.explore.pictures import line, panels
from lstm_ray.figure import Figure
from lstm_ray.sections.prepare import WindowConfig

MOST_PAIRS = 9
"""Pairs of series and column that are decomposed: enough to see whether they agree."""
WEAK, STRONG = 0.3, 0.64
"""Seasonal strength below which a season hardly matters, and from which Hyndman's own automatic rule differences."""
SHOWN_SEASONS, SHOWN_STEPS = 30, 500
"""The newest seasons that are drawn: more of a daily curve than a month is a black bar."""
SAME = 0.05
"""Relative difference within which two periods are one."""


def seasonality(
    frame: pl.DataFrame, columns: Sequence[str], window: WindowConfig, longest_steps: int, clock: Clock
) -> Analysis:
    """STL strengths at window.season and the cycles that stand out, on a few representative series.

    Args:
        longest_steps: the longest cycle looked for, unless two seasons are longer.

    Tables: ``seasonality`` (series, column, seasonal_strength, trend_strength), ``periods`` (series, column, steps,
    share, correlation).
    """
    longest = max(longest_steps, 2 * window.season)
    strengths, periods, result = [], [], Analysis()
    totals: dict[int, float] = defaultdict(float)
    shown: tuple[str, str, Decomposition] | None = None
    for series, column in pairs(frame, columns):
        values_T = values_of(frame, series, column)
        parts = decompose(values_T, window.season)
        strengths.append(_strength_row(series, column, parts))
        if parts is not None and shown is None:
            shown = (series, column, parts)
        for period in find_periods(values_T, longest):
            periods.append({"series": series, "column": column, **vars(period)})
            # 23 steps in one series and 24 in the others are one cycle.
            known = [steps for steps in totals if abs(steps - period.steps) <= SAME * steps]
            totals[known[0] if known else period.steps] += period.share
    result.tables = {"seasonality": strengths, "periods": periods}
    if shown is not None:
        result.figures.append(_figure(frame, *shown, window.season, clock))
    _say_short(result, frame, window.season, clock)
    _say_strength(result, strengths, window.season, clock)
    ranked = sorted(totals, key=lambda steps: -totals[steps])
    examined = max(1, len(strengths))
    _say_periods(result, [Period(p, totals[p] / examined, 0.0) for p in ranked], window, clock)
    return result


def mean_strength(analysis: Analysis) -> float | None:
    """The seasonal strength over the series examined; None where none could be decomposed."""
    known = [row["seasonal_strength"] for row in analysis.tables["seasonality"] if row["seasonal_strength"] is not None]
    return float(np.mean(known)) if known else None


def pairs(frame: pl.DataFrame, columns: Sequence[str], most: int = MOST_PAIRS) -> list[tuple[str, str]]:
    """Every column's representative series first, then more series, evenly spread, up to ``most`` pairs."""
    chosen = [(representative(frame, column), column) for column in columns[:most]]
    series = frame[SERIES].unique(maintain_order=True).to_list()
    others = [(one, column) for one in series for column in columns if (one, column) not in chosen]
    room = most - len(chosen)
    if room > 0 and others:
        chosen += [
            others[i] for i in np.unique(np.linspace(0, len(others) - 1, min(room, len(others))).round().astype(int))
        ]
    return chosen


def window_advice(window: WindowConfig, season: int) -> str:
    """The YAML line for a season, with patch and history changed only where they would not fit it."""
    patch = window.patch if window.patch == 1 or _fits(window.patch, season) else season
    fields: dict[str, int] = {} if season == window.season else {"season": season}
    if patch != window.patch:
        fields["patch"] = patch
        if window.history % patch:
            fields["history"] = max(1, round(window.history / patch)) * patch
    return advise("window", **fields) if fields else ""


def _fits(patch: int, season: int) -> bool:
    return season % patch == 0 or patch % season == 0


def _strength_row(series: str, column: str, parts: Decomposition | None) -> dict[str, Any]:
    row: dict[str, Any] = {"series": series, "column": column, "seasonal_strength": None, "trend_strength": None}
    if parts is not None:
        row |= {"seasonal_strength": parts.seasonal_strength, "trend_strength": parts.trend_strength}
    return row


def _say_short(result: Analysis, frame: pl.DataFrame, season: int, clock: Clock) -> None:
    lengths = frame.group_by(SERIES, maintain_order=True).len()
    short = lengths.filter(pl.col("len") < 2 * season)
    if short.height:
        result.say(
            "advice",
            f"{short.height:,} of {lengths.height:,} series are shorter than two seasons of {clock.span(season)}: "
            f"{named(short[SERIES].to_list())}; no season can be measured in them.",
        )


def _say_strength(result: Analysis, rows: list[dict[str, Any]], season: int, clock: Clock) -> None:
    known = [row for row in rows if row["seasonal_strength"] is not None]
    if not known:
        return
    best, worst = (f(known, key=lambda row: row["seasonal_strength"]) for f in (max, min))
    ends = [f"{row['seasonal_strength']:.2f} for {row['column']}{within(row['series'])}" for row in (worst, best)]
    mean = float(np.mean([row["seasonal_strength"] for row in known]))
    trend = float(np.mean([row["trend_strength"] or 0.0 for row in known]))
    grade = "weak" if mean < WEAK else "strong" if mean >= STRONG else "moderate"
    between = f" ({' to '.join(ends)})" if len(known) > 1 else ""
    result.say(
        "info",
        f"The season of {clock.span(season)} is {grade}: strength {mean:.2f}{between}, trend strength {trend:.2f}, by "
        f"STL on {len(known)} of the series and columns.",
    )


def _say_periods(result: Analysis, found: list[Period], window: WindowConfig, clock: Clock) -> None:
    if not found:
        if window.season > 1:
            words = f"not even window.season, {clock.span(window.season)}"
            result.say("info", f"No cycle stands out of the noise, {words}.")
        return
    words = ", ".join(f"{clock.span(p.steps)} with {100 * p.share:.1f} %" for p in found[:3])
    cycles = f"The strongest cycles, with their share of the variance about a straight line, are {words}"
    strongest = found[0].steps
    agrees = any(abs(period.steps - window.season) <= SAME * window.season for period in found)
    season = window.season if agrees else strongest
    advice = window_advice(window, season)
    if not agrees:
        text = f"{cycles}; window.season is {window.season}, which is none of them."
    elif advice:
        text = f"{cycles}; patches of {window.patch} steps do not fall in step with them."
    else:
        text = f"{cycles}, in agreement with window.season."
    result.say("advice" if advice else "info", text, advice)
    beyond = [period for period in found if period.steps > window.history]
    if beyond:
        history = -(-beyond[0].steps // window.patch) * window.patch
        result.say(
            "advice",
            f"The cycle of {clock.span(beyond[0].steps)} is longer than window.history, {window.history} steps: "
            "the model never sees a whole one.",
            advise("window", history=history),
        )


def _figure(frame: pl.DataFrame, series: str, column: str, parts: Decomposition, season: int, clock: Clock) -> Figure:
    steps = min(len(parts.observed), max(SHOWN_SEASONS * season, SHOWN_STEPS))
    x = times_of(frame, series)[-steps:]
    named_parts = {"observed": parts.observed, "trend": parts.trend, "season": parts.season, "rest": parts.rest}
    cells = [(name, [line(x, values_T[-steps:], name)]) for name, values_T in named_parts.items()]
    spread = {name: float(np.std(values_T)) for name, values_T in named_parts.items()}
    caption = (
        f"STL of {column}{within(series)}, the newest {steps:,} steps, with a season of {clock.span(season)}: the "
        f"season's deviation is {number(spread['season'])}, the trend's {number(spread['trend'])} and the rest's "
        f"{number(spread['rest'])}; seasonal strength {number(parts.seasonal_strength)}, trend strength "
        f"{number(parts.trend_strength)}."
    )
    return panels("stl", f"Trend, season and rest of {column}", caption, cells)
