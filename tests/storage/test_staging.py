"""A folder in storage is the whole old one or the whole new one, wherever its writer is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from lstm_ray.run_dir import REPORT, Report, RunDir
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
        inner(self, *given)
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
    monkeypatch.setattr(type(run._folders), "finish", lambda self, name: None)
    finish(run, "2" * 64, NEW)
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    assert 'pending":{' in storage.objects(uri.split("/")[2])["run/.work/train.json"].decode()
    RunDir(uri).write_bytes("train/audit.json", b"beside")
    assert seen(uri) == {**NEW, "audit.json": "beside"}
