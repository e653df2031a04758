"""A policy judged on data that its run has not seen, beside its test part. Policies are untrained networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.stage import split
from lstm_ray.data.store import load_scaler, load_schema
from lstm_ray.errors import InputError
from lstm_ray.evaluate.stage import evaluate
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.new_data.unseen import evaluate_unseen
from lstm_ray.run_dir import REPORT, Report, RunDir
from tests import made

QUICK = {"evaluate__statistical_windows": 0, "evaluate__damage": [], "evaluate__explain": "none"}


def finished_run(config: Config, folder: Path) -> RunDir:
    """A run whose stages have run but for training: its network is as it was built."""
    run = made.prepared_run(config, folder)
    with run.stage("split", "0" * 64) as work:
        work.write_json(REPORT, split(config, run, work))
    schema, scaler = load_schema(run), load_scaler(run)
    policy = Policy(config, schema, scaler, build(config, schema).state_dict())
    policy.save(run.local / "train" / "policy")  # type: ignore[operator]
    run.write_json(
        "train/report.json", Report(stage="train", summary="", validation={"mae": 1.0, "mase": 1.0, "macro_f1": 0.5})
    )
    with run.stage("evaluate", "0" * 64) as work:
        work.write_json(REPORT, evaluate(config, run, work))
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path]:
    """A finished run of ``made.write_table``, and the table."""
    folder = tmp_path_factory.mktemp("unseen")
    table = made.write_table(folder / "table.csv", steps=480)
    return finished_run(made.make_config(table, **QUICK), folder / "run"), table


def _cases(run: RunDir, place: str) -> pl.DataFrame:
    return pl.read_parquet(run.local / place / "cases.parquet").sort("series_id", "time")  # type: ignore[operator]


def _texts(report: Report) -> str:
    return " ".join(finding.text for finding in report.findings)


def test_windows_of_the_test_part_are_scored_as_the_stage_scored_them(finished: tuple[RunDir, Path]) -> None:
    run, table = finished
    holder, name, _ = evaluate_unseen(run.uri, str(table))
    theirs, ours = _cases(run, "evaluate"), _cases(holder, name)
    both = theirs.join(ours, on=["series_id", "time"], suffix=" new")
    assert both.height == theirs.height < ours.height
    for model in [name for name in theirs.columns if name not in ("series_id", "time")]:
        np.testing.assert_allclose(both[f"{model} new"].to_numpy(), both[model].to_numpy(), rtol=1e-5, err_msg=model)


def test_the_test_part_alone_has_every_metric_that_the_stage_told(
    finished: tuple[RunDir, Path], tmp_path: Path
) -> None:
    run, table = finished
    first = run.read_json("split/boundaries.json")["parts"]["test"][0] - 12
    starts = str(made.START + first)
    pl.read_csv(table).filter(pl.col("when") >= starts).write_csv(tmp_path / "later.csv")
    holder, name, _ = evaluate_unseen(run.uri, str(tmp_path / "later.csv"))
    theirs, ours = run.read_json("evaluate/metrics.json"), holder.read_json(f"{name}/metrics.json")
    assert ours["num_windows"] == theirs["num_windows"]
    for part in ("metrics", "scaled"):
        assert ours[part] == pytest.approx(theirs[part], rel=1e-4), part
    for who, values in theirs["baselines"].items():
        assert ours["baselines"][who] == pytest.approx(values, rel=1e-4), who


def test_what_the_run_learned_from_is_no_new_data(finished: tuple[RunDir, Path]) -> None:
    run, table = finished
    _, _, report = evaluate_unseen(run.uri, str(table))
    assert "lie in the run's training or validation part" in _texts(report)


def test_a_planted_shift_is_measured_and_other_series_are_named(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    run, table = finished
    frame = pl.read_csv(table).filter(pl.col("site") == "a")
    moved = frame.with_columns(site=pl.lit("c"), wind=pl.col("wind") + 3)
    moved.write_csv(tmp_path / "moved.csv")
    holder, name, report = evaluate_unseen(run.uri, str(tmp_path / "moved.csv"))
    assert (holder.uri, name) == (f"{run.uri}/unseen", "moved")
    told = holder.read_json("moved/metrics.json")
    wind = told["shift"][0]
    assert wind["column"] == "wind"
    assert wind["state"] == "too little data" or wind["psi"] > 1
    assert wind["moved_deviations"] == pytest.approx(3, abs=0.3)
    assert wind["wasserstein_deviations"] == pytest.approx(3, abs=0.3)
    assert wind["ks"] > 0.8
    assert told["series"]["new_series"] == ["c"]
    assert "1 of 1 series are new to the policy, such as 'c'" in _texts(report)
    assert told["split"] == "unseen"
    assert report.model_extra["headline"]["before"] == run.read_json("evaluate/metrics.json")["metrics"]["mae"]  # type: ignore[index]


def test_the_same_values_later_are_no_shift(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    run, table = finished
    later = pl.read_csv(table).with_columns(
        (pl.col("when").str.to_datetime(time_zone="UTC") + pl.duration(days=40)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    later.write_csv(tmp_path / "later.csv")
    _, _, report = evaluate_unseen(run.uri, str(tmp_path / "later.csv"), str(tmp_path / "out"))
    assert (tmp_path / "out" / "cases.parquet").exists()
    assert not (tmp_path / ".work").exists()
    assert "Every column looks as in training" in _texts(report)
    assert "lie in the run's training" not in _texts(report)


def test_a_policy_alone_is_judged_beside_what_needs_no_fitting(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    run, table = finished
    holder, name, _ = evaluate_unseen(f"{run.uri}/train/policy", str(table), str(tmp_path / "out"))
    assert "ridge" not in holder.read_json(f"{name}/metrics.json")["baselines"]
    assert {"last_value", "seasonal_naive"} <= set(holder.read_json(f"{name}/metrics.json")["baselines"])
    with pytest.raises(InputError, match="say where with --out"):
        evaluate_unseen(f"{run.uri}/train/policy", str(table))


def test_series_with_units_of_their_own_that_are_new_are_told_in_those_of_their_histories(tmp_path: Path) -> None:
    table = made.write_table(tmp_path / "table.csv", steps=480)
    config = made.make_config(table, **QUICK, preprocess__scale_by="series")
    run = finished_run(config, tmp_path / "run")
    frame = pl.read_csv(table).filter(pl.col("site") == "a")
    frame.with_columns(site=pl.lit("c"), load=100 * pl.col("load")).write_csv(tmp_path / "large.csv")
    holder, name, _ = evaluate_unseen(run.uri, str(tmp_path / "large.csv"))
    mine = holder.read_json(f"{name}/metrics.json")["metrics"]["mae"]
    # Read in the units of the run's series, values a hundred times as large would be answered with nonsense.
    assert mine < 100 * 3 * 5


def test_labels_of_steps_are_scored_as_the_stage_scored_them(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), []
    for site in "ab":
        state = np.repeat(random.integers(0, 2, 60), 8)
        load = state + 0.3 * random.normal(size=480)
        rows += [(site, str(made.START + t) + ":00Z", float(load[t]), "on" if state[t] else "off") for t in range(480)]
    table = tmp_path / "labelled.csv"
    pl.DataFrame(rows, schema=["site", "when", "load", "state"], orient="row").write_csv(table)
    run = finished_run(
        made.label_config(data__source=str(table), preprocess__engine="polars", **QUICK), tmp_path / "run"
    )
    holder, name, _ = evaluate_unseen(run.uri, str(table))
    theirs, ours = _cases(run, "evaluate"), _cases(holder, name)
    both = theirs.join(ours, on=["series_id", "time"], suffix=" new")
    assert both.height == theirs.height < ours.height
    for model in ("policy", "logistic_regression"):
        assert (both[model] == both[f"{model} new"]).mean() > 0.99
    with pytest.raises(InputError, match="baselines of task 'label' are fitted on the training part"):
        evaluate_unseen(f"{run.uri}/train/policy", str(table), str(tmp_path / "out"))


def test_sequences_to_classify_are_scored_as_the_stage_scored_them(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), []
    for day in range(60):
        kind = int(random.random() < 0.5)
        load = np.sin(np.arange(12) * (1 + kind)) + 0.3 * random.normal(size=12)
        times = made.START + 24 * day + np.arange(12)
        rows += [
            (f"d{day}", f"{time}:00Z", value, "ab"[kind]) for time, value in zip(times, load.tolist(), strict=True)
        ]
    table = tmp_path / "days.csv"
    pl.DataFrame(rows, schema=["day", "when", "load", "kind"], orient="row").write_csv(table)
    run = finished_run(
        made.classify_config(data__source=str(table), preprocess__engine="polars", **QUICK), tmp_path / "run"
    )
    holder, name, _ = evaluate_unseen(run.uri, str(table))
    theirs, ours = _cases(run, "evaluate"), _cases(holder, name)
    both = theirs.join(ours, on=["series_id", "time"], suffix=" new")
    assert both.height == theirs.height < ours.height == 60
    for model in [name for name in theirs.columns if name not in ("series_id", "time")]:
        assert both[model].to_list() == both[f"{model} new"].to_list(), model


def test_what_holds_no_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no evaluated policy"):
        evaluate_unseen(str(tmp_path), "x.csv")
