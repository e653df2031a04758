"""The MLflow mirror, against MLflow's own store in a file, and where there is no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lstm_ray.registry.folder import at
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.mirror import VERSION, mirror
from lstm_ray.registry.probation import Answered
from lstm_ray.serving.switching.change import Change, made, wanted
from tests.registry.test_policies import begun, run_with
from tests.serving.switching.test_register import packed, version


def promoted(tmp_path: Path) -> tuple[Path, str]:
    """A run whose registry has a champion and the one before."""
    run = run_with(tmp_path / "run", packed())
    registry, account = begun(run)
    new = registry.keep(account, packed(1), "retrain/0001")
    order = wanted(Change("champion"), account, new)
    registry.write(made(Change("champion"), account, registry, order, Answered()))
    registry.close()
    return run, new


@pytest.mark.filterwarnings("ignore")  # of MLflow and what it stands on
def test_runs_metrics_and_aliases_are_told_once(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    client_of = pytest.importorskip("mlflow").MlflowClient
    run, new = promoted(tmp_path)
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    metrics = {"gate.mae": 1.25, "gate.p(one-sided)": 0.01, "gate.none": float("nan")}
    for _ in range(2):
        assert mirror(run, address, new, metrics, {"verdict": "promoted"}) == ""
    client = client_of(tracking_uri=address, registry_uri=address)
    name = json.loads(packed()["policy.json"])["config"]["name"]
    found = {alias: client.get_model_version_by_alias(name, alias) for alias in ("champion", "previous")}
    assert {alias: one.tags[VERSION] for alias, one in found.items()} == {
        "champion": new,
        "previous": version(packed()),
    }
    assert len(client.search_model_versions(f"name='{name}'")) == 2
    told = client.get_run(found["champion"].run_id).data
    assert told.metrics == {"gate.mae": 1.25, "gate.p_one-sided_": 0.01, "validation.mae": 1.5}
    assert told.tags["verdict"] == "promoted"
    assert told.params["window.history"] == "12"


@pytest.mark.filterwarnings("ignore")
def test_a_mirror_that_fails_stops_nothing_and_the_ledger_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run, new = promoted(tmp_path)
    said = mirror(run, "http://127.0.0.1:9", new, {})
    assert "MLflow at http://127.0.0.1:9 does not show policy" in said
    entry = Ledger(at(run)).read()[-1]
    assert (entry.event, entry.evidence["policy"]) == ("mirror_failed", new)
    assert "127.0.0.1" in entry.evidence["why"]
