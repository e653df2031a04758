"""gRPC and HTTP side by side behind Ray Serve's fast proxy: in a process of its own, for Serve has one set of ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.on_ray.serve import running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from tests.serving import services as serving

CODE = """
import json, sys
import grpc, httpx
from lstm_ray.on_ray.serve import running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from lstm_ray.serving.grpc import messages
from tests.serving import services as serving
from tests.serving.test_grpc import asked
from pathlib import Path

deploy = DeployConfig(port=0, grpc_port=0)
bearer = "Bearer a-secret-that-is-long-enough"
windows = [serving.window(100, "a"), serving.window(150, "b")]
with running(bundle.pack(Path(sys.argv[1])), deploy) as served, grpc.insecure_channel(served.grpc) as channel:
    stub, metadata = messages.stub(channel), [("authorization", bearer), ("request_id", "mine-7")]
    answer, call = stub.Forecast.with_call(asked(*windows), metadata=metadata, timeout=30)
    http = httpx.post(f"{served.url}/v1/forecast", json=serving.body_of(*windows), headers={"authorization": bearer}).json()
    refused = []
    for request, sent in ((asked(*windows), []), (asked(), metadata)):
        try:
            stub.Forecast(request, metadata=sent, timeout=30)
        except grpc.RpcError as error:
            refused.append([error.code().name, error.details()])
    print(json.dumps({
        "grpc": [list(one.targets["load"].median) for one in answer.forecasts],
        "http": [one["targets"]["load"]["median"] for one in http["forecasts"]],
        "policy": [answer.policy, http["policy"]],
        "id": dict(call.trailing_metadata())["request_id"],
        "refused": refused,
        "health": stub.Health(messages.HealthRequest(), timeout=30).status,
    }))
"""


def test_grpc_answers_beside_http_with_the_token_of_the_variable(tmp_path: Path) -> None:
    version = serving.forecaster().save(tmp_path / "policy")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"LSTM_RAY_TOKEN": "a-secret-that-is-long-enough", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", CODE, str(tmp_path / "policy")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["policy"] == [version, version]
    for over_grpc, over_http in zip(found["grpc"], found["http"], strict=True):
        assert over_grpc == pytest.approx(over_http, rel=1e-5)
    assert (found["id"], found["health"]) == ("mine-7", "ready")
    [(nobody, told), (wrong, words)] = found["refused"]
    assert (nobody, wrong) == ("UNAUTHENTICATED", "INVALID_ARGUMENT")
    assert "send the metadata authorization" in told
    assert words == "no series given; send at least one"


def test_grpc_needs_a_token_even_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSTM_RAY_TOKEN", raising=False)
    serving.forecaster().save(tmp_path)
    deploy = DeployConfig(port=0, grpc_port=0)
    with pytest.raises(InputError, match="opens gRPC on every interface"), running(bundle.pack(tmp_path), deploy):
        pass


@pytest.mark.parametrize(
    ("token", "words"), [("short", "variable OTHER holds 5 characters"), ("a line\nand one more line", "a line break")]
)
def test_a_token_in_the_variable_is_checked_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, words: str
) -> None:
    monkeypatch.setenv("OTHER", token)
    serving.forecaster().save(tmp_path)
    with (
        pytest.raises(InputError, match=words),
        running(bundle.pack(tmp_path), DeployConfig(port=0, token_variable="OTHER")),
    ):
        pass
    deploy = DeployConfig(port=0, token_variable="OTHER", token_file=str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"token_file '.*none' cannot be read"), running(bundle.pack(tmp_path), deploy):
        pass
