"""How errors grow when the inputs are damaged: steps that never arrived, and noise. Knows forecasters and classifiers
only by what they answer.

Damage is done to copies of windows, so that a step removed from one history is still the truth of another, and filled
as serving fills it (preprocess.impute) and marked unobserved, the training mean where no rule reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.quality.impute import FORWARD, Filling, fill
from lstm_ray.data.scaling.units import centres
from lstm_ray.data.schema import Scaler
from lstm_ray.data.steps import StepPlan
from lstm_ray.data.windows import Segments, rows_of
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.metrics import class_sums
from lstm_ray.evaluate.forecasts.metrics import forecast_sums, median_index
from lstm_ray.evaluate.gather import (
    Classifier,
    Forecaster,
    Labeller,
    cut_out,
    cut_out_sequences,
    cut_out_steps,
    future_rows,
)
from lstm_ray.evaluate.labels.metrics import label_metrics
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure, lines
from lstm_ray.run_dir import Finding
from lstm_ray.sections.evaluate import EvaluateConfig
from lstm_ray.sections.prepare import WindowConfig

Score = Callable[[Segments], dict[str, float]]
"""Damaged segments -> score by model."""


@dataclass(frozen=True)
class Curve:
    """Scores under one kind of damage."""

    kind: str
    """missing, or noise."""
    metric: str
    severity: list[float]
    """0 first: no damage. Share of steps removed, or noise in training deviations."""
    score: dict[str, list[float]]
    """By model: one value for each severity."""

    def change(self, model: str) -> list[float]:
        """Each severity's score relative to the undamaged one, less 1."""
        first = self.score[model][0]
        return [value / first - 1 if first else 0.0 for value in self.score[model]]


def forecast_curves(
    models: dict[str, Forecaster],
    segments: Segments,
    origins_M: NDArray,
    window: WindowConfig,
    scaler: Scaler,
    settings: EvaluateConfig,
    seed: int,
    advance: Callable[[str], None] = lambda words: None,
    filling: Filling = FORWARD,
) -> list[Curve]:
    """Mean absolute error, in training deviations, against the severity of the damage done to the history.

    Args:
        origins_M: windows of the test part; a fixed sample of them is used.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = _sample(origins_M, settings.robustness_windows, rng)
    whole, origin_M = cut_out(segments, chosen, reach(window) + lookback(scaler), window.horizon)
    rows = future_rows(origin_M, window.horizon)
    is_history = np.ones(len(whole.target_RC), dtype=bool)
    is_history[rows] = False
    no_scale = np.full((len(chosen), len(scaler.target_mean)), np.nan)

    def mae(damaged: Segments) -> dict[str, float]:
        found = {}
        for name, model in models.items():
            forecast = model.forecast_windows(damaged, origin_M, settings.batch)[..., [median_index(model.quantiles)]]
            truth = whole.target_RC[rows], whole.observed_RC[rows]
            sums = forecast_sums(*truth, forecast, [0.5], no_scale, {"all": (np.zeros((1, 1), np.int64), 1)})["all"]
            found[name] = sums.scaled(scaler.target_deviation)["mae"]
        return _numbers(found)

    return _curves("mae", mae, whole, is_history, scaler, settings, rng, advance, filling)


def class_curves(
    models: dict[str, Classifier],
    segments: Segments,
    ids_M: NDArray,
    window: WindowConfig,
    scaler: Scaler,
    settings: EvaluateConfig,
    seed: int,
    advance: Callable[[str], None] = lambda words: None,
    filling: Filling = FORWARD,
) -> list[Curve]:
    """Macro F1 against the severity of the damage done to the sequences."""
    rng = np.random.default_rng([seed, 1])
    whole = cut_out_sequences(segments, _sample(ids_M, settings.robustness_windows, rng), window.history)
    assert whole.label is not None, "task classify has labels"
    label_M, ids = whole.label, np.arange(len(whole.series))

    def macro_f1(damaged: Segments) -> dict[str, float]:
        scores = {}
        for name, model in models.items():
            probabilities = model.class_probabilities(damaged, ids, settings.batch)
            scores[name] = class_sums(probabilities, label_M, segments.schema.classes).metrics()["macro_f1"]
        return _numbers(scores)

    damageable = np.ones(len(whole.past_RP), dtype=bool)
    return _curves("macro_f1", macro_f1, whole, damageable, scaler, settings, rng, advance, filling)


def label_curves(
    models: dict[str, Labeller],
    segments: Segments,
    plan: StepPlan,
    scaler: Scaler,
    settings: EvaluateConfig,
    seed: int,
    advance: Callable[[str], None] = lambda words: None,
    filling: Filling = FORWARD,
) -> list[Curve]:
    """Macro F1 of labels, or their mean absolute error in training deviations, against the damage done to past inputs.

    Args:
        plan: sequences that tell the test part; a fixed sample of them is used.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = _sample(np.arange(len(plan)), settings.robustness_windows, rng)
    whole, range_S2 = cut_out_steps(segments, replace(plan, row_M5=plan.row_M5[chosen]))
    assert whole.label_R is not None, "task label has labels"
    label_M = whole.label_R[rows_of(range_S2)]
    counted = ~np.isnan(label_M)
    metric = "mae" if scaler.label else "macro_f1"

    def measure(damaged: Segments) -> dict[str, float]:
        found = {}
        for name, model in models.items():
            answer_MA = model.tell_steps(damaged, range_S2, settings.batch)[counted]
            score = label_metrics(answer_MA, label_M[counted], segments.schema)[metric]
            found[name] = score / scaler.label.deviation[0] if scaler.label and score is not None else score
        return _numbers(found)

    return _curves(
        metric, measure, whole, np.ones(len(whole.past_RP), dtype=bool), scaler, settings, rng, advance, filling
    )


