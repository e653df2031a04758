"""A place for runs is tried for real, left as it was found, and its faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.doctor import storage as checked
from lstm_ray.doctor.storage import storage
from lstm_ray.run_dir import RunDir
from tests import s3


def verdicts(uri: str) -> dict[str, str]:
    return {check.name: check.verdict for check in storage(uri)}


def test_a_folder_that_works_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    assert verdicts(str(tmp_path)) == {"storage": "well", "clock": "well", "disk of runs": "well"}
    assert [file.name for file in tmp_path.rglob("*")] == ["kept.txt"]
    assert verdicts(str(tmp_path / "new"))["storage"] == "well"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("uri", ["nosuch://bucket/run", "/proc/1/none"])
def test_a_place_that_cannot_be_used_is_wrong(uri: str) -> None:
    [found] = storage(uri)
    assert (found.name, found.verdict) == ("storage", "wrong")
    assert uri in found.text


def test_what_a_place_says_is_shown_without_the_secrets_of_its_address(
    storage: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: RunDir, path: str, content: bytes) -> None:
        raise OSError(f"made up, of {uri}")

    bucket = storage.bucket()
    uri = f"s3://{s3.ACCESS}:{s3.SECRET}@{bucket}/run{storage.query}"
    monkeypatch.setattr(RunDir, "write_bytes", broken)
    [found] = checked.storage(uri)
    assert found.text.startswith(f"'s3://{bucket}/run' cannot be used: made up")
    assert s3.SECRET not in found.text


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    [found] = storage(str(tmp_path / "file"))
    assert "is a file" in found.text


def test_a_clock_of_the_storage_that_is_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = RunDir.changed_at
    monkeypatch.setattr(RunDir, "changed_at", lambda self, path: real(self, path) - 3600)
    assert verdicts(str(tmp_path)) == {"storage": "well", "clock": "wrong", "disk of runs": "well"}


def test_a_storage_that_gives_back_what_was_replaced_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, first = RunDir.read_bytes, list[bytes]()

    def stale(self: RunDir, path: str) -> bytes:
        first.append(read(self, path))
        return first[0]

    monkeypatch.setattr(RunDir, "read_bytes", stale)
    [found, _] = storage(str(tmp_path))
    assert (found.verdict, "replaced" in found.text) == ("wrong", True)


def test_a_storage_that_is_slow_is_to_look_at() -> None:
    found = checked._speed("s3://bucket", 2.0, 0.01)
    assert (found.verdict, found.text.startswith("'s3://bucket' takes 2 MB/s, gives 400 MB/s")) == ("warning", True)
