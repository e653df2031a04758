"""Every kind of time column becomes UTC or whole numbers; daylight saving is undone."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lstm_ray.data.timeline import times
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

# Zones whose clocks are set back by an hour, by half an hour, in autumn or in spring, and for a month of fasting.
BACK = {
    "Europe/Berlin": datetime(2023, 10, 29, 1),
    "America/New_York": datetime(2023, 11, 5, 6),
    "Australia/Lord_Howe": datetime(2023, 4, 1, 15),
    "Africa/Casablanca": datetime(2023, 3, 19, 2),
}
"""When, in UTC."""
FORWARD = {"Europe/Berlin": "2024-03-31 02:30", "America/New_York": "2024-03-10 02:30"}


def read(
    values: Any, dtype: Any = None, series: list[str] | None = None, counts: Counter[str] | None = None, **data: Any
) -> pl.Series:
    column = pl.Series("when", values, dtype=dtype)
    config = DataConfig.model_validate({"source": "x", "time": "when", "target": ["y"]} | data)
    return times.read(column, pl.Series("series", series or ["a"] * len(column)), config, counts)


def local(utc: list[datetime], zone: str) -> list[datetime]:
    """What a zone's clock shows."""
    aware = [time.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(zone)) for time in utc]  # noqa: UP017
    return [time.replace(tzinfo=None) for time in aware]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01T05:00:00Z", datetime(2024, 3, 1, 5)),
        ("2024-03-01T05:00:00+02:00", datetime(2024, 3, 1, 3)),
        ("2024-03-01 05:00:00.25-0330", datetime(2024, 3, 1, 8, 30, 0, 250_000)),
        ("2024-03-01T05:00+01", datetime(2024, 3, 1, 4)),
        ("2024-03-01T05:00:00", datetime(2024, 3, 1, 5)),
        ("2024-03-01 05:00:00.5", datetime(2024, 3, 1, 5, 0, 0, 500_000)),
        ("2024-03-01 05:00", datetime(2024, 3, 1, 5)),
        ("2024-03-01", datetime(2024, 3, 1)),
        ("2024-03", datetime(2024, 3, 1)),
        ("1990/3/1 0:00", datetime(1990, 3, 1)),
        ("20240301T050000", datetime(2024, 3, 1, 5)),
        (" 31.12.2023 23:00 ", datetime(2023, 12, 31, 23)),
        ("1.3.2024", datetime(2024, 3, 1)),
    ],
)
def test_text_of_many_forms_is_read_alone_and_among_others(text: str, expected: datetime) -> None:
    assert read([text]).to_list() == [expected]
    among = read(["2020-01-01T00:00:00Z", text, "2020-01-01 00:00:00"])
    assert among.to_list() == [datetime(2020, 1, 1), expected, datetime(2020, 1, 1)]
    assert among.dtype == pl.Datetime("us")


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_time_stamps_of_any_unit_and_zone_become_utc(unit: Any, zone: str | None) -> None:
    stamp = datetime(2024, 3, 1, 5, 30, tzinfo=ZoneInfo(zone) if zone else None)
    found = read([stamp], dtype=pl.Datetime(unit, zone))
    assert found.dtype == pl.Datetime("us")
    assert found.to_list() == [datetime(2024, 3, 1, 0) if zone == "Asia/Kolkata" else datetime(2024, 3, 1, 5, 30)]


def test_dates_are_midnights() -> None:
    assert read([date(2024, 3, 1)]).to_list() == [datetime(2024, 3, 1)]
    assert read([20240131, 20240201], pl.Int32).to_list() == [datetime(2024, 1, 31), datetime(2024, 2, 1)]
    assert read(["20240131"]).to_list() == [datetime(2024, 1, 31)]


