"""The test part of a forecasting run, with a stand-in for the policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.config import parse
from lstm_ray.data.schema import ColumnScale
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
        "evaluate": {
            "batch": 100,
            "robustness_windows": 40,
            "missing": [0.3],
            "noise": [0.5],
            "statistical_windows": 0,
        },
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
    assert list(found.baselines) == ["last_value", "mean", "drift", "seasonal_naive", "ridge"]
    best = min(scores["mae"] for scores in found.baselines.values())
    assert found.skill == pytest.approx(1 - 0.1 / best, rel=1e-4)
    assert found.details["skill_against"] == "ridge"
    low, high = found.details["skill_interval"]
    assert low < found.skill < high
    assert "below the ridge's" in found.summary
    assert found.findings[0].severity == "info"
    assert "The policy is best by" in found.findings[1].text
    assert "ahead of the ridge in 3 of 3 series" in found.findings[1].text


def test_a_policy_that_loses_is_said_to(data, fake_policy):
    found = _evaluate(data, fake_policy(bias=4.0))
    assert found.skill < 0
    assert "above the ridge's" in found.summary
    assert found.findings[0].severity == "warning"
    assert "Serve the ridge instead" in found.findings[0].advice
    assert found.details["skill_interval"] is None, "120 steps hold no eight blocks of two seasons"
    assert "too short to say how sure" in found.findings[0].text
    assert "in 0 of 3 series" in found.findings[1].text


def test_all_that_is_written_is_json_without_nan_and_tables_are_whole(make_data, fake_policy):
    for data in (make_data(channels=2), make_data(is_time=False)):
        found = _evaluate(data, fake_policy(quantiles=[0.25, 0.5, 0.75]))
        to_json([found.metrics, found.baselines, found.scaled, found.details, found.tables])
        to_json([figure.model_dump() for figure in found.figures])
        for table in found.tables:
            assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_the_finer_cuts_are_there(make_data, fake_policy):
    details = _evaluate(make_data(channels=2), fake_policy(quantiles=[0.1, 0.5, 0.9])).details
    assert len(details["by_horizon"]["policy"]) == 12
    assert set(details["by_series"]["ridge"]) == {"s0", "s1", "s2"}
    assert len(details["by_hour"]["policy"]) == 24
    assert details["by_level"].keys() == details["by_month"].keys() == details["by_hour"].keys()
    assert details["num_zero_actuals"] == 0
    assert set(details["by_target"]["mae"]) == {"target0", "target1"}
    assert details["interval_nominal"] == pytest.approx(0.8)
    assert {"missing", "noise", "later"} <= {curve["kind"] for curve in details["robustness"]}
    assert len(details["worst_windows"]) == 6


def test_every_figure_has_a_caption_with_numbers_and_traces(data, fake_policy):
    found = _evaluate(data, fake_policy(quantiles=[0.1, 0.5, 0.9]))
    ids = [figure.id for figure in found.figures]
    assert ids[:3] == ["predictions", "error-by-horizon", "window-typical"]
    assert {"windows-worst", "error-by-hour", "error-by-series", "residuals"} < set(ids)
    assert len(set(ids)) == len(ids)
    for figure in found.figures:
        assert figure.caption.endswith(".")
        assert any(sign.isdigit() for sign in figure.caption), figure.id
        lines = [trace for trace in figure.traces if trace.get("type") != "heatmap"]
        assert {len(trace["x"]) for trace in lines} == {len(trace["y"]) for trace in lines}
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
    assert found.metrics["mase"] is not None
    assert [who["owa"] for who in (found.metrics, *found.baselines.values())] == [None] * 5, "of nothing else than it"


def test_of_several_targets_each_counts_in_its_own_deviations(make_data, fake_policy):
    """In their own units the one in millions would decide alone which baseline is best, and how far ahead."""
    data = make_data(steps=2200, channels=2)
    data.segments.target_RC[:, 1] *= 1e6
    unit = ColumnScale(mean=[0.0, 0.0], deviation=[1.0, 1e6])
    data = replace(data, scaler=data.scaler.model_copy(update={"target": unit}))

    class Uneven(Perfect):
        def forecast_windows(self, segments, origins_M, batch=512):
            truth = super().forecast_windows(segments, origins_M)
            return truth + np.asarray([0.0, 8e6], np.float32)[:, None]

    found = _evaluate(data, Uneven(data, quantiles=(0.5,)))
    first = found.findings[0].text
    assert f"has a mean absolute error of {found.scaled['mae']:.3g} training deviations" in first
    rival = found.details["skill_against"]
    scaled = {who: score["mae"] for who, score in found.details["baselines_scaled"].items()}
    assert rival == min(scaled, key=scaled.get)
    assert found.skill == pytest.approx(1 - found.scaled["mae"] / scaled[rival], abs=1e-3)


def _one_series(data, steps: int, **changes):
    """The first rows of the second series alone."""
    first = int(data.segments.bounds[data.segments.series.index("s1")])
    segments = replace(data.segments.stretches(np.array([[first, first + steps]])), **changes)
    return replace(data, segments=segments)


def test_a_single_series_with_a_single_test_window_is_scored(data, fake_policy):
    data = _one_series(data, 600)
    data.parts["validation"], data.parts["test"] = (360, 588), (588, 600)
    found = _evaluate(data, fake_policy(bias=0.1))
    assert found.num_windows == 1
    assert found.details["skill_interval"] is None
    assert "ahead of the" not in found.findings[1].text, "one series is no count of series"
    to_json([found.metrics, found.baselines, found.scaled, found.details, found.tables])
    to_json([figure.model_dump() for figure in found.figures])


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_constant_target_has_no_skill_to_measure_and_no_nan(data, fake_policy, level):
    data.segments.target_RC[:] = level
    unit = ColumnScale(mean=[level], deviation=[1.0])
    data = replace(data, scaler=data.scaler.model_copy(update={"target": unit}))
    found = _evaluate(data, fake_policy(bias=0.5))
    assert found.skill is None
    assert "makes no error at all" in found.summary
    assert found.metrics["mae"] == pytest.approx(0.5)
    assert found.metrics["mase"] is None, "a series that never changes has no seasonal naive error"
    assert all(scores["mae"] == pytest.approx(0, abs=1e-5) for scores in found.baselines.values())
    to_json([found.metrics, found.baselines, found.scaled, found.details, found.tables])
    to_json([figure.model_dump() for figure in found.figures])


def test_a_target_that_stands_still_in_the_test_part_alone_is_scored(data, fake_policy):
    late = data.segments.steps(_rows(data.segments)) >= data.parts["validation"][0]
    data.segments.target_RC[late] = 7.0
    found = _evaluate(data, fake_policy(bias=0.5))
    assert found.metrics["mae"] == pytest.approx(0.5, rel=0.3)
    to_json([found.metrics, found.baselines, found.scaled, found.details])


def test_training_on_what_never_changes_leaves_mase_out_and_all_else_in(data, fake_policy):
    early = data.segments.steps(_rows(data.segments)) < data.parts["train"][1]
    data.segments.target_RC[early] = 7.0
    found = _evaluate(data, fake_policy())
    assert found.metrics["mase"] is None
    assert found.metrics["mae"] > 0
    to_json([found.metrics, found.baselines, found.details])


def test_series_shorter_than_the_season_have_no_mase_and_no_seasonal_naive(data, fake_policy):
    window = CONFIG.window.model_copy(update={"season": 400})
    found = _evaluate(data, fake_policy(), CONFIG.model_copy(update={"window": window}))
    assert found.metrics["mase"] is None
    assert "seasonal_naive" not in found.baselines
    to_json([found.metrics, found.baselines, found.details])


def test_a_horizon_of_which_nothing_was_measured_is_left_out_of_every_mean(data, fake_policy):
    test_M = origins(data.segments, data.parts, "test", data.window)
    data.segments.observed_RC[test_M[3] + 1 : test_M[3] + 13] = 0
    data.segments.target_RC[test_M[3] + 1 : test_M[3] + 13] = 1e6
    found = _evaluate(data, Perfect(data, quantiles=(0.5,)))
    assert found.metrics["mae"] == pytest.approx(0, abs=1e-6)
    assert found.cases["policy"][3].as_py() is None
    num = len(test_M)
    assert f"On {num - 1:,} test windows" in found.summary
    assert found.findings[1].text.startswith(f"In 1 of {num:,} test windows no step ahead was measured")
    assert found.num_windows == num
    to_json([found.metrics, found.details])


def test_a_series_without_a_test_window_has_no_score_and_counts_for_none(data, fake_policy):
    ends = data.segments.bounds[1:].tolist()
    first = data.segments.bounds[:-1].tolist()
    kept = np.array([[first[0], ends[0]], [first[2], ends[2]], [first[3], first[3] + 400]])
    data = replace(data, segments=data.segments.stretches(kept))
    found = _evaluate(data, fake_policy(bias=4.0))
    assert found.details["by_series"]["policy"]["s2"] is None
    assert "series." not in found.findings[1].text, "of three series one alone has test windows"
    to_json([found.details, found.tables])


def test_histories_of_which_nothing_was_measured_break_no_baseline(data, fake_policy):
    test_M = origins(data.segments, data.parts, "test", data.window)
    data.segments.observed_RC[test_M[0] - 100 : test_M[0] + 1] = 0
    found = _evaluate(data, fake_policy())
    assert all(scores["mae"] is not None and np.isfinite(scores["mae"]) for scores in found.baselines.values())
