"""Simulated paths against a world whose truth is known, and what the summary says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.schema import Own
from lstm_ray.data.windows import Batch, Segments, origins
from lstm_ray.model.residuals import Residuals
from lstm_ray.plan.futures.calibration import facts, summary
from lstm_ray.plan.futures.draws import rows_drawn
from lstm_ray.plan.futures.residuals import residuals_of
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import World, actual_after, rollout_origins, start_of
from lstm_ray.plan.futures.tally import LEVELS as CENTRAL
from tests import made

H, S = 6, 12
PHI, SHARED = 0.8, 0.6
"""How much of a value stays at the next step, and how much of the variance of their shocks the series share."""
LEVELS = (0.1, 0.5, 0.9)
Z = 1.2815516
STEPS = 2400
BOUNDS = {"train": (0, 400), "validation": (400, STEPS), "test": (STEPS, STEPS)}
CONFIG = made.make_config(
    plan__steps=S, preprocess__calendar=[], data__past=[], model__quantiles=list(LEVELS), window__season=24
)
SCHEMA = made.schema_of(past=(), calendar=())


def size(step: NDArray) -> NDArray:
    """Deviation of the shocks: nights are quiet."""
    return np.where(step % 24 < 12, 0.4, 2.0)


@cache
def truth() -> Segments:
    """Two series of an AR(1) process whose shocks have a size that everybody knows, and part of which they share."""
    random = np.random.default_rng(3)
    shared, own = random.normal(size=(STEPS, 1)), random.normal(size=(STEPS, 2))
    shock = (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own) * size(np.arange(STEPS))[:, None]
    value = np.zeros((STEPS, 2))
    for step in range(1, STEPS):
        value[step] = PHI * value[step - 1] + shock[step]
    segments = made.segments_of([STEPS, STEPS], schema=SCHEMA)
    measured = np.ones_like(segments.observed_RC)
    return replace(segments, target_RC=value.T.reshape(-1, 1).astype(np.float32), observed_RC=measured)


def quantiles_after(last_B: NDArray, step_B: NDArray, wrong: float = 1.0) -> NDArray:
    """The process's own quantiles at each lead, [B, H, 1, Q]; ``wrong`` as wide as that."""
    variance_B, parts = np.zeros(len(last_B)), []
    for lead in range(1, H + 1):
        variance_B = PHI**2 * variance_B + size(step_B + lead) ** 2
        deviation = wrong * Z * np.sqrt(variance_B)
        middle = PHI**lead * last_B
        parts.append(np.stack([middle - deviation, middle, middle + deviation], axis=-1))
    return np.stack(parts, axis=1)[:, :, None].astype(np.float32)


