"""The deploy stage: what it proves, what it leaves, and what it does not let pass."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import ray
from ray import serve

from lstm_ray.config import Config
from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Forecast, Policy
from lstm_ray.model.smoke import check
from lstm_ray.on_ray.deploy import deploy
from lstm_ray.run_dir import Report, RunDir
from lstm_ray.serving import proof
from lstm_ray.serving.api import make_app
from lstm_ray.serving.service import Service
from tests import made
from tests.on_ray.worlds import prepared, small_config, write_waves
from tests.serving import services as serving
from tests.serving.services import Client


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("data")
    return small_config(
        write_waves(folder),
        deploy__load_seconds=0.3,
        deploy__load_connections=4,
        data__licence="CC0-1.0",
        deploy__export=["torch"],
    )


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that has been evaluated."""
    return prepared(config, tmp_path_factory.mktemp("run"), "evaluate")


@pytest.fixture(scope="module")
def report(local_ray: None, config: Config, run: RunDir) -> Report:
    """What the stage says of itself; everything it left lies in the run."""
    with run.stage("deploy", "0" * 64) as work:
        found = deploy(config, run, work)
        work.write_json("report.json", found)
    return found


def test_http_equals_policy_predict(report: Report) -> None:
    assert report.model_extra is not None
    assert report.model_extra["parity"] <= 1e-5
    assert "equal Policy.predict" in report.summary


def test_the_load_is_measured_in_plain_numbers(report: Report) -> None:
    assert report.model_extra is not None
    load = report.model_extra["load"]
    assert (load["connections"], load["errors"]) == (4, 0)
    assert load["requests_per_second"] > 10
    assert 0 < load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]
    for table in report.model_extra["tables"]:
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    refused = report.model_extra["tables"][1]["rows"]
    assert {status for _, status, _ in refused} == {413, 422}


def test_the_bundle_holds_the_policy_its_reference_and_its_card(report: Report, run: RunDir) -> None:
    assert run.local is not None
    folder = run.local / "policy"
    assert {file.name for file in (folder / "export").iterdir()} == {"policy.pt2", "export.json"}
    assert any("policy/export/policy.pt2 (0." in finding.text for finding in report.findings)
    assert {file.name for file in folder.iterdir() if file.is_file()} == {
        "policy.json",
        "weights.safetensors",
        "residuals.safetensors",
        "conformal.safetensors",
        "smoke.json",
        "model_card.md",
    }
    policy = Policy.load(folder)
    assert policy.facts["licence"] == "CC0-1.0"
    assert "Its licence: CC0-1.0." in (folder / "model_card.md").read_text()
    assert check(policy) == 0.0
    assert any("answers its smoke input as before, exactly" in finding.text for finding in report.findings)
    carried = Policy.load(folder).residuals
    assert carried is not None
    assert 0 < len(carried.step_R) <= 1_000
    assert (
        f"what {len(carried.step_R):,} forecasts of its validation part missed"
        in (folder / "model_card.md").read_text()
    )
    policy = Policy.load(folder)
    assert report.model_extra is not None
    assert policy.version == report.model_extra["policy_version"]
    assert set(policy.facts["reference"]["columns"]) == {"load", "wind"}
    card = (folder / "model_card.md").read_text()
    for words in (
        policy.version,
        "seasonal naive",
        "| load | target |",
        "seed",
        "How to call it",
        "## Where it errs",
        "train | 2024-01-01",
    ):
        assert words in card


def test_the_stage_leaves_monitor_load_and_figures(report: Report, run: RunDir) -> None:
    monitor = run.read_json("deploy/monitor.json")
    assert monitor["performance"]["scored"] > 0
    assert monitor["requests"]["errors"] == 0
    assert run.read_json("deploy/load.json")["loaded"]["connections"] == 4
    assert [figure.id for figure in run.figures("deploy")] == ["latency", "drift"]
    assert any("observations" in finding.text for finding in report.findings)


def test_nothing_of_the_server_is_left(report: Report) -> None:
    assert serve.status().applications == {}
    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    assert not [name for name in names if "monitor" in name or "SERVE" in name]


def test_without_an_evaluated_policy_the_stage_to_run_is_named(config: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(InputError, match="run the stage 'evaluate'"), run.stage("deploy", "0" * 64) as work:
        deploy(config, run, work)


class Sent(httpx.Client):
    """An httpx client whose requests go to an application in this process."""

    def __init__(self, here: Client) -> None:
        super().__init__(base_url="http://here")
        self._here = here

    def request(self, method: str, url: object, **values: object) -> httpx.Response:  # type: ignore[override]
        given = {name: value for name, value in values.items() if name in ("json", "content", "headers")}
        return self._here.request(method, str(url), **given)


def samples() -> list[proof.Sample]:
    bounds = {"train": (0, 300), "validation": (300, 350), "test": (350, 400)}
    return proof.sample(serving.segments(), bounds, serving.forecaster().config)


def prove_here(service: Service) -> proof.Proof:
    """Hold an application in this process against ``serving.forecaster``."""
    with Client(make_app(service)) as here, Sent(here) as client:
        return proof.prove(client, serving.forecaster(), samples(), serving.MAX_BODY_BYTES)


def test_a_server_that_is_right_passes_the_proof() -> None:
    found = prove_here(serving.service(serving.forecaster()))
    assert found.difference <= proof.TOLERANCE
    assert len(found.refused) == 7


def test_a_server_with_another_policy_fails_the_proof() -> None:
    other = made.random_policy(made.make_config(seed=8, model__quantiles=[0.1, 0.5, 0.9]), serving.segments())
    with pytest.raises(proof.ServedWronglyError, match="training deviations"):
        prove_here(serving.service(other))


def test_a_server_that_takes_what_it_should_refuse_fails_the_proof() -> None:
    with pytest.raises(proof.ServedWronglyError, match="too large"):
        prove_here(serving.service(serving.forecaster(), max_body_bytes=10**8))


def test_a_sample_is_what_was_really_measured() -> None:
    item = samples()[0]
    body = json.loads(json.dumps(item.body(), allow_nan=False))["series"][0]
    assert len(body["times"]) == 12
    assert None in body["columns"]["load"] + samples()[1].body()["series"][0]["columns"]["load"]
    assert len(body["future"]["price"]) == 6
    [expected] = serving.forecaster().predict([item.given])
    assert isinstance(expected, Forecast)
    assert item.truth["times"] == [f"{t}Z" for t in expected.times.astype("datetime64[s]").astype(str)]


def test_samples_lie_in_the_test_part(config: Config, run: RunDir) -> None:
    segments, bounds = load_segments(run)
    first = segments.schema.times(np.array([bounds["test"][0]]))[0]
    for item in proof.sample(segments, bounds, config):
        assert np.datetime64(item.truth["times"][0].removesuffix("Z")) >= first
