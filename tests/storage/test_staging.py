"""A folder in storage is the whole old one or the whole new one, wherever its writer is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.run_dir import REPORT, Report, RunDir
from lstm_ray.storage import objects
from lstm_ray.storage.objects import Objects
from tests import s3

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)
DONE = Report(stage="train", summary="Done.")
OLD = {"both": "old", "gone/deep": "old"}
NEW = {"both": "new", "made/deep": "new"}
CHANGING = ("write", "upload", "copy", "delete", "delete_folder")
"""Of storage.objects.Objects: what changes anything."""
WRITER = """
import os, signal, sys
from lstm_ray.storage import mirror
from lstm_ray.storage.objects import Objects
from tests.storage.test_staging import CHANGING, NEW, OLD, finish, hand_over
from lstm_ray.run_dir import RunDir

base, how = sys.argv[1:]
mirror.SECONDS = 3600.0
Objects.each = lambda self, work, items: [work(item) for item in sorted(items)]
count, fatal = 0, 0

def counted(name):
    inner = getattr(Objects, name)
    def work(self, *given):
        global count
        count += 1
        if count == fatal:  # which is after the one before, too
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, *given)
    return work

for name in CHANGING:
    setattr(Objects, name, counted(name))
number, status = 0, -9
while status:
    number += 1
    uri = f"{base}/{number:02d}"
    if not (child := os.fork()):
        run = RunDir(uri)
        finish(run, "1" * 64, OLD)
        count, fatal = 0, number
        finish(run, "2" * 64, NEW) if how == "stage" else hand_over(run, NEW)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -9)
    print(uri, flush=True)
