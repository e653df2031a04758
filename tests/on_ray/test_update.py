"""Putting policies in and out of a server under load, over real HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import ray
import torch

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.smoke import smoke_of
from lstm_ray.on_ray import servers
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.on_ray.update import Server, asked, challenge, server, told
from lstm_ray.registry.folder import REGISTRY
from lstm_ray.registry.ledger import Ledger
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from tests.serving import services as serving

WINDOWS = [serving.window(origin, f"s{origin}") for origin in (30, 120, 250, 390)]
BODIES = [json.dumps(serving.body_of(window)).encode() for window in WINDOWS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Policies alike but for their weights, and some that must be refused."""
    root = tmp_path_factory.mktemp("policies")
    for seed, name in enumerate(("a", "b", "c")):
        policy = serving.forecaster()
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in policy.network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        policy.smoke = smoke_of(policy)
        policy.save(root / name)
    policy.smoke = {**policy.smoke, "answer": (np.asarray(policy.smoke["answer"]) + 1).tolist()}  # type: ignore[index]
    policy.save(root / "wrong")
    serving.classifier().save(root / "classes")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def versions(folders: dict[str, Path]) -> dict[str, str]:
    return {name: Policy.load(folder).version for name, folder in folders.items()}


@pytest.fixture(scope="module")
def expected(folders: dict[str, Path]) -> dict[str, list[np.ndarray]]:
    """Each good policy's medians of the windows, by its version."""
    loaded = [Policy.load(folders[name]) for name in ("a", "b", "c")]
    return {p.version: [found.values_HCQ[:, 0, 1] for found in p.predict(WINDOWS)] for p in loaded}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def served(local_ray: None, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two replicas of policy a."""
    deploy, history = DeployConfig(port=0, replicas=2), tmp_path_factory.mktemp("history")
    with running(bundle.pack(folders["a"]), deploy, "updated", source="a", history=history) as found:
        yield found


@pytest.fixture
def at(served: Served, folders: dict[str, Path], versions: dict[str, str]) -> Server:
    """The server, serving policy a alone."""
    found = server(application=served.application)
    for role in ("canary", "shadow"):
        if found.status()["lineup"][role]:
            found.change(asked(canary=0.0) if role == "canary" else asked(shadow=False))
    if found.status()["lineup"]["champion"] != versions["a"]:
        found.change(asked(str(folders["a"])))
    return found


class Load:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self._at, self._ended = urlsplit(url), False
        self.answers: list[tuple[int, int, float, dict[str, Any]]] = []
        """Window, status, milliseconds and body of each answer, in the order they came."""
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._at.netloc, timeout=30)
        while not self._ended:
            began = time.perf_counter()
            connection.request("POST", "/v1/forecast", BODIES[number], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            assert answer.headers["x-policy-version"] == body["policy"]
            self.answers.append((number, answer.status, 1000 * (time.perf_counter() - began), body))
        connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait(20)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Until so many more were answered."""
        until, deadline = len(self.answers) + more, time.monotonic() + 30
        while len(self.answers) < until and time.monotonic() < deadline:
            time.sleep(0.005)

    def counts(self, expected: dict[str, list[np.ndarray]]) -> Counter[str]:
        """Answers by policy, once each was found to be 200 and that policy's own to the last value."""
        found: Counter[str] = Counter()
        for number, status, _, body in self.answers:
            assert status == 200, body
            median = body["forecasts"][0]["targets"]["load"]["median"]
            np.testing.assert_allclose(median, expected[body["policy"]][number], rtol=1e-4)
            found[body["policy"]] += 1
        return found


def now(url: str, number: int = 12) -> set[str]:
    """Versions that answer, over connections of their own, so that every replica is met."""
    return {
        httpx.post(f"{url}/v1/forecast", content=BODIES[0], headers={"content-type": "application/json"}).json()[
            "policy"
        ]
        for _ in range(number)
    }


def test_under_load_policies_are_swapped_and_rolled_back_without_a_failed_or_mixed_answer(
    served: Served,
    at: Server,
    folders: dict[str, Path],
    versions: dict[str, str],
    expected: dict[str, list[np.ndarray]],
) -> None:
    with Load(served.url) as load:
        for name in ("b", "c"):
            found = at.change(asked(str(folders[name])))
            began = len(load.answers)
            assert (found["lineup"]["champion"], found["replicas"], found["behind"]) == (versions[name], 2, 0)
            assert found["swap_seconds"] < 2
            assert now(served.url) == {versions[name]}, "once the change is told, every replica has made it"
            load.wait(60)
            # What was under way when the change was told may still have come from the old one.
            assert {body["policy"] for _, _, _, body in load.answers[began + 4 :]} == {versions[name]}
        for name in ("b", "a"):
            assert at.change(asked(rollback=True))["lineup"]["champion"] == versions[name]
            assert now(served.url) == {versions[name]}
            load.wait(60)
        assert at.change(asked(versions["c"][:12], rollback=True))["lineup"]["champion"] == versions["c"]
        load.wait(60)
    counts = load.counts(expected)
    assert set(counts) == {versions[name] for name in ("a", "b", "c")}
    assert counts.total() > 300


def test_a_policy_that_is_bad_or_not_fit_is_refused_under_load_and_nothing_changes(
    served: Served,
    at: Server,
    folders: dict[str, Path],
    versions: dict[str, str],
    expected: dict[str, list[np.ndarray]],
) -> None:
    with Load(served.url, clients=2) as load:
        with pytest.raises(InputError, match=r"refused, and what was served goes on: .*smoke input .* off"):
            at.change(asked(str(folders["wrong"])))
        with pytest.raises(InputError, match=r"would break: .*has the task classify, not forecast.*--force"):
            at.change(asked(str(folders["classes"])))
        with pytest.raises(InputError, match="is the champion already"):
            at.change(asked(str(folders["a"])))
        with pytest.raises(InputError, match="no policy kept here"):
            at.change(asked("ffffff", rollback=True))
        with pytest.raises(InputError, match="no canary"):
            at.change(asked(promote=True))
        load.wait(20)
    assert set(load.counts(expected)) == {versions["a"]}
    status = at.status()
    assert status["lineup"]["champion"] == versions["a"]
    assert status["lineup"]["held"] is None
    assert not status["errors"]


def test_a_canary_gets_its_share_and_becomes_champion(
    served: Served,
    at: Server,
    folders: dict[str, Path],
    versions: dict[str, str],
    expected: dict[str, list[np.ndarray]],
) -> None:
    at.change(asked(str(folders["b"]), canary=0.25))
    with Load(served.url) as load:
        load.wait(200)
    # HAProxy gives every request an id, by which it is dealt: five deviations of a binomial count.
    counts = load.counts(expected)
    assert abs(counts[versions["b"]] - counts.total() / 4) < 5 * (counts.total() * 0.25 * 0.75) ** 0.5
    with httpx.Client(base_url=served.url, headers={"content-type": "application/json"}) as client:
        for choice, name in {"canary": "b", "champion": "a", versions["b"][:8]: "b"}.items():
            answer = client.post("/v1/forecast", content=BODIES[0], headers={"x-policy": choice})
            assert answer.json()["policy"] == answer.headers["x-policy-version"] == versions[name]
        refused = client.post("/v1/forecast", content=BODIES[0], headers={"x-policy": "mine"})
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["header", "x-policy"])
        # Replicas hand on what they counted four times a second.
        deadline = time.monotonic() + 20
        while (monitor := client.get("/v1/monitor").json())["canary"]["requests"]["total"] < counts[versions["b"]]:
            assert time.monotonic() < deadline, monitor
            time.sleep(0.1)
    assert (monitor["policy"], monitor["canary"]["policy"]) == (versions["a"], versions["b"])
    assert monitor["canary"]["share"] == 0.25
    assert at.change(asked(canary=1.0))["lineup"]["share"] == 1.0
    assert now(served.url) == {versions["b"]}
    assert at.change(asked(promote=True))["lineup"] | {"sequence": 0} == {
        "sequence": 0,
        "champion": versions["b"],
        "canary": None,
        "share": 0.0,
        "shadow": None,
        "held": None,
    }
    assert at.change(asked(rollback=True))["lineup"]["champion"] == versions["a"]


