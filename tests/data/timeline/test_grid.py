"""Rows typed and in order, duplicates joined, steps found, every series on its full grid: of blocks as of the whole."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import parse
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig
from tests import made
from tests.made import HOUR


def data_config(**changes: Any) -> DataConfig:
    return DataConfig(**({"source": "x", "time": "when", "target": ["load"]} | changes))


def loaded(when: list[Any], load: list[float | None] | None = None, **changes: Any) -> pl.DataFrame:
    values = load if load is not None else [1.0] * len(when)
    columns = {"when": pa.array(when, pa.string()), "load": pa.array(values, pa.float64())}
    if "series_id" in changes:
        columns["site"] = pa.array(changes.pop("site"), pa.string())
    return grid.typed(pa.table(columns), data_config(**changes))


def test_whole_numbers_are_steps() -> None:
    frame = loaded(["7", "5", "6"], [7.0, 5.0, 6.0])
    assert frame["time"].to_list() == [5, 6, 7]
    assert frame["load"].to_list() == [5.0, 6.0, 7.0]


def test_duplicates_are_refused_within_a_series_alone() -> None:
    when = ["2024-03-01T05:00:00Z"] * 2
    assert loaded(when, series_id=["site"], site=["a", "b"]).height == 2
    with pytest.raises(InputError, match=r"2024-03-01 05:00:00 occurs twice in series 'a' \(2 rows"):
        loaded(when, series_id=["site"], site=["a", "a"])
    with pytest.raises(InputError, match=r"occurs twice .* or name the columns in data.series_id"):
        loaded(when)


def test_the_same_moment_in_two_zones_is_a_duplicate() -> None:
    with pytest.raises(InputError, match="occurs twice"):
        loaded(["2024-03-01T05:00:00Z", "2024-03-01T07:00:00+02:00"])


def test_a_target_without_values_is_named() -> None:
    with pytest.raises(InputError, match=r"target 'load' has no values at all; name another"):
        grid.require_values({"wind": 1, "load": 0})
    # A block of a larger table may well hold none.
    assert loaded(["1", "2"], [None, float("nan")])["load"].to_list() == [None, None]


def test_a_whole_source_must_hold_values_of_every_target(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("when,load,wind\n1,,2\n2,,3\n")
    with pytest.raises(InputError, match="target 'load' has no values at all"):
        grid.load(data_config(source=str(tmp_path / "x.csv"), target=["wind", "load"]))


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_value_is_named_with_its_row(value: float) -> None:
    with pytest.raises(InputError, match=f"column 'load' holds {value} in row 1; leave the field empty"):
        loaded(["2", "1"], [1.0, value])


def test_not_a_number_is_missing() -> None:
    assert loaded(["1", "2"], [float("nan"), 1.0])["load"].to_list() == [None, 1.0]


def test_several_columns_name_a_series_together() -> None:
    table = pa.table({"when": ["1", "1"], "load": [1.0, 2.0], "a": ["x", "x"], "b": ["y", None]})
    frame = grid.typed(table, data_config(series_id=["a", "b"]))
    assert frame["series"].to_list() == ["x | ", "x | y"]


def test_the_frequency_is_the_commonest_difference() -> None:
    hours = [0, 1, 2, 3, 7, 9]
    frame = loaded([f"2024-03-01T{h:02d}:00:00Z" for h in hours])
    assert grid.frequency(frame, data_config()) == HOUR
    assert grid.frequency(frame, data_config(frequency="30m")) == HOUR // 2
    assert grid.frequency(loaded(["0", "5", "10", "20"]), data_config()) == 5
    assert grid.frequency(loaded(["0", "5", "10", "20"]), data_config(frequency="1")) == 1


@pytest.mark.parametrize(
    ("when", "frequency", "words"),
    [
        (["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"], "hourly", "'hourly' is no duration; write such as 30s"),
        (["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"], "0h", "'0h' is no step at all"),
        (
            ["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"],
            "2h",
            "1 of 1 time differences .* no multiple of the step 2h",
        ),
        (["2024-03-01", "2024-03-02"], "7", "'7' is no duration"),
        (["1", "2"], "1h", "'1h' must be a whole number: 'when' holds integers"),
        (["1", "2"], "0", "'0' is no step at all"),
        (["0", "2", "4", "6", "7"], None, "1 of 4 time differences .* no multiple of the step 2"),
        (["2024-03-01T00:00:00Z"], None, "every series has one row, so no frequency can be found; set data.frequency"),
    ],
)
def test_a_frequency_that_cannot_be_is_refused(when: list[str], frequency: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        grid.frequency(loaded(when), data_config(frequency=frequency))


def test_a_step_is_written_as_people_do() -> None:
    minute = 60_000_000
    assert [grid.describe_step(minute * n) for n in (15, 60, 90, 1440, 10080)] == ["15m", "1h", "90m", "1d", "1w"]
    assert [grid.describe_step(n, in_months=True) for n in (1, 3, 12, 24)] == ["1mo", "3mo", "1y", "2y"]
    assert grid.describe_step(1) == "1 microseconds"
    assert grid.describe_step(3, is_time=False) == "3"


@given(st.dictionaries(st.sampled_from("ab"), st.sets(st.integers(0, 30), min_size=1), min_size=1))
def test_the_regular_grid_is_the_union_of_what_is_there_and_what_lacks(hours: dict[str, set[int]]) -> None:
    rows = [(site, hour) for site, present in hours.items() for hour in present]
    when = [(datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=h)).isoformat() for _, h in rows]
    frame = loaded(when, [float(h) for _, h in rows], series_id=["site"], site=[site for site, _ in rows])
    whole = grid.regular(frame, HOUR)
    expected = [
        (site, np.datetime64("2024-03-01T00", "us") + np.timedelta64(h, "h"), float(h) if h in present else None)
        for site, present in sorted(hours.items())
        for h in range(min(present), max(present) + 1)
    ]
    assert whole.rows() == [(site, time.item(), load) for site, time, load in expected]


def test_without_a_time_column_the_rows_of_a_series_are_numbered_in_order() -> None:
    columns = {"site": pa.array(["b", "a", "b", "a", "b"]), "load": pa.array([5.0, 1.0, 4.0, 2.0, 3.0])}
    data = DataConfig(source="x", series_id=["site"], target=["load"])
    frame = grid.typed(pa.table(columns), data)
    assert frame["series"].to_list() == ["a", "a", "b", "b", "b"]
    assert frame["time"].to_list() == [0, 1, 0, 1, 2]
    assert frame["load"].to_list() == [1.0, 2.0, 5.0, 4.0, 3.0]
    assert grid.frequency(frame, data) == 1
    alone = grid.typed(pa.table(columns).drop(["site"]), DataConfig(source="x", target=["load"]))
    assert alone["time"].to_list() == [0, 1, 2, 3, 4]


def test_categorical_columns_stay_text() -> None:
    columns = {"kind": pa.array(["7", "7"]), "load": pa.array([5.0, 1.0])}
    frame = grid.typed(pa.table(columns), DataConfig(source="x", target=["load"], categorical=["kind"]))
    assert frame["kind"].to_list() == ["7", "7"]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "cc"]), st.integers(0, 9), st.none() | st.integers(-5, 5), st.sampled_from("xyz")
    ),
    min_size=1,
    max_size=40,
)
"""Series, step, value, word."""


def table_of(rows: list[tuple[str, int, int | None, str]], minutes: int = 60) -> pa.Table:
    when = [datetime(2024, 3, 1) + timedelta(minutes=minutes * step) for _, step, _, _ in rows]
    columns = {"site": [row[0] for row in rows], "when": when, "kind": [row[3] for row in rows]}
    return pa.table(columns | {"load": pa.array([row[2] for row in rows], pa.float64())})


def by_site(**changes: Any) -> DataConfig:
    return data_config(**({"series_id": ["site"], "label": "kind"} | changes))


@given(ROWS, st.sampled_from(["last", "mean", "sum"]))
def test_rows_of_the_same_time_become_the_one_that_was_asked_for(rows: list, how: str) -> None:
    counts: Counter[str] = Counter()
    frame = grid.typed(table_of(rows), by_site(duplicates=how), counts)
    expected = []
    for site, step in sorted({row[:2] for row in rows}):
        own = [row for row in rows if row[:2] == (site, step)]
        values = [row[2] for row in own if row[2] is not None]
        value = own[-1][2] if how == "last" else None
        if values and how != "last":
            value = sum(values) / (len(values) if how == "mean" else 1)
        expected.append(
            (site, datetime(2024, 3, 1, step), value if value is None else pytest.approx(value), own[-1][3])
        )
    assert frame.rows() == expected
    assert counts["duplicates"] == len(rows) - len(expected)


def test_what_is_constant_in_a_series_is_never_summed_and_a_word_that_is_there_is_kept() -> None:
    table = pa.table({"when": [1, 1, 2], "load": [1.0, 2.0, 3.0], "size": [7.0, 7.0, 7.0], "kind": ["x", None, "y"]})
    frame = grid.typed(table, data_config(static=["size"], categorical=["kind"], duplicates="sum"))
    assert frame.rows() == [("all", 1, 3.0, 7.0, "x"), ("all", 2, 3.0, 7.0, "y")]


@given(ROWS, st.integers(1, 4))
def test_resampling_takes_the_mean_of_each_step_counted_from_1970(rows: list, hours: int) -> None:
    data = by_site(irregular="resample", duplicates="mean", frequency=f"{hours}h")
    frame, step = grid.typed(table_of(rows, minutes=35), data), hours * HOUR
    whole = grid.on_grid(frame, step, data)
    expected: dict[tuple[str, int], list[float | None]] = {}
    for site, time, value, _ in frame.select("series", pl.col("time").to_physical(), "load", "kind").rows():
        expected.setdefault((site, time // step * step), []).append(value)
    present = whole.filter(pl.col("kind").is_not_null()).with_columns(pl.col("time").to_physical())
    assert list(zip(present["series"], present["time"], strict=True)) == sorted(expected)
    for key, found in zip(sorted(expected), present["load"], strict=True):
        values = [value for value in expected[key] if value is not None]
        assert found == (pytest.approx(sum(values) / len(values)) if values else None)
    between = whole.select(pl.col("time").to_physical().diff().over("series").drop_nulls())["time"]
    assert set(between) <= {step}


def test_resampled_weeks_begin_on_mondays_and_their_rows_are_counted() -> None:
    data, counts = data_config(irregular="resample", frequency="1w"), Counter[str]()
    frame = loaded(["2024-03-04", "2024-03-06", "2024-03-11"], [1.0, 2.0, 3.0])
    found = grid.on_grid(frame, 7 * 24 * HOUR, data, counts)
    assert found.rows() == [("all", datetime(2024, 3, 4), 1.5), ("all", datetime(2024, 3, 11), 3.0)]
    assert counts == {"resampled": 1}


def test_time_between_rows_is_an_input_where_every_row_is_a_step() -> None:
    data = by_site(irregular="time_delta", past=["time_delta"], label=None)
    frame = grid.typed(table_of([("b", 3, 1, "x"), ("a", 5, 2, "x"), ("a", 1, 3, "x")]), data)
    assert frame.select("series", "time", "load", "time_delta").rows() == [
        ("a", 0, 3.0, 0.0),
        ("a", 1, 2.0, 4 * 3600.0),
        ("b", 0, 1.0, 0.0),
    ]
    assert grid.on_grid(frame, grid.frequency(frame, data), data).equals(frame)


@given(ROWS, st.sampled_from(["error", "resample", "time_delta"]), st.permutations(["a", "b", "cc"]), st.integers(0, 3))
def test_blocks_of_whole_series_give_what_the_whole_table_gives(rows: list, how: str, order: list, cut: int) -> None:
    data = by_site(duplicates="mean", irregular=how, past=["time_delta"] if how == "time_delta" else [])
    whole = grid.typed(table_of(rows, 35), data)
    blocks = [table_of([row for row in rows if row[0] in part], 35) for part in (order[:cut], order[cut:])]
    typed = [grid.typed(block, data) for block in blocks if block.num_rows]
    assert pl.concat(typed).sort("series", "time").equals(whole)
    found = pl.concat([grid.differences(part) for part in typed]).group_by("difference").agg(pl.col("n").sum())
    assert found.sort("difference").equals(grid.differences(whole).sort("difference"))
    if found.height:
        step = grid.step_of(found, data, how != "time_delta")
        assert step == grid.step_of(grid.differences(whole), data, how != "time_delta")
        step = step if how != "error" else 35 * HOUR // 60
        pieces = [grid.on_grid(part, step, data) for part in typed]
        assert pl.concat(pieces).sort("series", "time").equals(grid.on_grid(whole, step, data))


@given(ROWS)
def test_rows_come_in_order_from_any(rows: list) -> None:
    rows = list({row[:2]: row for row in rows}.values())
    expected = grid.typed(table_of(sorted(rows, key=lambda row: row[:2])), by_site())
    for key in (lambda row: (row[1], row[0]), lambda row: (row[0] != "b", row[:2]), lambda row: row[2] or 0):
        assert grid.typed(table_of(sorted(rows, key=key)), by_site()).equals(expected)


@given(st.sets(st.integers(0, 60), min_size=2), st.integers(0, 6))
def test_of_a_long_gap_only_so_much_is_made_as_tells_that_it_is_long(steps: set[int], longest: int) -> None:
    frame = loaded([str(step) for step in sorted(steps)])
    whole, short = grid.regular(frame, 1), grid.regular(frame, 1, longest_gap=longest)

    def runs(table: pl.DataFrame) -> list[tuple[bool, int]]:
        missing = table["load"].is_null()
        return table.group_by(missing.rle_id(), maintain_order=True).agg(missing.alias("m").first(), n=pl.len()).rows()

    assert [min(n, longest + 1) for _, missing, n in runs(whole) if missing] == [
        n for _, missing, n in runs(short) if missing
    ]
    assert short.drop_nulls().equals(frame)
    assert short["time"].is_in(whole["time"]).all()


def test_one_absurd_time_stamp_is_refused_before_it_fills_the_memory() -> None:
    frame = loaded(["2024-03-01T00:00:00", "2024-03-01T00:00:01", "9024-03-01T00:00:00"])
    with pytest.raises(
        InputError, match=r"3 rows would need a grid of .* 9024-03-01 00:00:00 follows 2024-03-01 00:00:01"
    ):
        grid.regular(frame, 1_000_000)


def test_months_are_counted_whatever_their_day_and_length() -> None:
    data = data_config(frequency="1mo")
    frame = grid.typed(pa.table({"when": ["2023-12-31", "2024-01-31", "2024-03-31"], "load": [1.0, 2.0, 4.0]}), data)
    assert frame["time"].to_list() == [54 * 12 - 1, 54 * 12, 54 * 12 + 2]
    assert grid.frequency(frame, data) == 1
    assert grid.on_grid(frame, 1, data)["load"].to_list() == [1.0, 2.0, None, 4.0]
    quarters = data_config(frequency="1q")
    assert (
        grid.frequency(
            grid.typed(pa.table({"when": ["2023-12-31", "2024-03-31"], "load": [1.0, 2.0]}), quarters), quarters
        )
        == 3
    )


def test_days_are_resampled_to_months_and_refused_otherwise() -> None:
    table = pa.table({"when": ["2024-01-01", "2024-01-02", "2024-02-01"], "load": [1.0, 2.0, 4.0]})
    with pytest.raises(
        InputError, match=r"1 rows share a month with another, such as 2024-01-02 .*irregular: resample"
    ):
        grid.typed(table, data_config(frequency="1mo"))
    with pytest.raises(InputError, match="'1mo' must be a whole number: 'when' holds integers"):
        grid.typed(pa.table({"when": [1, 2], "load": [1.0, 2.0]}), data_config(frequency="1mo"))
    data = data_config(frequency="1mo", irregular="resample")
    assert grid.on_grid(grid.typed(table, data), 1, data)["load"].to_list() == [1.5, 4.0]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        (pl.date_range(pl.date(2020, 1, 1), pl.date(2022, 1, 1), "1mo", eager=True), "1mo"),
        (pl.date_range(pl.date(2020, 1, 31), pl.date(2022, 1, 31), "1mo", eager=True).dt.month_end(), "1mo"),
        (pl.date_range(pl.date(2020, 3, 1), pl.date(2022, 3, 1), "1q", eager=True), "1q"),
        (pl.date_range(pl.date(2010, 3, 1), pl.date(2022, 3, 1), "1y", eager=True), "1y"),
        (pl.date_range(pl.date(2010, 3, 1), pl.date(2022, 3, 1), "28d", eager=True), None),
        (pl.date_range(pl.date(2010, 3, 1), pl.date(2022, 3, 1), "1w", eager=True), None),
        (pl.date_range(pl.date(2022, 1, 1), pl.date(2022, 3, 1), "1d", eager=True), None),
        (
            pl.date_range(pl.date(2020, 1, 1), pl.date(2024, 1, 1), "1mo", eager=True).append(
                pl.Series([date(2024, 1, 9)])
            ),
            "1mo",
        ),
        (pl.Series([1, 2, 3]), None),
    ],
)
def test_a_calendar_is_told_from_a_fixed_step(stamps: pl.Series, expected: str | None) -> None:
    table, data = pa.table({"when": stamps.to_arrow(), "load": [1.0] * len(stamps)}), data_config()
    assert grid.settled(data, table).frequency == expected
    assert grid.settled(data_config(frequency="1d"), table).frequency == "1d"
    if expected:
        with pytest.raises(InputError, match=f"follow the calendar, {expected} apart, .* data.frequency: {expected}"):
            grid.frequency(grid.typed(table, data), data)


def test_days_on_a_clock_that_changes_are_told_from_a_fixed_step() -> None:
    days = pl.datetime_range(pl.date(2024, 3, 28), pl.date(2024, 4, 3), "1d", eager=True)
    table = pa.table({"when": days.to_arrow(), "load": [1.0] * len(days)})
    data = data_config(time_zone="Europe/Berlin")
    with pytest.raises(InputError, match=r"follow the calendar, 1d apart, .* data.frequency: 1d"):
        grid.frequency(grid.typed(table, data), data)
    settled = grid.settled(data, table)
    assert settled.frequency == "1d"
    assert grid.typed(table, settled)["time"].to_list() == days.to_list()


def test_series_that_start_between_the_steps_of_others_are_named() -> None:
    firsts = pl.DataFrame({"series": ["a", "b", "c"], "first": [0, 4, 7]})
    with pytest.raises(InputError, match="1 series of 'when', such as 'c', lie between the grid's steps"):
        grid.require_one_grid(firsts, 2, data_config())
    resampled = data_config(irregular="resample")
    grid.require_one_grid(firsts.with_columns(grid.aligned(pl.col("first"), 2, resampled)), 2, resampled)


def test_the_first_piece_of_a_source_declares_the_step_of_its_calendar(tmp_path: Path) -> None:
    def found(stamps: list[str], **changes: Any) -> str | None:
        (tmp_path / "x.csv").write_text("when,load\n" + "".join(f"{stamp},1\n" for stamp in stamps))
        data = {"source": str(tmp_path / "x.csv"), "time": "when", "target": ["load"]} | changes
        return grid.resolved(parse({"name": "x", "data": data})).data.frequency

    with pytest.raises(InputError, match="'Q9' is no country"):
        grid.resolved(made.make_config(preprocess__holidays="Q9"))
    months = [f"2024-{month:02d}-01" for month in range(1, 13)]
    assert found(months) == "1mo"
    assert found(months, irregular="resample") is None
    assert found(months, frequency="1d") == "1d"
    assert found([f"2024-01-{day:02d}" for day in range(1, 13)]) is None


def test_very_many_series_come_in_order_too() -> None:
    names = [f"{number:05d}" for number in range(70_000)]
    shuffled = pl.DataFrame({"site": names * 2, "load": [1.0] * 140_000, "when": [1] * 70_000 + [0] * 70_000})
    frame = grid.typed(shuffled.sample(fraction=1, shuffle=True, seed=0).to_arrow(), data_config(series_id=["site"]))
    assert frame["series"].to_list() == [name for name in names for _ in range(2)]
    assert frame["time"].to_list() == [0, 1] * 70_000


def test_an_hour_that_comes_twice_as_clocks_are_set_back_asks_for_the_zone() -> None:
    with pytest.raises(
        InputError, match=r"occurs twice .* or name the zone in data.time_zone whose clocks were set back"
    ):
        loaded(["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 02:00", "2024-10-27 03:00"])
    with pytest.raises(InputError) as caught:
        loaded(["2024-10-28 02:00", "2024-10-28 02:00"])
    assert "time_zone" not in str(caught.value)
