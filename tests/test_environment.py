"""The first stage: the config against the data's header, and what the run keeps of where it ran."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from lstm_ray import __version__
from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.environment import environment
from lstm_ray.errors import InputError
from lstm_ray.run_dir import RunDir, StageDir
from tests import made


def test_the_resolved_config_and_the_machine_are_kept(config: Config, tmp_path: Path) -> None:
    report = environment(config, RunDir(tmp_path / "run"), StageDir(tmp_path))
    assert load(tmp_path / "run" / "config.yaml") == config
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert facts["seed"] == config.seed
    assert facts["versions"]["lstm_ray"] == __version__
    assert facts["versions"]["torch"].startswith("2.")
    assert facts["hardware"]["cpus"] >= 1
    assert facts["hardware"]["memory_bytes"] > 1e8
    content = Path(config.data.source).read_bytes() if isinstance(config.data.source, str) else b""
    assert facts["data"] == {"files": 1, "bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert "Task forecast of load with seed 7" in report.summary
    assert [finding.text for finding in report.findings] == ["The source holds 4 columns in 0.0 MB."]


def test_columns_without_a_role_are_named(table: Path, tmp_path: Path) -> None:
    config = made.make_config(table, data__past=[])
    report = environment(config, RunDir(tmp_path / "run"), StageDir(tmp_path))
    assert report.findings[1].text == "Columns without a role are not read: wind."


def test_files_that_differ_are_told(table: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(table.read_text().split("\n")[0] + ",extra\n")
    config = made.make_config(table, data__source=[str(table), str(tmp_path / "more.csv")])
    report = environment(config, RunDir(tmp_path / "run"), StageDir(tmp_path))
    assert report.findings[-1].text.startswith(
        "Columns that only some files hold (without a role it is not read): 'extra'"
    )


def test_a_column_that_is_not_there_stops_the_run_before_anything_is_written(table: Path, tmp_path: Path) -> None:
    config = made.make_config(table, data__past=["wnd"])
    with pytest.raises(InputError, match="column 'wnd' is not in"):
        environment(config, RunDir(tmp_path / "run"), StageDir(tmp_path))
    assert not (tmp_path / "run").exists()


def test_data_too_large_to_be_read_for_it_have_no_hash(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_ray.environment.MOST_HASHED", 10)
    environment(config, RunDir(tmp_path / "run"), StageDir(tmp_path))
    found = json.loads((tmp_path / "run" / "environment.json").read_text())["data"]
    assert found["sha256"] is None
    assert found["files"] == 1