def test_a_shadows_answers_are_compared_and_not_returned(
    served: Served,
    at: Server,
    folders: dict[str, Path],
    versions: dict[str, str],
    expected: dict[str, list[np.ndarray]],
) -> None:
    at.change(asked(str(folders["b"]), shadow=True))
    with Load(served.url, clients=1) as load:
        load.wait(30)
    assert set(load.counts(expected)) == {versions["a"]}
    deadline = time.monotonic() + 20
    while (found := httpx.get(f"{served.url}/v1/monitor").json()["shadow"]["compared"])["requests"] < 30:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    deviation = Policy.load(folders["b"]).scaler.target_deviation[0]
    apart = np.abs(expected[versions["a"]][0] - expected[versions["b"]][0]).mean() / deviation
    assert found["mean_difference_deviations"] == pytest.approx(apart, rel=1e-3)
    assert found["failed"] == 0
    assert found["mean_ms"] > 0
    assert "shadow" not in at.change(asked(shadow=False))["lineup"].values()
    assert "shadow" not in httpx.get(f"{served.url}/v1/monitor").json()


def test_replicas_and_a_register_that_are_killed_come_back_with_the_present_champion(
    served: Served, at: Server, folders: dict[str, Path], versions: dict[str, str]
) -> None:
    at.change(asked(str(folders["b"])))
    ray.kill(at.register, no_restart=False)
    deadline = time.monotonic() + 30
    killed = [a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if "updated#policy" in a["name"]]
    assert len(killed) == 2
    for name in killed:
        ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)
    while True:
        assert time.monotonic() < deadline
        try:
            if now(served.url) == {versions["b"]} and at.status()["replicas"] == 2:
                break
        except (httpx.HTTPError, KeyError, ValueError, InputError):
            pass
        time.sleep(0.2)
    assert at.change(asked(rollback=True))["lineup"]["champion"] == versions["a"]
    assert now(served.url) == {versions["a"]}