"""


def finish(run: RunDir, fingerprint: str, files: dict[str, str]) -> None:
    with run.stage("train", fingerprint) as work:
        fill(work.path, files)
        work.write_json(REPORT, DONE)


def hand_over(run: RunDir, files: dict[str, str]) -> None:

    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), files)
        run.publish(Path(folder), "train")


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def seen(uri: str) -> dict[str, str]:
    """What a reader that has just begun finds, by every way of reading; asserts that the ways agree."""
    run = RunDir(uri)
    files = {name.removeprefix("train/"): run.read_bytes(name).decode() for name in run.files("train")}
    with run.local_copy("train") as folder:
        copied = {f.relative_to(folder).as_posix(): f.read_text() for f in folder.rglob("*") if f.is_file()}
    assert copied == files
    assert [name for name in run.files("") if name.startswith("train/")] == sorted(f"train/{name}" for name in files)
    assert not [name for name in {*OLD, *NEW} - files.keys() if run.exists(f"train/{name}")]
    assert all(run.exists(f"train/{name}") for name in files)
    for name in files:
        with run.opened(f"train/{name}") as file:
            assert file.read().decode() == files[name]
    files.pop(REPORT, None)
    return files


@pytest.mark.parametrize("how", ["stage", "publish"])
def test_a_writer_killed_at_any_step_leaves_the_old_folder_or_the_new_one_and_the_next_finishes(
    how: str, storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, states = storage.bucket(), []
    (tmp_path / "killed").mkdir()
    # One process imports what it needs and forks one for each kill.
    done = subprocess.run(
        [sys.executable, "-c", WRITER, f"s3://{bucket}", how],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "killed")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uris = done.stdout.split()
    assert len(uris) > 10, "too few operations were tried to prove anything"
    for uri in uris:
        found = seen(uri)
        assert found in (OLD, NEW), f"a mix in {uri}: {found}"
        states.append(found)
        finish(RunDir(uri), "2" * 64, NEW)
        assert seen(uri) == NEW
    assert {Path(key).name for key in storage.objects(bucket) if "/.work/" in key} == {"train.json"}, "all else is gone"
    assert states[0] == OLD
    assert states[-1] == NEW
    assert states == sorted(states, key=lambda state: state == NEW), "once new, never old again"


def test_a_reader_while_a_folder_is_replaced_again_and_again_never_finds_a_mix(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    writer, reader = RunDir(uri), RunDir(uri)
    names = [f"file-{number}" for number in range(6)]
    finish(writer, "0" * 64, dict.fromkeys(names, "0"))
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(1, 8):
                finish(writer, f"{number:064d}", dict.fromkeys(names, str(number) * number))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    found = set()
    while thread.is_alive():
        with reader.local_copy("train") as folder:
            contents = {(folder / name).read_text() for name in names}
        assert len(contents) == 1, contents
        found |= contents
        one = reader.read_bytes("train/file-3").decode()
        assert one == one[0] * max(int(one[0]), 1)
    thread.join()
    assert not failures
    assert len(found) > 1


def test_what_is_written_beside_a_pending_folder_goes_into_the_new_one(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    run = RunDir(uri)
    assert run._folders is not None
    finish(run, "1" * 64, OLD)
    monkeypatch.setattr(type(run._folders), "finish", lambda self, name, require: None)
    finish(run, "2" * 64, NEW)
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    assert 'pending":{' in storage.objects(uri.split("/")[2])["run/.work/train.json"].decode()
    RunDir(uri).write_bytes("train/audit.json", b"beside")
    assert seen(uri) == {**NEW, "audit.json": "beside"}


def test_a_writer_that_was_paused_leaves_alone_what_another_put_in_place_meanwhile(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    finish(RunDir(uri), "0" * 64, OLD)
    paused, other = RunDir(uri), RunDir(uri)
    (tmp_path / "other").mkdir()
    copy, hits = paused._objects.copy, list[str]()

    def copy_and_pause(source: str, target: str) -> None:
        copy(source, target)
        if target.endswith(REPORT) and not hits:  # the last
            hits.append(target)
            assert other._folders is not None
            other._folders.finish("train")
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr("tempfile.tempdir", str(tmp_path / "other"))
                finish(other, "2" * 64, OLD)

    monkeypatch.setattr(paused._objects, "each", lambda work, items: [work(item) for item in sorted(items)])
    monkeypatch.setattr(paused._objects, "copy", copy_and_pause)
    monkeypatch.setattr(type(paused), "_owned", unguarded, raising=False)
    with suppress(InputError):
        finish(paused, "1" * 64, NEW)
    assert hits
    assert seen(uri) == OLD


@contextmanager
def unguarded(run: RunDir) -> Iterator[Callable[[], None]]:
    """As if nothing were asked: what holds without a lease holds in the instant after one was asked."""
    yield lambda: None


def test_what_a_clearing_that_was_killed_left_is_no_work_to_go_on_with(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"s3://{storage.bucket()}/run"
    inner = Objects.delete_folder

    def killed(self: Objects, path: str) -> None:
        if "/.work/train-" not in path:
            return inner(self, path)
        # In no order, as stores do: what lies deepest may stay longest.
        for info in self.listing(path):
            if "/both." in info.path:
                self.delete(info.path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Objects, "delete_folder", killed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        finish(RunDir(uri), "1" * 64, NEW)
    monkeypatch.setattr(Objects, "delete_folder", inner)
    assert seen(uri) == NEW
    for machine in (tmp_path, tmp_path / "other"):
        machine.mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.tempdir", str(machine))
        with suppress(KeyboardInterrupt), RunDir(uri).stage("train", "1" * 64) as work:
            assert not list(work.path.iterdir()), "a stage that is forced begins anew"
            raise KeyboardInterrupt
    finish(RunDir(uri), "1" * 64, OLD)
    assert seen(uri) == OLD


def test_a_file_too_large_to_be_put_in_place_is_told_before_anything_is_changed(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    finish(RunDir(uri), "1" * 64, OLD)
    monkeypatch.setattr(objects, "COPY_LIMIT_BYTES", 1000, raising=False)
    with pytest.raises(InputError, match=r"'train/both' has 0.0 GB, and S3 puts no more than"):
        finish(RunDir(uri), "2" * 64, {"both": "x" * 1001})
    with pytest.raises(InputError, match="'forecast' has"), RunDir(uri).written("forecast") as stream:
        stream.write(b"x" * 1001)
    assert seen(uri) == OLD
    assert not RunDir(uri).exists("forecast")


def test_a_copy_holds_what_was_written_last_though_times_are_whole_seconds(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    reader = RunDir(uri)
    finish(RunDir(uri), "1" * 64, OLD)
    for number in range(6):
        for part in ("train", ""):
            RunDir(uri).write_bytes("train/both", f"{part}{number}".encode())
            with reader.local_copy(part) as folder:
                assert (folder / ("both" if part else "train/both")).read_text() == f"{part}{number}"


def test_a_copy_of_other_bytes_than_were_written_is_refused(
    storage: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"s3://{storage.bucket()}/run"
    run = RunDir(uri)
    with monkeypatch.context() as patched:
        patched.setattr(type(run._folders), "finish", lambda *given: None)
        finish(run, "1" * 64, NEW)
    for key in storage.objects(uri.split("/")[2], "/both."):
        run._objects.write(f"{uri.split('/')[2]}/{key}", b"old")
    with pytest.raises(InputError, match=r"train' is damaged .*; run the stage 'train' again"), run.local_copy("train"):
        pass
