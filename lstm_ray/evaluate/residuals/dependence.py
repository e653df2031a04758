"""Whether errors follow one another: the autocorrelation of one-step residuals, and the test of Ljung & Box (1978).

The first steps of windows at stride 1 are a series of their own, of which a forecast that knew all would leave noise alone.
Legend: M windows, C targets, K lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.diagnostic import acorr_ljungbox

from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.told import Told
from lstm_ray.figure import Figure, plain
from lstm_ray.run_dir import Finding

MIN_PAIRS = 30
"""Residuals needed to speak of their correlation."""
MOST_LAGS, MOST_WINDOWS, MOST_SERIES = 60, 100_000, 200
"""Lags shown, windows that they are measured on, and series that are tested."""
CHANCE, LARGE = 0.05, 0.3
"""Of the test calling noise no noise, and the correlation from which there is advice."""


@dataclass(frozen=True)
class Dependence:
    """How residuals hang together over time."""

    lags: NDArray
    correlation_K: NDArray
    """NaN with too few pairs."""
    band: float
    """Of noise, 95 % of correlations lie so near 0."""
    tested: int
    """Series (and targets) that were tested."""
    refused: int
    """Those of them that the test says are no noise, at 5 % (with Holm's correction)."""
    test_lags: int

    @property
    def outside(self) -> int:
        return int((np.abs(self.correlation_K[np.isfinite(self.correlation_K)]) > self.band).sum())


def correlation(view: View, lag: int) -> float | None:
    """Correlation of one-step-ahead residuals ``lag`` steps apart in the same segment; None with fewer than MIN_PAIRS
    pairs or residuals that never vary."""
    [found] = _correlations(view, np.array([lag]), slice(None))
    return float(found) if np.isfinite(found) else None


def dependence(view: View) -> Dependence | None:
    """Autocorrelation up to two seasons or MOST_LAGS; None where there are too few residuals, or they never vary."""
    some = slice(MOST_WINDOWS)
    origins_M = view.origins_M[some]
    times = len(np.unique(view.segments.steps(origins_M)))
    longest = min(max(2 * view.window.season, 10), MOST_LAGS, times // 4)
    if longest < 1 or times < MIN_PAIRS:
        return None
    lags = np.arange(1, longest + 1)
    found_K = _correlations(view, lags, some)
    if not np.isfinite(found_K).any():
        return None
    tested, refused = _ljung_box(view, longest, some)
    # Series at the same time have much in common: each time counts once.
    return Dependence(lags, found_K, 1.96 / float(np.sqrt(times)), tested, refused, longest)


def told(view: View) -> Told:
    """How residuals hang together: a sentence, a picture and numbers."""
    season = view.window.season
    by_lag = {lag: correlation(view, lag) for lag in (1, season)}
    details: dict[str, Any] = {"residual_correlation": {str(lag): value for lag, value in by_lag.items()}}
    found = dependence(view)
    if found is not None:
        details["ljung_box"] = {"tested": found.tested, "refused": found.refused, "lags": found.test_lags}
    known = {lag: value for lag, value in by_lag.items() if value is not None}
    finding = _finding(known, found, view)
    return Told("", [finding] if finding else [], [figure(found)] if found else [], details=details)


def _finding(known: dict[int, float], found: Dependence | None, view: View) -> Finding | None:
    if not known:
        return None
    season = view.window.season
    said = {1: "one step apart", season: f"a season ({season} steps) apart"}
    values = " and ".join(f"{value:.2f} {said[lag]}" for lag, value in known.items())
    text = f"Residuals of one-step forecasts correlate by {values}"
    if found is not None and found.tested:
        what = "series" if len(view.deviation_C) == 1 else "series and targets"
        text += (
            f"; by Ljung-Box's test (lags to {found.test_lags}) no noise in {found.refused} of {found.tested} {what}"
        )
    newest = "a smaller window.patch" if view.normalisation == "last" else "model.normalisation: last"
    cures = {season: "a longer window.history for the season"} | {1: f"{newest} for the newest level"}
    needed = [cures[lag] for lag, value in known.items() if abs(value) >= LARGE]
    if not needed:
        return Finding(severity="info", text=f"{text}.")
    return Finding(
        severity="advice", text=f"{text}.", advice=f"Structure is left to learn: try {', and '.join(needed)}."
    )


def figure(found: Dependence) -> Figure:
    """Bars by lag, and the band of noise."""
    known = np.nan_to_num(found.correlation_K)
    top = int(np.abs(known).argmax())
    held = f"{found.outside} of {len(found.lags)} lags lie outside the band that holds 95 % of those of noise"
    ends = [0.5, len(found.lags) + 0.5]
    band = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": ends,
            "y": [-found.band] * 2,
            "line": {"width": 0},
            "showlegend": False,
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": ends,
            "y": [found.band] * 2,
            "line": {"width": 0},
            "fill": "tonexty",
            "name": "95 % of noise",
        },
    ]
    bar = {"type": "bar", "x": plain(found.lags), "y": plain(found.correlation_K), "name": "residuals"}
    return Figure(
        id="residual-autocorrelation",
        title="Autocorrelation of one-step residuals",
        caption=f"What one step's error tells of later ones: {held}; the largest is {known[top]:.2f} at lag {found.lags[top]}.",
        traces=[*band, bar],
        layout={"xaxis": {"title": {"text": "steps apart"}}, "yaxis": {"title": {"text": "correlation"}}},
    )


def _correlations(view: View, lags: NDArray, some: slice) -> NDArray:
    origins_M = view.origins_M[some]
    centred_MC = _centred(view.scores[view.policy].first_residual_MC[some].astype(np.float64))
    segment_M = view.segments.series_of(origins_M)
    found_K = np.full(len(lags), np.nan)
    for k, lag in enumerate(lags.tolist()):
        before = np.searchsorted(origins_M, origins_M - lag)
        paired = (origins_M[before] == origins_M - lag) & (segment_M[before] == segment_M)
        now, then = centred_MC[paired].ravel(), centred_MC[before[paired]].ravel()
        both = np.isfinite(now) & np.isfinite(then)
        size = float(np.sqrt((now[both] ** 2).sum() * (then[both] ** 2).sum()))
        if both.sum() >= MIN_PAIRS and size > 0:
            found_K[k] = (now[both] * then[both]).sum() / size
    return found_K


def _centred(residual_MC: NDArray) -> NDArray:
    seen = np.isfinite(residual_MC)
    mean_C = np.where(seen, residual_MC, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return residual_MC - mean_C


def _ljung_box(view: View, lags: int, some: slice) -> tuple[int, int]:
    """How many series were tested, and how many are no noise. A residual that is missing counts as the mean, which makes the
    test a little lenient."""
    origins_M, p_values = view.origins_M[some], []
    residual_MC = view.scores[view.policy].first_residual_MC[some].astype(np.float64)
    _, first = np.unique(view.segments.series_of(origins_M), return_index=True)
    for chosen in np.split(np.arange(len(origins_M)), first[1:])[:MOST_SERIES]:
        for own in _centred(residual_MC[chosen]).T:
            seen = np.isfinite(own)
            if seen.sum() >= max(MIN_PAIRS, 3 * lags) and np.ptp(own[seen]) > 0:
                filled = np.where(seen, own, 0)
                p_values.append(float(acorr_ljungbox(filled, lags=[lags])["lb_pvalue"].iloc[0]))
    ordered = np.sort(p_values)
    passes = ordered * (len(ordered) - np.arange(len(ordered))) < CHANCE
    return len(ordered), int(np.argmin(passes)) if not passes.all() else len(ordered)
