"""A run directory on any filesystem: whole files or none, whole stages or none."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.figure import bars
from lstm_ray.lifecycle import only_one_at_a_time
from lstm_ray.run_dir import REPORT, Finding, Report, RunDir, digest, to_json
from lstm_ray.storage.objects import Objects

DONE = Report(stage="train", summary="Done.", findings=[Finding(severity="info", text="5 rows.")])


@pytest.fixture(params=["path", "uri", "remote"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run directory at a local path, at a file URI, and on a filesystem that is not this machine's."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    uris: dict[str, str | Path] = {
        "path": tmp_path / "run",
        "uri": f"file://{tmp_path}/run",
        "remote": "mock:///there/run",
    }
    made = RunDir(uris[request.param])
    assert (made.local is None) == (request.param == "remote")
    return made


def finish(run: RunDir, fingerprint: str, **files: str) -> None:
    with run.stage("train", fingerprint) as work:
        for name, text in files.items():
            (work.path / name).write_text(text)
        work.write_json(REPORT, DONE)


def fail(run: RunDir, fingerprint: str, **files: str) -> list[str]:
    """A stage that is killed after it wrote these files; what it found of an earlier attempt."""
    found: list[str] = []
    try:
        with run.stage("train", fingerprint) as work:
            found = sorted(path.name for path in work.path.iterdir())
            for name, text in files.items():
                (work.path / name).write_text(text)
            work.write_json(REPORT, DONE)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return found


def test_files_are_written_whole_and_read_again(run: RunDir) -> None:
    run.write_bytes("a/b/c.bin", b"\x00\x01")
    run.write_bytes("a/b/c.bin", b"newer")
    run.write_json("a/d.json", {"b": np.float32(1.5), "a": np.arange(2), "c": DONE})
    assert run.read_bytes("a/b/c.bin") == b"newer"
    assert run.read_json("a/d.json") == {"a": [0, 1], "b": 1.5, "c": DONE.model_dump()}
    assert run.files("a") == ["a/b/c.bin", "a/d.json"]
    assert run.exists("a/d.json")
    assert not run.exists("a/e.json")
    assert run.files("none") == []


def test_a_missing_file_names_its_stage(run: RunDir) -> None:
    for read in (run.read_bytes, run.read_json):
        with pytest.raises(InputError, match=r"has no train/policy.json; run the stage 'train' first"):
            read("train/policy.json")
    with pytest.raises(InputError, match="run the stage 'train' first"), run.local_copy("train/policy"):
        pass


@pytest.mark.parametrize("value", [math.nan, math.inf, [{"a": -math.inf}], np.array([1.0, np.nan])])
def test_what_is_no_json_is_never_written(run: RunDir, value: object) -> None:
    run.write_json("a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("a.json", value)
    assert run.read_json("a.json") == 1
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json(object())


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff"}', b"NaNs"])
def test_a_damaged_json_is_named_with_its_remedy(run: RunDir, content: bytes) -> None:
    run.write_bytes("split/boundaries.json", content)
    with pytest.raises(
        InputError, match=r"split/boundaries.json' is damaged .* run the stage 'split' again with --force"
    ):
        run.read_json("split/boundaries.json")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"stage": 3}', b'{"summary": "no stage"}', b'"\xff"'])
def test_a_damaged_report_is_named_with_its_remedy(run: RunDir, content: bytes) -> None:
    run.write_bytes("train/report.json", content)
    with pytest.raises(InputError, match=r"train/report.json' is damaged .* run the stage 'train' again with --force"):
        run.report("train")


def test_reports_and_figures_come_back(run: RunDir) -> None:
    assert run.report("train") is None
    assert run.figures("train") == []
    picture = bars("a", "A", "One bar.", ["x"], {"y": [1.0]})
    with run.stage("train", "f" * 64) as work:
        work.write_figures([picture])
        work.write_json(REPORT, {**DONE.model_dump(), "num_rows": 5})
    report = run.report("train")
    assert report is not None
    assert report.findings == DONE.findings
    assert report.model_extra == {"num_rows": 5}
    assert run.figures("train") == [picture]
    run.write_bytes("train/figures.json", b'[{"id": 1}]')
    with pytest.raises(InputError, match=r"train/figures.json' is damaged"):
        run.figures("train")


def test_figures_of_a_stage_have_names_of_their_own(run: RunDir) -> None:
    picture = bars("a", "A", "One bar.", ["x"], {"y": [1.0]})
    with pytest.raises(AssertionError, match="figure ids repeat"), run.stage("train", "f" * 64) as work:
        work.write_figures([picture, picture])


def test_a_stage_replaces_what_was_there_whole(run: RunDir) -> None:
    finish(run, "1" * 64, old="old", both="old")
    finish(run, "2" * 64, new="new", both="new")
    assert run.files("train") == ["train/both", "train/new", "train/report.json"]
    assert run.read_bytes("train/both") == b"new"
    with run.local_copy("train") as path:
        assert (path / "both").read_text() == "new"


def test_a_stage_that_raises_leaves_the_old_result(run: RunDir) -> None:
    finish(run, "1" * 64, file="old")
    fail(run, "2" * 64, file="half")
    assert run.read_bytes("train/file") == b"old"
    assert run.report("train") == DONE


def test_a_stage_without_a_report_is_not_published(run: RunDir) -> None:
    with pytest.raises(AssertionError, match="without its report"), run.stage("train", "1" * 64) as work:
        (work.path / "file").write_text("half")
    assert not run.exists("train")


def test_a_killed_stage_finds_its_own_work_again_and_no_others(run: RunDir, tmp_path: Path) -> None:
    assert fail(run, "1" * 64, checkpoint="1") == []
    assert fail(run, "1" * 64) == ["checkpoint", "report.json"]
    assert fail(run, "2" * 64, checkpoint="2") == []
    assert fail(run, "1" * 64) == [], "work on other inputs was cleared away"
    finish(run, "1" * 64, file="whole")
    assert not list(tmp_path.rglob("checkpoint"))


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_kill_between_renames_leaves_nothing_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    run = RunDir(tmp_path / "run")
    finish(run, "1" * 64, file="old")
    renames = 0
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        nonlocal renames
        if not self.name.endswith(".tmp"):
            renames += 1
            if renames == fails_at:
                raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        finish(run, "2" * 64, file="new")
    monkeypatch.undo()
    trusted = run.report("train")
    assert trusted == (DONE if fails_at == 1 else None)
    assert not trusted or run.read_bytes("train/file") == b"old"
    finish(run, "2" * 64, file="new")
    assert run.read_bytes("train/file") == b"new"
    assert os.listdir(tmp_path / "run" / ".work") == []


def test_what_a_kill_between_renames_took_away_is_back_before_anything_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    finish(run, "1" * 64, file="old")
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name.startswith("train-"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(run, "2" * 64, file="new")
    assert not run.exists("train")
    assert fail(run, "3" * 64) == []
    assert run.read_bytes("train/file") == b"old"
    assert run.report("train") == DONE


def test_the_lock_of_a_run_puts_back_what_a_kill_took_away(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    finish(run, "1" * 64, file="old")
    (tmp_path / "run" / "train").rename(tmp_path / "run" / ".work" / "old-train-01234567")
    with only_one_at_a_time(run):
        assert run.report("train") == DONE


@pytest.mark.parametrize("broken", ["upload", "copy", "delete"])
def test_storage_that_breaks_off_leaves_the_old_stage_or_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = RunDir("mock:///there/run")
    finish(run, "1" * 64, file="old", gone="old")
    monkeypatch.setattr(Objects, broken, lambda *given: (_ for _ in ()).throw(OSError("connection lost")))
    with pytest.raises(OSError, match="connection lost"):
        finish(run, "2" * 64, file="new")
    assert run.report("train") == DONE
    files = {"train/file": b"new"} if broken != "upload" else {"train/file": b"old", "train/gone": b"old"}
    assert {name: run.read_bytes(name) for name in run.files("train") if name != "train/report.json"} == files
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    finish(run, "2" * 64, file="new")
    assert run.files("train") == ["train/file", "train/report.json"]
    assert run.read_bytes("train/file") == b"new"


def test_publishing_copies_a_folder_over_what_was_there(run: RunDir, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("1")
    run.publish(source, "policy")
    (source / "deep" / "file").rename(source / "other")
    run.publish(source, "policy")
    assert run.files("policy") == ["policy/other"]
    assert (source / "other").read_text() == "1"


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(value) for value in ({"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [1], [1, 1])}) == 6


def test_a_place_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(InputError, match="cannot open the run directory 'gopher://there/run'"):
        RunDir("gopher://there/run")


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a directory"):
        RunDir(tmp_path / "file")


def test_home_and_relative_paths_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunDir("~/run").local == RunDir("run").local == tmp_path / "run"


def test_a_stream_becomes_a_file_when_it_is_whole_and_nothing_else(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with run.written("folder/whole") as stream:
        stream.write(b"all of it")
        assert not run.exists("folder/whole")
    with pytest.raises(TypeError), run.written("folder/half") as stream:
        stream.write("half of it, and no bytes")
    assert run.files("") == ["folder/whole"]
    with run.opened("folder/whole") as file:
        file.seek(4)
        assert file.read() == b"of it"
    run.remove("folder/whole")
    run.remove("folder/never")
    assert run.files("") == []
    run.remove("folder")
    assert not run.exists("folder")
