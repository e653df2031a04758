"""The model of cost, and what the scale suite makes of its measurements, which are made up here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.scale import measured, suite
from lstm_ray.benchmark.scale.model import Line, miss, most_speedup, serial_share


def test_the_share_that_amdahl_s_law_was_given_is_found_again() -> None:
    share = 0.2
    seconds = {workers: 10 * (share + (1 - share) / workers) for workers in (1, 2, 4)}
    assert serial_share(seconds) == pytest.approx(share)
    assert most_speedup(serial_share(seconds)) == pytest.approx(5)


@pytest.mark.parametrize(("two", "share"), [(5.0, 0.0), (4.0, 0.0), (10.0, 1.0), (12.0, 1.0)])
def test_a_share_lies_between_nothing_and_all(two: float, share: float) -> None:
    assert serial_share({1: 10.0, 2: two}) == share
    assert most_speedup(0.0) == float("inf")


def test_a_line_tells_start_work_and_core_hours() -> None:
    line = Line.of(2, [100, 300], [7.0, 11.0])
    assert (line.start_seconds, line.unit_seconds) == (pytest.approx(5), pytest.approx(0.02))
    assert line.seconds(1000) == pytest.approx(25)
    assert line.core_hours(1000) == pytest.approx(2 * 25 / 3600)
    through_nothing = Line.of(1, [1, 2], [1.0, 4.0])
    assert through_nothing.start_seconds == 0.0, "no start takes less than nothing"
    assert through_nothing.unit_seconds == pytest.approx((1 * 1 + 2 * 4) / (1 + 4)), (
        "and the slope is fitted without one"
    )


def test_the_work_of_a_training_is_told_apart_from_a_start_that_varies() -> None:
    short, longer = (
        {"seconds": start + epochs * 2.0, "epoch_seconds": 2.0} for start, epochs in ((13.0, 3), (17.0, 8))
    )
    line = suite._line([short, longer], 2, 1000, (3, 8))
    assert line == Line(2, 15.0, 0.002)
    assert suite._line([{"seconds": 1.0, "epoch_seconds": 2.0}] * 2, 2, 1000, (3, 8)).start_seconds == 0.0


def test_where_nothing_is_serial_no_bound_is_told() -> None:
    assert [figure.value for figure in suite._shares("training", "an epoch", 0.25)] == [0.25, 4.0]
    assert [figure.value for figure in suite._shares("training", "an epoch", 0.0)] == [0.0]


def test_a_miss_is_a_share_of_what_was_measured() -> None:
    assert miss(12.0, 10.0) == pytest.approx(0.2)
    assert miss(8.0, 10.0) == pytest.approx(0.2)


class Measured:
    """Stands in for ``Place.call``: jobs take a start and an equal time for each unit of work and CPU."""

    def __init__(self, start: float, unit: float) -> None:
        self.start, self.unit = start, unit

    def __call__(self, place: suite.Place, functions: list[tuple[str, dict[str, Any]]]) -> list[Any]:
        return [getattr(self, name)(place, **arguments) for name, arguments in functions]

    def trainings(self, place: suite.Place, asked: list[dict[str, int]]) -> list[dict[str, float]]:
        found = []
        for one in asked:
            epoch = one["num_windows"] * self.unit * (0.2 + 0.8 / one["workers"])
            speed = one["num_windows"] / epoch
            seconds = self.start + epoch * one["epochs"]
            found.append({"seconds": seconds, "epoch_seconds": epoch, "windows_per_second": speed})
        return found

    def forecasts(self, place: suite.Place, policy: str, tables: list[str]) -> list[dict[str, float]]:
        sizes = [int(name.rpartition("-")[2]) for name in tables]
        cpus = place.nodes * place.cpus
        return [
            {"seconds": self.start + size * self.unit / cpus, "driver_seconds": size * self.unit / 100, "wrong": 0}
            for size in sizes
        ]

    def prepared(self, place: suite.Place, table: str, out: str) -> dict[str, float]:
        Path(out).mkdir()
        return {"seconds": 1.0, "driver_bytes": 3e8, "store_bytes": 1e6}

    def forecast(self, place: suite.Place, policy: str, table: str) -> dict[str, float]:
        return {"seconds": 1.0, "driver_bytes": 3e8, "store_bytes": 1e6}


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Measured(10.0, 1e-3)
    monkeypatch.setattr(suite.Place, "call", lambda place, functions: made(place, functions))
    monkeypatch.setattr(suite, "_policy", lambda folder: str(folder / "policy"))
    monkeypatch.setattr(suite.tables, "write", lambda folder, *rest: folder.mkdir())
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})


@pytest.mark.usefixtures("jobs")
def test_jobs_that_keep_to_the_model_are_predicted_exactly() -> None:
    found = {figure.name: figure for figure in suite.scale(Options(quick=True)).figures}
    for name in ("training", "forecasts"):
        assert found[f"{name}: cost model's miss on a job it has not seen"].value == pytest.approx(0, abs=1e-9)
    assert found["training: serial share of an epoch (Amdahl)"].value == pytest.approx(0.2)
    assert found["training: start of a group of two, to its first window and back"].value == pytest.approx(10)
    assert found["training: cost of 100 million windows"].value == pytest.approx(2 * (10 + 1e8 * 6e-4) / 3600)
    assert found["forecasts: cost of a billion"].value == pytest.approx(2 * (10 + 1e9 * 5e-4) / 3600)
    assert found["forecasts: most that one driver can take"].value == pytest.approx(1e5)


@pytest.mark.usefixtures("jobs")
def test_nodes_beyond_the_machine_s_cores_say_so_and_one_part_can_be_run_alone() -> None:
    results = suite.scale(Options(only=["training"]))
    [sheet] = results.sheets
    notes = {row[0]: row[-1] for row in sheet.rows}
    assert notes == {
        "1 on 1 node of 2 CPUs": "",
        "2 on 1 node of 2 CPUs": "",
        "2 on 2 nodes of 1 CPU": "",
        "4 on 4 nodes of 1 CPU": "shares 2 cores",
    }
    assert not any(figure.name.startswith("forecasts") for figure in results.figures)


def test_a_table_s_forecasts_and_memory_are_measured_as_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(measured.cluster, "ensure", lambda: None)
    monkeypatch.setattr(suite.fresh, "call", lambda function, folder, history: measured_policy(folder, history))
    policy = suite._policy(tmp_path)
    suite.tables.write(tmp_path / "table", 300, suite.STEPS, "series")
    [found] = measured.forecasts(policy, [str(tmp_path / "table")])
    assert found["wrong"] == 0
    assert found["driver_seconds"] > 0
    told = measured.forecast(policy, str(tmp_path / "table"))
    assert told["driver_bytes"] > 1e7
    assert told["store_bytes"] >= 0


def measured_policy(folder: str, history: int) -> str:
    from lstm_ray.benchmark import untrained

    return untrained.save(folder, history=history)
