"""How far forecasts of the same step move, from one origin to the next and from one policy to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts import revised
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.churn import between, revisions
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.forecasts.view import View


def test_revisions_are_of_the_same_step_at_origins_one_step_apart() -> None:
    forecast = np.array([[[1.0], [2.0], [3.0]], [[5.0], [1.0], [0.0]], [[9.0], [9.0], [9.0]]])
    found, pairs = revisions(forecast, np.array([10, 11, 12]))
    assert pairs == 2
    assert found.tolist() == [[abs(5 - 2) + abs(9 - 1)], [abs(1 - 3) + abs(9 - 0)]]


def test_origins_further_apart_are_no_pair() -> None:
    forecast = np.arange(9.0).reshape(3, 3, 1)
    found, pairs = revisions(forecast, np.array([10, 12, 13]))
    assert pairs == 1
    assert found.tolist() == [[2.0], [2.0]]
    assert revisions(forecast, np.array([1, 5, 9]))[1] == 0


def test_two_policies_lie_their_mean_difference_apart_in_training_deviations() -> None:
    one = np.zeros((4, 3, 2))
    other = one + np.array([2.0, 30.0])
    assert between(one, other, np.array([1.0, 10.0])) == pytest.approx(2.5)
    assert between(one, one, np.array([1.0, 10.0])) == 0.0


def view_of(data, policy, batch: int = 512) -> View:
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecasters = {"policy": policy, **fit_baselines(data.segments, data.parts, data.window, data.scaler)}
    given = Yardstick.of(data.segments, data.parts, data.window, data.scaler, batch)
    scores = score(forecasters, data.segments, test_M, given)
    return View(
        scores,
        "policy",
        "ridge",
        data.segments,
        test_M,
        data.window,
        data.scaler.target_deviation,
        "mean",
        given.before,
    )


def test_a_seasonal_naive_forecast_within_a_season_is_never_revised_and_the_ridge_is(data, fake_policy) -> None:
    view = view_of(data, fake_policy())
    found = revised.told(view).details["churn"]
    assert found["mean"]["policy"] == found["mean"]["seasonal_naive"] == 0.0
    assert found["mean"]["ridge"] > 0
    assert found["share_of_mae"]["ridge"] == pytest.approx(
        found["mean"]["ridge"] / np.mean(view.mae("ridge", "horizon")[:-1])
    )
    assert len(found["by_lead"]["policy"]) == data.window.horizon - 1
    assert found["deviations"]["ridge"] == pytest.approx(found["mean"]["ridge"] / data.scaler.target_deviation[0])


class Restless:
    """Flips between two answers from origin to origin."""

    quantiles = [0.5]  # noqa: RUF012

    def forecast_windows(self, segments, origins_M, batch=512):
        step = segments.steps(origins_M) % 2
        return np.repeat(np.where(step, 20.0, 24.0)[:, None, None, None], 12, axis=1)


def test_a_restless_policy_is_advised_against(data) -> None:
    told = revised.told(view_of(data, Restless()))
    [finding] = told.findings
    assert "moves by 4 on average" in finding.text
    assert "the ridge's by" in finding.text
    [figure] = told.figures
    assert "4 for the step that is then one ahead" in figure.caption
    assert [trace["name"] for trace in figure.traces] == ["policy", "ridge", "seasonal naive"]


def test_batches_lose_a_pair_at_their_edges_alone(data) -> None:
    whole, cut = (revised.told(view_of(data, Restless(), batch)).details["churn"] for batch in (100_000, 50))
    assert whole["pairs"] - cut["pairs"] <= len(view_of(data, Restless()).origins_M) // 50 + 1
    assert cut["mean"]["policy"] == pytest.approx(whole["mean"]["policy"])


def test_a_horizon_of_one_step_is_never_revised(data, fake_policy) -> None:
    window = data.window.model_copy(update={"horizon": 1})
    short = replace(data, window=window)
    assert not revised.has_pairs(view_of(short, fake_policy(window=window)))
