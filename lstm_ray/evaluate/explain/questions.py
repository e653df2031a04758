"""Windows of the validation part and what a model loses on them, task by task. Knows models by what they answer.

The test part is not read for this. Legend: R rows, M windows (sequences), H horizon, C targets, A answers for one step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.schema import Schema
from lstm_ray.data.steps import plan_part
from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.data.windows import Segments, numbered, origins, rows_of, sequences
from lstm_ray.evaluate.explain.inputs import inputs_of
from lstm_ray.evaluate.explain.shuffling import REPEATS, Question
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.gather import (
    cut_out,
    cut_out_sequences,
    cut_out_steps,
    future_rows,
    series_names,
)
from lstm_ray.model import attribution
from lstm_ray.model.attribution import Attribution
from lstm_ray.model.policy import Policy
from lstm_ray.sections.prepare import WindowConfig

MOST_WINDOWS, FEWEST_WINDOWS = 512, 64
MOST_SERIES = 64
"""Series that windows are drawn from: few, so that each has several, which can stand for each other."""
BUDGET = 12_000_000
"""Steps that are read in all, about; windows that are long are fewer."""
MOST_STRETCHES, PARTS = 12, 8
"""Into which a history is divided, and a whole sequence."""
LEAST_PROBABILITY = 1e-6
"""So that one sure mistake does not cost more than all else."""


def of_forecast(config: Config, model: Policy, segments: Segments, parts: Boundaries) -> Question:
    """Mean absolute error, in training deviations, over windows of the validation part."""
    window, schema, scaler = config.window, segments.schema, model.scaler
    random, steps = np.random.default_rng([config.seed, 3]), reach(window) + lookback(scaler)
    edges = stretch_edges(window)
    ways = len(edges) * (1 + len(schema.target) + len(schema.past))
    all_M = origins(segments, parts, "validation", window)
    size = _room(steps + window.horizon, ways + REPEATS * (len(schema.target) + len(schema.past) + schema.num_known))
    chosen = _few_of_each_series(segments, all_M, size, random)
    whole, origin_M = cut_out(segments, chosen, steps, window.horizon)
    rows = future_rows(origin_M, window.horizon)
    truth_MHC, seen_MHC = whole.target_RC[rows], whole.observed_RC[rows] > 0
    middle, deviation_C = median_index(model.quantiles), np.asarray(scaler.target_deviation)

    def loss(changed: Segments) -> NDArray:
        forecast_MHC = model.forecast_windows(changed, origin_M, config.evaluate.batch)[..., middle]
        error_MHC = np.where(seen_MHC, np.abs(forecast_MHC - truth_MHC), 0) / deviation_C
        return _per_window(error_MHC.sum((1, 2)), seen_MHC.sum((1, 2)))

    of_R, _ = numbered(np.diff(whole.bounds))
    back_R = origin_M[of_R] - np.arange(len(of_R))
    stretches = {_age(first, end, window, schema): (back_R >= first) & (back_R < end) for first, end in pairwise(edges)}
    dependence = max(window.horizon, window.season)
    inputs = inputs_of(schema, config.data.static)
    step_M = segments.steps(chosen)

    def attribute(most: int) -> tuple[Attribution, str]:
        some = origin_M[_spread(len(origin_M), most)]
        return attribution.of_forecasts(model, whole, some), "training deviations"

    back_T = np.arange(window.history - 1, -1 - window.horizon, -1)
    within = [(first, min(end, window.history)) for first, end in pairwise(edges) if first < window.history]
    ages = {_age(first, end, window, schema): (back_T >= first) & (back_T < end) for first, end in within}
    if schema.num_known:
        ages["the horizon"] = back_T < 0
    metric = "mean absolute error"
    return Question(whole, inputs, stretches, loss, metric, step_M, dependence, attribute, ages)


def of_classes(config: Config, model: Policy, segments: Segments, parts: Boundaries) -> Question:
    """Log loss over sequences of the validation part."""
    random, longest = np.random.default_rng([config.seed, 3]), config.window.history
    schema = segments.schema
    ways = PARTS * (1 + len(schema.past)) + REPEATS * (len(schema.past) + schema.num_known)
    ids_M = _some(sequences(segments, parts, "validation"), _room(longest, ways), random)
    whole = cut_out_sequences(segments, ids_M, longest)
    assert whole.label is not None, "task classify has labels"
    label_M, order_M = whole.label, np.arange(len(ids_M))

    def loss(changed: Segments) -> NDArray:
        probability_MK = model.class_probabilities(changed, order_M, config.evaluate.batch)
        return _surprise(probability_MK, label_M)

    length_M = np.diff(whole.bounds)
    of_R, turn_R = numbered(length_M)
    back_R = (length_M[of_R] - 1 - turn_R) * PARTS // np.maximum(length_M[of_R], 1)
    stretches = {_part_of_sequence(part): back_R == part for part in range(PARTS) if (back_R == part).any()}
    # Each sequence is whole: any other may stand for it.
    alike = replace(whole, series=[""] * len(ids_M))
    inputs = inputs_of(schema, config.data.static)

    def attribute(most: int) -> tuple[Attribution, str]:
        return attribution.of_classes(model, whole, _spread(len(order_M), most)), "units of score"

    return Question(alike, inputs, stretches, loss, "log loss", order_M, 1, attribute, things="sequences")


def of_labels(config: Config, model: Policy, segments: Segments, parts: Boundaries) -> Question:
    """Log loss of labels, or their absolute error in training deviations, over sequences of the validation part. A stretch of
    the past has no age: each step of a sequence has its own."""
    random, schema, scaler = np.random.default_rng([config.seed, 3]), segments.schema, model.scaler
    plan = plan_part(segments, parts, "validation", config.window, config.train.origins)
    ways = REPEATS * (len(schema.past) + schema.num_known)
    chosen = _some(np.arange(len(plan)), _room(plan.steps, ways), random)
    few = replace(plan, row_M5=plan.row_M5[chosen])
    whole, range_S2 = cut_out_steps(segments, few)
    assert whole.label_R is not None, "task label has labels"
    rows = rows_of(range_S2)
    label_R, of_R = whole.label_R[rows], whole.series_of(rows)
    counted_R = ~np.isnan(label_R)
    label_N, of_N, num = label_R[counted_R], of_R[counted_R], len(chosen)

    def loss(changed: Segments) -> NDArray:
        answer_NA = model.tell_steps(changed, range_S2, config.evaluate.batch)[counted_R]
        if scaler.label is None:
            loss_N = _surprise(answer_NA, label_N.astype(np.int64))
        else:
            loss_N = np.abs(answer_NA[:, 0] - label_N) / scaler.label.deviation[0]
        return _per_window(np.bincount(of_N, loss_N, num), np.bincount(of_N, minlength=num))

    metric = "log loss" if scaler.label is None else "mean absolute error"
    inputs = inputs_of(schema, config.data.static)
    step_M = segments.steps(few.row_M5[:, 0])

    def attribute(most: int) -> tuple[Attribution, str]:
        kept = _spread(num, most)
        cut = whole.stretches(np.stack([whole.bounds[kept], whole.bounds[kept + 1]], axis=1))
        first = cut.bounds[:-1] + range_S2[kept, 0] - whole.bounds[kept]
        unit = "units of score" if scaler.label is None else "training deviations"
        return attribution.of_labels(model, cut, np.stack([first, cut.bounds[1:]], axis=1)), unit

    dependence = config.window.history
    return Question(whole, inputs, {}, loss, metric, step_M, dependence, attribute, things="sequences")


ASKED: dict[str, Callable[[Config, Policy, Segments, Boundaries], Question]] = {
    "forecast": of_forecast,
    "classify": of_classes,
    "label": of_labels,
}
"""By task."""


def stretch_edges(window: WindowConfig) -> list[int]:
    """Steps back at which one stretch of a history ends and the next begins, from 0: the newest patch, the rest of its season,
    season after season, longer ones where they would be more than MOST_STRETCHES; what window.lags alone reach is the last."""
    patch, history = window.patch, window.history
    usual = -(-max(window.season, patch) // patch) * patch
    growth = 1.0
    while True:
        edges, length = [0, min(patch, history)], float(usual)
        while edges[-1] < history:
            wanted = usual if edges[-1] < usual else edges[-1] + -(-int(length) // patch) * patch
            edges.append(min(history, wanted))
            length *= growth
        if len(edges) <= MOST_STRETCHES:
            return [*edges, reach(window)] if reach(window) > history else edges
        growth += 0.1


def _age(first: int, end: int, window: WindowConfig, schema: Schema) -> str:
    if first >= window.history:
        return "lags beyond"
    timed = schema.is_time or schema.in_months
    first_said, end_said = (describe_step(schema.step * n, schema.is_time, schema.in_months) for n in (first, end))
    if not timed:
        return f"newest {end} steps" if first == 0 else f"{first + 1} to {end} steps ago"
    return f"newest {end_said}" if first == 0 else f"{first_said} to {end_said} ago"


def _part_of_sequence(part: int) -> str:
    """Counted from the end, as stretches are."""
    return {0: "last eighth", PARTS - 1: "first eighth"}.get(part, f"eighth {PARTS - part} of {PARTS}")


def _few_of_each_series(segments: Segments, origins_M: NDArray, size: int, random: np.random.Generator) -> NDArray:
    _, series_S = series_names(segments)
    of_M = series_S[segments.series_of(origins_M)] if len(origins_M) else origins_M
    kept = _some(np.unique(of_M), MOST_SERIES, random)
    return _some(origins_M[np.isin(of_M, kept)], size, random)


def _some(items: NDArray, size: int, random: np.random.Generator) -> NDArray:
    return np.sort(random.choice(items, min(size, len(items)), replace=False))


def _room(steps: int, times: int) -> int:
    """Windows of so many steps that may be read so many times."""
    return int(np.clip(BUDGET // max(1, steps * times), FEWEST_WINDOWS, MOST_WINDOWS))


def _spread(num: int, most: int) -> NDArray:
    """Numbers below ``num``, evenly apart, at most so many."""
    return np.unique(np.linspace(0, num - 1, min(num, most)).astype(np.int64))


def _per_window(total_M: NDArray, count_M: NDArray) -> NDArray:
    return np.where(count_M > 0, total_M / np.maximum(count_M, 1), np.nan)


def _surprise(probability_MK: NDArray, label_M: NDArray) -> NDArray:
    told_M = probability_MK[np.arange(len(label_M)), label_M].astype(np.float64)
    return -np.log(np.clip(told_M, LEAST_PROBABILITY, 1))
