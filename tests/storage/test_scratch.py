"""Folders on the temporary disk: nobody else's, for nobody else, and gone with the process that made them, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.storage import scratch

MAKES = "from lstm_ray.storage import scratch\nprint(scratch.copies(), flush=True)\ninput()\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_for_work_is_found_again_and_is_its_user_s_alone(temporary: Path) -> None:
    made = scratch.kept("key")
    assert made.name == f"lstm-ray-{os.getuid()}-key"
    made.chmod(0o777)
    (made / "work").write_text("1")
    assert scratch.kept("key") == made
    assert made.stat().st_mode & 0o777 == 0o700
    assert (made / "work").read_text() == "1"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_that_another_user_made_is_refused(temporary: Path) -> None:
    os.chown(scratch.kept("key"), 12345, -1)
    with pytest.raises(InputError, match=r"lstm-ray-0-key' belongs to another \(user 12345\).*set TMPDIR"):
        scratch.kept("key")


def test_a_link_in_place_of_a_folder_is_refused(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / f"lstm-ray-{os.getuid()}-key").symlink_to(temporary / "elsewhere")
    with pytest.raises(InputError, match="remove it, or set TMPDIR"):
        scratch.kept("key")


def test_copies_of_a_killed_process_are_swept_and_those_of_a_living_one_stay(temporary: Path) -> None:
    environment = os.environ | {"TMPDIR": str(temporary)}
    folders, processes = [], []
    try:
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", MAKES], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
            assert process.stdout is not None
            folders.append(Path(process.stdout.readline().strip()))
            (folders[-1] / "copy").write_text("1")
        processes[0].send_signal(signal.SIGKILL)
        processes[0].communicate()
        scratch.copies.__wrapped__()
        assert [(folder / "copy").exists() for folder in folders] == [False, True]
        assert not folders[0].exists()
        processes[1].communicate("\n")
        assert not folders[1].exists(), "a process takes its own away"
    finally:
        for process in processes:
            process.kill()
            process.wait()
