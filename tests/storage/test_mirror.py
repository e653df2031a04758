"""What is under way is kept in storage as a kill at one moment would leave it, and taken over by another machine."""

from __future__ import annotations

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

    def breaks(file: Path, path: str, size: int) -> None:
        if sent:
            raise OSError("connection lost")
        sent.append(path)
        upload(file, path, size)

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
        assert any("/train-111111111111/checkpoint." in key for key in storage.objects(bucket))
        work.write_json(REPORT, {"stage": "train", "summary": "Done."})
    assert sorted(storage.objects(bucket)) == ["run/.work/train.json", "run/train/checkpoint", "run/train/report.json"]
