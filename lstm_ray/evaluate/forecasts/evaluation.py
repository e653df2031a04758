"""The test part of a forecasting run: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test window once, here, after it was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.forecasts import patterns
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.figures import forecast_figures
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Scores, score
from lstm_ray.evaluate.gather import Forecaster, series_names
from lstm_ray.evaluate.skill import CONFIDENCE, Skill, skill
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

NAIVE = ("seasonal_naive", "last_value")
"""What the policy is compared to under damage: the first of these that there is."""


@dataclass(frozen=True)
class Evaluation:
    """What was learned of the chosen policy on the test part."""

    summary: str
    num_windows: int
    metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    scaled: dict[str, float | None]
    skill: float | None
    table: dict[str, Any]
    findings: list[Finding]
    figures: list[Figure]
    details: dict[str, Any] = field(default_factory=dict)
    """More for metrics.json: by horizon, by hour, by series and the like."""


def evaluate_forecast(
    config: Config, name: str, policy: Forecaster, scaler: Scaler, segments: Segments, parts: Boundaries
) -> Evaluation:
    """Score a policy and the baselines on every test window at stride 1.

    Args:
        name: where the policy comes from, such as train.

    Raises:
        InputError: no test window, or none with a measured target.
    """
    window, settings = config.window, config.evaluate
    test_M = origins(segments, parts, "test", window)
    if not len(test_M):
        raise InputError(
            f"the test part, steps {parts['test'][0]} to {parts['test'][1]}, holds no window of history "
            f"{window.history} and horizon {window.horizon}; enlarge split.test or shorten the window"
        )
    baselines = fit_baselines(segments, parts, window, scaler)
    forecasters: dict[str, Forecaster] = {"policy": policy, **baselines}
    naive = next(n for n in NAIVE if n in baselines)
    damaged = {"policy": policy, naive: baselines[naive]}
    batches = -(-len(test_M) // settings.batch)
    with progress.bar("evaluate", batches + robustness.num_measurements(settings)) as advance:
        scale = seasonal_scale(segments, parts, window.season)
        scores = score(
            forecasters,
            segments,
            test_M,
            window,
            scale,
            scaler.target_deviation,
            settings.batch,
            advance,
            lookback(scaler),
        )
        metrics = {who: found.total.metrics() for who, found in scores.items()}
        if metrics["policy"]["mae"] is None:
            raise InputError("no target was measured in the whole test part; move the split to where it was")
        curves = robustness.forecast_curves(
            damaged,
            segments,
            test_M,
            window,
            scaler,
            settings,
            config.seed,
            advance,
            Filling.of(config.preprocess, config.window),
        )
    rival = min(baselines, key=lambda who: metrics[who]["mae"] or 0.0)
    normalisation = config.model.normalisation
    view = patterns.View(scores, "policy", rival, segments, test_M, window, scaler.target_deviation, normalisation)
    gain = skill(
        scores["policy"].absolute_M,
        scores[rival].absolute_M,
        segments.steps(test_M),
        max(window.horizon, window.season),
    )
    first, summary = _against(name, rival, metrics, gain, len(test_M))
    return Evaluation(
        summary=summary,
        num_windows=len(test_M),
        metrics=metrics.pop("policy"),
        baselines=metrics,
        scaled=scores["policy"].total.scaled(scaler.target_deviation),
        skill=gain.value if gain else None,
        table=_table(name, scores, view),
        findings=[first, *_absent(baselines, config), *patterns.findings(view), *robustness.findings(curves, "policy")],
        figures=forecast_figures(view, forecasters, curves),
        details=_details(view, scaler, gain, curves),
    )


def _against(
    name: str, rival: str, metrics: dict[str, dict[str, float | None]], gain: Skill | None, num: int
) -> tuple[Finding, str]:
    """The policy against the best baseline, as a finding and as the stage's summary; just as plain when it loses."""
    mine, other, said = metrics["policy"]["mae"] or 0.0, metrics[rival]["mae"] or 0.0, rival.replace("_", " ")
    head = f"On {num:,} test windows the policy of '{name}' has a mean absolute error of {number(mine)}"
    if gain is None:
        text = f"{head}; the {said} makes no error at all."
        return Finding(severity="warning", text=text, advice=f"Use the {said}."), text
    side = "below" if gain.value >= 0 else "above"
    text = f"{head}, {percent(abs(gain.value))} {side} the {said}'s {number(other)}, the best baseline."
    if gain.interval is None:
        sure = " The test part is too short to say how sure that is."
    else:
        low, high = (percent(value) for value in gain.interval)
        verdict = "clear of zero" if gain.is_clear else "which includes zero: the difference may be luck"
        sure = f" The {percent(CONFIDENCE)} interval of that skill is {low} to {high}, {verdict}."
    if gain.value >= 0:
        advice = "" if gain.is_clear else f"Bring more test data before trusting the policy over the {said}."
        return Finding(severity="info" if gain.is_clear else "advice", text=text + sure, advice=advice), text
    advice = f"Serve the {said} instead, or train longer, with a longer window.history or several tune.trials."
    return Finding(severity="warning", text=text + sure, advice=advice), text


