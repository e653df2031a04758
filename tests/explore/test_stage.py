"""The whole stage on files, as the command line runs it."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray import config as configs
from lstm_ray.data.source.files import resolved
from lstm_ray.errors import InputError
from lstm_ray.explore.stage import explore
from lstm_ray.run_dir import RunDir, StageDir
from tests.explore.tables import daily_wave, hourly, labelled, noise

WEATHER = ["dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


@pytest.fixture
def run(tmp_path):
    """Run the stage on a frame (or a built-in example); returns its report, files and config."""

    def go(source, task="forecast", sections=None, **roles):
        if isinstance(source, pl.DataFrame):
            source.write_csv(tmp_path / "table.csv")
            source = str(tmp_path / "table.csv")
        tree = {"name": "t", "task": task, "data": {"source": source, **roles}, **(sections or {})}
        config = resolved(configs.parse(tree))
        report = explore(config, RunDir(tmp_path), StageDir(tmp_path / "work"))
        return report, Written(tmp_path / "work"), config

    return go


class Written:
    """What a stage left, read as strictly as any reader would."""

    def __init__(self, path):
        self.files = {
            str(f.relative_to(path)): json.loads(f.read_text(), parse_constant=refuse) for f in path.rglob("*.json")
        }
        self.figures = self.files["figures.json"]
        self.text = "\n".join(f["text"] for f in self.files["findings.json"])


def refuse(constant):
    raise AssertionError(f"{constant} in JSON")


def check_figures(figures):
    assert all(figure["caption"].endswith(".") for figure in figures)
    assert all(any(sign.isdigit() for sign in figure["caption"]) for figure in figures)
    drawn = [trace for figure in figures for trace in figure["traces"] if trace["type"] == "scatter"]
    assert max(len(trace["x"]) for trace in drawn) <= 1500


def check_advice(findings, config):
    """Every piece of advice is YAML that the config accepts."""
    for finding in findings:
        if finding.advice:
            ((section, fields),) = yaml.safe_load(finding.advice).items()
            configs.with_values(config, {f"{section}.{field}": value for field, value in fields.items()})


def test_a_table_with_every_fault_names_each(run):
    size = 24 * 60
    target = daily_wave(size)
    target[700] = 50.0
    target[900:940] = 0.25
    target[int(0.85 * size) :] += 4
    columns = {"y": target, "copy": 2 * target, "constant": np.ones(size), "nothing": np.full(size, np.nan)}
    frame = hourly(columns).filter(~pl.int_range(size).is_between(300, 309))
    past = ["copy", "constant", "nothing"]
    report, written, config = run(frame, time="time", target=["y"], past=past, sections={"window": {"season": 36}})
    for words in (
        "10 time stamps are missing",
        "'y' has 1 spike",
        "y at 0.25 for 40 steps",
        "Targets that drift away from the training part (PSI): y",
        "'copy' correlates 1.0000 with 'y' at the same step",
        "'constant' is constant: every value is 1",
        "Column 'nothing' has no value at all",
        "24 steps (1d)",
        "window.season is 36, which is none of them",
    ):
        assert words in written.text
    check_advice(report.findings, config)
    check_figures(written.figures)
    assert (report.num_series, report.num_rows, report.num_missing_timestamps) == (1, size - 10, 10)
    assert report.frequency == "1h"
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=["warning", "advice", "info"].index)


def test_the_weather_of_new_york_is_read_right(run):
    report, written, config = run(
        "example:nycflights13-weather", series_id=["origin"], time="time_hour", target=["temp"], past=WEATHER
    )
    assert (report.num_series, report.num_rows, report.num_missing_timestamps) == (3, 26_115, 75)
    assert 0.6 < report.seasonality_strength < 0.85
    assert "24 steps (1d)" in written.text
    assert "pressure 2,729 (10.4 %" in written.text
    assert "1,048 where its neighbours' median is 12.7, is at 2013-02-12 08:00 in 'EWR'" in written.text
    assert 8 <= len(written.figures) <= 15
    assert written.files["tables/profile.json"][0]["phase"] == 0
    check_advice(report.findings, config)
    check_figures(written.figures)


def test_late_days_are_told_apart_by_their_weather(run):
    report, written, config = run(
        "example:nycflights13-delays",
        "classify",
        series_id=["airport_day"],
        time="time_hour",
        past=WEATHER,
        label="late",
    )
    assert report.num_series == 1043
    assert report.seasonality_strength is None
    assert written.files["tables/separation.json"][0]["column"] == "visib"
    assert "on time 710 (68.1 %), late 333 (31.9 %)" in written.text
    assert 8 <= len(written.figures) <= 15
    check_advice(report.findings, config)
    check_figures(written.figures)


def test_rows_without_a_label_are_left_out_and_said(run):
    frame = labelled(num=40).with_columns(label=pl.when(pl.col("series") != "005").then("label"))
    _, written, _ = run(frame, "classify", series_id=["series"], time="time", past=["x", "noise"], label="label")
    assert "24 rows have no label in 'label'" in written.text
    assert sum(row["count"] for row in written.files["tables/classes.json"]) == 39


@pytest.mark.parametrize("values", [np.ones(200), daily_wave(20), np.arange(8.0)])
def test_constant_and_very_short_tables_survive(run, values):
    report, written, config = run(hourly({"y": values}), time="time", target=["y"])
    assert report.num_rows == len(values)
    assert written.figures[0]["id"] == "overview"
    check_advice(report.findings, config)


SHAPES = {
    "noise": lambda rng, size: rng.normal(size=size),
    "constant": lambda rng, size: np.full(size, 3.0),
    "nothing": lambda rng, size: np.full(size, np.nan),
    "walk": lambda rng, size: rng.normal(size=size).cumsum(),
    "showers": lambda rng, size: np.where(rng.random(size) < 0.9, 0.0, rng.exponential(size=size)),
    "holes": lambda rng, size: np.where(rng.random(size) < 0.4, np.nan, rng.normal(size=size)),
    "rounding": lambda rng, size: 1e9 + 1e-7 * rng.normal(size=size),
}


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_of_faults_in_series_of_any_length_survives(run, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(rng.integers(1, 5)):
        size = int(rng.choice([1, 3, 20, 60, 300]))
        columns = {c: SHAPES[rng.choice(list(SHAPES))](rng, size) for c in ("y", "x", "plan", "place")}
        columns["y"] = np.where(np.arange(size) == 0, 1.0, columns["y"])
        frame = hourly(columns, str(number)).filter(pl.Series(rng.random(size) < 0.8) | (pl.int_range(size) == 0))
        frames.append(frame.with_columns(label=pl.lit(str(rng.integers(3)))))
    frames.append(hourly({c: SHAPES["noise"](rng, 100) for c in columns}, "whole").with_columns(label=pl.lit("0")))
    roles = {"target": ["y"], "past": ["x"], "known": ["plan"], "static": ["place"]}
    if seed % 3 == 0:
        roles = {"past": ["y", "x", "plan"], "label": "label"}
    task = "classify" if seed % 3 == 0 else "forecast"
    _, written, _ = run(pl.concat(frames), task, series_id=["series"], time="time", **roles)
    assert written.text
    assert "nan" not in written.text.split()


def test_integer_time_and_many_series_are_sampled_by_whole_series(run):
    frames = [
        hourly({"y": daily_wave(100, seed=i)}, f"{i:02d}").with_columns(time=pl.int_range(100)) for i in range(20)
    ]
    sections = {"explore": {"max_rows": 550}}
    report, written, _ = run(pl.concat(frames), series_id=["series"], time="time", target=["y"], sections=sections)
    assert "5 of its 20 series, drawn at random (500 rows; explore.max_rows is 550)" in written.text
    assert (report.num_series, report.num_rows, report.frequency) == (20, 2000, "1")
    assert len({row["series"] for row in written.files["tables/slopes.json"]}) == 5


def test_one_series_over_the_limit_is_not_cut(run):
    sections = {"explore": {"max_rows": 50}}
    _, written, _ = run(hourly({"y": daily_wave(100)}), time="time", target=["y"], sections=sections)
    assert "The one series has 100 rows, over explore.max_rows (50); a series is not cut." in written.text


def test_a_label_without_values_is_refused(run):
    frame = labelled(num=5).with_columns(label=pl.lit(None, pl.String))
    with pytest.raises(InputError, match="label 'label' has no values at all"):
        run(frame, "classify", series_id=["series"], time="time", past=["x"], label="label")


def test_running_again_gives_the_same_files(run):
    frame = hourly({"y": daily_wave(400), "x": daily_wave(400, seed=1)})
    first, second = (run(frame, time="time", target=["y"], past=["x"])[1].files for _ in range(2))
    assert first == second


def test_wide_tables_say_which_columns_were_looked_at(run):
    names = [f"y{i}" for i in range(14)]
    frame = hourly({name: daily_wave(100, seed=i) for i, name in enumerate(names)})
    _, written, _ = run(frame, time="time", target=names)
    assert "Of 14 targets and 14 columns, seasons are measured in the first 9, lags in the first 12" in written.text
    assert len({row["column"] for row in written.files["tables/autocorrelation.json"]}) == 12


@pytest.mark.parametrize("kind", ["class", "value"])
def test_labels_of_steps_are_explored_beside_their_inputs(run, kind):
    rng = np.random.default_rng(3)
    state = np.repeat(rng.integers(0, 3, 60) == 0, 10)
    columns = {"x": 4.0 * state + rng.normal(size=600), "noise": rng.normal(size=600)}
    frame = hourly({**columns, "label": 2.0 * state + 0.1 * rng.normal(size=600)})
    if kind == "class":
        frame = frame.with_columns(label=pl.when(pl.Series(state)).then(pl.lit("fault")).otherwise(pl.lit("fine")))
    frame = frame.with_columns(label=pl.when(pl.int_range(600) % 9 == 0).then(None).otherwise(pl.col("label")))
    roles = {"past": ["x", "noise"], "label": "label", "label_kind": kind}
    report, written, config = run(frame, "label", time="time", **roles)
    assert "67 of 600 rows (11.2 %) have no label" in written.text
    assert written.files["tables/label_inputs.json"][0]["column"] == "x"
    assert ("tables/labels.json" in written.files) == (kind == "class")
    described = {row["column"] for row in written.files["tables/distribution.json"]}
    assert described == {"x", "noise", *(["label"] if kind == "value" else [])}
    check_advice(report.findings, config)
    check_figures(written.figures)


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_faults_with_a_label_for_each_step_survives(run, seed):
    rng = np.random.default_rng(seed)
    kind, frames = ("class", "value")[seed % 2], []
    for number in range(rng.integers(1, 5)):
        size = int(rng.choice([3, 20, 60, 300]))
        columns = {c: SHAPES[rng.choice(list(SHAPES))](rng, size) for c in ("x", "plan")}
        label = SHAPES["holes"](rng, size)
        frames.append(hourly({**columns, "label": label}, str(number)))
    frames.append(hourly({c: SHAPES["noise"](rng, 100) for c in ("x", "plan", "label")}, "whole"))
    frame = pl.concat(frames)
    if kind == "class":
        frame = frame.with_columns(
            label=pl.when(pl.col("label") > 0).then(pl.lit("up")).when(pl.col("label") < 0).then(pl.lit("down"))
        )
    roles = {"past": ["x"], "known": ["plan"], "label": "label", "label_kind": kind}
    _, written, _ = run(frame, "label", series_id=["series"], time="time", **roles)
    assert written.text
    assert "nan" not in written.text.split()


def test_a_planted_leak_of_every_kind_is_named(run):
    size = 24 * 60
    target = daily_wave(size, 0.4)
    target[1300:1360] = target[100:160]
    columns = {
        "early": np.roll(target, -1) + 0.05 * noise(size, 3),
        "copy": 1 - target,
        "clock": np.arange(size) * 3600.0,
    }
    first = hourly({"y": target, **columns}, "a")
    second = hourly({"y": target, **columns}, "b")
    _, written, _ = run(first.vstack(second), series_id=["series"], time="time", target=["y"], past=list(columns))
    for words in ("'early' takes away", "'copy' correlates -1.0000", "'clock' goes up with time", "'b' is 'a'"):
        assert words in written.text
    assert "steps of the test part" in written.text
    warned = [f for f in written.files["findings.json"] if f["severity"] == "warning"]
    assert all(any(sign.isdigit() for sign in finding["text"]) for finding in warned)


@pytest.mark.parametrize("irregular", ["resample", "time_delta"])
def test_time_stamps_off_the_grid_are_reported_and_not_refused(run, irregular):
    frame = hourly({"y": daily_wave(600), "x": noise(600, 1)})
    moved = pl.when(pl.int_range(600) % 5 == 0).then(pl.duration(minutes=7)).otherwise(pl.duration(minutes=0))
    frame = frame.with_columns(pl.col("time") + moved)
    roles = {"time": "time", "target": ["y"], "past": ["x"]}
    with pytest.raises(InputError, match="irregular to resample or time_delta"):
        run(frame, **roles)
    report, written, config = run(frame, irregular=irregular, **roles)
    said = "are no multiple of the step 1h" if irregular == "resample" else "Each row is a step, 3,600 after"
    assert said in written.text
    check_advice(report.findings, config)
    check_figures(written.figures)


def test_rows_and_hours_that_come_twice_are_counted(run):
    frame = hourly({"y": daily_wave(24 * 310)}, start=datetime(2024, 1, 1))
    local = pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin").dt.replace_time_zone(None)
    frame = frame.with_columns(local)
    twice = pl.concat([frame, frame.head(3)])
    roles = {"time": "time", "target": ["y"], "time_zone": "Europe/Berlin", "duplicates": "mean"}
    report, written, _ = run(twice, **roles)
    assert "3 of 7,443 rows (under 0.1 %) repeat the time" in written.text
    assert "in an hour that came twice, as the clocks of Europe/Berlin went back" in written.text
    assert report.num_missing_timestamps == 0


@pytest.mark.parametrize("by", ["group", "order"])
def test_series_that_are_dealt_are_compared_part_by_part(run, by):
    frames = [hourly({"y": daily_wave(60, seed=i) + (50 if i >= 26 else 0)}, f"{i:02d}") for i in range(30)]
    sections = {"split": {"by": by}}
    _, written, _ = run(pl.concat(frames), series_id=["series"], time="time", target=["y"], sections=sections)
    assert {row["part"] for row in written.files["tables/drift.json"]} == {"validation", "test"}
    if by == "order":
        assert "Targets that drift away" in written.text


def test_months_are_steps_of_a_calendar(run):
    rows = np.arange(120)
    months = [f"{2010 + i // 12}-{i % 12 + 1:02d}-01" for i in rows]
    frame = pl.DataFrame({"time": months, "y": 50 + 10 * np.sin(2 * np.pi * rows / 12) + noise(120)})
    sections = {"window": {"season": 12, "history": 24, "patch": 12, "horizon": 12}}
    report, written, _ = run(frame, time="time", target=["y"], frequency="1mo", sections=sections)
    assert report.frequency == "1mo"
    assert "12 steps (1y)" in written.text


def test_honest_data_raises_no_warning(run):
    rng = np.random.default_rng(5)
    frames = []
    for site in "abc":
        weather = np.convolve(rng.normal(size=1600), np.ones(12) / 3, "same")[:1500]
        load = 20 + 3 * np.sin(2 * np.pi * np.arange(1500) / 24) + np.roll(weather, 2) + rng.normal(size=1500)
        frames.append(hourly({"load": load, "weather": weather + 0.1 * rng.normal(size=1500)}, site))
    roles = {"series_id": ["series"], "time": "time", "target": ["load"], "past": ["weather"]}
    report, _, config = run(pl.concat(frames), **roles)
    assert [finding.text for finding in report.findings if finding.severity == "warning"] == []
    check_advice(report.findings, config)
