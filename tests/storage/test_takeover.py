"""A driver that was paused finds its run taken over by another machine: it ends, and nothing of the other's is harmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_ray.run_dir import REPORT, Report, RunDir
from tests import s3

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)
DRIVER = """
import sys, tempfile, time
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.storage import lease, mirror

uri, who, seconds, tempfile.tempdir = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
lease.BEAT_SECONDS, lease.STALE_SECONDS, mirror.SECONDS = 0.5, 2.0, 0.2
lease._where = lambda: who  # on another machine process numbers say nothing
run = RunDir(uri)
try:
    with only_one_at_a_time(run), run.stage("train", "1" * 64) as work:
        print("found", sorted(path.name for path in work.path.iterdir()), flush=True)
        began, step = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            step += 1
            (work.path / "half.tmp").write_text(f"{who} {step}")
            (work.path / "half.tmp").rename(work.path / f"checkpoint-of-{who}")
            time.sleep(0.05)
        print("worked to the end", flush=True)
        work.write_json(REPORT, {"stage": "train", "summary": who})
    print("published", flush=True)
except InputError as error:
    print("error:", error, flush=True)
"""


def driver(uri: str, who: str, seconds: float, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, "-c", DRIVER, uri, who, str(seconds), str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_driver_that_was_paused_ends_at_once_and_the_one_in_its_place_publishes_whole(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = storage.bucket()
    uri = f"s3://{bucket}/run"
    paused = driver(uri, "paused", 60, tmp_path / "paused")
    other = None
    try:
        assert line(paused) == "found []"
        deadline = time.monotonic() + 60
        while not storage.objects(bucket, "/manifest.json"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        paused.send_signal(signal.SIGSTOP)
        other = driver(uri, "other", 6, tmp_path / "other")
        assert line(other) == "found ['checkpoint-of-paused']"
        paused.send_signal(signal.SIGCONT)
        told = line(paused)
        assert told.startswith("error: another process is running in"), told
        assert paused.wait(timeout=60) == 0
        assert line(other) == "worked to the end"
        assert line(other) == "published"
        assert other.wait(timeout=60) == 0
    finally:
        for process in filter(None, (paused, other)):
            process.kill()
            process.communicate()
    run = RunDir(uri)
    assert run.report("train") == Report(stage="train", summary="other")
    assert run.files("train") == [f"train/{name}" for name in ("checkpoint-of-other", "checkpoint-of-paused", REPORT)]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with run.local_copy("train") as folder:
        assert (folder / "checkpoint-of-paused").read_text().startswith("paused ")
    with run.stage("train", "1" * 64) as work:
        assert not list(work.path.iterdir())
        work.write_json(REPORT, Report(stage="train", summary="again"))
    assert run.files("train") == [f"train/{REPORT}"]
