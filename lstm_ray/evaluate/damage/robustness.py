"""How scores fall when inputs are damaged: every kind of damage that applies, done to the same sample of the test part.

Knows forecasters, classifiers and labellers by what they answer. Truth that is scored, and what follows an origin, is never
damaged; of known inputs (``inputs``) what lies ahead is. Shapes: M cases (windows, sequences), L history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.quality.impute import FORWARD, Filling
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.steps import StepPlan
from lstm_ray.data.windows import Segments, rows_of
from lstm_ray.errors import InputError
from lstm_ray.evaluate.damage import kinds, pictures, sentences
from lstm_ray.evaluate.damage.curve import MACRO_F1, MAE, Cases, Curve, Score, Task, class_counts, curve_of
from lstm_ray.evaluate.damage.kinds import KINDS, Given, Kind
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.gather import (
    Classifier,
    Forecaster,
    Labeller,
    cut_out,
    cut_out_sequences,
    cut_out_steps,
    future_rows,
)
from lstm_ray.evaluate.told import Told
from lstm_ray.sections.evaluate import Damage, EvaluateConfig
from lstm_ray.sections.prepare import WindowConfig

SEVERITIES: Mapping[Damage, tuple[float, ...]] = {
    "outliers": (0.01, 0.05, 0.2),
    "level": (0.5, 1.0, 2.0),
    "scale": (0.25, 0.5, 1.0),
    "irregular": (0.5, 1.0, 2.0),
    "shorter": (0.25, 0.5, 0.75),
    "longer": (0.5, 1.0, 2.0),
    "later": (0.25, 0.5, 1.0),
    "unseen": (1.0,),
}
"""A mild, a middle and a severe one, as the functions of ``kinds`` take them; of what is longer in histories, of what is
later in horizons."""
EARLY = (0.1, 0.25, 0.5)
"""Shares of a sequence to classify that are not there yet."""


@runtime_checkable
class ReadsMore(Protocol):
    """A forecaster that can read more than it was trained with."""

    def reading(self, history: int) -> Forecaster:
        """The same one, reading so many steps up to the origin."""


@dataclass(frozen=True)
class _Try:
    """One kind of damage: how the cases are measured under a severity."""

    severity: Sequence[float]
    under: Callable[[float], Cases]
    undamaged: Cases
    """The same cases."""


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
        models: the policy, the naive that it is held against, and any others.
        origins_M: windows of the test part; a fixed sample of them is used.
    """
    chosen = _sample(origins_M, settings, seed)
    read, horizon = reach(window) + lookback(scaler), window.horizon
    whole, origin_M = cut_out(segments, chosen, read, horizon)
    rows = future_rows(origin_M, horizon)
    actual_MHC, seen_MHC = whole.target_RC[rows].astype(np.float64), whole.observed_RC[rows] > 0
    when = segments.steps(chosen), max(horizon, window.season)

    def error(model: Forecaster, read: Segments, origin_M: NDArray, kept_M: NDArray | slice = slice(None)) -> NDArray:
        forecast_MHC = model.forecast_windows(read, origin_M, settings.batch)[..., median_index(model.quantiles)]
        seen = seen_MHC[kept_M]
        away_MHC = np.abs(forecast_MHC - np.where(seen, actual_MHC[kept_M], 0)) / scaler.target_deviation
        return np.stack([np.where(seen, away_MHC, 0).sum((1, 2)), seen.sum((1, 2))], axis=1)

    def measure(damaged: Segments) -> Cases:
        return Cases({name: error(model, damaged, origin_M) for name, model in models.items()}, *when)

    undamaged = _undamaged(measure(whole), MAE)
    advance("undamaged")
    is_open = np.ones(len(whole.target_RC), dtype=bool)
    is_open[rows] = False
    given = Given(whole, is_open, np.full(len(chosen), window.history), scaler, filling, seed)
    tries = _tries(given, settings, measure, undamaged)
    late = {max(1, round(share * horizon)) for share in SEVERITIES["later"]}
    tries["later"] = _Try([steps for steps in late if steps < window.history], tries["later"].under, undamaged)
    policy = next(iter(models.values()))
    if isinstance(policy, ReadsMore):
        added = [-(-round(share * window.history) // window.patch) * window.patch for share in SEVERITIES["longer"]]
        first = segments.bounds[segments.series_of(chosen)]
        kept_M = np.flatnonzero(chosen - first >= read + max(added) - 1)
        there = undamaged.take(kept_M)

        def longer(more: float) -> Cases:
            wide, at_M = cut_out(segments, chosen[kept_M], read + int(more), horizon)
            own = error(policy.reading(window.history + int(more)), wide, at_M, kept_M)
            return replace(there, sums=there.sums | {next(iter(models)): own})

        if there.is_told(MAE):
            tries["longer"] = _Try(added, longer, there)
    return _curves(MAE, tries, settings, advance, "forecast")


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
    """Macro F1 against the severity of the damage done to the sequences. Arguments as of ``forecast_curves``."""
    chosen = _sample(ids_M, settings, seed)
    whole = cut_out_sequences(segments, chosen, window.history)
    assert whole.label is not None, "task classify has labels"
    label_M, ids = whole.label, np.arange(len(whole.series))
    # Dealt sequences may all begin at the same time: each counts alone.
    step_M = segments.first_step[chosen] if segments.part_S is None else ids
    length_S = np.diff(whole.bounds)
    shape = len(ids), len(segments.schema.classes)

    def measure(damaged: Segments) -> Cases:
        found = {}
        for name, model in models.items():
            predicted_M = np.argmax(model.class_probabilities(damaged, ids, settings.batch), axis=1)
            found[name] = class_counts(label_M, predicted_M, ids, shape)
        return Cases(found, step_M, int(length_S.max()) if segments.part_S is None else 1)

    undamaged = _undamaged(measure(whole), MACRO_F1)
    advance("undamaged")
    given = Given(whole, np.ones(len(whole.past_RP), dtype=bool), length_S, scaler, filling, seed)
    tries = _tries(given, settings, measure, undamaged)
    tries["shorter"] = replace(tries["shorter"], under=lambda share: measure(kinds.shortened(whole, share, length_S)))
    tries["later"] = _Try(EARLY, lambda share: measure(kinds.ended_early(whole, share)), undamaged)
    return _curves(MACRO_F1, tries, settings, advance, "classify")


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
    chosen = _sample(np.arange(len(plan)), settings, seed)
    whole, range_S2 = cut_out_steps(segments, replace(plan, row_M5=plan.row_M5[chosen]))
    assert whole.label_R is not None, "task label has labels"
    score, classes = (MAE, 0) if scaler.label else (MACRO_F1, len(segments.schema.classes))
    told_S = range_S2[:, 1] - range_S2[:, 0]
    label_N, case_N = whole.label_R[rows_of(range_S2)], np.repeat(np.arange(len(told_S)), told_S)
    counted_N = ~np.isnan(label_N)
    label_N, case_N = label_N[counted_N], case_N[counted_N]
    # A block of time holds whole sequences, with what they read.
    when = segments.steps(plan.row_M5[chosen, 0]), plan.steps // 2

    def sums(answer_NA: NDArray) -> NDArray:
        if scaler.label is None:
            return class_counts(label_N.astype(np.int64), answer_NA.argmax(1), case_N, (len(told_S), classes))
        away_N = np.abs(answer_NA[:, 0] - label_N) / scaler.label.deviation[0]
        return np.stack([np.bincount(case_N, weight, len(told_S)) for weight in (away_N, np.ones(len(away_N)))], axis=1)

    def measure(damaged: Segments) -> Cases:
        # A sequence ends with the steps that it tells, however much of what lies before is left.
        range_S2 = np.stack([damaged.bounds[1:] - told_S, damaged.bounds[1:]], axis=1)
        answers = {name: model.tell_steps(damaged, range_S2, settings.batch) for name, model in models.items()}
        return Cases({name: sums(answer_NA[counted_N]) for name, answer_NA in answers.items()}, *when)

    undamaged = _undamaged(measure(whole), score)
    advance("undamaged")
    given = Given(whole, np.ones(len(whole.past_RP), dtype=bool), np.diff(whole.bounds), scaler, filling, seed)
    tries = _tries(given, settings, measure, undamaged)
    del tries["later"]  # a step is told from itself: without it there is nothing to tell
    before_S = np.diff(whole.bounds) - told_S
    tries["shorter"] = replace(tries["shorter"], under=lambda share: measure(kinds.shortened(whole, share, before_S)))
    return _curves(score, tries, settings, advance, "label")


def told(curves: Sequence[Curve], policy: str) -> Told:
    """The curves as sentences, pictures and a table."""
    assert all(curve.policy == policy for curve in curves), "the policy is measured first"
    return Told(
        "Under damage",
        sentences.findings(curves),
        pictures.figures(curves),
        sentences.tables(curves),
        {"robustness": [curve.details() for curve in curves]},
    )


def num_measurements(settings: EvaluateConfig) -> int:
    """How often ``advance`` is called."""
    return 1 + len(set(settings.damage))


def _tries(
    given: Given, settings: EvaluateConfig, measure: Callable[[Segments], Cases], undamaged: Cases
) -> dict[Damage, _Try]:
    """The kinds that leave every row in its place, where they apply."""
    schema, severity = given.whole.schema, {**SEVERITIES, "missing": settings.missing, "noise": settings.noise}
    severity |= {"blocks": settings.missing, "inputs": _numbers_of_inputs(schema)}
    if given.whole.part_S is not None or not (schema.categories or given.scaler.series):
        # The test part's series are unseen already, or nothing is known of any.
        del severity["unseen"]

    def under(damage: Kind) -> Callable[[float], Cases]:
        return lambda size: measure(damage(given, size))

    return {kind: _Try(severity[kind], under(damage), undamaged) for kind, damage in KINDS.items() if kind in severity}


def _numbers_of_inputs(schema: Schema) -> list[float]:
    """One, half and all of the inputs that may be absent."""
    number = len(schema.past) + len(schema.known)
    return sorted({1.0, float(-(-number // 2)), float(number)}) if number else []


def _curves(
    score: Score,
    tries: Mapping[Damage, _Try],
    settings: EvaluateConfig,
    advance: Callable[[str], None],
    task: Task,
) -> list[Curve]:
    curves = []
    for kind in dict.fromkeys(settings.damage):
        found = tries.get(kind)
        severity = sorted({float(size) for size in found.severity if size > 0}) if found else []
        if found and severity:
            measured = [found.undamaged, *(found.under(size) for size in severity)]
            curves.append(curve_of(kind, score, [0.0, *severity], measured, task))
        advance(kind)
    return curves


def _sample(items_M: NDArray, settings: EvaluateConfig, seed: int) -> NDArray:
    rng = np.random.default_rng([seed, 1])
    return np.sort(rng.choice(items_M, min(settings.robustness_windows, len(items_M)), replace=False))


def _undamaged(cases: Cases, score: Score) -> Cases:
    if not cases.is_told(score):
        raise InputError(
            "none of the test windows drawn for the robustness checks holds a measured target; "
            "raise evaluate.robustness_windows or move the split to where the target was measured"
        )
    return cases
