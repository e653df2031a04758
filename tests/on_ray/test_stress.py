"""A small policy's server under load for seconds: behaviour alone, no speed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from lstm_ray.errors import InputError
from lstm_ray.on_ray.stress import stressed
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from lstm_ray.stress.page import stress_run
from lstm_ray.stress.stressing import configured, stress
from tests.serving import services as serving

# Not imported: it would alter sockets and threads of this process.
HAS_LOCUST = pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed")
LOAD = ["stress.users=[2, 8]", "stress.step_seconds=2", "stress.spike_users=60", "stress.spike_seconds=2"]
LOAD += ["stress.soak_seconds=0", "stress.slow=0.2", "stress.hostile=0.4"]
SETTINGS = ["deploy.body_seconds=0.7", "deploy.max_body_bytes=200000", "deploy.max_ongoing_requests=4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory that holds a policy alone."""
    found = tmp_path_factory.mktemp("run")
    serving.forecaster().save(found / "policy")
    return found


@HAS_LOCUST
def test_a_server_bears_load_refuses_what_is_hostile_and_survives_a_kill(
    local_ray: None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stress_run(str(run), [*LOAD, *SETTINGS])
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["broken"] == []
    assert told["hostile_wrong"] == 0
    assert told["outage_seconds"] > 0
    assert told["report"] == str(run / "stress/report.html")
    assert {entry.name for entry in run.iterdir()} == {"policy", "stress"}, "it keeps no history of its own"

    report = json.loads((run / "stress/report.json").read_text())
    found = report["outcome"]
    assert [step["users"] for step in found["steps"]] == [2, 8]
    assert all(step["answered"] > 10 for step in found["steps"])
    assert found["faults"] == {}
    refused = {one["name"]: one for one in found["refused"]}
    assert all(one["wrong"] == 0 for one in refused.values())
    assert {"no JSON", "NaN", "a wrong token", "an unknown path"} <= {
        n for n, one in refused.items() if one["statuses"]
    }
    assert found["spike"]["shed"] > 0, "sixty clients are more than it works on and queues"
    assert found["outage"]["back_seconds"] > 0
    assert found["outage"]["answering"]
    page = (run / "stress/report.html").read_text()
    assert "A replica killed" in page
    assert "<script src" not in page


@HAS_LOCUST
def test_a_server_that_runs_is_loaded_where_it_answers_this_policy(
    local_ray: None, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ["stress.users=[4]", "stress.step_seconds=1.5", "stress.spike_users=0", "stress.soak_seconds=0"]
    with stressed(bundle.find(run), DeployConfig(), str(run)) as server:
        monkeypatch.setenv("THEIR_TOKEN", server.token)
        policy, found = stress(str(run), quick, server.url, "THEIR_TOKEN")
        with pytest.raises(InputError, match="401"):
            stress(str(run), quick, server.url)
        with pytest.raises(InputError, match="OTHER is not set"):
            stress(str(run), quick, server.url, "OTHER")
        roles = server.roles()
        assert len(roles["replicas"]) == 1
        assert roles["register"]
        assert len(roles["proxy"]) >= 1
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/v1/policy", headers={"authorization": f"Bearer {server.token}"}).status_code == 200
    assert found.steps[0].answered > 10
    assert (found.deploy, found.outage, found.growths) == (None, None, []), "nothing of its processes is known"
    assert found.broken == []
    assert policy.config.name
    with pytest.raises(InputError, match="nothing answers"):
        stress(str(run), quick, "http://127.0.0.1:9")


def test_only_fields_of_stress_and_deploy_may_be_changed() -> None:
    policy = serving.forecaster()
    assert configured(policy, ["stress.p99_ms=5", "deploy.replicas=3"]).deploy.replicas == 3
    with pytest.raises(InputError, match=r"stress\.users"):
        configured(policy, ["stress.user=[1]"])
    with pytest.raises(InputError, match="alone"):
        configured(policy, ["train.workers=2"])


def test_a_policys_own_folder_is_not_written_to(run: Path) -> None:
    with pytest.raises(InputError, match="--out"):
        stress_run(str(run / "policy"))


def test_a_token_without_a_server_to_send_it_to_is_refused(run: Path) -> None:
    with pytest.raises(InputError, match="--url"):
        stress_run(str(run), token_variable="TOKEN")
