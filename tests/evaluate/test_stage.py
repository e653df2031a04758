"""The evaluate stage on a run directory as the stages before it leave one; its policies are untrained networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config, parse, with_values
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.store import FILE, INDEX, index_of, load_segments
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive, fit_baselines
from lstm_ray.evaluate.stage import CHOICE, evaluate
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

FORECAST = {
    "name": "t",
    "data": {"source": "x.csv", "time": "t", "series_id": ["id"], "target": ["target0"], "past": ["a", "b"]},
    "preprocess": {"calendar": []},
    "window": {"history": 48, "horizon": 12, "patch": 12, "season": 24},
    "model": {"hidden": 4, "quantiles": [0.1, 0.5, 0.9]},
    "evaluate": {"batch": 64, "robustness_windows": 20, "missing": [0.3], "noise": [0.5], "statistical_windows": 0},
}
CLASSIFY = {
    "name": "t",
    "task": "classify",
    "data": {"source": "x.csv", "time": "t", "series_id": ["id"], "past": ["a", "b"], "label": "c"},
    "preprocess": {"calendar": []},
    "window": {"history": 48, "patch": 12},
    "model": {"hidden": 4},
    "evaluate": {"batch": 64, "missing": [0.3], "noise": [0.5]},
}


def _leave_data(run: RunDir, data) -> None:
    """What preprocess and split leave."""
    segments: Segments = data.segments
    length = np.diff(segments.bounds)
    rows = np.arange(len(segments.past_RP))
    columns = {
        "series": np.repeat(segments.series, length),
        "segment": np.repeat(np.arange(len(length), dtype=np.int32), length),
        "step": segments.steps(rows),
    }
    for name, values in zip(segments.schema.target, segments.target_RC.T, strict=True):
        columns[name] = values
        columns["observed:" + name] = segments.observed_RC[:, segments.schema.target.index(name)] > 0
    columns |= dict(zip(segments.schema.past, segments.past_RP.T, strict=True))
    if segments.label is not None:
        columns["c"] = np.asarray(segments.schema.classes)[np.repeat(segments.label, length)]
    folder = run.local / "preprocess" / "segments"
    folder.mkdir(parents=True)
    frame = pl.DataFrame(columns)
    frame.write_parquet(folder / "0.parquet")
    index = index_of(frame, ["c"] if "c" in columns else []).with_columns(pl.lit("0.parquet").alias(FILE))
    index.write_parquet(run.local / "preprocess" / INDEX)
    run.write_json("preprocess/schema.json", segments.schema)
    run.write_json("preprocess/scaler.json", data.scaler)
    run.write_json("split/boundaries.json", {"parts": data.parts})


def _leave_policy(
    run: RunDir, stage: str, config: Config, schema: Schema, scaler: Scaler, tuned=None, **validation
) -> Policy:
    """What train, plan or tune leave, with a report that claims the validation metrics given."""
    policy = Policy(config, schema, scaler, build(config, schema).state_dict())
    policy.save(run.local / stage / "policy")
    report = Report(stage=stage, summary="", validation=validation, best_config=tuned or {})
    run.write_json(f"{stage}/report.json", report)
    return policy


def _evaluate(config: Config, run: RunDir) -> tuple[Report, Path]:
    work = StageDir(run.local / ".work" / "evaluate-test")
    work.path.mkdir(parents=True, exist_ok=True)
    return evaluate(config, run, work), work.path


@pytest.fixture
def forecast_run(tmp_path: Path, data) -> tuple[Config, RunDir]:
    config, run = parse(FORECAST), RunDir(tmp_path)
    _leave_data(run, data)
    _leave_policy(run, "train", config, data.segments.schema, data.scaler, mae=2.0)
    return config, run


def test_a_forecasting_run_is_evaluated_whole(forecast_run, data):
    config, run = forecast_run
    tuned = _leave_policy(run, "tune", config, data.segments.schema, data.scaler, mae=1.0, rmse=3.0)
    report, folder = _evaluate(config, run)
    assert (report.stage, report.policy, report.validation) == ("evaluate", "tune", {"mae": 1.0, "rmse": 3.0})
    run.local.joinpath("evaluate").symlink_to(folder)
    metrics = run.read_json("evaluate/metrics.json")
    segments, parts = load_segments(run)
    assert {name: metrics[name] for name in ("task", "policy", "split")} == {
        "task": "forecast",
        "policy": "tune",
        "split": "test",
    }
    assert metrics["num_windows"] == len(origins(segments, parts, "test", config.window)) == report.num_windows
    assert metrics["metrics"] == report.metrics
    assert set(metrics["scaled"]) == {"mse", "mae"}
    assert set(metrics["baselines"]) == {"last_value", "mean", "drift", "seasonal_naive", "ridge"}
    kept = Policy.load(folder / "policy")
    assert kept.calibration is not None
    assert metrics["intervals"]["answered"] == "calibrated"
    assert [part for part in report.findings if part.topic == "Intervals"]
    # But for its calibration it is the one that was tuned.
    kept.calibration = None
    assert kept.save(run.local / "again") == tuned.save(run.local / "again")
    for table in report.tables:
        TableData.model_validate(table)
    assert "'tune' goes on" in _of_choice(report)[0].text
    assert "'train' has 2 (+100 %)" in _of_choice(report)[0].text
    ids = [figure.id for figure in run.figures("evaluate")]
    assert len(set(ids)) == len(ids)
    assert {"predictions", "error-by-horizon", "intervals-by-horizon", "residuals"} <= set(ids)


def test_the_reported_metrics_are_the_chosen_policys_own_forecasts(forecast_run, data):
    config, run = forecast_run
    report, folder = _evaluate(config, run)
    segments, parts = load_segments(run)
    test_M = origins(segments, parts, "test", config.window)
    rows = test_M[:, None] + np.arange(1, 13)
    seen = segments.observed_RC[rows] > 0
    forecast = Policy.load(folder / "policy").forecast_windows(segments, test_M)
    error = np.abs(forecast[..., 1] - segments.target_RC[rows])[seen]
    assert report.metrics["mae"] == pytest.approx(error.mean(), rel=1e-5)
    naive = SeasonalNaive(12, 24).forecast_windows(segments, test_M)[..., 0]
    error = np.abs(naive - segments.target_RC[rows])[seen]
    assert report.baselines["seasonal_naive"]["mae"] == pytest.approx(error.mean(), rel=1e-5)


OTHER = {"window.history": 96, "window.patch": 6}


def test_a_tuned_policy_of_another_window_is_measured_and_scored_by_its_own(forecast_run, data):
    config, run = forecast_run
    tuned = with_values(config, OTHER)
    segments, parts = load_segments(run)
    # Segments of 300 steps, of which the test part of one begins after 115: a longer history has fewer windows there.
    _leave_policy(run, "tune", tuned, data.segments.schema, data.scaler, tuned=OTHER, mae=1e-9)
    _leave_policy(run, "plan", config, data.segments.schema, data.scaler, mae=1e-9)
    report, _ = _evaluate(config, run)
    common_M = origins(segments, parts, "validation", tuned.window)
    assert len(common_M) < len(origins(segments, parts, "validation", config.window))
    policies = {stage: Policy.load(run.local / stage / "policy") for stage in ("train", "plan", "tune")}
    mae = {stage: validation_metrics(policy, segments, parts, common_M)["mae"] for stage, policy in policies.items()}
    assert {row[0]: row[1] for row in report.tables[0]["rows"]} == pytest.approx(mae)
    assert f"the {len(common_M):,} windows that a history of 96 steps can answer" in report.tables[0]["caption"]
    assert report.policy == min(mae, key=mae.get)
    assert report.validation["mae"] == pytest.approx(min(mae.values()))


def test_test_metrics_and_baselines_are_of_the_chosen_policys_own_window(forecast_run, data):
    config, run = forecast_run
    tuned = with_values(config, OTHER)
    policy = _leave_policy(run, "tune", tuned, data.segments.schema, data.scaler, tuned=OTHER, mae=0.1)
    # Whichever is better by chance, the tuned one goes on.
    policy.facts["preferred_to"] = Policy.load(run.local / "train" / "policy").version
    policy.save(run.local / "tune" / "policy")
    report, folder = _evaluate(config, run)
    run.local.joinpath("evaluate").symlink_to(folder)
    segments, parts = load_segments(run)
    test_M = origins(segments, parts, "test", tuned.window)
    rows = test_M[:, None] + np.arange(1, 13)
    seen = segments.observed_RC[rows] > 0
    error = np.abs(policy.forecast_windows(segments, test_M)[..., 1] - segments.target_RC[rows])[seen]
    metrics = run.read_json("evaluate/metrics.json")
    assert metrics["policy"] == "tune"
    assert metrics["metrics"]["mae"] == pytest.approx(error.mean(), rel=1e-5)
    assert metrics["num_windows"] == len(test_M)
    assert metrics["window"] == {"history": 96, "horizon": 12, "patch": 6, "season": 24}
    ridge = fit_baselines(segments, parts, tuned.window, data.scaler)["ridge"]
    assert len(ridge.weights_LH) == 96
    error = np.abs(ridge.forecast_windows(segments, test_M)[..., 0] - segments.target_RC[rows])[seen]
    assert metrics["baselines"]["ridge"]["mae"] == pytest.approx(error.mean(), rel=1e-4)
    told = _of_choice(report)[1].text
    assert "reads a history of 96 steps in patches of 6, as tuned; the YAML has 48 and 12" in told
    before = len(origins(segments, parts, "test", config.window))
    assert before == len(test_M)
    assert told.endswith(f"It answers {len(test_M):,} test windows, as many.")


def test_a_policy_half_copied_by_a_killed_attempt_is_replaced(forecast_run):
    config, run = forecast_run
    stale = run.local / ".work" / "evaluate-test" / "policy" / "half.bin"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    _, folder = _evaluate(config, run)
    assert not (folder / "policy" / "half.bin").exists()


def test_validation_metrics_are_those_of_the_validation_windows(forecast_run):
    config, run = forecast_run
    segments, parts = load_segments(run)
    policy = Policy.load(run.local / "train" / "policy")
    found = validation_metrics(policy, segments, parts)
    rows = origins(segments, parts, "validation", config.window)[:, None] + np.arange(1, 13)
    seen = segments.observed_RC[rows] > 0
    forecast = policy.forecast_windows(segments, rows[:, 0] - 1)[..., 1]
    assert found["mae"] == pytest.approx(np.abs(forecast - segments.target_RC[rows])[seen].mean(), rel=1e-5)
    assert {"mase", "smape", "coverage"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())


def test_a_classification_run_is_evaluated_whole(tmp_path, sequences_data):
    config, run = parse(CLASSIFY), RunDir(tmp_path)
    _leave_data(run, sequences_data)
    policy = _leave_policy(
        run, "train", config, sequences_data.segments.schema, sequences_data.scaler, macro_f1=0.5, accuracy=0.6
    )
    report, folder = _evaluate(config, run)
    run.local.joinpath("evaluate").symlink_to(folder)
    metrics = run.read_json("evaluate/metrics.json")
    assert (metrics["task"], metrics["policy"], metrics["num_windows"]) == ("classify", "train", 50)
    assert set(metrics["baselines"]) == {"majority", "logistic_regression", "nearest_neighbour"}
    assert metrics["scaled"] == {}
    for table in report.tables:
        TableData.model_validate(table)
    segments, parts = load_segments(run)
    ids = np.arange(120, 150)
    guess = policy.class_probabilities(segments, ids).argmax(axis=1)
    found = validation_metrics(policy, segments, parts)
    assert found["accuracy"] == pytest.approx((guess == segments.label[ids]).mean())


def _of_choice(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.topic == CHOICE]
