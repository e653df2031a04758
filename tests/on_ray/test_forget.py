"""A running server keeps rows while others read them, and forgets a series when it is asked from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from lstm_ray.forget.forgetting import forget, told
from lstm_ray.live.rows import FILE
from lstm_ray.live.table import frame
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.registry import flags
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from tests.serving import services as serving
from tests.serving.test_streams import POLICY, history

SECRET, TOKEN = "Erika Mustermann", "0123456789abcdef"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    POLICY.save(folder / "policy")
    (folder / "config.yaml").write_text(yaml.safe_dump(POLICY.config.model_dump(mode="json")))
    (folder.parent / f"{folder.name}-tokens").write_text(f"ada {TOKEN}\nbob fedcba9876543210\n")
    return folder


@pytest.fixture(scope="module")
def served(local_ray: None, run: Path) -> Iterator[Served]:
    deploy = DeployConfig(port=0, token_file=str(run.parent / f"{run.name}-tokens"))
    with running(bundle.pack(run / "policy"), deploy, "forgetful", source=str(run), history=run / "registry") as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60, headers={"authorization": f"Bearer {TOKEN}"}) as found:
        yield found


def kept(run: Path) -> dict[str, int]:
    return dict(frame(run / "registry" / FILE)["series"].value_counts().rows())


def test_rows_are_kept_read_beside_the_server_and_forgotten(run: Path, served: Served, client: httpx.Client) -> None:
    assert httpx.get(f"{served.url}/v1/policy").status_code == 401
    for origin in (100, 102):
        body = serving.body_of(serving.window(origin, SECRET), serving.window(origin, "north"))
        assert client.post("/v1/forecast", json=body).status_code == 200
    truth = {"name": SECRET, "times": ["2030-01-01T00:00:00Z"], "columns": {POLICY.schema.target[0]: [1.0]}}
    told_once = [client.post("/v1/observations", json={"series": [truth]}).json() for _ in range(2)]
    assert [(answer["new"], answer["duplicates"]) for answer in told_once] == [(1, 0), (0, 1)]
    assert client.put("/v1/streams/mine", json=history() | {"name": SECRET}).status_code == 200
    rows = client.get("/v1/monitor").json()["rows"]
    assert (rows["state"], rows["kept"]) == ("kept", 29)
    assert kept(run) == {SECRET: 15, "north": 14}
    deadline = time.monotonic() + 10
    assert (run / "registry" / "log.key").stat().st_mode & 0o77 == 0
    found = forget(run, SECRET)
    assert time.monotonic() < deadline
    assert (found.live.rows, found.live.streams, found.live.url) == (15, 1, served.url)
    assert "asked the server at" in told(found)[0]
    assert found.left == []
    assert kept(run) == {"north": 14}
    assert client.get("/v1/streams/mine").status_code == 404
    files = [file for file in run.rglob("*") if file.is_file()]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert client.get("/v1/monitor").json()["rows"]["kept"] == 14


def test_what_must_be_known_of_a_policy_is_told_at_once(run: Path, client: httpx.Client) -> None:
    assert client.get("/v1/policy").json()["flags"] == []
    flags.flag(run / "registry", POLICY.version, "learned from a series that was forgotten")
    assert client.get("/v1/policy").json()["flags"] == ["learned from a series that was forgotten"]
    card = client.get("/v1/card")
    assert card.status_code == 404 or "learned from a series" in card.text
