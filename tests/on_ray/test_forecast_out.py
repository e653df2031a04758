"""Where forecasts are written, and how a command goes on after one that was killed."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from runpy import run_path
from subprocess import run as run_command
from typing import Any

import polars as pl
import pytest

from lstm_ray import progress
from lstm_ray.errors import InputError
from lstm_ray.on_ray.forecast import forecast_files
from lstm_ray.on_ray.forecasting import here
from lstm_ray.on_ray.forecasting.here import Here
from lstm_ray.on_ray.forecasting.writing import ATTEMPT, SUMMARY
from lstm_ray.run_dir import RunDir
from tests.on_ray.test_forecast import HORIZON, policy_of, rows, write

NAMES = [f"s{index:02d}" for index in range(9)]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy and a table of nine series, of which each is a block."""
    policy_of().save(tmp_path / "policy")
    write(tmp_path / "a.csv", *(rows(name, 20 + index) for index, name in enumerate(NAMES)))
    monkeypatch.setattr(here, "BLOCK_ROWS", 10)
    return tmp_path


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(progress, "note", said.append)
    return said


def forecast(work: Path, out: str = "out") -> dict[str, Any]:
    return forecast_files(work / "policy", str(work / "a.csv"), work / out)


def killed_after(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command ends as a killed one does: after so many parts, with no word."""
    parts = Here.parts

    def some(self: Here, numbers: list[int]) -> Iterator[Any]:
        for turn, found in enumerate(parts(self, numbers)):
            if turn == number:
                monkeypatch.setattr(Here, "parts", parts)
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(Here, "parts", some)


def test_a_folder_gets_a_part_for_each_block_and_the_summary_last(work: Path) -> None:
    summary = forecast(work)
    parts = [f"part-{number:05d}.parquet" for number in range(9)]
    assert sorted(file.name for file in (work / "out").iterdir()) == [ATTEMPT, SUMMARY, *parts]
    assert json.loads((work / "out" / SUMMARY).read_text()) == summary
    assert summary["num_series"] == summary["num_parts"] == 9
    assert summary["series_per_second"] > 0
    found = pl.read_parquet(work / "out" / "*.parquet")
    assert found.height == summary["num_rows"] == 9 * HORIZON
    assert found.select("series", "time", "target").is_duplicated().sum() == 0
    forecast(work, "one.parquet")
    assert pl.read_parquet(work / "one.parquet").equals(found), "one file holds the same rows in the same order"
    assert not list(work.glob(".one*"))


def test_an_address_is_written_to_as_a_path_is(work: Path) -> None:
    summary = forecast_files(work / "policy", str(work / "a.csv"), (work / "far").as_uri())
    assert summary["num_series"] == 9
    assert (work / "far" / SUMMARY).exists()


@pytest.mark.parametrize("out", ["out", "out.parquet"])
def test_a_killed_command_goes_on_after_its_finished_parts_and_ends_as_if_undisturbed(
    work: Path, out: str, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    whole = forecast(work, f"whole-{out}")
    killed_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        forecast(work, out)
    [folder] = [path.parent for path in work.rglob(ATTEMPT) if "whole" not in str(path)]
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("part-*")}
    assert len(before) == 4
    assert not (work / "out.parquet").exists()
    assert not list(work.glob(f"{out}*/{SUMMARY}"))
    (folder / "part-00001.parquet").write_bytes(b"PAR1 cut off")
    (folder / "part-00007.parquet.0123abcd.tmp").write_bytes(b"cut off, too")
    asked: list[int] = []
    parts = Here.parts
    monkeypatch.setattr(Here, "parts", lambda self, numbers: parts(self, asked.extend(numbers) or numbers))
    summary = forecast(work, out)
    assert asked == [1, 4, 5, 6, 7, 8], "what was finished is not done again, and what is damaged is"
    assert "going on after 3 of 9 finished parts" in notes
    counted = ("policy", "num_series", "num_rows", "num_parts", "num_warned", "num_skipped", "skipped")
    assert {name: summary[name] for name in counted} == {name: whole[name] for name in counted}
    pattern = "*.parquet" if out == "out" else ""
    found, wanted = (pl.read_parquet(work / name / pattern) for name in (out, f"whole-{out}"))
    assert found.equals(wanted)
    assert not list(work.rglob("*.tmp"))


def test_forecasts_that_are_finished_are_not_made_again(
    work: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    summary = forecast(work)
    monkeypatch.setattr(Here, "parts", None)
    assert forecast(work) == summary
    assert "holds all of these forecasts already" in notes[-1]


@pytest.mark.parametrize("change", ["data", "policy"])
def test_other_inputs_begin_anew_and_say_so(
    work: Path, change: str, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    killed_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        forecast(work)
    if change == "data":
        write(work / "a.csv", rows("new", 30))
    else:
        policy_of(seed=8).save(work / "policy")
    summary = forecast(work)
    words = "data files that were other ones, or have changed since" if change == "data" else "another policy"
    assert f"was forecast from {words}: it begins anew" in notes[0]
    found = pl.read_parquet(work / "out" / "*.parquet")
    assert found["series"].unique().sort().to_list() == (["new"] if change == "data" else NAMES)
    assert found.height == summary["num_rows"]


@pytest.mark.parametrize("finished", [False, True])
def test_parts_that_a_killed_removal_left_are_not_taken_for_todays(
    work: Path, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not finished:
        killed_after(4, monkeypatch)
    with suppress(KeyboardInterrupt):
        forecast(work)
    (work / "out" / ATTEMPT).unlink()
    write(work / "a.csv", *(rows(f"new{index}", 30) for index in range(3)))
    assert forecast(work)["num_series"] == 3
    found = pl.read_parquet(work / "out" / "*.parquet")
    assert found["series"].unique().sort().to_list() == ["new0", "new1", "new2"]


def test_a_folder_of_other_files_is_left_alone(work: Path) -> None:
    (work / "theirs").mkdir()
    (work / "theirs" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other files, such as 'thesis.tex'; name a new folder"):
        forecast(work, "theirs")
    assert [file.name for file in (work / "theirs").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("out", "words"),
    [("a.csv", "is no Parquet file; name one that ends in .parquet"), ("plain", "is a file; name a folder")],
)
def test_what_is_neither_a_parquet_file_nor_a_folder_is_refused(work: Path, out: str, words: str) -> None:
    (work / "plain").write_text("a file")
    before = (work / out).read_text()
    with pytest.raises(InputError, match=words):
        forecast(work, out)
    assert (work / out).read_text() == before


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("plain/x", r"the folder '.*plain/x' cannot be made or written \(Not a directory\); name another"),
        ("plain/x.parquet", "is a file"),
    ],
)
def test_where_nothing_can_be_written_it_is_said_without_a_traceback(work: Path, out: str, words: str) -> None:
    (work / "plain").write_text("a file")
    with pytest.raises(InputError, match=words):
        forecast(work, out)


def test_a_full_disk_is_told_and_leaves_what_is_finished(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes, written = RunDir.write_bytes, []

    def full(self: RunDir, path: str, content: bytes) -> None:
        if path == "part-00003.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write_bytes(self, path, content)

    monkeypatch.setattr(RunDir, "write_bytes", full)
    with pytest.raises(InputError, match=r"has no room for more \(No space left.*goes on after the 3 parts"):
        forecast(work)
    monkeypatch.setattr(RunDir, "write_bytes", write_bytes)
    assert forecast(work)["num_series"] == 9


def test_an_empty_table_leaves_nothing_behind(work: Path) -> None:
    (work / "a.csv").write_text("site,when,load,wind\n")
    with pytest.raises(InputError, match="no rows"):
        forecast(work)
    assert not (work / "out").exists()


def test_of_very_many_skipped_series_some_are_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.on_ray.forecasting.predicting.MAX_LISTED", 3)
    write(work / "a.csv", rows("long", 20), *(rows(f"x{number}", 5) for number in range(8)))
    summary = forecast(work)
    assert summary["num_skipped"] == 8
    assert summary["num_series"] == 1
    assert [item["series"] for item in summary["skipped"]] == ["x0", "x1", "x2"]


def test_a_small_table_is_forecast_without_importing_ray(work: Path) -> None:
    code = (
        "import sys; from lstm_ray.on_ray.forecast import forecast_files; forecast_files(*sys.argv[1:]); "
        "assert 'ray' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(work / "policy"), str(work / "a.csv"), str(work / "out")]
    done = run_command(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("named", [["--run", "{policy}"], ["--run={policy}"], ["{policy}"]], ids=str)
def test_the_job_takes_what_the_command_takes(
    work: Path, named: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(work / "b.csv", rows("more", 20))
    run = [word.format(policy=work / "policy") for word in named]
    sources = ["--data", str(work / "a.csv"), "--data", str(work / "b*.csv")]
    monkeypatch.setattr(sys, "argv", ["forecast.py", *run, *sources, "--out", str(work / "out")])
    with pytest.raises(SystemExit) as ended:
        run_path("jobs/forecast.py", run_name="__main__")
    assert not ended.value.code
    assert "60 rows of 10 series in" in (said := capsys.readouterr().out)
    assert "series/s)" in said
    assert json.loads((work / "out" / SUMMARY).read_text())["num_series"] == 10
