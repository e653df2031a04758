"""A policy behind Ray Serve, over real HTTP on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import ray
from ray import serve as ray_serve

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.orphans import PREFIX, SOCKETS
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.serve import Served, running, serve_forever
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from lstm_ray.serving.stress import closed_loop
from tests.serving import services as serving

TOKEN = "a secret that is long enough"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved policy."""
    found = tmp_path_factory.mktemp("policy")
    serving.forecaster().save(found)
    return found


@pytest.fixture(scope="module")
def served(local_ray: None, folder: Path) -> Iterator[Served]:
    with running(bundle.pack(folder), DeployConfig(port=0, max_body_bytes=serving.MAX_BODY_BYTES)) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as found:
        yield found


@pytest.fixture
def policy(folder: Path) -> Policy:
    return Policy.load(folder)


def test_a_served_forecast_equals_policy_predict(client: httpx.Client, policy: Policy) -> None:
    windows = [serving.window(origin, f"s{origin}") for origin in (30, 200, 390)]
    answer = client.post("/v1/forecast", json=serving.body_of(*windows))
    assert answer.status_code == 200
    assert answer.json()["policy"] == policy.version
    for found, expected in zip(answer.json()["forecasts"], policy.predict(windows), strict=True):
        target = found["targets"]["load"]
        served_HQ = np.stack([target["quantiles"][name] for name in ("0.1", "0.5", "0.9")], axis=1)
        np.testing.assert_allclose(served_HQ, expected.values_HCQ[:, 0], atol=1e-5 * policy.scaler.target_deviation[0])


def test_requests_at_once_get_their_own_answers_and_a_bad_one_spoils_none(client: httpx.Client, policy: Policy) -> None:
    windows = [serving.window(origin, f"s{origin}") for origin in range(20, 60)]
    bodies: list[dict[str, Any]] = [serving.body_of(window) for window in windows]
    for number in range(0, 40, 10):
        bodies[number]["series"][0]["columns"]["wind"].pop()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: client.post("/v1/forecast", json=body), bodies))
    for number, (answer, window) in enumerate(zip(answers, windows, strict=True)):
        assert answer.status_code == (422 if number % 10 == 0 else 200)
        if number % 10:
            found = answer.json()["forecasts"][0]
            assert found["name"] == window.name
            np.testing.assert_allclose(
                found["targets"]["load"]["median"], policy.predict([window])[0].values_HCQ[:, 0, 1], rtol=1e-5
            )


def test_bad_input_is_refused_over_the_wire(client: httpx.Client) -> None:
    good = json.dumps(serving.body_of(serving.window())).encode()
    json_type = {"content-type": "application/json"}
    cases = {
        b"{": (422, "JSON"),
        good.replace(b'"load": [', b'"load": [NaN, '): (422, "finite"),
        good[:-1] + b', "colour": 1}': (422, "colour"),
        good.replace(b'"load"', b'"laod"'): (422, "laod"),
        b"x" * 10_000_000: (413, "bytes"),
    }
    for content, (status, words) in cases.items():
        answer = client.post("/v1/forecast", content=content, headers=json_type)
        assert answer.status_code == status, words
        assert words in answer.text
    chunks = client.post("/v1/forecast", content=iter([b"x" * 100_000] * 20), headers=json_type)
    assert chunks.status_code == 413
    assert client.post("/v1/forecast", content=good, headers=json_type).status_code == 200


