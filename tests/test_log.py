"""Lines of JSON name their run, stage and process, lie with the stage, and hold nothing that is secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lstm_ray import log
from lstm_ray.cli import main
from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_id, run_stages
from lstm_ray.run_dir import RunDir


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_holds_what_finds_it_again(tmp_path: Path) -> None:
    with log.of_run("r"), log.of_stage("train", tmp_path):
        log.say("the 2nd\nline", "warning", epoch=3)
    [found] = lines(tmp_path / log.FILE)
    assert abs(datetime.fromisoformat(found.pop("time")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.pop("node")
    assert found == {
        "level": "warning",
        "run": "r",
        "stage": "train",
        "pid": os.getpid(),
        "message": "the 2nd\nline",
        "epoch": 3,
    }


def test_nobody_hears_what_is_said_outside_of_a_stage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(log.STYLE, raising=False)
    with log.of_run("r"):
        with log.of_stage("split", tmp_path):
            log.say("inside")
        log.say("outside", "error")
    assert [line["message"] for line in lines(tmp_path / log.FILE)] == ["inside"]
    assert capfd.readouterr().err == ""
    assert log.context() == {}


def test_a_style_that_is_unknown_is_one_error_of_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.STYLE, "jsn")
    with pytest.raises(InputError, match="LSTM_RAY_LOG='jsn' is unknown; say LSTM_RAY_LOG=json"):
        log.is_json()
    with pytest.raises(SystemExit) as left:
        main(["config", "schema"])
    said = capsys.readouterr()
    assert (left.value.code, said.out) == (2, "")
    assert "".join(said.err.splitlines()).startswith("error: LSTM_RAY_LOG='jsn' is unknown")
    monkeypatch.setenv(log.STYLE, "")
    assert not log.is_json()


def test_another_process_joins_and_writes_to_its_own_stderr() -> None:
    with log.of_run("r"):
        given = log.context() | {"stage": "tune"}
        assert log.environment()[log.RUN] == "r"
    code = (
        "import logging\nfrom lstm_ray import log\n"
        f"log.join({given!r}, rank=1)\nlog.join({given!r}, rank=2)\n"
        "log.say('works')\nlogging.getLogger('lstm_ray.serving.service').warning('and %s', 'warns')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    found = [json.loads(line) for line in answer.stderr.splitlines()]
    assert [(line["message"], line["run"], line["stage"], line["rank"]) for line in found] == [
        ("works", "r", "tune", 2),
        ("and warns", "r", "tune", 2),
    ]


def test_a_full_disk_is_the_works_to_tell(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / log.FILE).symlink_to("/dev/full")
    with log.of_run("r"), log.of_stage("train", tmp_path):
        log.say("no room for this")
    assert capfd.readouterr().err == ""


def test_every_stage_of_a_run_leaves_its_log_under_one_name(config: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run_stages(config, run, ["split"])
    name = run_id(run)
    assert run_id(RunDir(tmp_path / "run")) == name != run_id(RunDir(tmp_path / "other"))
    for stage in ("environment", "preprocess", "split"):
        found = lines(tmp_path / "run" / stage / log.FILE)
        assert {(line["run"], line["stage"]) for line in found} == {(name, stage)}
        assert found[0]["message"] == f"stage {stage} begins"
        assert found[-1]["message"].startswith(f"stage {stage} ends: ")
    reports = run_stages(config, run, ["split"])
    assert all(report.fingerprint for report in reports.values()), "nothing depends on the log"
    assert run.report("split") == reports["split"]


def test_the_log_of_a_failed_attempt_stays_and_tells_no_words_of_libraries(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")

    def failing(*given: object) -> None:
        raise ValueError("cannot parse 'Ms. Smith'")

    with monkeypatch.context() as patch:
        patch.setattr("lstm_ray.data.stage.split", failing)
        with pytest.raises(ValueError, match="Smith"):
            run_stages(config, run, ["split"])
    run_stages(config, run, ["split"])
    found = lines(tmp_path / "run/split" / log.FILE)
    assert [line["message"].partition(":")[0] for line in found if line["message"].startswith("stage")] == [
        "stage split begins",
        "stage split failed",
        "stage split begins",
        "stage split ends",
    ]
    assert "Smith" not in (tmp_path / "run/split" / log.FILE).read_text()
