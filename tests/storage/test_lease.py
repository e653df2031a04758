"""One process at a time in a run directory in storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.storage import lease
from tests import s3

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import RunDir
with only_one_at_a_time(RunDir(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def uri(storage: s3.Server) -> str:
    return f"s3://{storage.bucket()}/run"


def taken_by(uri: str, **more: object) -> None:
    """What a process on another machine has written."""
    told = {"owner": "another", "host": "far-away", "where": "elsewhere", "pid": 7, "beat": 3} | more
    RunDir(uri).write_bytes(".work/lease.json", json.dumps(told).encode())


def test_a_second_process_is_refused_until_the_first_is_killed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, uri], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            monkeypatch.setattr(lease, "STALE_SECONDS", 60.0)
            with (
                pytest.raises(InputError, match=rf"another process is running in '{uri}' \(process {other.pid} on "),
                only_one_at_a_time(RunDir(uri)),
            ):
                pass
        finally:
            other.kill()
    began = time.monotonic()
    with only_one_at_a_time(RunDir(uri)):
        assert time.monotonic() - began < 30, "the dead of this machine are not waited for"
    assert not RunDir(uri).exists(".work/lease.json"), "what has ended leaves nothing"


def test_a_lease_that_beats_no_more_is_taken_with_a_note(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lease, "STALE_SECONDS", 2.0)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    taken_by(uri)
    with only_one_at_a_time(RunDir(uri)):
        assert json.loads(RunDir(uri).read_bytes(".work/lease.json"))["pid"] == os.getpid()
    assert "a process on far-away has left" in capsys.readouterr().err


def test_who_lost_the_lease_does_not_publish(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = RunDir(uri)

    def work() -> None:
        with only_one_at_a_time(run), run.stage("train", "1" * 64) as place:
            taken_by(uri)
            place.write_json(REPORT, {"stage": "train", "summary": "Done."})

    with pytest.raises(InputError, match=r"another process is running .* on far-away"):
        work()
    assert run.report("train") is None
    assert json.loads(run.read_bytes(".work/lease.json"))["host"] == "far-away", "the other's lease stays"
