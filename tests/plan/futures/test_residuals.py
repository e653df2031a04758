"""The library of a policy's errors: what it holds, and that a score leads back to what happened, in whatever is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.scaling import units
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.plan.futures import residuals as module
from lstm_ray.plan.futures.residuals import errors_of, residuals_of
from lstm_ray.plan.futures.rollouts import at_scores, roll
from lstm_ray.plan.futures.scores import MOST
from lstm_ray.plan.futures.starts import World, actual_after, start_of
from tests import made
from tests.model.test_scales import SERIES, fitted, sized

SCHEMA = made.schema_of(known=["price"])
SEGMENTS = made.segments_of([240, 150], [0, 90], schema=SCHEMA)
SCALER = made.scaler_of(SEGMENTS)
H = 6
QUANTILES: dict[str, Any] = {"model__quantiles": [0.1, 0.5, 0.9]}
SETTINGS: list[dict[str, Any]] = [
    {},
    QUANTILES,
    QUANTILES | {"preprocess__transform": "log"},
    QUANTILES | {"preprocess__transform": "yeo_johnson", "preprocess__scale": "minmax"},
    QUANTILES | {"preprocess__outliers": "clip", "preprocess__outlier_deviations": 1.0},
    QUANTILES | {"window__lags": [8]},
    QUANTILES | {"model__difference": 1},
    QUANTILES | {"model__difference": 1, "preprocess__transform": "log1p"},
    QUANTILES | {"model__output": "softplus"},
    SERIES,
    SERIES | QUANTILES,
    SERIES | QUANTILES | {"preprocess__transform": "log1p", "window__lags": [8]},
    SERIES | {"preprocess__transform": "log1p"},
    {"model__distribution": "gaussian"},
    {"model__distribution": "student_t"},
    SERIES | {"model__distribution": "student_t", "preprocess__transform": "log1p"},
    {"model__distribution": "negative_binomial"},
]


def policy_for(values: dict[str, Any], segments: Segments) -> Policy:
    config = made.make_config(data__known=["price"], plan__steps=15, preprocess__calendar=[], **values)
    scaler = fitted(segments, config)
    network = build(config, segments.schema)
    return Policy(config, segments.schema, scaler, network.state_dict())


def made_for(values: dict[str, Any]) -> tuple[Policy, Segments]:
    segments = sized()
    if values.get("model__distribution") == "negative_binomial":
        segments = replace(segments, target_RC=np.rint(segments.target_RC))
    return policy_for(values, segments), segments


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_a_windows_own_scores_lead_back_to_what_happened(values: dict[str, Any]) -> None:
    policy, segments = made_for(values)
    segments = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    rows = origins(segments, made.PARTS, "validation", policy.config.window)
    rows = rows[np.lexsort((segments.series_of(rows), segments.steps(rows)))]
    levels = policy.path_levels
    forecast = policy.forecast_windows(segments, rows, levels=levels)
    counts = values.get("model__distribution") == "negative_binomial"
    library = residuals_of(forecast, levels, segments, rows, policy.scaler, counts=counts)
    world = World(segments, policy.scaler, policy.config, library)
    own = units.of_histories(segments, rows, policy.scaler)
    found = at_scores(forecast, library.score_RHC, world, own)
    actual = actual_after(segments, rows, H)[0]
    told = np.abs(library.score_RHC) < MOST if len(levels) > 1 else np.ones_like(actual, bool)
    assert told.mean() > 0.3
    scale = np.abs(actual) if not counts else 1e4
    np.testing.assert_allclose((found / scale)[told], (actual / scale)[told], atol=2e-3)


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_paths_start_with_the_policys_own_forecast_and_stay_where_values_may_lie(values: dict[str, Any]) -> None:
    """At the median's score, the first block is what the policy forecasts; sampled, a path keeps the target's bounds."""
    policy, segments = made_for(values)
    library = errors_of(policy, segments, made.PARTS)
    rows = np.array([100, 340, 600])
    none = replace(library, score_RHC=np.zeros_like(library.score_RHC))
    plain = World(segments, policy.scaler, policy.config, none)
    future = roll(policy.forecast_batch, plain, start_of(plain, rows), 2)
    levels = policy.path_levels
    median = policy.forecast_windows(segments, rows, levels=levels)[..., levels.index(0.5)]
    if values.get("model__distribution") != "negative_binomial":
        np.testing.assert_allclose(future[:, :, :H], np.repeat(median[:, None], 2, 1), rtol=1e-3, atol=1e-3)
    world = replace(plain, residuals=library)
    sampled = roll(policy.forecast_batch, world, start_of(world, rows), 20)
    assert np.isfinite(sampled).all()
    assert sampled[:, :, :H].std(1).mean() > 0
    wild = replace(library, score_RHC=np.full_like(library.score_RHC, -MOST))
    low = roll(policy.forecast_batch, replace(plain, residuals=wild), start_of(world, rows), 1)
    transform = policy.scaler.transform
    if transform is not None and transform.kind != "yeo_johnson":
        least = 0.0 if transform.kind == "log" else transform.least[0]
    else:
        least = 0.0 if "model__output" in values else -np.inf
    assert low.min() >= least
    assert sampled.min() >= least
    if values.get("model__distribution") == "negative_binomial":
        np.testing.assert_array_equal(sampled, np.rint(sampled))
        assert (low >= 0).all()


@pytest.mark.parametrize(("output", "low", "high"), [("relu", 0.0, np.inf), ("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0)])
def test_paths_keep_the_bounds_of_the_output(output: str, low: float, high: float) -> None:
    config = made.make_config(data__known=["price"], model__output=output)
    policy = made.random_policy(config, SEGMENTS)
    library = errors_of(policy, SEGMENTS, made.PARTS)
    far = replace(library, score_RHC=100 * np.sign(np.random.default_rng(0).normal(size=library.score_RHC.shape)))
    world = World(SEGMENTS, policy.scaler, config, far)
    future = roll(policy.forecast_batch, world, start_of(world, np.array([60, 80])), 6)
    assert low <= future.min()
    assert future.max() <= high
    assert future.min() == low or future.max() == high


def test_windows_measured_whole_are_kept_where_they_are_most_and_nothing_is_centred() -> None:
    rows = np.arange(26, 46)
    forecast = np.zeros((20, H, 1, 1), np.float32)
    one_hole = replace(SEGMENTS, observed_RC=(np.arange(390) != 28).astype(np.float32)[:, None])
    found = residuals_of(forecast, [0.5], one_hole, rows, SCALER)
    actual, observed = actual_after(one_hole, rows, H)
    whole = observed.all(axis=(1, 2))
    assert 0.75 * 20 < whole.sum() < 20
    np.testing.assert_array_equal(found.step_R, rows[whole])
    np.testing.assert_allclose(found.score_RHC, actual[whole], rtol=1e-6)


def test_a_hole_here_and_there_leaves_every_time_in_the_library() -> None:
    """Were whole windows alone kept, series would borrow errors of other hours, and paths would be far too wide."""
    rows = np.arange(26, 46)
    whole = actual_after(SEGMENTS, rows, H)[1].all(axis=(1, 2))
    assert 0.25 * 20 < whole.sum() < 0.75 * 20
    found = residuals_of(np.zeros((20, H, 1, 1), np.float32), [0.5], SEGMENTS, rows, SCALER)
    np.testing.assert_array_equal(found.step_R, rows)


def test_where_few_windows_were_measured_whole_holes_lie_on_the_line_between_neighbours() -> None:
    holes = replace(SEGMENTS, observed_RC=(np.arange(390) % 3 > 0).astype(np.float32)[:, None])
    rows = np.arange(20, 25)
    found = residuals_of(np.zeros((5, H, 1, 1), np.float32), [0.5], holes, rows, SCALER)
    assert found.score_RHC.shape == (5, H, 1)
    # Row 21 is not measured, 22 and 23 are, 24 is not.
    values = SEGMENTS.target_RC[:, 0]
    first = [values[22], values[22], values[23], (values[23] + values[25]) / 2, values[25], values[26]]
    np.testing.assert_allclose(found.score_RHC[0, :, 0], first, rtol=1e-6)
    blind = replace(SEGMENTS, observed_RC=np.zeros_like(SEGMENTS.observed_RC))
    assert residuals_of(np.zeros((5, H, 1, 1), np.float32), [0.5], blind, rows, SCALER).score_RHC.shape == (5, H, 1)


def test_a_library_is_in_the_order_of_time_and_holds_every_series_at_the_same_times() -> None:
    policy = made.random_policy(made.make_config(data__known=["price"]), SEGMENTS)
    measured = replace(SEGMENTS, observed_RC=np.ones_like(SEGMENTS.observed_RC))
    found = errors_of(policy, measured, made.PARTS)
    assert (np.diff(found.step_R) >= 0).all()
    assert found.names == ["s0", "s1"]
    for name in found.names:
        np.testing.assert_array_equal(found.step_R[found.rows_of(name)], found.times)
    first, end = made.PARTS["validation"]
    assert found.times[0] == first - 1
    assert found.times[-1] == end - H - 1


def test_a_library_is_bounded_whatever_the_number_of_series(monkeypatch: pytest.MonkeyPatch) -> None:
    many = made.segments_of([240] * 30, schema=SCHEMA)
    policy = made.random_policy(made.make_config(data__known=["price"]), many)
    asked: list[int] = []
    plain = policy.forecast_windows

    def counted(segments: Segments, origin_M: NDArray, **options: Any) -> NDArray:
        asked.append(len(origin_M))
        return plain(segments, origin_M, **options)

    monkeypatch.setattr(policy, "forecast_windows", counted)
    monkeypatch.setattr(module, "MOST_WINDOWS", 200)
    found = errors_of(policy, many, made.PARTS)
    assert asked[0] <= 200
    assert len(found.times) == 35, "times are kept, series left out"
    monkeypatch.setattr(module, "MOST_VALUES", 60 * H)
    assert len(errors_of(policy, many, made.PARTS).step_R) <= 60


def test_a_validation_part_without_a_whole_window_is_named() -> None:
    policy = made.random_policy(made.make_config(data__known=["price"]), SEGMENTS)
    bounds = {**made.PARTS, "validation": (140, 143)}
    with pytest.raises(InputError, match=r"validation part, 3 steps, holds no whole window of 12 \+ 6 steps"):
        errors_of(policy, SEGMENTS, bounds)
