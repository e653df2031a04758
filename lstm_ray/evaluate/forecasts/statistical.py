"""AutoETS and Theta beside the policy, on some test windows, for each is fitted anew. Knows no files and no torch.

What a practitioner would try first, as ``statsforecast`` has it (Garza et al. 2022): exponential smoothing whose form
is chosen by the information criterion (Hyndman & Khandakar 2008), and the best of four Theta models (Fiorucci et al.
2016). A fit takes a tenth of a second, which is why not every window gets one.

Legend: M windows, L history, H horizon, C target channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.data.lags import reach
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.score import Yardstick
from lstm_ray.evaluate.forecasts.sums import forecast_sums
from lstm_ray.evaluate.gather import Forecaster, cut_out, future_rows, series_names
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.skill import CONFIDENCE, Skill, skill
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

PACKAGE = "statsforecast"
MODELS = ("AutoETS", "AutoTheta")
"""Names in ``statsforecast.models``."""
SEASONS = 7
"""Of history that each fit reads at least, where the series has as many: a policy that looks back less has learned from
training what these can only read off the history."""
COMMON_SEASON, FEWEST = 24, 20
"""A fit takes longer in proportion to a season beyond this; so many fewer windows are fitted, but not below FEWEST."""
SHOWN = ("mae", "rmse", "mase", "smape")


@dataclass
class Statistical:
    """One model of ``statsforecast``, fitted anew to the history of every window and target."""

    make: Callable[..., Any]
    horizon: int
    season: int
    steps: int
    """Of history, at most."""
    advance: Callable[[str], None]
    failed: int = 0
    """Histories that it could not be fitted to; their last value is repeated."""

    @property
    def quantiles(self) -> list[float]:
        return [0.5]

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        found = np.empty((len(origins_M), self.horizon, segments.target_RC.shape[1], 1), np.float32)
        first_M = np.maximum(segments.bounds[segments.series_of(origins_M)], origins_M - self.steps + 1)
        for m, (first, origin) in enumerate(zip(first_M, origins_M, strict=True)):
            for c in range(found.shape[2]):
                found[m, :, c, 0] = self._one(segments.target_RC[first : origin + 1, c].astype(np.float64))
            self.advance(self.make.__name__)
        return found

    def _one(self, history_L: NDArray) -> NDArray:
        # Two seasons are what a seasonal form is estimated from.
        season = self.season if len(history_L) > 2 * self.season else 1
        try:
            with np.errstate(all="ignore"):
                mean_H: NDArray = self.make(season_length=season).forecast(y=history_L, h=self.horizon)["mean"]
        except Exception:  # the package raises no narrower one; how often is told
            mean_H = np.full(self.horizon, np.nan)
        if np.isfinite(mean_H).all():
            return mean_H
        self.failed += 1
        return np.full(self.horizon, history_L[-1])


@dataclass(frozen=True)
class Beside:
    """What came of it."""

    told: Told
    summary: str = ""
    """For the end of the stage's summary; empty where nothing was fitted."""


@dataclass(frozen=True)
class _Fitted:
    """Every forecaster's errors on the same windows."""

    total: dict[str, ForecastSums]
    absolute_M: dict[str, NDArray]
    """Sum of each window's absolute errors, in the target's own unit; of several targets in training deviations."""
    unit_C: NDArray
    """These."""
    step_M: NDArray
    steps: int
    failed: dict[str, int] = field(default_factory=dict)

    def metrics(self, who: str) -> dict[str, float | None]:
        """In that unit."""
        return self.total[who].in_units_of(self.unit_C).metrics()

    @property
    def pooled(self) -> str:
        """Said after an error."""
        return " training deviations" if len(self.unit_C) > 1 else ""


def beside_statistical(
    forecasters: Mapping[str, Forecaster],
    segments: Segments,
    origins_M: NDArray,
    given: Yardstick,
    count: int,
    seed: int,
) -> Beside:
    """The policy and its baselines beside AutoETS and Theta, all on the same windows.

    Args:
        forecasters: the policy among them.
        origins_M: test windows with something to measure.
        count: of evaluate.statistical_windows.
    """
    topic = "Against the baselines"
    if not count:
        return Beside(Told(topic))
    if find_spec(PACKAGE) is None:
        text = "AutoETS and Theta were not fitted: the package 'statsforecast' is not installed."
        return Beside(Told(topic, [Finding(severity="advice", text=text, advice="pip install 'lstm-ray[baselines]'")]))
    window = given.window
    steps = max(window.history, SEASONS * window.season)
    num = affordable(count, window.season, segments.target_RC.shape[1])
    chosen_M = spread(origins_M, num, seed)
    fitted = _fit(forecasters, segments, chosen_M, given, steps)
    order = sorted(fitted.total, key=lambda who: fitted.metrics(who)["mae"] or 0.0)
    dependence = max(window.horizon, window.season)
    gains = {
        who: skill(fitted.absolute_M[POLICY], bar_M, fitted.step_M, dependence)
        for who, bar_M in fitted.absolute_M.items()
        if who != POLICY
    }
    finding, summary = _against(fitted, gains, order, fewer=num < min(count, len(origins_M)))
    details = {
        "num_windows": len(chosen_M),
        "history": steps,
        "metrics": {who: sums.metrics() for who, sums in fitted.total.items()},
        "skill": {who: gain.value if gain else None for who, gain in gains.items()},
        "skill_interval": {who: list(g.interval) if g and g.interval else None for who, g in gains.items()},
        "failed": fitted.failed,
    }
    table = _table(fitted, gains, order)
    return Beside(Told(topic, [finding], tables=[table], details={"statistical": details}), summary)


