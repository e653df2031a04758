"""How the past speaks of the present: the target's own memory, and inputs that lead it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.signal import correlate
from statsmodels.tsa.stattools import acovf, levinson_durbin

from lstm_ray.explore.analysis import Analysis, Clock, filled, named, number, representative, values_of, varies, within
from lstm_ray.figure import heatmap, lines
from lstm_ray.sections.data import DataConfig

CLEAR, GAIN = 0.2, 0.05
"""An input leads where its correlation at a lag reaches CLEAR and beats the one at lag 0 by GAIN."""
MOST_COLUMNS = 12
FEW_LINES = 3
"""Inputs that are drawn as lines; more make a matrix."""
SHORTEST = 8
"""Steps below which correlations mean nothing."""


@dataclass(frozen=True)
class Lead:
    """An input's correlation with the target so many steps later, from 0 on, the season taken out of both."""

    column: str
    correlation: NDArray

    @property
    def lag(self) -> int:
        return int(np.argmax(np.abs(self.correlation)))

    @property
    def best(self) -> float:
        return float(self.correlation[self.lag])

    @property
    def leads(self) -> bool:
        return abs(self.best) >= CLEAR and abs(self.best) - abs(float(self.correlation[0])) >= GAIN


def memory(frame: pl.DataFrame, columns: Sequence[str], max_lag_steps: int, clock: Clock) -> Analysis:
    """Autocorrelation and partial autocorrelation of each column, in its representative series, gaps bridged.

    Table: ``autocorrelation`` (series, column, autocorrelation and partial by lag, from lag 0).
    """
    result, table = Analysis(), []
    for column in columns[:MOST_COLUMNS]:
        series = representative(frame, column)
        values_T = filled(values_of(frame, series, column))
        lags = min(max_lag_steps, len(values_T) // 2 - 1)
        if len(values_T) < SHORTEST or not varies(values_T):
            result.say("info", f"'{column}'{within(series)} is too short or constant to have an autocorrelation.")
            continue
        covariance = acovf(values_T, nlag=lags, fft=True)
        own = covariance / covariance[0]
        # By hand, for statsmodels' pacf finds the covariances in quadratic time: two seconds at 17,000 steps.
        partial = levinson_durbin(covariance, nlags=lags, isacov=True)[2]
        table.append({"series": series, "column": column, "autocorrelation": own.tolist(), "partial": partial.tolist()})
        if column == columns[0]:
            noise = 1.96 / np.sqrt(len(values_T))
            inside = np.flatnonzero(np.abs(own) < noise)
            forgets = (
                f"within noise from lag {clock.span(int(inside[0]))}" if len(inside) else "never within noise here"
            )
            caption = (
                f"{column}{within(series)} correlates {own[1]:.2f} with the step before, and is {forgets}; the band "
                f"holds 95 % of noise, ±{noise:.3f}."
            )
            band = ([-noise] * (lags + 1), [noise] * (lags + 1), "95 % of noise")
            both = {"autocorrelation": own.tolist(), "partial": partial.tolist()}
            figure = lines(
                "acf", f"Memory of {column}", caption, list(range(lags + 1)), both, x_title="lag, steps", band=band
            )
            result.figures.append(figure)
            result.say("info", f"'{column}' remembers: its autocorrelation is {own[1]:.2f} at one step and {forgets}.")
    result.tables["autocorrelation"] = table
    return result


def inputs_against_target(
    frame: pl.DataFrame, data: DataConfig, season: int, max_lag_steps: int, clock: Clock
) -> Analysis:
    """Cross-correlation of past, known and the other target columns with each target; inputs that lead.

    Each target is looked at in its representative series.

    Table: ``cross_correlation`` (target, input, at_lag_0 as measured, best_lag and best with the season taken out, and
    the latter by lag).
    """
    result, table = Analysis(), []
    leads: dict[str, list[Lead]] = {}
    for target in data.target[:MOST_COLUMNS]:
        series = representative(frame, target)
        target_T = values_of(frame, series, target)
        found = []
        for column in [c for c in (*data.past, *data.known, *data.target) if c != target][:MOST_COLUMNS]:
            input_T = values_of(frame, series, column)
            lead = cross_correlation(column, input_T, target_T, season, max_lag_steps)
            if lead is None:
                continue
            now = correlation(input_T, target_T)
            found.append(lead)
            row = {"target": target, "input": column, "series": series, "at_lag_0": now, "best_lag": lead.lag}
            table.append({**row, "best": lead.best, "by_lag": lead.correlation.tolist()})
        leads[target] = found
        if target == data.target[0] and found:
            _figure(result, found, target, series)
    _say_leads(result, leads, clock)
    result.tables["cross_correlation"] = table
    return result


def correlation(x_T: NDArray, y_T: NDArray) -> float | None:
    """Pearson's, over the steps at which both have values; None where either is constant there."""
    both = np.isfinite(x_T) & np.isfinite(y_T)
    if both.sum() < SHORTEST or not (varies(x_T[both]) and varies(y_T[both])):
        return None
    return float(np.corrcoef(x_T[both], y_T[both])[0, 1])


def cross_correlation(name: str, x_T: NDArray, y_T: NDArray, season: int, max_lag_steps: int) -> Lead | None:
    """Correlation of x with y so many steps later; None where either is short or varies by its season alone."""
    lags = min(max_lag_steps, len(x_T) // 2)
    if len(x_T) < SHORTEST or not (varies(x_T) and varies(y_T)):
        return None
    x_T, y_T = without_season(x_T, season), without_season(y_T, season)
    if not (varies(x_T) and varies(y_T)):
        return None
    x_T, y_T = (x_T - x_T.mean()) / x_T.std(), (y_T - y_T.mean()) / y_T.std()
    size = len(x_T)
    sums = correlate(y_T, x_T, mode="full", method="fft")[size - 1 : size + lags]
    return Lead(name, np.clip(sums / (size - np.arange(lags + 1)), -1, 1))


def without_season(values_T: NDArray, season: int) -> NDArray:
    """The average season taken out, gaps bridged; as it is where there are no two seasons."""
    values_T = filled(values_T)
    if season < 2 or len(values_T) < 2 * season:
        return values_T
    phase = np.arange(len(values_T)) % season
    means = np.bincount(phase, weights=values_T) / np.bincount(phase)
    rest_T = values_T - means[phase]
    # What a pure season leaves is rounding, and rounding correlates with anything.
    return rest_T if rest_T.std() > 1e-9 * max(values_T.std(), 1e-300) else np.zeros_like(rest_T)


def _say_leads(result: Analysis, leads: dict[str, list[Lead]], clock: Clock) -> None:
    every = [(target, lead) for target, found in leads.items() for lead in found]
    leading = sorted((pair for pair in every if pair[1].leads), key=lambda pair: -abs(pair[1].best))
    if leading:
        words = [f"{x.column} leads {target} by {clock.span(x.lag)} ({x.best:+.2f})" for target, x in leading]
        result.say("info", f"Columns ahead of a target, the average season taken out: {named(words)}.")
    elif every:
        target, strongest = max(every, key=lambda pair: abs(pair[1].best))
        result.say(
            "info",
            f"No column leads a target: the strongest correlation, {strongest.column} with {target}, is "
            f"{number(strongest.best)} at lag {clock.span(strongest.lag)}; none is {GAIN} above its own at lag 0.",
        )


def _figure(result: Analysis, found: list[Lead], target: str, series: str) -> None:
    found = sorted(found, key=lambda lead: abs(lead.best))
    strongest = found[-1]
    lags = list(range(len(strongest.correlation)))
    caption = (
        f"Correlation of each input with {target} so many steps later, the average season taken out{within(series)}: "
        f"{strongest.column} is strongest with {strongest.best:.2f} at lag {strongest.lag}."
    )
    title, axis = f"What moves with {target}, and when", "steps the input is ahead"
    rows = {lead.column: lead.correlation.tolist() for lead in found}
    if len(found) <= FEW_LINES:
        figure = lines("cross-correlation", title, caption, lags, rows, x_title=axis, y_title="correlation")
    else:
        figure = heatmap(
            "cross-correlation", title, caption, lags, list(rows), list(rows.values()), x_title=axis, diverging=True
        )
    result.figures.append(figure)