def simulated(wrong: float, drawn: Callable[..., Any] | None = None, paths: int = 40) -> tuple[Any, NDArray]:
    """Facts of rollouts of a forecaster that knows the process, and the futures."""
    segments = truth()
    scaler = made.scaler_of(segments)
    rows = origins(segments, BOUNDS, "validation", CONFIG.window)  # type: ignore[arg-type]
    library = residuals_of(
        quantiles_after(segments.target_RC[rows, 0], segments.steps(rows), wrong), LEVELS, segments, rows, scaler
    )
    if drawn is not None:
        library = drawn(library)
    world = World(segments, scaler, CONFIG, library)
    chosen = rollout_origins(segments, BOUNDS, "validation", CONFIG, 300, together=True)  # type: ignore[arg-type]
    start = start_of(world, chosen)
    turn = iter(range(2))

    def predict(batch: Batch, own: Own | None, levels: tuple[float, ...]) -> NDArray:
        last_B = batch.target_BTC[:, -H - 1, 0] * scaler.target_deviation + scaler.target_mean
        return quantiles_after(last_B, np.repeat(start.step_M, len(last_B) // len(chosen)) + H * next(turn), wrong)

    future = roll(predict, world, start, paths)
    return facts(future, *actual_after(segments, chosen, S), start.step_M), future


def rebuilt(library: Residuals, order: Callable[[np.random.Generator, NDArray], NDArray]) -> Residuals:
    return replace(library, score_RHC=order(np.random.default_rng(0), library.score_RHC.copy()))


def steps_apart(library: Residuals) -> Residuals:
    """Every step's score of another window: right step by step, and nothing of how steps go together."""
    return rebuilt(library, lambda random, score: random.permuted(score, axis=0))


def series_apart(library: Residuals) -> Residuals:
    """Whole trajectories, but each series' at another time."""

    def order(random: np.random.Generator, score: NDArray) -> NDArray:
        hill = np.flatnonzero(library.series_R == 1)
        score[hill] = score[random.permutation(hill)]
        return score

    return rebuilt(library, order)


@pytest.mark.parametrize("wrong", [1.0, 0.3, 3.0])
def test_paths_hold_what_happens_as_often_as_they_say_whatever_the_head_said(wrong: float) -> None:
    """A head that is three times too sure, or too unsure, is recalibrated by what its quantiles turned out to be worth."""
    found, _ = simulated(wrong)
    np.testing.assert_allclose(found.steps.pooled(0, 1).coverage(), CENTRAL, atol=0.05)
    assert found.steps.pooled(0).ratio() == pytest.approx(1.0, abs=0.15)
    by_lead = found.steps.pooled(1).coverage()
    np.testing.assert_allclose(by_lead, np.tile(CENTRAL, (S, 1)), atol=0.12)


def test_paths_are_wide_where_the_head_is_wide() -> None:
    _, future = simulated(1.0)
    start = rollout_origins(truth(), BOUNDS, "validation", CONFIG, 300, together=True)  # type: ignore[arg-type]
    first = truth().steps(start) + 1
    spread = future[:, :, 0, 0].std(1)
    loud, quiet = (spread[size(first) == level].mean() for level in (2.0, 0.4))
    assert loud / quiet == pytest.approx(5.0, rel=0.15)


def test_sums_over_steps_and_over_series_vary_as_they_really_do() -> None:
    found, future = simulated(1.0)
    assert found.together is not None
    np.testing.assert_allclose(found.total.pooled(0).coverage(), CENTRAL, atol=0.08)
    np.testing.assert_allclose(found.together.pooled(0, 1).coverage(), CENTRAL, atol=0.06)
    assert found.total.ratio() == pytest.approx(1.0, abs=0.25)
    assert found.together.pooled(0).ratio() == pytest.approx(1.0, abs=0.2)
    # The variance of the sum over steps, and of the sum over series, as the process has it.
    first = rollout_origins(truth(), BOUNDS, "validation", CONFIG, 300, together=True)  # type: ignore[arg-type]
    weight_MSS = np.tril(PHI ** np.abs(np.subtract.outer(np.arange(S), np.arange(S))))
    shocks_MS = size(truth().steps(first)[:, None] + np.arange(1, S + 1))
    sum_M = (weight_MSS.sum(0) ** 2 * shocks_MS**2).sum(1)
    ours = future[..., 0].sum(2).var(1, ddof=1)
    assert ours.mean() / sum_M.mean() == pytest.approx(1.0, abs=0.2)
    pairs = future[..., 0].reshape(2, -1, future.shape[1], S)
    both = pairs.sum(0).var(1, ddof=1).mean() / (pairs.var(2, ddof=1).mean((1, 2)).sum())
    assert both == pytest.approx(1 + SHARED, abs=0.15)


def test_the_same_check_tells_steps_drawn_apart_and_series_drawn_apart() -> None:
    apart, _ = simulated(1.0, steps_apart)
    np.testing.assert_allclose(apart.steps.pooled(0, 1).coverage()[1], 0.8, atol=0.08)
    assert apart.total.ratio() < 0.75  # type: ignore[operator]
    alone, _ = simulated(1.0, series_apart)
    assert alone.together is not None
    np.testing.assert_allclose(alone.steps.pooled(0, 1).coverage(), CENTRAL, atol=0.05)
    assert alone.together.pooled(0).ratio() < 0.8  # type: ignore[operator]


def test_facts_of_some_origins_are_added_to_those_of_others_in_any_order() -> None:
    random = np.random.default_rng(2)
    future, actual = random.normal(size=(9, 5, 4, 2)), random.normal(size=(9, 4, 2))
    observed, step_M = random.random((9, 4, 2)) > 0.2, np.array([1, 5, 9] * 3)
    whole = facts(future, actual, observed, step_M)
    parts = [facts(*(v[m] for v in (future, actual, observed, step_M))) for m in ([8, 2], [0, 1, 3, 4], [5, 6, 7])]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    settled = [facts(*(v[step_M == step] for v in (future, actual, observed, step_M))).settled() for step in (5, 1, 9)]
    assert settled[0].path_UWSC.size == 0
    told = settled[0].merge(settled[1]).merge(settled[2])
    assert told.num_times == whole.num_times == 3
    pairs = [(whole.steps, merged.steps), (whole.total, merged.total)]
    for tallies in (*pairs, (whole.together, merged.together), (whole.together, told.together)):
        ours, theirs = (vars(tally) for tally in tallies)
        for name, values in ours.items():
            np.testing.assert_allclose(theirs[name], values, err_msg=name)
    for ours, theirs in zip(*(summary(one, ["load", "wind"]).table["rows"] for one in (whole, merged)), strict=True):
        assert ours[:2] == theirs[:2]
        np.testing.assert_allclose(np.array(ours[2:], float), np.array(theirs[2:], float), err_msg=str(ours[:2]))


@pytest.mark.parametrize("paths", [2, 3, 20])
def test_few_paths_bias_neither_coverage_nor_spread(paths: int) -> None:
    random = np.random.default_rng(4)
    future, actual = random.normal(size=(4_000, paths, 1, 1)), random.normal(size=(4_000, 1, 1))
    found = facts(future, actual, np.ones_like(actual), np.arange(4_000))
    np.testing.assert_allclose(found.steps.coverage()[0, 0], CENTRAL, atol=0.025)
    assert found.steps.pooled(0).ratio() == pytest.approx(1.0, abs=0.06)
    # Of standard normal values: 1 / sqrt(pi).
    assert float(found.steps.crps[0, 0]) / 4_000 == pytest.approx(0.5642, abs=0.02)


def test_one_path_would_seem_to_hold_any_truth_and_is_not_judged() -> None:
    future, actual = np.zeros((50, 1, 2, 1)), np.full((50, 2, 1), 9.0)
    found = summary(facts(future, actual, np.ones_like(actual), np.arange(50)), ["load"])
    assert found.table is None
    assert found.figure is None
    assert "cannot show" in found.finding.text
    assert "plan.paths" in found.finding.advice


def test_values_that_are_mostly_alike_are_held_in_parts() -> None:
    random = np.random.default_rng(5)
    future, actual = (random.poisson(0.3, size=shape).astype(float) for shape in ((4_000, 9, 1, 1), (4_000, 1, 1)))
    found = facts(future, actual, np.ones_like(actual), np.arange(4_000))
    np.testing.assert_allclose(found.steps.coverage()[0, 0], CENTRAL, atol=0.025)


def test_the_summary_says_when_paths_are_too_narrow_and_when_they_are_right() -> None:
    random = np.random.default_rng(6)
    future, actual = random.normal(size=(200, 10, 3, 1)), random.normal(size=(200, 3, 1))
    step_M = np.repeat(np.arange(100), 2)
    right = summary(facts(future, actual, np.ones_like(actual), step_M), ["load"])
    assert right.finding.severity == "info"
    narrow = summary(facts(future / 3, actual, np.ones_like(actual), step_M), ["load"])
    assert narrow.finding.severity == "advice"
    assert "split.validation" in narrow.finding.advice
    assert "too wide" in summary(facts(future * 3, actual, np.ones_like(actual), step_M), ["load"]).finding.advice
    assert [row[0] for row in right.table["rows"]] == [
        "each step",
        "sum over the rollout",
        "sum over series, each step",
    ]
    assert all(len(row) == len(right.table["columns"]) for row in right.table["rows"])
    assert right.figure.id == "calibration"


def test_what_was_not_measured_is_not_judged() -> None:
    future, actual = np.zeros((4, 3, 2, 1)), np.full((4, 2, 1), 9.0)
    observed = np.zeros((4, 2, 1))
    empty = summary(facts(future, actual, observed, np.arange(4)), ["load"])
    assert "cannot be judged" in empty.finding.text
    observed[:, 0] = 1
    actual[:, 0] = 0.5
    future += np.array([0.0, 0.4, 0.6])[None, :, None, None]
    found = facts(future, actual, observed, np.arange(4))
    assert found.steps.count.ravel().tolist() == [4, 0]
    assert found.total.inside[0].tolist() == found.steps.inside[0, 0].tolist()


def test_no_path_of_the_validation_part_follows_a_window_of_its_own_future() -> None:
    segments = truth()
    rows = origins(segments, BOUNDS, "validation", CONFIG.window)[::5]  # type: ignore[arg-type]
    steps = segments.steps(rows)
    library = Residuals(
        LEVELS, np.zeros((len(rows), H, 1), np.float32), np.sort(steps), np.zeros(len(rows), np.int64), ["s0"]
    )
    for step in (400, 1_000, 2_300):
        row_MWN = rows_drawn(library, np.array([step]), ["s0"], 50, 2, 24, 7)
        begin = library.step_R[row_MWN]
        assert not ((begin > step - H) & (begin < step + 2 * H)).any()
