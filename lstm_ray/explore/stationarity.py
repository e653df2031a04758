"""Whether targets return to a level, to a line, or wander: two tests with opposite nulls. Knows nothing of models."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import InterpolationWarning
from statsmodels.tsa.stattools import adfuller, kpss

from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import (
    Analysis,
    Clock,
    advise,
    axis_of,
    counted,
    number,
    values_of,
    varies,
    within,
)
from lstm_ray.explore.lags import without_season
from lstm_ray.explore.seasonality import pairs

Verdict = Literal["stationary", "trend-stationary", "difference-stationary", "unclear"]
ADF_LEVEL, KPSS_LEVEL = 0.05, 0.025
"""Significance of the tests; KPSS refuses dependent series that return two to four times as often as its level says."""
MOST_POINTS, FEWEST_POINTS = 500, 30
"""What decides is how long a series was watched, not how often: a longer one is averaged, so that the whole span counts."""
MONTHS_ALIKE = 0.25
"""Years within which the seasons of the year hardly show."""
MEANING: dict[Verdict, str] = {
    "stationary": "returns to one level",
    "trend-stationary": "returns to a straight line",
    "difference-stationary": "wanders: only its changes have a level",
    "unclear": "is between the two",
}


def stationarity(
    frame: pl.DataFrame, columns: Sequence[str], season: int, clock: Clock, normalisation: str = "auto"
) -> Analysis:
    """Augmented Dickey-Fuller (1979; null: it wanders, a unit root) beside KPSS (Kwiatkowski et al., 1992; null: it returns
    to its level) of a few representative series, the average season taken out.

    Args:
        frame: the regular grid.
        normalisation: as configured: what would be changed where levels wander.

    Table: ``stationarity`` (series, column, points, averaged_steps, adf, kpss, adf_trend, kpss_trend: p-values, with a
    straight line allowed in the last two; and the verdict).
    """
    table: list[dict[str, Any]] = []
    for series, column in pairs(frame, columns):
        values_T, averaged = _shortened(values_of(frame, series, column), season)
        if len(values_T) >= FEWEST_POINTS and varies(values_T):
            found = examine(values_T)
            table.append(
                {"series": series, "column": column, "points": len(values_T), "averaged_steps": averaged, **found}
            )
    result = Analysis(tables={"stationarity": table})
    if table:
        _say(result, table, len(columns) * frame[SERIES].n_unique(), _years(frame, clock), clock, normalisation)
    return result


def examine(values_T: NDArray) -> dict[str, Any]:
    """p-values of both tests about a level and about a line, and what they say together."""
    adf, kpss_level = _adf(values_T, "c"), _kpss(values_T, "c")
    adf_trend, kpss_trend = _adf(values_T, "ct"), _kpss(values_T, "ct")
    return {
        "adf": adf,
        "kpss": kpss_level,
        "adf_trend": adf_trend,
        "kpss_trend": kpss_trend,
        "verdict": verdict(adf, kpss_level, adf_trend, kpss_trend),
    }


def verdict(adf: float, kpss_level: float, adf_trend: float, kpss_trend: float) -> Verdict:
    """What four p-values say together: a verdict needs one test to refuse its null and the other to keep its own."""
    if adf < ADF_LEVEL and kpss_level >= KPSS_LEVEL:
        return "stationary"
    if adf_trend < ADF_LEVEL and kpss_trend >= KPSS_LEVEL:
        return "trend-stationary"
    if min(adf, adf_trend) >= ADF_LEVEL and kpss_level < KPSS_LEVEL:
        return "difference-stationary"
    return "unclear"


def _adf(values_T: NDArray, regression: Literal["c", "ct"]) -> float:
    return _p_value(lambda: adfuller(values_T, regression=regression, autolag="AIC"))


def _kpss(values_T: NDArray, regression: Literal["c", "ct"]) -> float:
    """Its tables reach from 0.01 to 0.1; beyond, the p-value is one of the two."""
    found = _p_value(lambda: kpss(values_T, regression=regression, nlags="auto"))
    # A straight line without noise leaves nothing to divide by, and nothing to refuse.
    return found if np.isfinite(found) else 0.1


def _p_value(test: Callable[[], Any]) -> float:
    """The second of what a test of statsmodels returns, which newer versions give a name."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", InterpolationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        found = test()
    return float(found.pvalue if hasattr(found, "pvalue") else found[1])


def _shortened(values_T: NDArray, season: int) -> tuple[NDArray, int]:
    """The series without its season, in means of so many steps: whole seasons where it is long."""
    values_T = without_season(values_T, season)
    width = -(-len(values_T) // MOST_POINTS)
    if width > 1 and len(values_T) // (-(-width // season) * season) >= FEWEST_POINTS:
        width = -(-width // season) * season
    # The ends that are no whole stretch are the oldest steps.
    return values_T[len(values_T) % width :].reshape(-1, width).mean(axis=1), width


def _years(frame: pl.DataFrame, clock: Clock) -> float | None:
    """Years that the table spans; None where time is no calendar."""
    first, last = axis_of(frame)
    return (last - first) / clock.step / clock.unit_steps if clock.is_time else None


def _say(
    result: Analysis,
    table: list[dict[str, Any]],
    num_pairs: int,
    years: float | None,
    clock: Clock,
    normalisation: str,
) -> None:
    counts = Counter(row["verdict"] for row in table)
    commonest: Verdict = max(MEANING, key=lambda name: counts[name])
    words = ", ".join(f"{num} {name}" for name, num in counts.most_common())
    row = next(row for row in table if row["verdict"] == commonest)
    sampled = f" of {num_pairs:,}" if len(table) < num_pairs else ""
    averaged = max(int(row["averaged_steps"]) for row in table)
    of_means = f", on means of {clock.span(averaged)}" if averaged > 1 else ""
    what = counted(len(table), "series and column", "series and columns")
    text = (
        f"Stationarity of {what}{sampled}, the average season taken out{of_means}: {words}. {row['column']}"
        f"{within(row['series'])} {MEANING[commonest]}: ADF p {_p(row, 'adf')} (null: it wanders) against KPSS p "
        f"{_p(row, 'kpss')} (null: it keeps its level); with a line allowed, {_p(row, 'adf_trend')} and "
        f"{_p(row, 'kpss_trend')}."
    )
    wanders = counts["difference-stationary"] + counts["trend-stationary"]
    if 2 * wanders <= len(table):
        result.say("info", text)
        return
    text += " Later parts lie where training was not; a level that jumps once looks the same."
    yearly = years is not None and MONTHS_ALIKE < years < 2
    if yearly:
        text += f" The table spans {number(years)} years: below two, a yearly cycle looks like wandering."
    if normalisation == "none":
        result.say("advice", text, advise("model", normalisation="last"))
    elif yearly:
        result.say("info", f"{text} model.normalisation takes the level out at each origin.")
    elif commonest == "difference-stationary":
        text += " model.normalisation takes the level out at each origin; changes may be learned instead."
        result.say("advice", text, advise("model", difference=1))
    else:
        result.say("info", f"{text} model.normalisation takes the level out at each origin.")


def _p(row: dict[str, Any], test: str) -> str:
    """KPSS's p-values end at 0.01 and 0.1, where its tables do."""
    value = float(row[test])
    if test.startswith("kpss") and (value <= 0.01 or value >= 0.1):
        return "≤ 0.01" if value <= 0.01 else "≥ 0.1"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
