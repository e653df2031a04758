"""A table on the clock of a zone, or on a calendar, through the stages that prepare it and into a policy's requests."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config, parse
from lstm_ray.data.store import load_segments
from lstm_ray.data.timeline import calendar, grid
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Forecast, SeriesInput
from lstm_ray.serving import bodies
from tests import made
from tests.data.staged import staged


def config_of(**values: Any) -> Config:
    """A forecast of one column, with little history."""
    data = {"source": "unused", "time": "when", "target": ["load"]} | values.pop("data", {})
    return made.make_config(data=data, window={"history": 8, "horizon": 4, "patch": 4, "season": 12}, **values)


def prepared(config: Config, stamps: Any, folder: Path, **columns: Any) -> Segments:
    table = pl.DataFrame({"when": stamps, "load": np.sin(np.arange(len(stamps))) + 5.0} | columns)
    return load_segments(staged(config, table, folder / "run"))[0]


def predicted(config: Config, segments: Segments, times: list[Any]) -> Forecast:
    policy = made.random_policy(config, segments)
    columns = {name: np.ones(len(times)) for name in segments.schema.target}
    [found] = policy.predict([SeriesInput(times, columns)])
    assert isinstance(found, Forecast)
    return found


MONTHS = [date(2015 + month // 12, month % 12 + 1, 1) for month in range(120)]


def test_months_are_steps_from_the_table_to_the_forecast(tmp_path: Path) -> None:
    ends = pl.Series(MONTHS).dt.month_end()
    table = tmp_path / "table.parquet"
    pl.DataFrame({"when": ends, "load": np.sin(np.arange(120))}).write_parquet(table)
    config = config_of(data={"source": str(table)}, preprocess={"calendar": ["month"], "engine": "polars"})
    config = grid.resolved(config)
    assert config.data.frequency == "1mo"
    segments = prepared(config, ends, tmp_path)
    assert len(segments.bounds) == 2
    assert segments.schema.step == 1
    times = segments.times(np.arange(120))
    np.testing.assert_array_equal(times.astype("datetime64[D]"), np.array(MONTHS, "datetime64[D]"))
    angle = 2 * np.pi * (np.arange(120) % 12) / 12
    np.testing.assert_allclose(segments.known_RK, np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-6)
    sent = [str(day) for day in ends[:8]]
    found = predicted(config, segments, sent)
    assert found.times.astype("datetime64[D]").tolist() == MONTHS[8:12]
    assert bodies.time_words(found.times, segments.schema)[0] == "2015-09-01T00:00:00"
    with pytest.raises(InputError, match=r"is followed by .*, not by the next step"):
        predicted(config, segments, [*sent[:3], *sent[4:], "2015-09-30"])


def test_a_year_of_local_hours_has_no_gap_and_no_duplicate_and_a_calendar_of_its_own(tmp_path: Path) -> None:
    utc = np.arange("2022-12-31T23", "2023-12-31T23", dtype="datetime64[h]").astype("datetime64[us]")
    config = config_of(
        data={"time_zone": "Europe/Berlin"},
        preprocess={"calendar": ["hour"], "holidays": "DE", "engine": "polars", "max_gap_steps": 0},
    )
    shown = calendar.local(utc, "Europe/Berlin")
    segments = prepared(config, shown, tmp_path)
    assert segments.bounds.tolist() == [0, 365 * 24]
    np.testing.assert_array_equal(segments.times(np.arange(365 * 24)), utc)
    hour = (shown - shown.astype("datetime64[D]")) / np.timedelta64(1, "D")
    np.testing.assert_allclose(segments.known_RK[:, 1], np.cos(2 * np.pi * hour), atol=1e-6)
    days = set(shown[segments.known_RK[:, 2] == 1].astype("datetime64[D]").astype(str))
    assert {"2023-01-01", "2023-10-03", "2023-12-25"} <= days
    assert len(days) < 15
    assert segments.known_RK[:, 2].sum() == 24 * len(days)
    assert segments.schema.holidays[-1].startswith("2033")
    # Requests name an offset or mean UTC, whatever the zone of the data.
    times = [f"2023-10-29T{hour:02d}:00:00+02:00" for hour in range(3)] + [
        f"2023-10-29T{h:02d}:00:00Z" for h in range(1, 6)
    ]
    found = predicted(config, segments, times)
    assert found.times[0] == np.datetime64("2023-10-29T06")
    assert bodies.time_words(found.times, segments.schema)[0] == "2023-10-29T06:00:00Z"


def test_local_days_are_steps_of_equal_length_over_changes_of_the_clocks(tmp_path: Path) -> None:
    days = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(120)]
    config = config_of(data={"time_zone": "Europe/Berlin", "frequency": "1d"})
    segments = prepared(config, days, tmp_path)
    assert segments.bounds.tolist() == [0, 120]
    assert segments.times(np.arange(120)).tolist() == days
    hours = segments.known_RK[:, segments.schema.calendar.index("hour") * 2]
    assert (hours == hours[0]).all()
    sent = [f"2024-03-{day}T00:00:00+01:00" for day in range(25, 32)] + ["2024-04-01T00:00:00+02:00"]
    found = predicted(config, segments, sent)
    assert found.times[0] == np.datetime64("2024-04-02")
    assert bodies.time_words(found.times, segments.schema)[0] == "2024-04-02T00:00:00"
    ticks = bodies.ticks(sent, segments.schema, "series")
    np.testing.assert_array_equal(
        segments.schema.of_ticks(ticks), np.arange("2024-03-25", "2024-04-02", dtype="datetime64[D]")
    )


def test_holidays_of_what_has_no_dates_are_refused(tmp_path: Path) -> None:
    config = config_of(preprocess={"holidays": "DE", "engine": "polars"})
    with pytest.raises(InputError, match=r"preprocess.holidays is DE, but 'when' counts steps, which have no dates"):
        prepared(config, list(range(100)), tmp_path)


def test_a_table_off_the_grid_and_with_duplicates_is_resampled_and_told(tmp_path: Path) -> None:
    minutes = np.arange(0, 200 * 60, 7)
    stamps = np.datetime64("2024-03-01T00:30", "us") + np.concatenate([minutes, minutes[:5]]) * np.timedelta64(1, "m")
    config = config_of(data={"irregular": "resample", "frequency": "1h", "duplicates": "mean"})
    segments = prepared(config, stamps, tmp_path)
    assert segments.times(np.array([0]))[0] == np.datetime64("2024-03-01T00")
    assert segments.bounds.tolist() == [0, 201]


def test_time_between_rows_becomes_an_input_of_every_step(tmp_path: Path) -> None:
    stamps = np.datetime64("2024-03-01", "us") + np.cumsum(np.arange(100)) * np.timedelta64(1, "s")
    tree = config_of(data={"irregular": "time_delta"}).model_dump()
    tree["data"]["past"] = ["time_delta"]
    segments = prepared(parse(tree), stamps, tmp_path)
    assert segments.past_RP[:, 0].tolist() == list(range(100))
    assert segments.times(np.arange(3)).tolist() == [0, 1, 2]


def test_dates_of_a_split_are_months_where_steps_are() -> None:
    axis = Axis(54 * 12, 1, is_time=False, in_months=True)
    assert axis.steps_before("2024-07-15", "test_from", 12) == 6
    assert axis.time(6) == "2024-07"
    with pytest.raises(InputError, match=r"split.test_from is '7'; write an ISO date"):
        axis.tick("7", "split.test_from")
