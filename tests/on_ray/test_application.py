"""A policy as a Serve config file names it, by Serve's own ways of deploying one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ray
from ray import serve

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import update
from lstm_ray.on_ray.application import Arguments, build
from lstm_ray.on_ray.ports import free_port
from tests.serving import services as serving

NAME = "by-file"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("policy")
    serving.forecaster().save(found)
    return found


@pytest.fixture(scope="module")
def url(local_ray: None, folder: Path) -> Iterator[str]:
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(Arguments(policy=str(folder), settings=["deploy.replicas=1"])), name=NAME)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.kill(update.server(application=NAME).register)


def test_an_application_from_a_file_answers_as_the_policy(url: str, folder: Path) -> None:
    window = serving.window(200, "s")
    answer = httpx.post(f"{url}/v1/forecast", json=serving.body_of(window), timeout=30)
    median = answer.json()["forecasts"][0]["targets"]["load"]["median"]
    assert median == pytest.approx(Policy.load(folder).predict([window])[0].values_HCQ[:, 0, 1].tolist(), rel=1e-5)
    assert httpx.get(f"{url}/readyz", timeout=30).json()["status"] == "ready"
    assert "keeps none" in str(httpx.get(f"{url}/v1/policy", timeout=30).json()["streams"])


def test_another_policy_is_put_in_by_an_update_and_stays_where_the_file_is_deployed_again(
    url: str, folder: Path, tmp_path: Path
) -> None:
    other = serving.forecaster()
    other.facts["validation"] = {"mae": 1.25}
    other.save(tmp_path)
    update.server(application=NAME).change(update.asked(str(tmp_path)))
    version = Policy.load(tmp_path).version
    assert httpx.get(f"{url}/v1/policy", timeout=30).json()["version"] == version
    serve.run(build(Arguments(policy=str(folder), settings=["deploy.replicas=1"])), name=NAME)
    assert httpx.get(f"{url}/v1/policy", timeout=30).json()["version"] == version


def test_another_policy_in_the_file_is_what_answers_then(url: str, tmp_path: Path) -> None:
    other = serving.forecaster()
    other.facts["validation"] = {"mae": 1.75}
    other.save(tmp_path)
    serve.run(build(Arguments(policy=str(tmp_path))), name=NAME)
    assert httpx.get(f"{url}/v1/policy", timeout=30).json()["version"] == Policy.load(tmp_path).version


def test_what_cannot_be_served_is_said_where_it_is_built(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no policy"):
        build(Arguments(policy=str(tmp_path)))
    with pytest.raises(InputError, match=r"did you mean 'deploy\.replicas'"):
        build(Arguments(policy=str(folder), settings=["deploy.replica=2"]))
