"""A retrainer beside a server: what its monitor says, the rows that it kept, and a challenger that it takes over."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from lstm_ray.config import with_values
from lstm_ray.lifecycle import run_stages
from lstm_ray.on_ray.serve import running
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import at
from lstm_ray.retrain import registered
from lstm_ray.retrain.job import asked, retrain
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.bundle import find, unpack
from tests.retrain import worlds

pytestmark = pytest.mark.timeout(300)
SECONDS = 60.0


def rows_of(file: Path, name: str) -> dict[str, list[object]]:
    lines = [line.split(",") for line in file.read_text().splitlines()[1:]]
    own = [line for line in lines if line[0] == name]
    return {
        "times": [line[1] for line in own],
        "load": [float(line[2]) for line in own],
        "wind": [float(line[3]) for line in own],
    }


def test_a_challenger_learned_from_what_a_server_was_told_is_served_by_it(local_ray: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = worlds.config_of(worlds.write(tmp_path / "old.csv", 0, worlds.OLD))
    run_stages(config, RunDir(run), ["train"])
    new = worlds.write(tmp_path / "new.csv", worlds.OLD, worlds.NEW, 12, 2)
    deploy = with_values(config, {"deploy.port": 0, "deploy.replicas": 1}).deploy
    files = find(run)
    with (
        running(files, deploy, "retrain", "/retrain", str(run), at(run)) as served,
        httpx.Client(base_url=served.url, timeout=SECONDS) as client,
    ):
        before = unpack(files).version
        assert client.get("/v1/policy").json()["version"] == before
        for name in ("a", "b"):
            told = rows_of(new, name)
            columns = {column: told[column] for column in ("load", "wind")}
            series = [{"name": name, "times": told["times"], "columns": columns}]
            answer = client.post("/v1/observations", json={"series": series})
            assert answer.status_code == 200, answer.text
        summary = registered.monitor(run, deploy)
        assert summary["policy"] == before
        assert asked(run, ["retrain.new_rows=480"]) == ["480 new rows, 480 ask for a challenger"]
        found = retrain(run, reasons=asked(run, ["retrain.new_rows=480"]), overrides=["retrain.max_worse=0.9"])
        assert found.promoted, found.why
        assert client.get("/v1/policy").json()["version"] == found.challenger
        account = read(at(run))
        assert account is not None
        assert account.lineup.shadow == before, "the champion before answers beside it, on probation"
        assert np.isclose(account.running.probation.ratio if account.running else 0, 1.25)
    assert unpack(find(run)).version == found.challenger
