"""A search that picks another history and patch than the YAML's: everything after it reads the policy's own window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import origins
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.on_ray.forecast import forecast_files
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.api import make_app
from lstm_ray.serving.proof import sample
from tests.on_ray.worlds import small_config, write_waves
from tests.serving import services as serving
from tests.serving.services import Client

HISTORY, PATCH = 96, 6


@pytest.fixture(scope="module")
def done(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, RunDir]:
    """A run whose base learns next to nothing, and whose search has one other setting to try."""
    folder = tmp_path_factory.mktemp("window")
    space = {"window.history": HISTORY, "window.patch": PATCH, "train.learning_rate": 0.02}
    config = small_config(
        write_waves(folder, 900),
        model__linear="none",
        model__normalisation="last",
        train__learning_rate=1e-6,
        train__max_epochs=1,
        tune__space={path: {"choice": [value]} for path, value in space.items()},
        tune__trials=2,
        tune__max_epochs=5,
        tune__grace_epochs=5,
        deploy__load_seconds=0.3,
        deploy__load_connections=2,
    )
    run = RunDir(folder / "run")
    run_stages(config, run, ["tune", "deploy"])
    return config, run


def test_the_search_chose_it_on_windows_that_both_histories_can_answer(done: tuple[Config, RunDir]) -> None:
    _, run = done
    report = run.report("tune")
    assert report is not None
    assert report.model_extra is not None
    assert report.model_extra["best_config"] | {"train.learning_rate": 0} == {
        "window.history": HISTORY,
        "window.patch": PATCH,
        "train.learning_rate": 0,
    }
    assert [trial["start"] for trial in report.model_extra["trials"]] == ["unchanged function", "from scratch"]
    segments, bounds = load_segments(run)
    policy = Policy.load(run.local / "tune/policy")  # type: ignore[operator]
    num = len(origins(segments, bounds, "validation", policy.config.window))
    assert f"{num:,} validation cases, those that a history of {HISTORY} steps can answer" in report.findings[0].text


def test_test_metrics_are_the_policys_forecasts_of_its_own_windows(done: tuple[Config, RunDir]) -> None:
    _, run = done
    segments, bounds = load_segments(run)
    metrics = run.read_json("evaluate/metrics.json")
    policy = Policy.load(run.local / "policy")  # type: ignore[operator]
    window = policy.config.window
    assert (window.history, window.patch) == (HISTORY, PATCH)
    test_M = origins(segments, bounds, "test", window)
    rows = test_M[:, None] + np.arange(1, window.horizon + 1)
    seen = segments.observed_RC[rows] > 0
    error = np.abs(policy.forecast_windows(segments, test_M)[..., 1] - segments.target_RC[rows])[seen]
    assert metrics["policy"] == "tune"
    assert metrics["metrics"]["mae"] == pytest.approx(error.mean(), rel=1e-5)
    assert metrics["num_windows"] == len(test_M)
    assert metrics["window"]["history"] == HISTORY
    assert metrics["metrics"]["mae"] < metrics["baselines"]["last_value"]["mae"], "five epochs learn a wave"


def test_http_answered_as_the_policy_does_and_refuses_what_would_do_for_the_yaml(done: tuple[Config, RunDir]) -> None:
    _, run = done
    report = run.report("deploy")
    assert report is not None
    assert report.model_extra is not None
    assert report.model_extra["parity"] <= 1e-5
    policy = Policy.load(run.local / "policy")  # type: ignore[operator]
    segments, bounds = load_segments(run)
    (one, *_) = sample(segments, bounds, policy.config)
    with Client(make_app(serving.service(policy))) as client:
        assert client.get("/v1/policy").json()["history"] == HISTORY
        body = one.body(named=False)
        answer = client.post("/v1/forecast", json=body)
        assert answer.status_code == 200
        assert len(answer.json()["forecasts"][0]["times"]) == policy.config.window.horizon
        for series in body["series"]:
            series["times"] = series["times"][-48:]
            series["columns"] = {name: values[-48:] for name, values in series["columns"].items()}
        refused = client.post("/v1/forecast", json=body)
        assert refused.status_code == 422
        assert f"send at least {HISTORY}" in refused.text


def test_a_file_is_forecast_from_as_much_history_as_the_policy_reads(
    done: tuple[Config, RunDir], tmp_path: Path
) -> None:
    config, run = done
    out = tmp_path / "out.parquet"
    assert isinstance(config.data.source, str | list)
    forecast_files(run.uri, config.data.source, out)
    found = pl.read_parquet(out)
    assert found.height == 3 * config.window.horizon
    segments, _ = load_segments(run)
    policy = Policy.load(run.local / "policy")  # type: ignore[operator]
    ends = dict(zip(segments.series, segments.bounds[1:], strict=True))
    for name in ("a", "b", "c"):
        rows = np.arange(ends[name] - HISTORY, ends[name])
        columns = {"load": segments.target_RC[rows, 0], "wind": segments.past_RP[rows, 0]}
        (one,) = policy.predict([SeriesInput(segments.times(rows).tolist(), columns, name=name)])
        median = found.filter(pl.col("series") == name)["median"]
        np.testing.assert_allclose(median.to_numpy(), one.values_HCQ[:, 0, 1], rtol=1e-4)  # type: ignore[union-attr]


def test_a_second_run_skips_every_stage(done: tuple[Config, RunDir]) -> None:
    config, run = done
    skipped = []
    run_stages(config, run, ["tune", "deploy"], on_end=lambda name, report, was: skipped.append(was))
    assert all(skipped)
