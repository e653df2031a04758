"""The monitor replayed over new files. Policies are untrained networks."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from lstm_ray.cli import main
from lstm_ray.errors import InputError
from lstm_ray.monitor.drift import reference
from lstm_ray.monitor.new_data.replay import TIMELINE, monitor_files, replay
from lstm_ray.report.single import write_monitor
from lstm_ray.run_dir import RunDir
from tests import made
from tests.monitor.new_data.test_unseen import QUICK, finished_run

STEPS, NEW = 720, 480


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path]:
    """A finished run, and a table of the steps that follow it."""
    folder = tmp_path_factory.mktemp("replay")
    table = pl.read_csv(made.write_table(folder / "all.csv", steps=STEPS + NEW))
    times = table["when"].unique().sort()
    table.filter(pl.col("when") < times[STEPS]).write_csv(folder / "table.csv")
    table.filter(pl.col("when") >= times[STEPS]).write_csv(folder / "later.csv")
    config = made.make_config(folder / "table.csv", **QUICK, monitor__window=50)
    return finished_run(config, folder / "run"), folder / "later.csv"


def shifted(later: Path, file: Path) -> tuple[Path, str]:
    """The same table, its wind blown away from half of its time on; and that time."""
    table = pl.read_csv(later)
    times = table["when"].unique().sort()
    middle = times[NEW // 2]
    table.with_columns(pl.when(pl.col("when") >= middle).then(pl.col("wind") + 50).otherwise(pl.col("wind"))).write_csv(
        file
    )
    return file, middle


def test_what_moved_is_told_with_the_time_at_which_it_did(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    run, later = finished
    file, middle = shifted(later, tmp_path / "blown.csv")
    holder, name, report = monitor_files(run.uri, str(file))
    told = holder.read_json(f"{name}/{TIMELINE}")
    wind = next(alarm for alarm in told["alarms"] if alarm["what"] == "wind")
    assert wind["kind"] == "drift"
    assert (
        middle[:16].replace("T", " ") <= wind["begins"] < told["times"][len(told["times"]) * 3 // 4].replace("T", " ")
    )
    assert wind["ends"] is None
    assert len(told["columns"]["wind"]) == len(told["times"]) > 20
    assert "wind" in " ".join(finding.text for finding in report.findings)


def test_time_that_goes_on_as_before_raises_no_alarm_of_drift_and_is_judged_by_the_reference(
    finished: tuple[RunDir, Path],
) -> None:
    run, later = finished
    holder, name, _ = monitor_files(run.uri, str(later))
    told = holder.read_json(f"{name}/{TIMELINE}")
    assert not [alarm for alarm in told["alarms"] if alarm["kind"] in ("drift", "joint")]
    assert {"load", "wind", "(together)", "forecast of load"} <= set(told["columns"])
    assert told["error_ratio"][-1] is not None


def test_a_page_shows_it_and_stands_in_the_run(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    run, later = finished
    file, _ = shifted(later, tmp_path / "page.csv")
    page, report = write_monitor(run.uri, str(file))
    assert page == f"{run.uri}/monitor/page/report.html"
    text = Path(page).read_text()
    assert "How near to an alarm" in text
    assert "How the error went" in text
    assert json.dumps((report.model_extra or {})["alarms"], allow_nan=False)


def test_a_folder_with_other_things_is_not_written_to(finished: tuple[RunDir, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        monitor_files(finished[0].uri, str(finished[1]), str(tmp_path))


def test_a_policys_folder_is_watched_by_what_it_carries(
    finished: tuple[RunDir, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished[0].local / "train" / "policy"  # type: ignore[operator]
    with pytest.raises(InputError, match="no picture of its training data"):
        monitor_files(str(folder), str(finished[1]), str(tmp_path / "out"))
    monkeypatch.setattr(reference, "of", lambda *_: pytest.fail("a policy's folder has no training part"))
    with pytest.raises(InputError, match="say where with --out"):
        monitor_files(str(folder), str(finished[1]))


@pytest.mark.parametrize("task", ["label", "classify"])
def test_of_other_tasks_the_inputs_are_replayed_and_the_rest_is_said(task: str) -> None:
    if task == "label":
        segments, config, bounds = made.labelled_of((240, 200)), made.label_config(monitor__window=50), made.PARTS
    else:
        segments, config = made.sequences_of([12] * 400), made.classify_config(monitor__window=50)
        bounds = {"train": (0, 24 * 300), "validation": (24 * 300, 24 * 350), "test": (24 * 350, 24 * 400)}
    policy = made.random_policy(config, segments)
    policy.facts = {"reference": reference.of(policy, segments, bounds, config.monitor)}
    told = replay(policy, segments)
    assert f"task {task}" in told.lacks[0]
    assert "evaluate --data" in told.lacks[0]
    (columns,) = [told.columns["load"]]
    assert columns[-1]["values"] == 50
    assert not [spell for spell in told.spells if spell.kind == "drift"]


def test_the_command_tells_it_and_ends_with_a_line_of_json(
    finished: tuple[RunDir, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, later = finished
    file, _ = shifted(later, tmp_path / "command.csv")
    with pytest.raises(SystemExit) as ended:
        main(["monitor", run.uri, "--data", str(file), "--out", str(tmp_path / "out"), "--json"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.strip().splitlines()
    told = json.loads(lines[-1])
    assert told["num_rows"] > 0
    assert {alarm["what"] for alarm in told["alarms"]} >= {"wind"}
    assert told["page"] == f"{tmp_path / 'out'}/report.html"
    assert Path(told["page"]).exists()