def remove_steps(
    segments: Segments, removed_R: NDArray, scaler: Scaler, filling: Filling = FORWARD, stops: NDArray | None = None
) -> Segments:
    """The segments as a server would see them had some rows' targets and past inputs never arrived.

    Args:
        stops: bounds that no filling crosses, such as those between histories and what follows them; none: the segments'.
    """
    bounds = segments.bounds if stops is None else stops

    def filled(values_RF: NDArray, mean: NDArray | list[float]) -> NDArray:
        holes = np.where(removed_R[:, None], np.nan, values_RF).astype(np.float32, copy=False)
        holes = fill(holes, bounds, filling)
        return np.where(np.isnan(holes), np.asarray(mean, dtype=np.float32), holes)

    return replace(
        segments,
        target_RC=filled(segments.target_RC, centres(segments.series, scaler).repeat(np.diff(segments.bounds), axis=0)),
        past_RP=filled(segments.past_RP, scaler.centre("past")),
        observed_RC=np.where(removed_R[:, None], np.float32(0), segments.observed_RC),
    )


def add_noise(segments: Segments, noise_RF: NDArray, scaler: Scaler) -> Segments:
    """The segments with ``noise_RF``, in training deviations, added to targets and then past inputs, F = C + P."""
    channels = segments.target_RC.shape[1]
    deviation = np.asarray([*scaler.target.deviation, *scaler.past.deviation], dtype=np.float32)
    noise = (noise_RF * deviation).astype(np.float32)
    return replace(
        segments,
        target_RC=segments.target_RC + noise[:, :channels],
        past_RP=segments.past_RP + noise[:, channels:],
    )


def told(curves: Sequence[Curve], policy: str) -> Told:
    """The curves as sentences and pictures."""
    figures = [robustness_figure(curve, policy) for curve in curves]
    return Told(
        "Under damage",
        findings(curves, policy),
        figures,
        details={"robustness": [vars(curve) for curve in curves]},
    )


def robustness_figure(curve: Curve, policy: str) -> Figure:
    """Score against severity, a line for each model."""
    score = "mean absolute error" if curve.metric == "mae" else "macro F1"
    unit = ", in training deviations," if curve.metric == "mae" else ""
    most, axis = f"noise of {number(curve.severity[-1])} training deviations", "noise, training deviations"
    if curve.kind == "missing":
        most, axis = f"{percent(curve.severity[-1])} of the steps missing", "share of input steps removed"
    mine = curve.score[policy]
    caption = f"The policy's {score}{unit} goes from {number(mine[0])} undamaged to {number(mine[-1])} with {most}."
    return lines(
        f"robustness-{curve.kind}",
        "Under missing steps" if curve.kind == "missing" else "Under noise",
        caption,
        curve.severity,
        {name.replace("_", " "): values for name, values in curve.score.items()},
        x_title=axis,
        y_title=f"{score}{', training deviations' if curve.metric == 'mae' else ''}",
        mode="lines+markers",
    )


