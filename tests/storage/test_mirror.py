"""What is under way is kept in storage as a kill at one moment would leave it, and taken over by another machine."""

from __future__ import annotations

import errno
import re
import time
from pathlib import Path

import pytest

from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.storage import mirror
from lstm_ray.storage.mirror import Mirror
from tests import s3


def mirror_of(uri: str, work: Path) -> Mirror:
    run = RunDir(uri)
    assert run._folders is not None
    return Mirror(run._objects, run._folders, work)


def held(folder: Path) -> dict[str, str]:
    return {f.relative_to(folder).as_posix(): f.read_text() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def uri(storage: s3.Server) -> str:
    return f"s3://{storage.bucket()}/run"


def test_another_machine_finds_what_was_sent_and_nothing_half(uri: str, tmp_path: Path) -> None:
    here, there = (tmp_path / name / "train-1" for name in ("here", "there"))
    first = mirror_of(uri, here)
    first.restore()
    (here / "epoch-1").mkdir()
    (here / "epoch-1" / "weights").write_text("1")
    (here / "log").write_text("one\n")
    (here / "half.tmp").write_text("ha")
    first.send()
    (here / "epoch-1").rename(here / "epoch-2")
    with open(here / "log", "a") as log:
        log.write("two\n")
    first.send()
    mirror_of(uri, there).restore()
    assert held(there) == {"epoch-2/weights": "1", "log": "one\ntwo\n"}


def test_a_send_that_breaks_off_leaves_the_moment_before(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (tmp_path / name / "train-1" for name in ("here", "there"))
    first = mirror_of(uri, here)
    first.restore()
    (here / "data").write_text("1")
    (here / "index").write_text("1")
    first.send()
    (here / "data").write_text("2")
    (here / "index").write_text("2")
    upload, sent = first._objects.upload, []

    def breaks(file: Path, path: str, size: int) -> tuple[int, str]:
        if sent:
            raise OSError("connection lost")
        sent.append(path)
        return upload(file, path, size)

    monkeypatch.setattr(first._objects, "upload", breaks)
    with pytest.raises(OSError, match="connection lost"):
        first.send()
    mirror_of(uri, there).restore()
    assert held(there) == {"data": "1", "index": "1"}


def test_a_machine_keeps_what_it_had_unless_another_went_on(uri: str, tmp_path: Path) -> None:
    here, there = (tmp_path / name / "train-1" for name in ("here", "there"))
    first = mirror_of(uri, here)
    first.restore()
    (here / "epoch").write_text("1")
    first.send()
    (here / "epoch").write_text("2, not sent")
    mirror_of(uri, here).restore()
    assert held(here) == {"epoch": "2, not sent"}
    second = mirror_of(uri, there)
    second.restore()
    (there / "epoch").write_text("3, by another")
    second.send()
    mirror_of(uri, here).restore()
    assert held(here) == {"epoch": "3, by another"}


def test_a_stage_is_mirrored_while_it_works(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: s3.Server
) -> None:

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(mirror, "SECONDS", 0.1)
    bucket = uri.split("/")[2]
    with RunDir(uri).stage("train", "1" * 64) as work:
        (work.path / "checkpoint").write_text("1")
        while not any(key.endswith("/manifest.json") for key in storage.objects(bucket)):
            time.sleep(0.05)
        assert any(re.search(r"/train-111111111111/000001-\w+/checkpoint\.", key) for key in storage.objects(bucket))
        work.write_json(REPORT, {"stage": "train", "summary": "Done."})
    assert sorted(storage.objects(bucket)) == ["run/.work/train.json", "run/train/checkpoint", "run/train/report.json"]


def test_an_attempt_that_was_taken_over_may_send_on_without_harm(uri: str, tmp_path: Path) -> None:
    here, there, last = (tmp_path / name / "train-1" for name in ("here", "there", "last"))
    first = mirror_of(uri, here)
    first.restore()
    (here / "epoch").write_text("1")
    (here / "data").write_text("d")
    first.send()
    second = mirror_of(uri, there)
    second.restore()
    (there / "epoch").write_text("2, by the second")
    second.send()
    (here / "epoch").write_text("2, by the first")
    first.send()
    mirror_of(uri, last).restore()
    assert held(last) == {"epoch": "2, by the second", "data": "d"}, "the latest attempt is gone on with"
    (there / "more").write_text("m")
    second._folders.commit("train", second.send())
    run = RunDir(uri)
    assert {name: run.read_bytes(name).decode() for name in run.files("train")} == {
        "train/epoch": "2, by the second",
        "train/data": "d",
        "train/more": "m",
    }
    (here / "epoch").write_text("3, by the first")
    first.send()
    assert run.read_bytes("train/epoch") == b"2, by the second"


def test_a_moment_whose_objects_were_altered_or_lost_is_not_taken_over(
    uri: str, tmp_path: Path, storage: s3.Server
) -> None:
    bucket = uri.split("/")[2]
    first = mirror_of(uri, tmp_path / "here" / "train-1")
    first.restore()
    (tmp_path / "here" / "train-1" / "epoch").write_text("1")
    first.send()
    key = next(iter(storage.objects(bucket, "/epoch.")))
    first._objects.write(f"{bucket}/{key}", b"2")
    mirror_of(uri, tmp_path / "there" / "train-1").restore()
    assert held(tmp_path / "there") == {}
    first._objects.delete(f"{bucket}/{key}")
    mirror_of(uri, tmp_path / "there" / "train-1").restore()
    assert held(tmp_path / "there") == {}


@pytest.mark.parametrize("sent_before", [True, False])
def test_a_full_disk_costs_no_work_that_this_machine_has(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent_before: bool
) -> None:
    here = tmp_path / "here" / "train-1"
    first = mirror_of(uri, here)
    first.restore()
    if sent_before:
        (here / "epoch").write_text("1")
        first.send()
    (here / "epoch").write_text("2, after hours")

    def full(self: Path, text: str) -> int:
        open(self, "w").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            first.send()
    mirror_of(uri, here).restore()
    assert held(here) == {"epoch": "2, after hours"}