def affordable(count: int, season: int, channels: int) -> int:
    """Windows that are fitted where ``count`` were asked for: each target is a fit of its own, and long seasons take
    long. The same on every machine."""
    longer = channels * max(1, season / COMMON_SEASON)
    return min(count, max(int(count / longer), -(-FEWEST // channels)))


def spread(origins_M: NDArray, count: int, seed: int) -> NDArray:
    """So many windows, one from each of as many equal runs over series and time, at a random place in it: evenly spaced
    ones would all be at the same hour."""
    if count >= len(origins_M):
        return origins_M
    edge = np.linspace(0, len(origins_M), count + 1).astype(np.int64)
    chosen: NDArray = origins_M[np.random.default_rng([seed, count]).integers(edge[:-1], edge[1:])]
    return chosen


def _fit(
    forecasters: Mapping[str, Forecaster], segments: Segments, origins_M: NDArray, given: Yardstick, steps: int
) -> _Fitted:
    window = given.window
    cut, row_M = cut_out(segments, origins_M, max(steps, reach(window) + given.before), window.horizon)
    models = import_module(f"{PACKAGE}.models")
    with progress.bar("AutoETS and Theta", len(MODELS) * len(origins_M)) as advance:
        own = {
            name: Statistical(getattr(models, name), window.horizon, window.season, steps, advance) for name in MODELS
        }
        told = {who: one.forecast_windows(cut, row_M, given.batch) for who, one in {**forecasters, **own}.items()}
    names, _ = series_names(segments)
    series_M = np.searchsorted(names, np.asarray(cut.series, dtype=np.str_)[cut.series_of(row_M)])
    rows = future_rows(row_M, window.horizon)
    scale_MC, square_MC = given.scales(series_M)
    total, absolute_M = {}, {}
    unit_C = np.ones(1) if len(given.deviation_C) == 1 else np.asarray(given.deviation_C)
    for who, forecast_MHCQ in told.items():
        sums = forecast_sums(
            cut.target_RC[rows],
            cut.observed_RC[rows],
            forecast_MHCQ,
            {**forecasters, **own}[who].quantiles,
            scale_MC,
            {"window": (np.arange(len(row_M)), len(row_M))},
            square_MC,
        )["window"]
        total[who], absolute_M[who] = sums.total(), sums.in_units_of(unit_C).sums["absolute"].sum(axis=1)
    failed = {name: one.failed for name, one in own.items()}
    return _Fitted(total, absolute_M, unit_C, segments.steps(origins_M), steps, failed)


def _against(fitted: _Fitted, gains: Mapping[str, Skill | None], order: list[str], fewer: bool) -> tuple[Finding, str]:
    """The policy against the better of the two, as a finding and for the summary; just as plain when it loses."""
    rival = next(who for who in order if who in MODELS)
    mine, other = (fitted.metrics(who)["mae"] or 0.0 for who in (POLICY, rival))
    num, gain = len(fitted.step_M), gains[rival]
    head = f"On {num:,} test windows where AutoETS and Theta were fitted, too, to up to {fitted.steps:,} steps each"
    missed = "".join(
        f" {who} could not be fitted to {count:,} histories, whose last value it repeats."
        for who, count in fitted.failed.items()
        if count
    )
    missed += " More than these, of targets or seasons this long, would take too long." if fewer else ""
    if gain is None:
        text = f"{head}, {rival} makes no error at all.{missed}"
        return Finding(severity="warning", text=text, advice=f"Use {rival}."), f" {rival} makes no error at all."
    side = "below" if gain.value >= 0 else "above"
    said = f"{percent(abs(gain.value))} {side} {rival}'s {number(other)}{fitted.pooled}"
    text = f"{head}, the policy's mean absolute error of {number(mine)} is {said}"
    if gain.interval:
        low, high = (percent(value) for value in gain.interval)
        clear = "clear of zero" if gain.is_clear else "which includes zero: the difference may be luck"
        text += f" ({percent(CONFIDENCE)} interval of that skill {low} to {high}, {clear})."
    else:
        text += "; they are too few, or lie too near each other, to say how sure that is."
    severity = "warning" if gain.value < 0 else "info" if gain.is_clear else "advice"
    advice = f"Serve {rival} instead, or train longer." if gain.value < 0 else ""
    if severity == "advice":
        advice = f"Raise evaluate.statistical_windows, or bring more test data, before trusting it over {rival}."
    summary = f" On {num:,} of them it is {percent(abs(gain.value))} {side} {rival}, fitted anew to each."
    return Finding(severity=severity, text=text + missed, advice=advice), summary


def _table(fitted: _Fitted, gains: Mapping[str, Skill | None], order: list[str]) -> dict[str, Any]:
    metrics = {who: fitted.metrics(who) for who in order}
    rows = []
    for who in order:
        gain = gains.get(who)
        interval = f"{percent(gain.interval[0])} to {percent(gain.interval[1])}" if gain and gain.interval else None
        said = who if who in MODELS else who.replace("_", " ")
        rows.append(
            [said, *(metrics[who][name] for name in SHOWN), round(100 * gain.value, 1) if gain else None, interval]
        )
    return {
        "title": "Beside AutoETS and Theta",
        "columns": ["forecaster", "MAE", "RMSE", "MASE", "sMAPE", "policy's skill against it, %", "95 % interval"],
        "rows": rows,
        "caption": f"On {len(fitted.step_M):,} test windows spread over series and time; AutoETS and AutoTheta "
        f"(statsforecast) are fitted anew to up to {fitted.steps:,} steps before each, one target at a time. From good to "
        "bad by MAE{f', in{fitted.pooled}' if fitted.pooled else ''}; skill is the share of the other's MAE that is gone.",
        "best": order.index(POLICY),
        "mark": "chosen",
    }