def findings(curves: Sequence[Curve], policy: str) -> list[Finding]:
    """One sentence for each kind of damage, at its middle severity."""
    return [_finding(curve, policy) for curve in curves if len(curve.severity) > 1]


def _finding(curve: Curve, policy: str) -> Finding:
    middle = len(curve.severity) // 2
    level = curve.severity[middle]
    damage = f"noise of {number(level)} training deviations on the inputs"
    if curve.kind == "missing":
        damage = f"{percent(level)} of the inputs' steps missing"
    unit = " deviations" if curve.metric == "mae" else ""
    said = [
        f"the {name.replace('_', ' ')}'s goes from {number(values[0])} to {number(values[middle])}{unit} "
        f"({'+' if curve.change(name)[middle] >= 0 else ''}{percent(curve.change(name)[middle])})"
        for name, values in curve.score.items()
    ]
    sign = 1 if curve.metric == "mae" else -1
    others = [values[middle] for name, values in curve.score.items() if name != policy]
    behind = any(sign * curve.score[policy][middle] > sign * other for other in others)
    text = f"With {damage}, {'test error (MAE)' if curve.metric == 'mae' else 'macro F1'}: {'; '.join(said)}."
    cure = "train on data with such damage" if curve.kind == "missing" else "smooth the inputs, or raise model.dropout"
    advice = f"The policy falls behind a simpler model under this damage; {cure}." if behind else ""
    return Finding(severity="advice" if behind else "info", text=text, advice=advice)


def _curves(
    metric: str,
    measure: Score,
    whole: Segments,
    damageable_R: NDArray,
    scaler: Scaler,
    settings: EvaluateConfig,
    rng: np.random.Generator,
    advance: Callable[[str], None],
    filling: Filling,
) -> list[Curve]:
    # One draw for every severity: what is missing at 10 % is also missing at 30 %, so a curve shows damage, not luck.
    lot_R = rng.random(len(damageable_R))
    width = whole.target_RC.shape[1] + whole.past_RP.shape[1]
    noise_RF = rng.standard_normal((len(damageable_R), width), dtype=np.float32) * damageable_R[:, None]
    undamaged = measure(whole)
    advance("undamaged")
    # A server fills a history before anybody knows what follows it.
    stops = np.union1d(whole.bounds, np.flatnonzero(np.diff(damageable_R)) + 1)

    def remove(share: float) -> Segments:
        return remove_steps(whole, damageable_R & (lot_R < share), scaler, filling, stops)

    kinds: list[tuple[str, list[float], Callable[[float], Segments]]] = [
        ("missing", settings.missing, remove),
        ("noise", settings.noise, lambda size: add_noise(whole, size * noise_RF, scaler)),
    ]
    curves = []
    for kind, severities, damage in kinds:
        scores = [undamaged]
        for severity in sorted(severities):
            scores.append(measure(damage(severity)))
            advance(f"{kind} {severity:g}")
        by_model = {name: [score[name] for score in scores] for name in undamaged}
        curves.append(Curve(kind, metric, [0.0, *sorted(severities)], by_model))
    return curves


def num_measurements(settings: EvaluateConfig) -> int:
    """How often ``advance`` is called."""
    return 1 + len(settings.missing) + len(settings.noise)


def _sample(items_M: NDArray, size: int, rng: np.random.Generator) -> NDArray:
    return np.sort(rng.choice(items_M, min(size, len(items_M)), replace=False))


def _numbers(found: dict[str, float | None]) -> dict[str, float]:
    numbers = {name: value for name, value in found.items() if value is not None}
    if len(numbers) < len(found):
        raise InputError(
            "none of the test windows drawn for the robustness checks holds a measured target; "
            "raise evaluate.robustness_windows or move the split to where the target was measured"
        )
    return numbers
