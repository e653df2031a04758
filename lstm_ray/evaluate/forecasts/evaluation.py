"""The test part of a forecasting run: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test window once, here, after it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

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
from lstm_ray.evaluate.forecasts.figures import accuracy_figures, error_figures
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import POLICY, Scores, Yardstick, score
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, series_names
from lstm_ray.evaluate.skill import CONFIDENCE, Skill, skill
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

NAIVE = ("seasonal_naive", "last_value")
"""What the policy is compared to under damage: the first of these that there is."""


Scoring = Callable[..., dict[str, Scores]]
"""With the signature of ``score``: in this process, or shared by several."""


def evaluate_forecast(
    config: Config,
    name: str,
    policy: Forecaster,
    scaler: Scaler,
    segments: Segments,
    parts: Boundaries,
    *,
    score_with: Scoring = score,
    out: Path | None = None,
) -> Evaluation:
    """Score a policy and the baselines on every test window at stride 1.

    Args:
        name: where the policy comes from, such as train.
        out: Parquet file for every forecast (``predictions``).

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
    forecasters: dict[str, Forecaster] = {POLICY: policy, **baselines}
    naive = next(n for n in NAIVE if n in baselines)
    batches = -(-len(test_M) // settings.batch)
    deviation_C = scaler.target_deviation
    given = Yardstick(
        window, seasonal_scale(segments, parts, window.season), deviation_C, settings.batch, lookback(scaler)
    )
    with progress.bar("evaluate", batches + robustness.num_measurements(settings)) as advance:
        scores = score_with(forecasters, segments, test_M, given, advance, out)
        metrics = {who: found.total.metrics() for who, found in scores.items()}
        if metrics[POLICY]["mae"] is None:
            raise InputError("no target was measured in the whole test part; move the split to where it was")
        curves = robustness.forecast_curves(
            {POLICY: policy, naive: baselines[naive]},
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
    view = View(scores, POLICY, rival, segments, test_M, window, deviation_C, config.model.normalisation)
    steps = max(window.horizon, window.season)
    gain = skill(scores[POLICY].absolute_M, scores[rival].absolute_M, segments.steps(test_M), steps)
    first, summary = _against(name, rival, metrics, gain, len(test_M))
    compared = Told(
        "Against the baselines",
        [first, *_absent(baselines, config)],
        accuracy_figures(view, forecasters),
        [_table(name, scores, view)],
        _skill_details(view, gain),
    )
    errs = Told("Where it errs", patterns.findings(view), error_figures(view, forecasters), details=_details(view))
    return Evaluation(
        summary=summary,
        num_windows=len(test_M),
        metrics=metrics.pop(POLICY),
        baselines=metrics,
        scaled=scores[POLICY].total.scaled(deviation_C),
        skill=gain.value if gain else None,
        told=[compared, errs, robustness.told(curves, POLICY)],
        cases=_cases(view),
    )


def _cases(view: View) -> pa.Table:
    """Each window's mean absolute error, in the data's own units, by forecaster; null where nothing was measured."""
    origins_M, segments = view.origins_M, view.segments
    columns = {
        "series_id": pa.array(np.asarray(segments.series, dtype=np.str_)[segments.series_of(origins_M)]),
        "time": pa.array(segments.times(origins_M)),
    }
    for who, found in view.scores.items():
        nothing = found.count_M == 0
        columns[who] = pa.array(found.absolute_M / np.where(nothing, 1, found.count_M), mask=nothing)
    return pa.table(columns)


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


def _table(name: str, scores: dict[str, Scores], view: View) -> dict[str, Any]:
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


def _skill_details(view: View, gain: Skill | None) -> dict[str, Any]:
    others = {who: found for who, found in view.scores.items() if who != view.policy}
    return {
        "baselines_scaled": {who: found.total.scaled(view.deviation_C) for who, found in others.items()},
        "skill": gain.value if gain else None,
        "skill_against": view.rival,
        "skill_interval": list(gain.interval) if gain and gain.interval else None,
    }


def _details(view: View) -> dict[str, Any]:
    """The finer cuts, in the data's own units unless named scaled."""
    scores, target = view.scores, view.segments.schema.target
    names, _ = series_names(view.segments)
    policy = scores[view.policy]
    total = policy.by["horizon"].by_channel()
    found: dict[str, Any] = {
        "by_horizon": {who: found.by["horizon"].rows("mae") for who, found in scores.items()},
        "by_series": {who: dict(zip(names, s.by["series"].rows("mae"), strict=True)) for who, s in scores.items()},
        "by_target": {metric: dict(zip(target, total.rows(metric), strict=True)) for metric in ("mae", "rmse", "bias")},
        "residual_correlation": {str(lag): patterns.correlation(view, lag) for lag in (1, view.window.season)},
        "worst_windows": [
            {"window": view.label(i), "scaled_mae": float(policy.scaled_M[i])} for i in patterns.worst_windows(view, 5)
        ],
        "num_measured_steps": int(np.sum(policy.total.sums["count"])),
    }
    if "hour" in policy.by:
        found["by_hour"] = {who: found.by["hour"].rows("mae") for who, found in scores.items()}
    if policy.total.has_interval:
        found["interval_nominal"] = policy.total.quantiles[-1] - policy.total.quantiles[0]
    return found
