"""One process at a time in a run directory in storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_ray.errors import InputError
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.storage import lease, places
from lstm_ray.storage import s3 as s3_client
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


def test_the_work_of_who_lost_the_lease_is_stopped(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.5)
    began = time.monotonic()

    def work() -> None:
        with only_one_at_a_time(RunDir(uri)):
            taken_by(uri)
            time.sleep(30)

    with pytest.raises(InputError, match=r"another process is running .* on far-away"):
        work()
    assert time.monotonic() - began < 25, "it was told in mid-work"
    assert json.loads(RunDir(uri).read_bytes(".work/lease.json"))["host"] == "far-away"


def test_who_was_paused_between_look_and_beat_does_not_take_the_lease_back(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.5)
    look, looks = lease.Lease._look, []

    def look_and_pause(self: lease.Lease, *more: object) -> object:
        found = look(self, *more)
        if threading.current_thread() is not threading.main_thread() and not looks:
            looks.append(found)
            taken_by(uri)
            time.sleep(1.0)
        return found

    monkeypatch.setattr(lease.Lease, "_look", look_and_pause)

    def work() -> None:
        with only_one_at_a_time(RunDir(uri)):
            time.sleep(5)

    with pytest.raises(InputError, match=r"another process is running .* on far-away"):
        work()
    assert looks
    assert json.loads(RunDir(uri).read_bytes(".work/lease.json"))["host"] == "far-away"


def test_a_lease_that_is_cut_while_it_is_read_is_not_free(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    other, torn = RunDir(uri), []
    read = other._objects.read

    def cut(path: str) -> bytes:
        content = read(path)
        if torn:
            return content
        torn.append(path)
        return content[:-1]

    monkeypatch.setattr(other._objects, "read", cut)
    with RunDir(uri).leased(print):
        with pytest.raises(InputError, match="another process is running"), other.leased(print):
            pass
        assert torn


def test_a_beat_that_is_late_is_given_up_long_before_its_lease(uri: str) -> None:
    client_seconds = places.ATTEMPTS * (s3_client.CONNECT_SECONDS + s3_client.REQUEST_SECONDS)
    assert client_seconds + lease.BEAT_SECONDS < lease.STALE_SECONDS
    with RunDir(uri).leased(print):
        held = RunDir(uri)
        failures: list[str] = []

        def fails(path: str) -> object:
            failures.append(path)
            raise OSError("AWS Error SLOW_DOWN during PutObject operation")

        once = lease.Lease(held._objects, held._at(".work/lease.json"), uri)._once
        once.filesystem = SimpleNamespace(open_output_stream=fails)
        with pytest.raises(InputError, match="does not answer"):
            once.write("bucket/lease", b"1")
        assert len(failures) == 1


def test_a_lease_that_this_process_could_not_give_up_is_not_waited_for(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(uri)
    monkeypatch.setattr(run._objects, "delete", lambda path: (_ for _ in ()).throw(OSError("connection lost")))
    with run.leased(print):
        pass
    began = time.monotonic()
    with RunDir(uri).leased(print):
        assert time.monotonic() - began < 30
