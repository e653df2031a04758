"""Streams of a server: they outlive the processes that serve and keep them. Over real HTTP on loopback."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from lstm_ray.errors import InputError
from lstm_ray.on_ray import streams, update
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving.streams.keeper import SNAPSHOT_STEPS
from lstm_ray.serving.switching.register import Change
from tests import made
from tests.serving import services as serving
from tests.serving.test_streams import POLICY, ahead, expected, history, require_alike, step

DEPLOY = {"port": 0, "replicas": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def served(local_ray: None, folder: Path) -> Iterator[Served]:
    with running(POLICY.files(), DeployConfig(**DEPLOY, streams_dir=str(folder))) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as found:
        yield found


def begun(client: httpx.Client, name: str) -> None:
    assert client.put(f"/v1/streams/{name}", json=history()).status_code == 200


def observed(client: httpx.Client, name: str, first: int, end: int) -> None:
    for at in range(first, end):
        answer = client.post(f"/v1/streams/{name}/observe", json=step(at))
        assert (answer.status_code, answer.json().get("steps")) == (200, at - 79), answer.text


def require_whole(client: httpx.Client, name: str, end: int) -> None:
    answer = client.post(f"/v1/streams/{name}/forecast", json=ahead(end))
    assert answer.status_code == 200, answer.text
    require_alike(answer.json()["forecasts"][0], expected(80, end, name))


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def test_a_served_stream_equals_reading_everything_and_refusals_keep_their_status(client: httpx.Client) -> None:
    begun(client, "one")
    observed(client, "one", 100, 110)
    require_whole(client, "one", 110)
    assert client.get("/v1/policy").json()["streams"] is True
    assert client.get("/v1/streams/none").status_code == 404
    assert client.post("/v1/streams/one/observe", json=step(99, load=[0.0])).status_code == 409
    both = client.post("/v1/streams/one/observe", json={"records": [], **step(110)})
    assert both.status_code == 422
    assert client.delete("/v1/streams/one").status_code == 204


@pytest.mark.parametrize("steps", [3, SNAPSHOT_STEPS + 2])
def test_what_was_acknowledged_outlives_the_process_that_keeps_it(
    served: Served, client: httpx.Client, steps: int
) -> None:
    name = f"kept-{steps}"
    begun(client, name)
    observed(client, name, 100, 100 + steps)
    [actor] = streams.found(served.application)
    before = ray.get(actor.process.remote())
    killed(before)
    observed(client, name, 100 + steps, 105 + steps)
    assert ray.get(actor.process.remote()) != before
    require_whole(client, name, 105 + steps)


def test_streams_outlive_the_replica(served: Served, client: httpx.Client) -> None:
    begun(client, "replica")
    observed(client, "replica", 100, 103)
    replica = next(a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if "#policy" in a["name"])
    ray.kill(ray.get_actor(replica, namespace="serve"), no_restart=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get("/v1/streams/replica").status_code == 200:
                break
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    observed(client, "replica", 103, 106)
    require_whole(client, "replica", 106)


def test_a_new_champion_reads_the_streams_again(served: Served, client: httpx.Client) -> None:
    begun(client, "moved")
    other = made.random_policy(made.make_config(model__quantiles=[0.1, 0.5, 0.9], seed=3), serving.segments())
    files: Any = other.files()
    update.server(application=served.application).change(Change("champion", files, "a test"))
    answer = client.post("/v1/streams/moved/forecast", json=ahead(100))
    assert answer.status_code == 200, answer.text
    assert answer.json()["policy"] != POLICY.version
    [actor] = streams.found(served.application)
    killed(ray.get(actor.process.remote()))
    assert client.get("/v1/streams/moved").json()["policy"] == answer.json()["policy"]


def test_streams_outlive_the_server_and_ids_stay_with_their_shards(local_ray: None, tmp_path: Path) -> None:
    files, names = POLICY.files(), [f"s{n}" for n in range(6)]
    settings = DeployConfig(port=0, replicas=1, streams=50, streams_dir=str(tmp_path))
    three = streams.started("first", files, settings.model_copy(update={"replicas": 3}))
    assert len(three) == 3
    assert {streams.shard_of(name, 3) for name in names} == {0, 1, 2}
    call(three, names, "put", *(serving_series(),))
    with pytest.raises(InputError, match="set deploy"):
        locked(files, settings)
    streams.ended(three)
    again = streams.started("second", files, settings)
    assert len(again) == 3
    assert [answer.steps for answer in call(again, names, "facts")] == [20] * len(names)
    streams.ended(again)
    temporary = streams.started("third", files, DeployConfig(port=0))
    [where] = {ray.get(actor.folder.remote()) for actor in temporary}
    assert where.exists()
    streams.ended(temporary)
    assert not where.exists()


def serving_series() -> Any:
    from lstm_ray.serving import bodies

    return bodies.Series(**history())


def locked(files: Any, settings: DeployConfig) -> None:
    """A second server over the same folder."""
    streams.ended(streams.started("rival", files, settings))


def call(actors: list[Any], names: list[str], method: str, *arguments: Any) -> list[Any]:
    return [
        ray.get(actors[streams.shard_of(name, len(actors))].call.remote(method, name, *arguments)) for name in names
    ]


def test_servers_without_streams_start_none(local_ray: None) -> None:
    assert streams.started("none", POLICY.files(), DeployConfig(streams=0)) == []
    assert streams.started("none", serving.labeller().files(), DeployConfig()) == []
