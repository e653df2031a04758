"""The test part of a forecasting run, with a stand-in for the policy."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.config import parse
from lstm_ray.data.windows import origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.evaluation import evaluate_forecast
from lstm_ray.evaluate.told import Evaluation
from lstm_ray.run_dir import to_json

CONFIG = parse(
    {
        "name": "t",
        "data": {"source": "x.csv", "time": "t", "target": ["y"]},
        "window": {"history": 48, "horizon": 12, "patch": 12, "season": 24},
        "evaluate": {"batch": 100, "robustness_windows": 40, "missing": [0.3], "noise": [0.5]},
    }
)


class Perfect:
    """Knows the future, with an interval about it. Baselines and figures must not."""

    def __init__(self, data, error: float = 0.0, quantiles=(0.1, 0.5, 0.9)) -> None:
        self.target, self.first_step = data.segments.target_RC, data.segments.first_step
        self.data, self.error, self.quantiles = data, error, list(quantiles)

    def forecast_windows(self, segments, origins_M, batch=512):
        whole = self.data.segments
        at = {(n, int(s)): r for r, (n, s) in enumerate(zip(_names(whole), whole.steps(_rows(whole)), strict=True))}
        names = [segments.series[s] for s in segments.series_of(origins_M)]
        first = np.array([at[n, int(s)] for n, s in zip(names, segments.steps(origins_M), strict=True)])
        truth = self.target[first[:, None] + np.arange(1, 13)][..., None]
        return truth + self.error + np.asarray(self.quantiles, dtype=np.float32) - 0.5


def _rows(segments):
    return np.arange(len(segments.target_RC))


def _names(segments):
    return [segments.series[s] for s in segments.series_of(_rows(segments))]


def _evaluate(data, policy, config=CONFIG) -> Evaluation:
    return evaluate_forecast(config, "tune", policy, data.scaler, data.segments, data.parts)


def test_a_policy_that_wins_is_scored_beside_its_baselines(make_data):
    data = make_data(steps=2200)
    found = _evaluate(data, Perfect(data, error=0.1))
    assert found.num_windows == len(origins(data.segments, data.parts, "test", data.window))
    assert found.metrics["mae"] == pytest.approx(0.1, rel=1e-4)
    assert found.metrics["coverage"] == 1.0
    assert found.scaled["mae"] == pytest.approx(0.1 / data.scaler.target_deviation[0], rel=1e-4)
    assert list(found.baselines) == ["last_value", "seasonal_naive", "ridge"]
    best = min(scores["mae"] for scores in found.baselines.values())
    assert found.skill == pytest.approx(1 - 0.1 / best, rel=1e-4)
    assert found.details["skill_against"] == "ridge"
    low, high = found.details["skill_interval"]
    assert low < found.skill < high
    assert "below the ridge's" in found.summary
    assert found.tables[0]["best"] == 0
    assert found.tables[0]["rows"][0][0] == "policy (tune)"
    assert found.findings[0].severity == "info"


def test_a_policy_that_loses_is_said_to(data, fake_policy):
    found = _evaluate(data, fake_policy(bias=4.0))
    assert found.skill < 0
    assert "above the ridge's" in found.summary
    assert found.findings[0].severity == "warning"
    assert "Serve the ridge instead" in found.findings[0].advice
    assert found.details["skill_interval"] is None, "120 steps hold no eight blocks of two seasons"
    assert "too short to say how sure" in found.findings[0].text
    assert found.tables[0]["best"] == 3


def test_all_that_is_written_is_json_without_nan_and_tables_are_whole(make_data, fake_policy):
    for data in (make_data(channels=2), make_data(is_time=False)):
        found = _evaluate(data, fake_policy(quantiles=[0.25, 0.5, 0.75]))
        to_json([found.metrics, found.baselines, found.scaled, found.details, found.tables])
        to_json([figure.model_dump() for figure in found.figures])
        assert {len(row) for row in found.tables[0]["rows"]} == {len(found.tables[0]["columns"])}


def test_the_finer_cuts_are_there(make_data, fake_policy):
    details = _evaluate(make_data(channels=2), fake_policy(quantiles=[0.1, 0.5, 0.9])).details
    assert len(details["by_horizon"]["policy"]) == 12
    assert set(details["by_series"]["ridge"]) == {"s0", "s1", "s2"}
    assert len(details["by_hour"]["policy"]) == 24
    assert set(details["by_target"]["mae"]) == {"target0", "target1"}
    assert details["interval_nominal"] == pytest.approx(0.8)
    assert {curve["kind"] for curve in details["robustness"]} == {"missing", "noise"}
    assert len(details["worst_windows"]) == 5


def test_every_figure_has_a_caption_with_numbers_and_traces(data, fake_policy):
    found = _evaluate(data, fake_policy(quantiles=[0.1, 0.5, 0.9]))
    ids = [figure.id for figure in found.figures]
    assert ids == [
        "predictions",
        "error-by-horizon",
        "window-typical",
        "window-worst",
        "error-by-hour",
        "error-by-series",
        "residuals",
        "robustness-missing",
        "robustness-noise",
    ]
    for figure in found.figures:
        assert figure.caption.endswith(".")
        assert any(sign.isdigit() for sign in figure.caption), figure.id
        assert {len(trace["x"]) for trace in figure.traces} == {len(trace["y"]) for trace in figure.traces}
    names = [trace.get("name") for trace in found.figures[0].traces]
    assert names == [None, "80 % interval", "actual", "policy", "ridge"]


def test_the_figure_of_predictions_shows_what_was_forecast_and_what_came(data):
    figure = _evaluate(data, Perfect(data, quantiles=(0.5,))).figures[0]
    actual, policy, _ = (trace["y"] for trace in figure.traces)
    assert figure.traces[0]["x"] == sorted(set(figure.traces[0]["x"])), "windows end to end do not overlap"
    shared = [(a, p) for a, p in zip(actual, policy, strict=True) if a is not None]
    assert 0 < len(shared) < len(actual), "steps that were not measured are holes"
    assert all(a == pytest.approx(p, rel=1e-5) for a, p in shared)


def test_a_test_part_without_a_window_is_refused(data, fake_policy):
    data.parts["test"] = (595, 600)
    with pytest.raises(InputError, match=r"steps 595 to 600, holds no window of history 48 and horizon 12"):
        _evaluate(data, fake_policy())


def test_a_test_part_without_a_measured_target_is_refused(make_data, fake_policy):
    data = make_data()
    late = data.segments.steps(_rows(data.segments)) >= data.parts["test"][0]
    data.segments.observed_RC[late] = 0
    with pytest.raises(InputError, match="no target was measured in the whole test part"):
        _evaluate(data, fake_policy())


def test_a_missing_seasonal_naive_is_said(data, fake_policy):
    window = CONFIG.window.model_copy(update={"season": 60})
    found = _evaluate(data, fake_policy(), CONFIG.model_copy(update={"window": window}))
    assert "seasonal_naive" not in found.baselines
    assert any("No seasonal naive: window.season 60" in finding.text for finding in found.findings)