def _absent(baselines: dict[str, Forecaster], config: Config) -> list[Finding]:
    if "seasonal_naive" in baselines:
        return []
    window = config.window
    text = f"No seasonal naive: window.season {window.season} is longer than window.history {window.history}."
    return [Finding(severity="advice", text=text, advice="Lengthen window.history to at least a season.")]


def _table(name: str, scores: dict[str, Scores], view: patterns.View) -> dict[str, Any]:
    found = {who: score.total.metrics() for who, score in scores.items()}
    names = [metric for metric in found["policy"] if metric != "mse"]
    scaled = {who: score.total.scaled(view.deviation_C) for who, score in scores.items()}
    rows = [
        [
            f"policy ({name})" if who == "policy" else who.replace("_", " "),
            *(values.get(metric) for metric in names),
            *(scaled[who][metric] for metric in ("mse", "mae")),
        ]
        for who, values in found.items()
    ]
    best = min(range(len(rows)), key=lambda i: list(found.values())[i]["mae"] or 0.0)
    return {
        "title": "The policy beside its baselines, test part",
        "columns": ["forecaster", *names, "scaled mse", "scaled mae"],
        "rows": rows,
        "caption": f"Every test window at stride 1, {len(view.origins_M):,} in all, each seeing {view.window.history} "
        "steps. smape is in percent; scaled errors are in training deviations; mae, rmse and bias in own units.",
        "best": best,
    }


def _details(view: patterns.View, scaler: Scaler, gain: Skill | None, curves: list[robustness.Curve]) -> dict[str, Any]:
    """The finer cuts, in the data's own units unless named scaled."""
    scores, target = view.scores, view.segments.schema.target
    names, _ = series_names(view.segments)
    policy = scores["policy"]
    total = policy.by_horizon.by_channel()
    deviation = scaler.target_deviation
    found: dict[str, Any] = {
        "baselines_scaled": {n: s.total.scaled(deviation) for n, s in scores.items() if n != "policy"},
        "by_horizon": {who: found.by_horizon.rows("mae") for who, found in scores.items()},
        "by_series": {who: dict(zip(names, s.by_series.rows("mae"), strict=True)) for who, s in scores.items()},
        "by_target": {metric: dict(zip(target, total.rows(metric), strict=True)) for metric in ("mae", "rmse", "bias")},
        "residual_correlation": {str(lag): patterns.correlation(view, lag) for lag in (1, view.window.season)},
        "worst_windows": [
            {"window": view.label(i), "scaled_mae": float(policy.scaled_M[i])} for i in patterns.worst_windows(view, 5)
        ],
        "robustness": [vars(curve) for curve in curves],
        "skill": gain.value if gain else None,
        "skill_against": view.rival,
        "skill_interval": list(gain.interval) if gain and gain.interval else None,
        "num_measured_steps": int(np.sum(policy.total.sums["count"])),
    }
    if policy.by_hour is not None:
        found["by_hour"] = {who: s.by_hour.rows("mae") for who, s in scores.items() if s.by_hour is not None}
    if policy.total.has_interval:
        found["interval_nominal"] = policy.total.quantiles[-1] - policy.total.quantiles[0]
    return found