def test_a_request_id_comes_back(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/healthz").headers["x-request-id"]


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Session-ID", "serve_multiplexed_model_id"])
def test_a_header_that_is_no_text_fails_no_request(client: httpx.Client, name: str) -> None:
    answer = client.get("/healthz", headers={name: b"a\xe9b"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"].isascii()


def test_the_socket_that_commands_the_proxy_is_its_owners_alone(served: Served) -> None:
    binds = f"bind {served.url.removeprefix('http://').partition('/')[0]}\n"
    [config] = [file for file in Path(SOCKETS).glob(f"{PREFIX}*/*/haproxy.cfg") if binds in file.read_text()]
    assert (config.parent / "admin.sock").is_socket()
    assert config.parent.parent.stat().st_mode & 0o077 == 0


def test_it_is_ready_and_its_page_is_there(client: httpx.Client) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    assert "<title>" in client.get("/").text
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/v1/forecast", "/v1/what-if", "/v1/observations"}


def test_the_monitor_counts_what_replicas_answered_and_scores_the_truth(client: httpx.Client) -> None:
    before = client.get("/v1/monitor").json()
    forecast = client.post("/v1/forecast", json=serving.body_of(serving.window(250, "watched"))).json()["forecasts"][0]
    median = forecast["targets"]["load"]["median"]
    truth = {"name": "watched", "times": forecast["times"], "columns": {"load": [value + 1 for value in median]}}
    sent = client.post("/v1/observations", json={"series": [truth]})
    assert sent.json()["scored"] == 6
    after = client.get("/v1/monitor").json()
    assert after["requests"]["total"] > before["requests"]["total"]
    assert after["inputs"]["series"] == before["inputs"]["series"] + 1
    assert after["performance"]["rolling"] == pytest.approx(1.0, rel=1e-4)
    assert after["requests"]["errors"] == 0


def test_replicas_tell_their_load_and_prometheus_reads_the_whole_server(client: httpx.Client) -> None:
    client.post("/v1/forecast", json=serving.body_of(serving.window()))
    load = client.get("/v1/monitor").json()["load"]
    assert load["replicas"] >= 1
    assert load["capacity"] % load["replicas"] == 0
    assert load["capacity"] > 0
    found = client.get("/metrics")
    assert f'lstm_ray_capacity{{role="champion"}} {float(load["capacity"])}' in found.text
    assert 'route="/v1/forecast",status="200"' in found.text


def test_load_is_borne_without_an_error(served: Served) -> None:
    body = json.dumps(serving.body_of(serving.window())).encode()
    load = closed_loop(f"{served.url}/v1/forecast", [body], connections=4, seconds=0.5).as_dict()
    assert load["errors"] == 0
    assert load["requests"] > 20
    assert load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]


def test_a_second_application_joins_with_its_token_and_leaves_alone(
    served: Served, client: httpx.Client, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    deploy = DeployConfig(port=0, token_file=str(tmp_path / "token"), max_ongoing_requests=1)
    many = serving.body_of(*(serving.window(origin) for origin in range(20, 120)))
    with running(bundle.pack(folder), deploy, "guarded", "/guarded") as second:
        assert not second.started_serve
        assert second.url == f"{served.url}/guarded"
        with httpx.Client(base_url=second.url, timeout=30) as guarded:
            assert guarded.get("/readyz").status_code == 200
            assert guarded.get("/v1/policy").status_code == 401
            assert guarded.get("/v1/policy", headers={"authorization": "Bearer wrong"}).status_code == 401
            guarded.headers["authorization"] = f"Bearer {TOKEN}"
            assert guarded.get("/v1/policy").status_code == 200
            with ThreadPoolExecutor(24) as pool:
                answers = list(pool.map(lambda _: guarded.post("/v1/forecast", json=many), range(48)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}, "what neither runs nor fits the queue is turned away"
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        with pytest.raises(InputError, match="already runs"), running(bundle.pack(folder), deploy, "guarded", "/other"):
            pass
        with (
            pytest.raises(InputError, match="belongs to the application"),
            running(bundle.pack(folder), deploy, "third"),
        ):
            pass
    assert set(ray_serve.status().applications) == {served.application}
    assert client.get("/healthz").status_code == 200
    with pytest.raises(ValueError, match="guarded-monitor"):
        ray.get_actor("guarded-monitor", namespace="lstm-ray")


def test_another_address_in_the_same_cluster_is_refused(served: Served, folder: Path) -> None:
    deploy = DeployConfig(port=free_port())
    with pytest.raises(InputError, match="one address"), running(bundle.pack(folder), deploy, "third", "/third"):
        pass


def test_beyond_loopback_a_token_is_required(folder: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("abc")
    cases = {
        "token_file is not set": DeployConfig(host="0.0.0.0", port=0),
        "cannot be read": DeployConfig(port=0, token_file=str(tmp_path / "none")),
        "3 characters": DeployConfig(port=0, token_file=str(short)),
        "no address": DeployConfig(host="256.256.256.256", port=0),
    }
    for words, deploy in cases.items():
        with pytest.raises(InputError, match=words), running(bundle.pack(folder), deploy):
            pass


def test_a_policy_without_files_or_with_altered_ones_is_not_served(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no policy"):
        serve_forever(tmp_path)
    files = bundle.pack(folder)
    text = files["policy.json"].replace(b'"seed": 7', b'"seed": 8')
    assert text != files["policy.json"]
    with pytest.raises(InputError, match="altered"):
        bundle.unpack({**files, "policy.json": text})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.workers=2", "other fields of deploy, monitor and resources.deploy alone"),
        ("deploy.prot=1", "did you mean 'deploy.port'"),
        ("monitor.keepdays=1", "did you mean 'monitor.keep_days'"),
        ("deploy.port", "each as FIELD=VALUE"),
        ("monitor.keep_days=-1", "greater than or equal to 0, found -1"),
        (
            "monitor.window=100",
            "measured for this policy's monitor.window; set it in the YAML and run 'lstm-ray deploy'",
        ),
    ],
)
def test_only_fields_of_serving_and_watching_may_be_changed(folder: Path, override: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        serve_forever(folder, [override])


def test_fields_of_watching_reach_the_register(local_ray: None, folder: Path) -> None:
    deploy = DeployConfig(port=0, replicas=1)
    with (
        running(bundle.pack(folder), deploy, "watched", "/watched", monitor={"keep_days": 0.0}) as found,
        httpx.Client(base_url=found.url, timeout=30) as client,
    ):
        assert client.get("/v1/monitor").json()["rows"]["state"] == "none are kept: monitor.keep_days is 0"


def test_a_server_runs_until_it_is_told_to_stop(folder: Path) -> None:
    port = free_port()
    code = f"from lstm_ray.on_ray.serve import serve_forever; serve_forever({str(folder)!r}, ['deploy.port={port}'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/readyz")
