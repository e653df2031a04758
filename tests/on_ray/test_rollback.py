"""A bad champion is put back by its server, with traffic on it; and a run's registry is changed with and without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.model.policy import Policy
from lstm_ray.model.smoke import smoke_of
from lstm_ray.on_ray import update
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import HeldError, at
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.policies import Registry
from lstm_ray.registry.probation import Probation
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving.bundle import find
from tests.on_ray.test_update import Load
from tests.serving import services as serving


def policy(seed: int, noise: float) -> Policy:
    found = serving.forecaster()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in found.network.parameters():
            weight.add_(noise * torch.randn_like(weight))
    found.smoke = smoke_of(found)
    return found


GOOD, BAD, OTHER = policy(0, 0.0), policy(1, 1.0), policy(2, 0.1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with the good policy, and servers announced in a folder of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    GOOD.version = GOOD.save(tmp_path / "run" / "policy")
    for one in (BAD, OTHER):
        one.version = stored.version(one.files())
    return tmp_path / "run"


@pytest.fixture
def served(local_ray: None, run: Path) -> Iterator[Served]:
    deploy = DeployConfig(port=0, replicas=2)
    with running(find(run), deploy, "rolled", source=str(run), history=at(run)) as found:
        yield found


class World:
    """What clients ask, and what comes true: nearly what the good policy says."""

    def __init__(self, url: str) -> None:
        self.client, self.at = httpx.Client(base_url=url, timeout=30), 30

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def step(self) -> None:
        """Ask for the next hour, and tell what came of it."""
        self.at += 1
        window = serving.window(self.at % 350 + 30, f"s{self.at}")
        answer = self.client.post("/v1/forecast", json=serving.body_of(window))
        assert answer.status_code == 200, answer.text
        [told] = GOOD.predict([window])
        times = [f"{np.datetime64(time, 's')}Z" for time in told.times]
        true = (told.values_HCQ[:, 0, 1] + 0.01 * GOOD.scaler.target_deviation[0]).tolist()
        body = {"series": [{"name": window.name, "times": times, "columns": {"load": true}}]}
        assert self.client.post("/v1/observations", json=body).status_code == 200

    def until(self, holds: Any, seconds: float = 60) -> dict[str, Any]:
        """Go on until the monitor says so."""
        deadline = time.monotonic() + seconds
        while not holds(found := self.client.get("/v1/monitor").json()):
            assert time.monotonic() < deadline, found["probation"]
            self.step()
        return found


def test_a_bad_champion_is_rolled_back_by_itself_without_a_failed_request(served: Served, run: Path) -> None:
    with World(served.url) as world, Load(served.url, clients=2) as load:
        for _ in range(5):
            world.step()
        bounds = Probation(ratio=1.25, values=60, hours=1)
        evidence = {"gate": "passed by mistake", "p": 0.001}
        found = update.promote(run, BAD.files(), "retrain/0001", evidence, bounds, who="retrainer")
        assert (found["aliases"]["champion"], found["aliases"]["shadow"]) == (BAD.version, GOOD.version)
        monitor = world.until(lambda told: told["policy"] == GOOD.version)
        load.wait(10)
    assert {status for _, status, _, _ in load.answers} == {200}
    assert {body["policy"] for _, _, _, body in load.answers} == {GOOD.version, BAD.version}
    assert monitor["probation"]["state"].startswith("rolled back: its error is")
    entries = Ledger(at(run)).read()
    while entries[-1].event != "rolled_back":
        time.sleep(0.1)
        entries = Ledger(at(run)).read()
    assert [entry.event for entry in entries] == ["promoted", "served", "promoted", "rolled_back"]
    assert (entries[2].who, entries[2].evidence["gate"]) == ("retrainer", "passed by mistake")
    told = entries[3].evidence
    assert (told["policy"], told["from"]) == (GOOD.version, BAD.version)
    assert told["probation"]["values"] >= 60
    assert told["probation"]["ratio"] > 1.25
    assert told["probation"]["errors"][0] > told["probation"]["errors_before"][0]
    assert Ledger(at(run)).verify()[0] == 4
    account = read(at(run))
    assert account is not None
    assert account.kept(BAD.version).flags == ["rolled back"]  # type: ignore[union-attr]
    assert find(run) == GOOD.files()


def test_a_challenger_is_kept_flagged_and_promoted_through_the_server_that_has_the_registry(
    served: Served, run: Path
) -> None:
    version = update.challenge(run, OTHER.files(), "retrain/0001", "judged", {"p": 0.2}, who="retrainer")
    update.flag(run, version, "learned from a series that was forgotten", "forgotten", {"rows": 12})
    server = update.server(application=served.application)
    assert server.status()["aliases"] == {"champion": GOOD.version, "challenger": version}
    update.promote(run, OTHER.files(), "retrain/0001")
    again = update.promote(run, OTHER.files(), "retrain/0001")
    assert again["aliases"] == {"champion": version, "previous": GOOD.version}
    with pytest.raises(InputError, match="would break"):
        update.promote(run, serving.classifier().files(), "retrain/0002")
    entries = Ledger(at(run)).read()
    assert [entry.event for entry in entries] == [
        *("promoted", "served", "judged", "forgotten", "promoted"),
        "refused",
    ]
    assert "would break" in entries[-1].evidence["why"]


def test_without_a_server_the_registry_is_changed_for_the_next_one(run: Path) -> None:
    refused = update.challenge(run, BAD.files(), "retrain/0001", "refused", {"why": "worse on the reference"})
    bounds = Probation(ratio=1.25, values=60, hours=1)
    found = update.promote(run, OTHER.files(), "retrain/0002", {"p": 0.01}, bounds)
    assert found["aliases"] == {
        "champion": OTHER.version,
        "challenger": refused,
        "previous": GOOD.version,
        "shadow": GOOD.version,
    }
    assert find(run) == OTHER.files()
    account = read(at(run))
    assert account is not None
    assert account.running is not None, "its probation begins with the server"
    update.note(run, "asked", {"why": "by hand"})
    assert [entry.event for entry in Ledger(at(run)).read()] == ["promoted", "refused", "promoted", "asked"]
    with Registry(at(run)), pytest.raises(HeldError, match="none of your servers on this machine"):
        update.promote(run, GOOD.files(), "retrain/0003")
    with pytest.raises(InputError, match="would break"):
        update.promote(run, serving.classifier().files())
    with pytest.raises(InputError, match="is not kept in"):
        update.flag(run, "f" * 64, "learned", "forgotten", {})


def test_a_config_decides_of_a_probation_by_hand() -> None:
    assert update.probation_of(GOOD.files()) == Probation(ratio=1.25, values=100, hours=24)
    files = GOOD.files()
    told = json.loads(files[stored.POLICY])
    told["config"]["retrain"]["probation_hours"] = 0
    with pytest.raises(InputError, match="probation_hours 0, which is no probation"):
        update.probation_of({**files, stored.POLICY: json.dumps(told).encode()})
