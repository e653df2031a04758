"""Forecasts over Ray: the same rows as in this process, whichever way files lie and whoever is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lstm_ray import progress
from lstm_ray.data.preparing import blocks as data_blocks
from lstm_ray.errors import InputError
from lstm_ray.on_ray import blocks
from lstm_ray.on_ray.forecast import forecast_files
from lstm_ray.on_ray.forecasting import spread
from lstm_ray.on_ray.forecasting.writing import SUMMARY
from lstm_ray.on_ray.pool import ATTEMPTS
from tests.e2e.conftest import end_group, group, wait_for
from tests.on_ray.test_forecast import HORIZON, policy_of, rows, write

NAMES = [f"s{index:02d}" for index in range(12)]
ROWS = 60
COUNTED = ("num_series", "num_rows", "num_warned", "num_skipped")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a policy and files of twelve series, of which one is too short."""
    policy_of().save(tmp_path / "policy")
    write(tmp_path / "whole.csv", *(rows(name, 20 + index) for index, name in enumerate(NAMES)), rows("short", 5))
    return tmp_path


@pytest.fixture
def small_blocks(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is spread over Ray, in small blocks."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(blocks, "BLOCK_ROWS", ROWS)
    monkeypatch.setattr(blocks, "cut_between_series", lambda runs: data_blocks.cut_between_series(runs, ROWS))


def dealt(work: Path, order: str, number: int = 3) -> list[str]:
    """The table in some files."""
    whole = pl.read_csv(work / "whole.csv")
    if order == "by time":
        whole = whole.sort("when", maintain_order=True)
    if order == "in no order":
        whole = whole.sample(fraction=1, shuffle=True, seed=5)
    each, files = -(-whole.height // number), [work / f"{order}-{part}.csv" for part in range(number)]
    for part, file in enumerate(files):
        whole[part * each : (part + 1) * each].write_csv(file)
    return [str(file) for file in files]


def read(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "*.parquet").sort("series", "time", "target")


@pytest.mark.parametrize("order", ["by series", "by time", "in no order"])
def test_what_is_spread_is_forecast_as_in_this_process(
    small_blocks: None, work: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dealt(work, order)
    summary = forecast_files(work / "policy", files, work / "spread")
    assert summary["num_parts"] > 3
    monkeypatch.delenv("RAY_ADDRESS")
    here = forecast_files(work / "policy", str(work / "whole.csv"), work / "here")
    assert {name: summary[name] for name in COUNTED} == {name: here[name] for name in COUNTED}
    assert summary["skipped"] == [{"series": "short", "reason": "5 steps of history, and the policy needs 12"}]
    found, wanted = read(work / "spread"), read(work / "here")
    assert found.select("series", "time", "target").is_duplicated().sum() == 0
    assert found.height == len(NAMES) * HORIZON
    assert found.drop("median", "q0.1", "q0.9").equals(wanted.drop("median", "q0.1", "q0.9"))
    for column in ("median", "q0.1", "q0.9"):
        assert (found[column] - wanted[column]).abs().max() < 1e-4


def test_an_actor_that_is_killed_is_replaced_and_no_row_is_doubled_or_lost(
    small_blocks: None, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, marks = spread._of_rows, work / "marks"
    marks.mkdir()

    def deadly(policy: Any, config: Any, runs: Any) -> Any:
        killed = marks / str(runs[0][1])
        if len(list(marks.iterdir())) < 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(policy, config, runs)

    monkeypatch.setattr(spread, "_of_rows", deadly)
    summary = forecast_files(work / "policy", str(work / "whole.csv"), work / "out")
    assert len(list(marks.iterdir())) == 2
    found = read(work / "out")
    assert found.height == summary["num_rows"] == len(NAMES) * HORIZON
    assert found.select("series", "time", "target").is_duplicated().sum() == 0
    assert found["series"].unique().sort().to_list() == NAMES


def test_a_block_that_costs_every_actor_is_told_and_the_command_goes_on_after_the_others(
    small_blocks: None, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, notes = spread._of_rows, list[str]()

    def deadly(policy: Any, config: Any, runs: Any) -> Any:
        if runs[0][1] > 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(policy, config, runs)

    monkeypatch.setattr(spread, "_of_rows", deadly)
    with pytest.raises(
        InputError, match=f"was lost {ATTEMPTS} times.*the same command goes on after the finished parts"
    ):
        forecast_files(work / "policy", str(work / "whole.csv"), work / "out")
    assert not (work / "out" / SUMMARY).exists()
    monkeypatch.setattr(spread, "_of_rows", real)
    monkeypatch.setattr(progress, "note", notes.append)
    forecast_files(work / "policy", str(work / "whole.csv"), work / "out")
    assert any("going on after" in note for note in notes)
    assert read(work / "out").height == len(NAMES) * HORIZON


def test_what_is_wrong_with_rows_far_away_is_said_as_at_home(small_blocks: None, work: Path) -> None:
    for order in ("by series", "by time"):
        files = dealt(work, order)
        text = Path(files[2]).read_text()
        Path(files[2]).write_text(text.replace(":00:00Z", ":30:00Z", 1))
        with pytest.raises(InputError, match="no multiple of the policy's step 1h"):
            forecast_files(work / "policy", files, work / f"out {order}")
        assert not (work / f"out {order}").exists() or not (work / f"out {order}" / SUMMARY).exists()


SCRIPT = """
import sys
from lstm_ray.data.preparing import blocks as data_blocks
from lstm_ray.on_ray import blocks
from lstm_ray.on_ray.forecasting import here
from lstm_ray.cli import main
here.BLOCK_ROWS = blocks.BLOCK_ROWS = 30
blocks.cut_between_series = lambda runs: data_blocks.cut_between_series(runs, 30)
main(sys.argv[1:])
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("address", ["", "local"], ids=["here", "Ray"])
def test_a_driver_that_is_killed_goes_on_when_it_is_started_again(work: Path, address: str, tmp_path: Path) -> None:
    names = [f"n{index:03d}" for index in range(400)]
    table = write(work / "many.csv", *(rows(name, 30) for name in names))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        "forecast",
        str(work / "policy"),
        "--data",
        table,
        "--out",
        str(work / "out"),
    ]
    command += ["--address", address] if address else []
    parts = lambda: list((work / "out").glob("part-*.parquet"))  # noqa: E731
    with group(command, environment, tmp_path / "log") as process:
        wait_for(lambda: bool(parts()), 120, lambda: f"the first part: {(tmp_path / 'log').read_text()}")
        end_group(process, signal.SIGKILL)
    before = {file.name: file.stat().st_mtime_ns for file in parts()}
    assert 0 < len(before) < 400, "killed too late to prove anything"
    assert not (work / "out" / SUMMARY).exists()
    with group(command, environment, tmp_path / "log") as process:
        assert process.wait(timeout=120) == 0, (tmp_path / "log").read_text()
    assert "going on after" in (tmp_path / "log").read_text()
    after = {file.name: file.stat().st_mtime_ns for file in parts()}
    assert {name: after[name] for name in before} == before, "finished parts are not made again"
    found = read(work / "out")
    assert found["series"].unique().sort().to_list() == names
    assert found.height == json.loads((work / "out" / SUMMARY).read_text())["num_rows"] == 400 * HORIZON
    assert found.select("series", "time", "target").is_duplicated().sum() == 0