def test_what_is_asked_must_be_one_thing() -> None:
    cases: dict[str, dict[str, Any]] = {
        "two changes": {"promote": True, "rollback": True},
        "no share": {"source": "x", "canary": 1.5},
        "leave 'x' out": {"source": "x", "promote": True},
        "name a run directory": {},
        "holds no policy": {"source": "/nowhere"},
    }
    for words, given in cases.items():
        with pytest.raises(InputError, match=words):
            asked(**given)


def test_another_process_finds_this_users_server_and_updates_it(
    folders: dict[str, Path], versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command, port = [sys.executable, "-c", "from lstm_ray.cli import main; main()"], free_port()

    def update(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "update", *arguments], env=environment, capture_output=True, text=True, timeout=100
        )

    alone = update("--status")
    assert alone.returncode == 2
    assert "no server 'lstm-ray' of yours runs" in alone.stderr
    process = subprocess.Popen(
        [*command, "serve", str(folders["a"]), "--set", f"deploy.port={port}"], env=environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert str(port) in process.stdout.readline().decode()
        [file] = (tmp_path / "lstm-ray").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        [found] = servers.known()
        assert (found.pid, found.url) == (process.pid, f"http://127.0.0.1:{port}")
        done = update(str(folders["b"]))
        assert done.returncode == 0, done.stderr
        assert f"champion  quickstart {versions['b'][:12]}" in done.stdout or versions["b"][:12] in done.stdout
        assert now(f"http://127.0.0.1:{port}") == {versions["b"]}
        # This process is in another Ray, and stays there.
        kept = challenge(folders["a"], bundle.pack(folders["c"]), "c", "judged", {"p": 0.5})
        assert kept == versions["c"]
        assert "judged" in [entry.event for entry in Ledger(folders["a"].parent / REGISTRY).read()]
        refused = update(str(folders["wrong"]))
        assert refused.returncode == 2
        assert "smoke input" in refused.stderr
        assert "Traceback" not in refused.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert not servers.known()
    assert (folders["a"].parent / "registry" / versions["b"] / "policy.json").exists()


def test_lines_for_people_name_what_is_served_and_what_was(at: Server) -> None:
    lines = told(at.status())
    assert lines[0].startswith("champion ")
    assert any(line == "replicas  2" for line in lines)
