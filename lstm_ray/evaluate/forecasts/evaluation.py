"""The test part of a forecasting run: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test window once, here, after it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.forecasts import patterns, revised, slices
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.figures import accuracy_figures, error_figures
from lstm_ray.evaluate.forecasts.grouped import by_group
from lstm_ray.evaluate.forecasts.metrics import owa
from lstm_ray.evaluate.forecasts.score import Scores, Yardstick, score
from lstm_ray.evaluate.forecasts.statistical import beside_statistical
from lstm_ray.evaluate.forecasts.strata import strata_of
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, series_names
from lstm_ray.evaluate.intervals import judging
from lstm_ray.evaluate.names import POLICY, best_of, metric
from lstm_ray.evaluate.predictions import where
from lstm_ray.evaluate.residuals import told as residuals
from lstm_ray.evaluate.skill import CONFIDENCE, Skill, skill
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.run_dir import Finding

AGAINST = "Against the baselines"
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
    # Without a training part, as where a policy alone is judged on new data, nothing can be fitted.
    unfitted = not len(origins(segments, parts, "train", window))
    baselines = fit_baselines(segments, parts, window, scaler, history_alone=unfitted)
    forecasters: dict[str, Forecaster] = {POLICY: policy, **baselines}
    naive = next(n for n in NAIVE if n in baselines)
    batches = -(-len(test_M) // settings.batch)
    deviation_C = scaler.target_deviation
    given = Yardstick.of(segments, parts, window, scaler, settings.batch, strata_of(segments, parts, window))
    with progress.bar("evaluate", batches + robustness.num_measurements(settings)) as advance:
        scores = score_with(forecasters, segments, test_M, given, advance, out)
        metrics = {who: found.total.metrics() for who, found in scores.items()}
        # Against anything else than a seasonal naive, it would be no OWA.
        bar = metrics.get("seasonal_naive", {})
        metrics = {who: {**own, "owa": owa(own, bar)} for who, own in metrics.items()}
        if metrics[POLICY]["mae"] is None:
            raise InputError("no target was measured in the whole test part; move the split to where it was")
        curves = robustness.forecast_curves(
            {POLICY: policy, **{who: baselines[who] for who in (naive, "ridge") if who in baselines}},
            segments,
            test_M,
            window,
            scaler,
            settings,
            config.seed,
            advance,
            Filling.of(config.preprocess, config.window),
        )
    # Of several targets each counts in its own deviations: in their own units the largest numbers would decide alone.
    one = len(deviation_C) == 1
    mae = {who: metrics[who]["mae"] if one else found.total.scaled(deviation_C)["mae"] for who, found in scores.items()}
    rival = min(baselines, key=lambda who: mae[who] or 0.0)
    measured_M = test_M[scores[POLICY].count_M > 0]
    statistical = beside_statistical(
        forecasters, segments, measured_M, given, settings.statistical_windows, config.seed
    )
    view = View(scores, POLICY, rival, segments, test_M, window, deviation_C, config.model.normalisation, given.before)
    steps = max(window.horizon, window.season)
    mine_M, rival_M = (
        found.absolute_M if one else np.nan_to_num(found.scaled_M) * found.count_M
        for found in (scores[POLICY], scores[rival])
    )
    gain = skill(mine_M, rival_M, segments.steps(test_M), steps)
    first, summary = _against(name, rival, mae, view.pooled, gain, len(measured_M))
    compared = Told(
        AGAINST,
        [
            first,
            *_unmeasured(len(test_M), len(measured_M)),
            *_winners(view, metrics),
            *_absent(baselines, config),
            *statistical.told.findings,
        ],
        accuracy_figures(view, forecasters),
        statistical.told.tables,
        _skill_details(view, gain) | statistical.told.details,
    )
    intervals = judging.told(policy, segments, test_M, scaler, settings)
    left = residuals.told(view, forecasters, config.model.distribution)
    errs = replace(
        left,
        findings=[*patterns.findings(view), *left.findings],
        figures=[*left.figures, *error_figures(view)],
        details=_details(view) | left.details,
    )
    return Evaluation(
        summary=summary + statistical.summary,
        num_windows=len(test_M),
        metrics=metrics.pop(POLICY),
        baselines=metrics,
        scaled=scores[POLICY].total.scaled(deviation_C),
        skill=gain.value if gain else None,
        told=[
            compared,
            *([intervals] if intervals else []),
            errs,
            slices.told(view),
            *by_group(view, config),
            *([revised.told(view)] if revised.has_pairs(view) else []),
            robustness.told(curves, POLICY),
        ],
        cases=_cases(view),
    )


def _cases(view: View) -> pa.Table:
    """Each window's mean absolute error, in the data's own units, by forecaster; null where nothing was measured."""
    origins_M, segments = view.origins_M, view.segments
    columns = where(segments, segments.series_of(origins_M), segments.times(origins_M))
    for who, found in view.scores.items():
        nothing = found.count_M == 0
        columns[who] = pa.array(found.absolute_M / np.where(nothing, 1, found.count_M), mask=nothing)
    return pa.table(columns)


def _against(
    name: str, rival: str, mae: Mapping[str, float | None], pooled: str, gain: Skill | None, num: int
) -> tuple[Finding, str]:
    """The policy against the best baseline, as a finding and as the stage's summary; just as plain when it loses.

    Args:
        pooled: said after an error (``View.pooled``).
    """
    mine, other, best = mae[POLICY] or 0.0, mae[rival] or 0.0, called(rival)
    head = f"On {num:,} test windows the policy of '{name}' has a mean absolute error of {number(mine)}{pooled}"
    if gain is None:
        text = f"{head}; the {best} makes no error at all."
        return Finding(severity="warning", text=text, advice=f"Use the {best}."), text
    side = "below" if gain.value >= 0 else "above"
    text = f"{head}, {percent(abs(gain.value))} {side} the {best}'s {number(other)}, the best baseline."
    if gain.interval is None:
        sure = " The test part is too short to say how sure that is."
    else:
        low, high = (percent(value) for value in gain.interval)
        verdict = "clear of zero" if gain.is_clear else "which includes zero: the difference may be luck"
        sure = f" The {percent(CONFIDENCE)} interval of that skill is {low} to {high}, {verdict}."
    if gain.value >= 0:
        advice = "" if gain.is_clear else f"Bring more test data before trusting the policy over the {best}."
        return Finding(severity="info" if gain.is_clear else "advice", text=text + sure, advice=advice), text
    advice = f"Serve the {best} instead, or train longer, with a longer window.history or several tune.trials."
    return Finding(severity="warning", text=text + sure, advice=advice), text


def _unmeasured(num: int, measured: int) -> list[Finding]:
    if measured == num:
        return []
    text = f"In {num - measured:,} of {num:,} test windows no step ahead was measured: they are forecast and count in no error."
    if 2 * measured >= num:
        return [Finding(severity="info", text=text)]
    return [Finding(severity="warning", text=text, advice="Move split.test to where the target was measured.")]


def _absent(baselines: dict[str, Forecaster], config: Config) -> list[Finding]:
    if "seasonal_naive" in baselines:
        return []
    window = config.window
    text = f"No seasonal naive: window.season {window.season} is longer than window.history {window.history}."
    return [Finding(severity="advice", text=text, advice="Lengthen window.history to at least a season.")]


def _winners(view: View, metrics: Mapping[str, Mapping[str, float | None]]) -> list[Finding]:
    """Who is best by each metric, and in how many series the policy is ahead of the best baseline."""
    best = best_of(metrics)
    mine = [metric(name).label for name, winners in best.items() if POLICY in winners]
    others: dict[str, list[str]] = {}
    for name, winners in best.items():
        if POLICY not in winners:
            others.setdefault(winners[0], []).append(metric(name).label)
    text = f"The policy is best by {len(mine)} of {len(best)} metrics" + (f" ({', '.join(mine)})" if mine else "")
    text += "".join(f"; the {called(who)} by {', '.join(names)}" for who, names in others.items()) + "."
    own, other = view.mae(view.policy, "series"), view.mae(view.rival, "series")
    known = np.isfinite(own) & np.isfinite(other)
    if known.sum() > 1:
        ahead = int((own[known] < other[known]).sum())
        text += f" It is ahead of the {called(view.rival)} in {ahead:,} of {int(known.sum()):,} series."
    return [Finding(severity="info" if mine and not others else "advice" if mine else "warning", text=text)]


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
        "num_measured_steps": int(np.sum(policy.total.sums["count"])),
        "num_zero_actuals": policy.total.zero_actuals,
    }
    if "hour" in policy.by:
        found["by_hour"] = {who: found.by["hour"].rows("mae") for who, found in scores.items()}
    if policy.total.has_interval:
        found["interval_nominal"] = policy.total.quantiles[-1] - policy.total.quantiles[0]
    return found
