"""A policy served over two nodes, as a user serves it: `lstm-ray serve RUN --address HOST:PORT`."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from lstm_ray.benchmark import untrained
from lstm_ray.benchmark.chaos.serving import REPLICA, SHAPE
from lstm_ray.benchmark.chaos.steady import questions
from lstm_ray.benchmark.chaos.work import command
from lstm_ray.benchmark.tables import VALUE
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.nodes import Nodes
from lstm_ray.on_ray.ports import free_port

pytestmark = pytest.mark.timeout(600)
TOKEN = "a secret that is long enough"


def test_replicas_on_two_nodes_answer_as_one_server_and_ask_for_the_token(nodes: Nodes, tmp_path: Path) -> None:
    run, port = tmp_path / "run", free_port()
    untrained.save(str(run / "policy"), **SHAPE)
    words = ["serve", str(run), "--address", nodes.address, f"--set=deploy.port={port}", "--set=deploy.replicas=2"]
    asked = questions(Policy.load(run / "policy"))
    with command(words, nodes.environment | {"LSTM_RAY_TOKEN": TOKEN}, tmp_path / "log") as work:
        work.until(lambda: "serving" in work.said, "the server")
        assert [len(node.processes(REPLICA)) for node in nodes.members] == [1, 1], "one on each node"
        assert not any(node.processes("haproxy") for node in nodes.members), "Serve's own proxy is used"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            body = {"series": [asked[0].series]}
            assert client.post("/v1/forecast", json=body).status_code == 401
            client.headers["authorization"] = f"Bearer {TOKEN}"
            for question in asked:
                answer = client.post("/v1/forecast", json={"series": [question.series]}).json()
                median_H = answer["forecasts"][0]["targets"][VALUE]["median"]
                np.testing.assert_allclose(median_H, question.median_H, rtol=1e-4)
            found = client.get("/v1/monitor").json()
            while found["inputs"]["series"] < len(asked):
                # What the other replica counted comes a moment later.
                found = client.get("/v1/monitor").json()
        assert found["inputs"]["series"] == len(asked)
        assert (found["load"]["replicas"], found["load"]["capacity"]) == (2, 128)
        assert found["requests"]["by_route"]["/v1/forecast"] == len(asked) + 1
        work.process.terminate()
        assert work.ended() == 0
    assert not any(node.processes(REPLICA) for node in nodes.members)