@pytest.mark.parametrize(
    "kind", [pl.Int8, pl.UInt16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Decimal(9, 2), pl.String]
)
def test_whole_numbers_of_any_type_are_steps(kind: Any) -> None:
    found = read(pl.Series([7, 5, 6]).cast(kind))
    assert found.dtype == pl.Int64
    assert found.to_list() == [7, 5, 6]


def test_numbers_of_which_one_is_no_date_are_steps() -> None:
    assert read([20240131, 20240132]).to_list() == [20240131, 20240132]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["2024-03-01", "soon"], "holds 'soon' in row 1, .*write ISO 8601"),
        (["01/02/2024"], r"holds '01/02/2024' in row 0, .*which of its numbers is the month\?"),
        ([1.0, 2.5], "holds 2.5 in row 1, which is no whole number"),
        ([1.0, float("nan")], "holds nan in row 1, which is no whole number"),
        (["2024-03-01", None], "has 1 empty time stamps, the first in row 1; fill them"),
        ([1, None], "has 1 empty time stamps, the first in row 1; fill them"),
        ([True], "is Boolean, which is no time"),
        (["0001-01-01 00:00:00"], "holds '0001-01-01 00:00:00'"),
    ],
)
def test_what_is_no_time_is_named_with_its_row(values: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=f"column 'when' {words}"):
        read(values)


@given(st.sampled_from(sorted(BACK)), st.integers(-1000, 1000), st.sampled_from([5, 15, 30, 60]), st.integers(2, 200))
def test_a_whole_series_over_any_change_of_the_clocks_is_what_it_was(zone: str, off: int, minutes: int, n: int) -> None:
    whole = 30 if zone == "Australia/Lord_Howe" else 60
    assume(minutes <= whole)
    start = BACK[zone] + timedelta(minutes=off * minutes)
    # Of a series that begins in the second of the two nobody can tell.
    assume(not BACK[zone] <= start < BACK[zone] + timedelta(minutes=whole))
    utc = [start + timedelta(minutes=minutes * step) for step in range(n)]
    assert read(local(utc, zone), time_zone=zone).to_list() == utc
    backwards = utc[::-1]
    shown = local(backwards, zone)
    if shown[0] > shown[-1]:  # the clock shows that the rows run backwards
        assert read(shown, time_zone=zone).to_list() == backwards


@given(st.sampled_from(sorted(BACK)), st.lists(st.booleans(), min_size=24, max_size=24))
def test_of_a_series_with_gaps_no_order_is_lost_and_what_can_be_told_is(zone: str, there: list[bool]) -> None:
    """Two hours before to four after the clocks are set back, of which rows are missing."""
    start = BACK[zone] - timedelta(hours=2)
    utc = [start + timedelta(minutes=15 * step) for step, kept in enumerate(there) if kept]
    assume(len(utc) > 1)
    found = read(local(utc, zone), time_zone=zone).to_list()
    assert sorted(set(found)) == found
    change = BACK[zone]
    length = timedelta(minutes=30 if zone == "Australia/Lord_Howe" else 60)
    first = [time for time in utc if change - length <= time < change]
    second = [time for time in utc if change <= time < change + length]
    if not second or (first and second[0] - length <= first[-1]):
        assert found == utc


def test_a_stamp_that_comes_once_is_summer_time_until_another_shows_that_winter_time_has_begun() -> None:
    hours = ["02:00", "02:30", "02:15", "02:45", "03:00"]
    counts: Counter[str] = Counter()
    found = read([f"2023-10-29 {hour}" for hour in hours], counts=counts, time_zone="Europe/Berlin")
    assert [time.strftime("%H:%M") for time in found] == ["00:00", "00:30", "01:15", "01:45", "02:00"]
    assert counts == {"ambiguous": 4}


def test_each_series_has_its_own_first_and_second_time_in_any_order_of_rows() -> None:
    values = ["2023-10-29 02:00"] * 4
    found = read(values, series=["a", "b", "b", "a"], time_zone="Europe/Berlin")
    assert [time.hour for time in found] == [0, 0, 1, 1]


