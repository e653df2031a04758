"""Replicas answer alike, and as before once they, or the register, were killed: promises of ``model.consistency``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import ray

from lstm_ray.errors import InputError
from lstm_ray.model.consistency import HELD
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.on_ray.update import server
from lstm_ray.sections.deploy import DeployConfig
from tests.serving import services as serving

POLICY = serving.forecaster()
BODIES = [serving.body_of(serving.window(100 + 20 * n, f"s{n}"), quantiles=[0.1, 0.3, 0.9]) for n in range(4)]


@pytest.fixture(scope="module")
def served(local_ray: None) -> Iterator[Served]:
    with running(POLICY.files(), DeployConfig(port=0, replicas=2), "consistent") as found:
        yield found


def told(url: str) -> list[set[str]]:
    """The different answers to each body, over connections of their own, so that every replica is met."""
    return [
        {httpx.post(f"{url}/v1/forecast", json=body, timeout=10).raise_for_status().text for _ in range(8)}
        for body in BODIES
    ]


def test_replicas_answer_alike_before_and_after_they_are_killed(served: Served) -> None:
    before = told(served.url)
    assert [len(answers) for answers in before] == [1] * len(BODIES)
    register = server(application="consistent").register
    ray.kill(register, no_restart=False)
    killed = [a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if "consistent#policy" in a["name"]]
    assert len(killed) == 2
    for name in killed:
        ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)
    after: Any = None
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if server(application="consistent").status()["replicas"] == 2:
                after = told(served.url)
                break
        except (httpx.HTTPError, KeyError, ValueError, InputError):
            pass
        time.sleep(0.2)
    assert after == before, "to the last bit"
    assert HELD["again"].most == HELD["restarted"].most == 0


def test_what_replicas_answer_is_what_the_policy_predicts(served: Served) -> None:
    for body, [text] in zip(BODIES, told(served.url), strict=True):
        found = httpx.Response(200, text=text).json()["forecasts"][0]["targets"]["load"]["median"]
        number = int(body["series"][0]["name"][1:])
        [wanted] = POLICY.predict([serving.window(100 + 20 * number, f"s{number}")])
        assert found == wanted.values_HCQ[:, 0, 1].astype(np.float64).tolist()  # type: ignore[union-attr]
