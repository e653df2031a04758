"""AutoETS and Theta beside the policy, on some windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsforecast.models import AutoETS

from lstm_ray.data.schema import ColumnScale
from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts import statistical
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive, fit_baselines
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.forecasts.statistical import Statistical, affordable, beside_statistical, spread
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import to_json


def _given(data) -> Yardstick:
    scale = seasonal_scale(data.segments, data.parts, data.window.season)
    return Yardstick(data.window, scale, data.scaler.target_deviation)


def _beside(data, policy, count=6):
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecasters = {"policy": policy, **fit_baselines(data.segments, data.parts, data.window, data.scaler)}
    return beside_statistical(forecasters, data.segments, test_M, _given(data), count, seed=3)


def test_a_fit_is_the_packages_own_on_that_history_alone(data):
    origin = np.array([int(data.segments.bounds[1]) + 200])
    one = Statistical(AutoETS, 12, 24, 168, lambda words: None)
    found = one.forecast_windows(data.segments, origin)
    history = data.segments.target_RC[origin[0] - 167 : origin[0] + 1, 0].astype(float)
    expected = AutoETS(season_length=24).forecast(y=history, h=12)["mean"]
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-5)
    data.segments.target_RC[origin[0] + 1 :] = 1e6
    np.testing.assert_array_equal(one.forecast_windows(data.segments, origin), found)
    assert one.failed == 0


def test_a_history_that_cannot_be_fitted_is_counted_and_its_last_value_repeated(data):
    origin = np.array([int(data.segments.bounds[1]) + 1])
    one = Statistical(AutoETS, 12, 24, 168, lambda words: None)
    np.testing.assert_allclose(one.forecast_windows(data.segments, origin), data.segments.target_RC[origin[0], 0])
    assert one.failed == 1


def test_all_are_scored_on_the_same_windows_as_the_pass_over_all_would(data, fake_policy):
    found = _beside(data, fake_policy(bias=0.2))
    details = found.told.details["statistical"]
    assert set(details["metrics"]) == {"policy", "last_value", "mean", "drift", "seasonal_naive", "ridge"} | {
        "AutoETS",
        "AutoTheta",
    }
    test_M = origins(data.segments, data.parts, "test", data.window)
    chosen_M = spread(test_M, 6, 3)
    assert len(chosen_M) == details["num_windows"] == 6
    naive = score({"n": SeasonalNaive(12, 24)}, data.segments, chosen_M, _given(data))["n"].total.metrics()
    for name in ("mae", "rmse", "mase", "smape"):
        assert details["metrics"]["seasonal_naive"][name] == pytest.approx(naive[name], rel=1e-5)
    table = TableData.model_validate(found.told.tables[0])
    errors = [row[1] for row in table.rows]
    assert errors == sorted(errors)
    assert table.rows[table.best][0] == "policy"
    to_json([details, found.told.tables])


def test_of_several_targets_each_counts_in_its_own_deviations(make_data, fake_policy):
    data = make_data(channels=2)
    data.segments.target_RC[:, 1] *= 1e6
    unit = ColumnScale(mean=[0.0, 0.0], deviation=[1.0, 1e6])
    data = replace(data, scaler=data.scaler.model_copy(update={"target": unit}))
    found = _beside(data, fake_policy()).told
    assert "training deviations" in found.findings[0].text
    mae = [row[1] for row in found.tables[0]["rows"]]
    assert mae == sorted(mae)
    assert max(mae) < 100
    assert found.details["statistical"]["metrics"]["policy"]["mae"] > 1000, "as everywhere, in the data's own units"


def test_the_better_of_the_two_is_named_also_when_it_wins(data, fake_policy):
    found = _beside(data, fake_policy(bias=4.0))
    (finding,) = found.told.findings
    assert finding.severity == "warning"
    assert "above Auto" in finding.text
    assert finding.advice.startswith("Serve Auto")
    assert "On 6 of them it is" in found.summary
    assert "above Auto" in found.summary


def test_how_sure_it_is_is_said_where_the_windows_span_enough_time(make_data, fake_policy):
    data = make_data(steps=2400)
    found = _beside(data, fake_policy(bias=4.0), count=60)
    assert "interval of that skill" in found.told.findings[0].text
    assert all(found.told.details["statistical"]["skill_interval"].values())


def test_without_the_package_it_is_said_how_to_get_it(data, fake_policy, monkeypatch):
    monkeypatch.setattr(statistical, "find_spec", lambda name: None)
    found = _beside(data, fake_policy())
    assert "not installed" in found.told.findings[0].text
    assert found.told.findings[0].advice == "pip install 'lstm-ray[baselines]'"
    assert (found.summary, found.told.tables, found.told.details) == ("", [], {})


def test_none_are_fitted_where_none_are_asked_for(data, fake_policy):
    found = _beside(data, fake_policy(), count=0)
    assert (found.summary, found.told.findings, found.told.tables) == ("", [], [])


def test_windows_are_spread_over_series_and_hours(make_data):
    data = make_data(steps=2400)
    test_M = origins(data.segments, data.parts, "test", data.window)
    chosen_M = spread(test_M, 100, 7)
    assert len(np.unique(chosen_M)) == 100
    assert len(set(data.segments.series_of(chosen_M).tolist())) == 3
    assert len(set((data.segments.steps(chosen_M) % 24).tolist())) > 18
    np.testing.assert_array_equal(spread(test_M, 100, 7), chosen_M)
    np.testing.assert_array_equal(spread(test_M[:5], 100, 7), test_M[:5])


@pytest.mark.parametrize(
    ("count", "season", "channels", "windows"),
    [(100, 24, 1, 100), (100, 7, 1, 100), (100, 24, 7, 14), (100, 168, 1, 20), (5, 168, 1, 5), (100, 24, 100, 1)],
)
def test_work_is_bounded_by_targets_and_seasons(count, season, channels, windows):
    assert affordable(count, season, channels) == windows