@pytest.mark.parametrize(("zone", "skipped"), FORWARD.items())
def test_a_stamp_in_the_hour_that_never_came_is_refused_with_a_clock_that_would_have_it(
    zone: str, skipped: str
) -> None:
    standard = {"Europe/Berlin": "Etc/GMT-1", "America/New_York": r"Etc/GMT\+5"}[zone]
    with pytest.raises(
        InputError,
        match=rf"holds {skipped}:00 in row 1, which no clock in {zone} .* {standard}, or set data.frequency: 1d",
    ):
        read(["2024-01-01 00:00", skipped], time_zone=zone)
    clock = standard.replace("\\", "")
    assert read([skipped], time_zone=clock).to_list() == read([skipped + "Z"]).dt.offset_by(f"{clock[7:]}h").to_list()


def test_stamps_that_name_a_zone_need_no_other_and_may_stand_beside_those_that_do_not() -> None:
    values = ["2024-07-01T12:00:00Z", "2024-07-01T12:00:00", "2024-07-01T12:00:00-04:00"]
    assert [time.hour for time in read(values, time_zone="Europe/Berlin")] == [12, 10, 16]
    aware = pl.Series([datetime(2023, 10, 29, 0, 30), datetime(2023, 10, 29, 1, 30)]).dt.replace_time_zone("UTC")
    assert [time.hour for time in read(aware.dt.convert_time_zone("Europe/Berlin"), time_zone="Asia/Tokyo")] == [0, 1]


def test_steps_of_whole_days_stay_on_the_clock_of_their_zone() -> None:
    values = ["2024-03-30", "2024-03-31T00:00:00+01:00", "2024-03-31T22:00:00Z"]
    found = read(values, time_zone="Europe/Berlin", frequency="1d")
    assert found.to_list() == [datetime(2024, 3, 30), datetime(2024, 3, 31), datetime(2024, 4, 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=40))
def test_blocks_of_series_are_read_as_the_whole_table_is(rows: list[tuple[str, int]]) -> None:
    series = [name for name, _ in rows]
    stamps = [datetime(2023, 10, 29) + timedelta(minutes=30 * half) for _, half in rows]
    whole = read(stamps, series=series, time_zone="Europe/Berlin").to_numpy()
    for name in set(series):
        own = [index for index, (other, _) in enumerate(rows) if other == name]
        block = read([stamps[i] for i in own], series=[name] * len(own), time_zone="Europe/Berlin")
        np.testing.assert_array_equal(block.to_numpy(), whole[own])


def test_text_in_categories_is_read_as_text_is() -> None:
    assert read(["2024-03-01", "2024-03-02"], pl.Categorical).to_list() == [datetime(2024, 3, 1), datetime(2024, 3, 2)]
    assert read(["7"], pl.Enum(["7"])).to_list() == [7]


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("kind", [pl.Int64, pl.UInt64, pl.Float64, pl.String])
def test_seconds_to_nanoseconds_since_1970_are_time_stamps(unit: int, kind: Any) -> None:
    found = read(pl.Series([1704067200 * unit, 1704070800 * unit]).cast(kind))
    assert found.to_list() == [datetime(2024, 1, 1), datetime(2024, 1, 1, 1)]


def test_unix_time_may_have_decimals_and_is_utc_whatever_the_zone() -> None:
    assert read(["1704067200.25", "1704070800"]).to_list()[0] == datetime(2024, 1, 1, 0, 0, 0, 250_000)
    assert read([1704067200], time_zone="Europe/Berlin").to_list() == [datetime(2024, 1, 1)]


def test_large_numbers_are_steps_where_one_is_no_unix_time_or_the_step_is_a_number() -> None:
    assert read([1704067200, 7]).to_list() == [1704067200, 7]
    assert read([1704067200], frequency="3600").to_list() == [1704067200]
    assert times.unix_times(pl.Series(["2024-01-01"])) is None
